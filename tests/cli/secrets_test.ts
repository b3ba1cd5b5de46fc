/** Secrets on the command line: from files and standard input, never in the clear to another machine, never told again. */
import assert from "node:assert/strict";
import { checkSecretTravel } from "../../cli/secret.ts";
import { durationOf } from "../../cli/duration.ts";
import { withoutSecrets } from "../../protocol/log.ts";
import { runMod, runModWith } from "../support/mod.ts";

Deno.test("secrets: a password goes over mqtt:// to this machine alone, unless that is asked for", () => {
  for (
    const url of [
      "mqtt://broker.example:1883",
      "mqtt://10.0.0.1",
      "mqtt://[2001:db8::1]:1883",
      "mqtt://localhost.example",
    ]
  ) {
    assert.throws(() => checkSecretTravel(url, true, false), /--insecure/);
    checkSecretTravel(url, true, true);
    checkSecretTravel(url, false, false);
  }
  for (
    const url of [
      "mqtts://broker.example",
      "mqtt://localhost:1883",
      "mqtt://127.0.0.1",
      "mqtt://127.1.2.3",
      "mqtt://[::1]:1883",
    ]
  ) {
    checkSecretTravel(url, true, false);
  }
});

Deno.test("secrets: times are whole numbers of a unit", () => {
  assert.deepEqual(["45s", "30m", "12h", "90d"].map((text) => durationOf("x", text)), [45e3, 18e5, 432e5, 7776e6]);
  for (const text of ["", "5", "0d", "-1d", "1.5h", "1w", "1d ", "9999999d"]) {
    assert.throws(() => durationOf("x", text));
  }
});

Deno.test("secrets: a URL is shown without what stands before its host", () => {
  for (
    const [url, shown] of [
      ["mqtt://user:hunter2@host:1883/x", "mqtt://…@host:1883/x"],
      ["mqtt://hunter2@host", "mqtt://…@host"],
      ["mqtt://host/a@b", "mqtt://host/a@b"],
      ["dynamodb://t?endpoint=http://k:hunter2@host&region=r", "dynamodb://t?endpoint=http://…@host&region=r"],
      ["dynamodb://t?endpoint=http%3A%2F%2Fk:hunter2%40host", "dynamodb://t?endpoint=http%3A%2F%2F…@host"],
      ["mqtt://a:hunter2@b:hunter2@host", "mqtt://…@host"],
    ] as const
  ) assert.equal(withoutSecrets(url), shown);
});

Deno.test("secrets: the agent's password comes from a file or standard input, and a wrong URL is told without its own", async () => {
  const dir = await Deno.makeTempDir();
  const schema = `${dir}/s.json`;
  await Deno.writeTextFile(
    schema,
    JSON.stringify({
      version: "1",
      indexes: { primary: { hash: "pk", sort: "sk" } },
      models: {
        M: {
          pk: { type: "string", value: "d#${deviceId}" },
          sk: { type: "string", value: "m#${id}" },
          deviceId: { type: "string" },
          id: { type: "string" },
        },
      },
      process: { M: { sync: "up" } },
    }),
  );
  const agent = (
    mqtt: string,
    ...more: string[]
  ) => [
    "agent",
    "--device",
    "d1",
    "--account",
    "a",
    "--schema",
    schema,
    "--db",
    `${dir}/d.db`,
    "--mqtt",
    mqtt,
    ...more,
  ];
  const wrong = await runMod(...agent("http://user:hunter2@host"));
  assert.deepEqual([wrong.code, wrong.stderr.includes("hunter2")], [2, false], wrong.stderr);
  const clear = await runMod(...agent("mqtt://broker.example", "--password", "hunter2"));
  assert.deepEqual([clear.code, clear.stderr.includes("hunter2")], [2, false], clear.stderr);
  assert.match(clear.stderr, /--insecure/);
  await Deno.writeTextFile(`${dir}/password`, "hunter2\nsecond line\n");
  const fromFile = await runMod(...agent("mqtt://broker.example", "--password-file", `${dir}/password`));
  assert.match(fromFile.stderr, /--insecure/);
  const fromInput = await runModWith({ input: "hunter2\n" }, ...agent("mqtt://broker.example", "--password-file", "-"));
  assert.match(fromInput.stderr, /--insecure/);
  for (const [file, text] of [[`${dir}/none`, /can't be read/], [`${dir}/empty`, /no first line/]] as const) {
    await Deno.writeTextFile(`${dir}/empty`, "");
    const { code, stderr } = await runMod(...agent("mqtt://127.0.0.1", "--password-file", file));
    assert.equal(code, 1);
    assert.match(stderr, text);
  }
  const both = await runMod(...agent("mqtt://127.0.0.1", "--password", "x", "--password-file", `${dir}/password`));
  assert.equal(both.code, 2);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("secrets: device add, rotate and list tell of a token's end, and no device is named as a worker", async () => {
  const dir = await Deno.makeTempDir();
  const device = (...args: string[]) => runMod("device", ...args, "--table", `embedded:${dir}/cloud.db`);
  const reserved = await device("add", "twintable-cloud", "--account", "a");
  assert.equal(reserved.code, 1);
  const added = await device("add", "d1", "--account", "a", "--expires", "90d");
  assert.match(added.stdout, /^[\w-]{43}\n$/);
  const rotated = await device("rotate", "d1", "--grace", "1h");
  assert.match(rotated.stdout, /^[\w-]{43}\n$/);
  assert.match((await device("list")).stdout, /^d1 {2}account a .* old token until 20/);
  assert.equal((await device("rotate", "d2")).code, 1);
  assert.equal((await device("add", "d3", "--account", "a", "--expires", "soon")).code, 2);
  await Deno.remove(dir, { recursive: true });
});
