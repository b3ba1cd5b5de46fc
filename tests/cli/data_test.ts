/**
 * Items from the command line, on a device: `data`, and what `export` writes and `import` reads. A value comes back as it was.
 */
import assert from "node:assert/strict";
import { csvRows, readCsv, valueOf } from "../../cli/data/csv.ts";
import { readJsonLines } from "../../cli/data/jsonl.ts";
import { durationText } from "../../protocol/duration_text.ts";
import type { CloudApi } from "../../cli/cloud_api.ts";
import { CloudSide } from "../../cli/data/cloud_side.ts";
import { Progress } from "../../cli/data/progress.ts";
import type { Plain } from "../../cli/data/side.ts";
import { pairsOf } from "../../cli/data.ts";
import { openAgent } from "../../agent/open.ts";
import { defineSchema } from "../../schema.ts";
import fc from "npm:fast-check@^4.10.2";
import { count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { Program } from "../support/process.ts";
import { example, run, runHere } from "./run.ts";

const schema = defineSchema({
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true, timestamps: true },
  models: {
    Thing: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "thing#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      n: { type: "number" },
      text: { type: "string" },
      flag: { type: "boolean" },
      tags: { type: "set", items: { type: "string" } },
      at: { type: "date" },
      blob: { type: "binary" },
      more: { type: "object" },
      small: { type: "string", enum: ["a", "b"] },
    },
    Given: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "given#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
    },
  },
  process: { Thing: { sync: "both" }, Given: { sync: "down" } },
});

/** A device's file that an agent has made, and that no agent has open now. */
async function deviceFile(dir: TempDir, name: string): Promise<string> {
  const path = dir.file(name);
  await using _agent = await openAgent({ schema, device: "dev-1", account: "acme", path });
  return path;
}

const modeOf = (path: string) => (Deno.statSync(path).mode! & 0o777).toString(8);

const rich = {
  name: "rich",
  n: "12345678901234567890.5",
  text: 'a,"b"\nc',
  flag: false,
  tags: ["x", "y"],
  at: "2026-01-02T03:04:05.000Z",
  blob: "AAH/",
  more: { $ref: "#", list: [1, null, { deep: true }] },
};

