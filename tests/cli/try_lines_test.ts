import assert from "node:assert/strict";
import fc from "fast-check";
import { compileSchema } from "../../schema.ts";
import { cloudExample, curlLine, deviceExample, shellWord, sqliteLine } from "../../cli/try_lines.ts";
import { Live } from "../../cli/live.ts";
import { Terminal } from "./terminal.ts";
import { toolsMissing } from "../support/tools.ts";
import { crossings, measure, parseNetworkCounters } from "../../examples/demo_device.ts";

Deno.test("try lines: a shell reads back any text as one word", { ignore: toolsMissing("bash") }, async () => {
  const texts = fc.sample(fc.string({ unit: fc.constantFrom(..."ab'\"$`\\ {}*;&|~#".split("")), minLength: 1 }), 200);
  const script = texts.map((text) => `printf '%s\\n' ${shellWord(text)}`).join("\n");
  const { stdout } = await new Deno.Command("bash", { args: ["-c", script] }).output();
  assert.deepEqual(new TextDecoder().decode(stdout).split("\n").slice(0, -1), texts);
});

Deno.test("try lines: the model that asks least is shown, with values that fit, and reserved names in brackets", () => {
  const device = { pk: { type: "string", value: "d#${deviceId}" }, deviceId: { type: "string", required: true } };
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Wide: {
        ...device,
        sk: { type: "string", value: "w#${a}" },
        a: { type: "string", required: true },
        b: { type: "number", required: true },
      },
      Group: { ...device, sk: { type: "string", value: "g#${order}" }, order: { type: "number", required: true } },
      Code: {
        ...device,
        sk: { type: "string", value: "c#${code}" },
        code: { type: "string", required: true, validate: "/^[A-Z]{9}$/" },
      },
      Both: { ...device, sk: { type: "string", value: "b#${name}" }, name: { type: "string", required: true } },
    },
    process: { Wide: { sync: "up" }, Group: { sync: "up" }, Code: { sync: "down" }, Both: { sync: "both" } },
  });
  const onDevice = deviceExample(schema)!;
  assert.equal(
    sqliteLine("x.db", onDevice),
    `sqlite3 -cmd ".timeout 5000" x.db 'INSERT INTO [Group]([order]) VALUES (1)'`,
  );
  const inCloud = cloudExample(schema)!;
  const line = curlLine("http://h", schema, inCloud, { deviceId: "d-1", accountId: "a-1" });
  assert.match(line, /-d '\{"model":"Both","item":\{"deviceId":"d-1","name":"hello"\}\}'$/);
});

Deno.test("live: a flood of changes is counted, not shown, and the bottom line stays at the bottom", () => {
  let now = 0;
  const screen = new Terminal(80), live = new Live(screen, () => now);
  live.bottom(["totals"]);
  for (let n = 0; n < 1000; n++) live.change(`change ${n}`);
  assert.equal(screen.rows.filter((row) => /change \d+$/.test(row)).length, 8);
  now += 10_000;
  live.change("later");
  assert.deepEqual(screen.rows.slice(-3), ["  … and 992 changes", "  later", "  totals"]);
});

Deno.test("demo device: measures this machine, and tells a crossing once in each direction", () => {
  const measured = measure();
  for (const name of ["load", "memory", "disk"] as const) assert.ok(measured[name] >= 0, name);
  const network = parseNetworkCounters(
    "Inter-|   Receive  |  Transmit\n face |bytes ...\n    lo: 10 2 0 0 0 0 0 0 30 4 0 0 0 0 0 0\n  eth0:5 0 0 0 0 0 0 0 6 0\n",
  );
  assert.deepEqual(network, { lo: { received: 10, sent: 30 }, eth0: { received: 5, sent: 6 } });

  const limits = { load: 50, memory: 50, disk: 50 };
  const at = (load: number) => ({ load, memory: 1, disk: 1, network: {} });
  const first = crossings(at(60), limits, new Set());
  assert.deepEqual([first.rose, first.fell], [["load"], []]);
  const second = crossings(at(70), limits, first.over);
  assert.deepEqual([second.rose, second.fell], [[], []]);
  const third = crossings(at(40), limits, second.over);
  assert.deepEqual([third.rose, third.fell], [[], ["load"]]);
});