Deno.test("data: put, get, update, list and rm on a device's file; what is written is captured", async () => {
  using dir = new TempDir();
  const path = await deviceFile(dir, "d.db"), db = ["--db", path];
  const data = (...args: string[]) => runHere("data", ...args, ...db);
  assert.equal((await data("put", "Thing", JSON.stringify(rich))).stdout, "1 written\n");
  const got = JSON.parse((await data("get", "Thing", "name=rich")).stdout);
  const { created, updated, ...rest } = got;
  assert.deepEqual(rest, { deviceId: "dev-1", ...rich });
  assert.ok(created && updated);
  const { stdout } = await data("update", "Thing", "name=rich", "n=7", "flag=null", 'text="8"');
  assert.deepEqual([JSON.parse(stdout).n, JSON.parse(stdout).flag, JSON.parse(stdout).text], [7, undefined, "8"]);
  await data("put", "Thing", "name=other", "n=1");
  assert.equal((await data("list", "Thing")).stdout.trim().split("\n").length, 2);
  assert.match((await data("list", "Thing", "n=1")).stdout, /^{"deviceId":"dev-1","name":"other","n":1,[^\n]*\n$/);
  // The first put, its update, the second: an application's writes as any other.
  assert.equal(count(path, "SELECT count(*) FROM _pending"), 2);
  assert.equal((await data("rm", "Thing", "name=other")).code, 0);
  assert.deepEqual(await data("rm", "Thing", "name=other"), {
    code: 1,
    stdout: "",
    stderr: "twintable: there is no such Thing\n",
  });

  const refused: [string[], RegExp][] = [
    [["put", "Thing", "name=x", "small=c"], /small .*"a", "b"|one of/],
    [["put", "Thing", "name=x", "nope=1"], /no property "nope"/],
    [["put", "Thing", "name=x", "blob=?"], /blob is binary: base64/],
    [["put", "Given", "name=x"], /read-only on the device/],
    [["list", "Nothing"], /no model "Nothing" on the device: Thing, Given/],
    [["get", "Thing", "rich"], /"rich" is not NAME=VALUE/],
    [["look", "Thing"], /data look\? list, get/],
  ];
  for (const [args, says] of refused) {
    const { code, stdout, stderr } = await data(...args);
    assert.notEqual(code, 0, args.join(" "));
    assert.match(stdout + stderr, says);
  }
  assert.equal(count(path, "SELECT count(*) FROM Thing"), 1);
});

Deno.test("data: an item that can't take another's place leaves it there", async () => {
  using dir = new TempDir();
  const path = await deviceFile(dir, "d.db");
  await runHere("data", "put", "Thing", "name=a", "text=first", "--db", path);
  query(path, "CREATE TRIGGER mine BEFORE INSERT ON Thing WHEN NEW.text = 'no' BEGIN SELECT RAISE(ABORT, 'mine'); END");
  const { code, stdout } = await runHere("data", "put", "Thing", "name=a", "text=no", "--db", path);
  assert.equal(code, 1);
  assert.match(stdout, /mine\n0 written, 1 refused/);
  assert.deepEqual(query(path, "SELECT text FROM Thing"), [{ text: "first" }]);
});

for (const format of ["jsonl", "csv"]) {
  Deno.test(`export: ${format} is imported into another device as it was`, async () => {
    using dir = new TempDir();
    const from = await deviceFile(dir, "from.db"), to = await deviceFile(dir, "to.db"), out = dir.file("out");
    await runHere("data", "put", "Thing", JSON.stringify(rich), "--db", from);
    query(
      from,
      `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 1200)
       INSERT INTO Thing(name, n, text) SELECT 'n' || n, n, CASE n % 4 WHEN 0 THEN '007' WHEN 1 THEN 'true' WHEN 2 THEN '' END FROM i`,
    );
    const exported = await runHere("export", "--to", out, "--format", format, "--db", from);
    assert.equal(exported.code, 0, exported.stderr);
    assert.match(exported.stdout, /Thing\.\w+: 1,201 items in/);
    assert.match((await runHere("export", "--to", out, "--format", format, "--db", from)).stderr, /exists: --force/);
    // Read-only on the device: it is no part of what can be imported.
    const imported = await runHere("import", `${out}/Thing.${format}`, "--db", to);
    assert.equal(imported.code, 0, imported.stdout + imported.stderr);
    assert.match(imported.stdout, /1,201 items/);
    const rows = (path: string) =>
      query(path, "SELECT name, n, text, flag, tags, at, hex(blob) AS blob, more FROM Thing ORDER BY name");
    assert.deepEqual(rows(to), rows(from));
    assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).sort(), [`Given.${format}`, `Thing.${format}`]);
    assert.equal(modeOf(`${out}/Thing.${format}`), "600", "what was for its owner alone stays so");
  });
}

Deno.test("import: what is refused stands beside with its reason, and holds up no other; again it changes nothing", async () => {
  using dir = new TempDir();
  const path = await deviceFile(dir, "d.db"), file = dir.file("Thing.jsonl");
  const lines = [{ name: "a", n: 1 }, { name: "b", small: "z" }, { name: "c", nope: 1 }, {
    name: "d",
    at: "2026-01-01T00:00:00Z",
  }];
  await Deno.writeTextFile(file, `\ufeff${lines.map((line) => JSON.stringify(line)).join("\r\n")}\n\n`);
  for (let i = 0; i < 2; i++) {
    const { code, stdout } = await runHere("import", file, "--db", path);
    assert.equal(code, 1);
    assert.match(stdout, /4 items .*2 refused: .*Thing\.jsonl\.refused\.jsonl/);
    assert.deepEqual(query(path, "SELECT name FROM Thing ORDER BY name"), [{ name: "a" }, { name: "d" }]);
    const refused = (await Deno.readTextFile(`${file}.refused.jsonl`)).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    assert.deepEqual(refused.map(({ item }) => item.name), ["b", "c"]);
    assert.equal(modeOf(`${file}.refused.jsonl`), "600");
  }
  await Deno.writeTextFile(file, '{"name":"e"}\n{"name"');
  assert.match((await runHere("import", file, "--db", path)).stderr, /line 2: /);
  assert.match((await runHere("import", "things.txt", "--db", path)).stderr, /\.jsonl and \.csv/);
  assert.match(
    (await runHere("import", dir.file("none.csv"), "--model", "Thing", "--db", path)).stderr,
    /can't be read/,
  );
});

Deno.test("export and import go on where they were cut off", async () => {
  using dir = new TempDir();
  const from = await deviceFile(dir, "from.db"), to = await deviceFile(dir, "to.db"), out = dir.file("out");
  query(
    from,
    `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 1700)
     INSERT INTO Thing(name, n) SELECT printf('n%05d', n), n FROM i`,
  );
  await runHere("export", "--to", out, "--model", "Thing", "--db", from);
  const whole = await Deno.readTextFile(`${out}/Thing.jsonl`);
  const lines = whole.split("\n"), half = `${lines.slice(0, 500).join("\n")}\n`;
  // As a command leaves it that ends after its first page, in the middle of writing the second.
  const { next } = await firstPage(from);
  await Deno.remove(`${out}/Thing.jsonl`);
  await Deno.writeTextFile(`${out}/Thing.jsonl.part`, `${half}{"deviceId":"dev`);
  await Deno.writeTextFile(
    `${out}/Thing.jsonl.position`,
    JSON.stringify({ bytes: new TextEncoder().encode(half).length, items: 500, next }),
  );
  assert.match(
    (await runHere("export", "--to", out, "--model", "Thing", "--db", from)).stdout,
    /1700 items, 500 of them before/,
  );
  assert.equal(await Deno.readTextFile(`${out}/Thing.jsonl`), whole);

  await Deno.writeTextFile(`${out}/Thing.jsonl.position`, JSON.stringify({ items: 1000, refused: 0 }));
  assert.match((await runHere("import", `${out}/Thing.jsonl`, "--db", to)).stdout, /1700 items, 1000 of them before/);
  assert.deepEqual(query(to, "SELECT count(*) AS n, min(n) AS first FROM Thing"), [{ n: 700, first: 1001 }]);
  assert.match((await runHere("import", `${out}/Thing.jsonl`, "--restart", "--db", to)).stdout, /1,700 items/);
  assert.equal(count(to, "SELECT count(*) FROM Thing"), 1700);
});

async function firstPage(path: string): Promise<{ next: string }> {
  await using agent = await openAgent({ schema, device: "dev-1", account: "acme", path });
  return { next: agent.model("Thing").find({}, { limit: 500 }).next! };
}

Deno.test("csv: every item comes back as it was, whatever its texts look like", async () => {
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "",
      " ",
      "null",
      "true",
      "7",
      "007",
      "-1",
      "1e5",
      "[1]",
      '{"a":1}',
      '"x"',
      "a,b",
      "12345678901234567890",
    ),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.integer(), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "$b"), fc.string(), { maxKeys: 2 }),
  );
  using dir = new TempDir();
  const file = dir.file("x.csv");
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ k: fc.string({ minLength: 1 }), v: value }), { maxLength: 8 }),
      async (items) => {
        await Deno.writeTextFile(file, csvRows(["k", "v"], items, true));
        const read: Plain[] = [];
        for await (const { item } of readCsv(file)) read.push(item);
        assert.deepEqual(read, JSON.parse(JSON.stringify(items)));
      },
    ),
    { numRuns: 300 },
  );
  assert.throws(() => csvRows(["a"], [{ a: 1, b: 2 }], false), /the property "b"/);
  assert.deepEqual(["", "x", "7", "1.50", "12345678901234567890"].map(valueOf), [
    "",
    "x",
    7,
    1.5,
    "12345678901234567890",
  ]);
});

Deno.test("data: NAME=VALUE, durations, lines", async () => {
  assert.deepEqual(pairsOf(["a=1", "b=x=y", 'c="1"', "d=null", "e=12345678901234567890"]), {
    a: 1,
    b: "x=y",
    c: "1",
    d: null,
    e: "12345678901234567890",
  });
  const lengths = [0.04, 5, 9.99, 59.9, 89, 120, 12_000, 36_300, 172_800];
  assert.deepEqual(
    lengths.map(durationText),
    ["0 s", "5 s", "9.9 s", "59 s", "1 min", "2 min", "3 h 20 min", "10 h", "2 d"],
  );
  using dir = new TempDir();
  await Deno.writeTextFile(dir.file("a.jsonl"), "[1]\n");
  await assert.rejects(async () => {
    for await (const _ of readJsonLines(dir.file("a.jsonl"))) { /* it throws */ }
  }, /line 1: an object is required/);
});

Deno.test("progress: how fast, and how much longer by what was done since the start, at most where the whole may be less", () => {
  let now = 0;
  const said: string[] = [];
  const progress = new Progress("Setting", { intervalMs: 0, now: () => now, say: (line) => void said.push(line) });
  // It goes on at 900 of 1,000, at which the time before says nothing.
  for (
    const [ms, done, isMost] of [[0, 910, false], [1_000, 920, false], [2_000, 930, true], [
      3_000,
      1_001,
      true,
    ]] as const
  ) {
    now = ms;
    progress.add(10, { done, whole: 1_000, isMost });
  }
  now = 4_000;
  progress.add(10);
  assert.deepEqual(said.map((line) => line.replace(/^Setting: \d+ items, [\d,]+ a second/, "")), [
    "",
    ", 8 s left",
    ", at most 7 s left",
    "",
    "",
  ]);
});

Deno.test("export: of a cloud that does not know its size the time that is left is unknown", async () => {
  const side = (body: unknown, status = 200) =>
    new CloudSide({ request: () => Promise.resolve({ status, body }) } as unknown as CloudApi);
  assert.deepEqual(await side({ items: 7 }).size(), { items: 7, isMost: true });
  assert.equal(await side({}).size(), undefined);
  assert.equal(await side({ error: {} }, 404).size(), undefined);
});

Deno.test("data, export and import on a cloud, through its API", async () => {
  using dir = new TempDir();
  const token = dir.file("token"), out = dir.file("out");
  await Deno.writeTextFile(token, "secret\n");
  await using cloud = new Program([
    ...["cloud", "--schema", example, "--table", `embedded:${dir.file("cloud.db")}`, "--broker", "--mqtt-port", "0"],
    ...["--port", "0", "--token-file", token],
  ]);
  const [, url] = await cloud.printed(/(http:\/\/\S+)/);
  const side = ["--cloud", url!, "--token-file", token], key = ["deviceId=d-1", "name=volume"];
  assert.equal((await run("data", "put", "Setting", ...key, "value=7", ...side)).stdout, "1 written\n");
  assert.equal(JSON.parse((await run("data", "get", "Setting", ...key, ...side)).stdout).value, 7);
  assert.equal(JSON.parse((await run("data", "update", "Setting", ...key, "value=8", ...side)).stdout).value, 8);
  assert.match(
    (await run("data", "update", "Setting", "deviceId=d-1", "name=no", "value=8", ...side)).stderr,
    /no such Setting/,
  );
  const many = Array.from(
    { length: 450 },
    (_, n) => JSON.stringify({ deviceId: n % 2 ? "d-1" : "d-2", name: `n${n}`, value: n }),
  );
  const file = dir.file("Setting.jsonl");
  await Deno.writeTextFile(file, [...many, '{"deviceId":"d-1","name":"bad","value":"x"}'].join("\n"));
  const imported = await runHere("import", file, ...side);
  assert.equal(imported.code, 1);
  assert.match(imported.stdout, /451 items .*1 refused/);
  assert.match(await Deno.readTextFile(`${file}.refused.jsonl`), /^{"reason":"[^"]*value/);
  assert.match((await runHere("export", "--to", out, ...side)).stderr, /--model is required with --cloud/);
  const exported = await runHere(
    "export",
    "--to",
    out,
    "--model",
    "Setting",
    "--format",
    "csv",
    "--device",
    "d-1",
    ...side,
  );
  assert.match(exported.stdout, /226 items/, exported.stderr);
  assert.equal(
    (await runHere("data", "list", "Setting", "--device", "d-2", "--limit", "1000", ...side)).stdout.trim().split("\n")
      .length,
    225,
  );
  assert.equal((await runHere("data", "rm", "Setting", ...key, ...side)).code, 0);
  assert.match((await runHere("data", "rm", "Setting", ...key, ...side)).stderr, /no such Setting/);
  assert.match((await runHere("data", "list", "Setting", "--cloud", url!)).stderr, /token/);
  assert.match((await runHere("data", "list", "Nope", ...side)).stderr, /no model "Nope"/);
});
