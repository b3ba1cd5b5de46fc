/** `schema check`, `diff`, `init`, `sql` as processes. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { CreateTableCommand, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { emulators } from "../support/dynamo.ts";
import { TempDir } from "../support/temp_dir.ts";
import { skipped, testWith } from "../support/tools.ts";
import { example, run, runHere } from "./run.ts";

const base = {
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Order: {
      pk: { type: "string", value: "org#${orgId}" },
      sk: { type: "string", value: "order#${id}" },
      orgId: { type: "string", required: true },
      id: { type: "string", generate: "ulid" },
      state: { type: "string", enum: ["new", "paid"], readonly: true },
    },
    Secret: { pk: { type: "string", value: "x" }, word: { type: "string", crypt: true } },
  },
  params: { identity: { accountId: "orgId" } },
  process: { Order: { sync: "both", conflict: "cloud" } },
};

function write(dir: TempDir, name: string, schema: unknown): string {
  const file = dir.file(name);
  Deno.writeTextFileSync(file, JSON.stringify(schema));
  return file;
}

Deno.test("cli: schema check says of each model where it is, which way it goes, who sees it and what it costs", async () => {
  using dir = new TempDir();
  const file = write(dir, "a.json", base);
  const { code, stdout } = await runHere("schema", "check", file);
  assert.equal(code, 0);
  for (
    const line of [
      /^ {2}where {5}device and cloud; SQLite table "Order"$/m,
      /^ {2}conflict {2}cloud: the cloud's version stays/m,
      /^ {2}scope {5}account: all devices of an account, by \$\{orgId\} in the key; channel account:\$\{orgId\}$/m,
      /^ {2}listed {4}by the primary key: hash org#\$\{orgId\}, sort from order#$/m,
      /^ {2}cost {6}a change up: 1 write unit a KB/m,
      /^ {2}carried {3}without effect: readonly$/m,
      /^ {2}carried {3}as it is: field "word": "crypt" is not supported/m,
      /^note: carried without effect: readonly \(Order\.state\)$/m,
    ]
  ) assert.match(stdout, line);
  const json = JSON.parse((await runHere("schema", "check", file, "--json")).stdout);
  assert.deepEqual(json.models[0].listed, { index: "primary", hash: "org#${orgId}", sortPrefix: "order#" });
  assert.equal(json.models[1].opaque.length, 1);
  const strict = await runHere("schema", "check", file, "--strict");
  assert.equal(strict.code, 1);
  assert.match(strict.stderr, /Secret.*crypt[\s\S]*carried without effect: readonly/);
});

Deno.test("cli: schema check names the index that would make a model listable", async () => {
  using dir = new TempDir();
  const { Order } = base.models;
  const models = {
    Order: { ...Order, pk: { type: "string", value: "order#${id}" }, sk: { type: "string", value: "${orgId}" } },
  };
  const { code, stderr } = await runHere("schema", "check", write(dir, "a.json", { ...base, models }));
  assert.equal(code, 1);
  const [, index, fields] = /"indexes": (\{.*?\}\}) and in the model (.*)$/m.exec(stderr)!;
  const pasted = {
    ...base,
    indexes: { ...base.indexes, ...JSON.parse(index!) },
    models: { Order: { ...models.Order, ...JSON.parse(`{${fields}}`) } },
  };
  assert.equal((await runHere("schema", "check", write(dir, "b.json", pasted))).code, 0, "what it says can be pasted");
});

Deno.test("cli: schema diff says what a roll-out does, and fails where something is lost or refused", async () => {
  using dir = new TempDir();
  const old = write(dir, "old.json", base);
  let files = 0;
  const change = (fields: object, process: object = base.process, more: object = {}) =>
    write(dir, `new${++files}.json`, {
      ...base,
      models: { Order: { ...base.models.Order, ...fields }, ...more },
      process,
    });
  assert.deepEqual(await runHere("schema", "diff", old, old), {
    code: 0,
    stdout: "the schemas mean the same\n",
    stderr: "",
  });
  const cases: [string, number, RegExp][] = [
    [change({ note: { type: "string" } }), 0, /fine +Order: note is new: empty in the rows that are there/],
    [
      change({ n: { type: "number", required: true, default: 1 } }),
      0,
      /fine +Order: n is new and required: .* get its default/,
    ],
    [change({ n: { type: "number", required: true } }), 1, /REFUSED +Order: n is new and required, without a default/],
    [change({ state: { type: "number" } }), 0, /depends on the rows +Order: state: was string and is number/],
    [change({ state: { type: "string", enum: ["new", "paid", "sent"] } }), 0, /waits +Order: state: sent is new/],
    [change({}, { Order: { sync: "up" } }), 0, /fine +Order: "sync" was "both" and is "up"/],
    [change({}, { Order: { sync: "none" } }), 1, /LOST +Order: "sync" was "both" and is "none"/],
    [change({ sk: { type: "string", value: "o#${id}" } }), 1, /REFUSED +Order: its key was .* and is .*new name/],
    [change({}, base.process, { Tag: { ...base.models.Order } }), 0, /fine +Tag: is new/],
    [write(dir, "gone.json", { ...base, models: {}, process: {} }), 1, /LOST +Order: is gone/],
  ];
  for (const [file, code, says] of cases) {
    const result = await runHere("schema", "diff", old, file);
    assert.match(result.stdout, says);
    assert.equal(result.code, code, result.stdout);
  }
});

Deno.test("cli: schema init writes a first schema, once, and one for the tables of a database", async () => {
  using dir = new TempDir();
  const file = dir.file("first.json5");
  assert.equal((await runHere("schema", "init", file)).code, 0);
  assert.match((await runHere("schema", "check", file)).stdout, /^Reading$[\s\S]*^Setting$/m);
  const again = await runHere("schema", "init", file);
  assert.deepEqual([again.code, again.stderr], [1, `twintable: ${file} is there already\n`]);

  const { DatabaseSync } = await import("node:sqlite");
  const path = dir.file("app.db"), db = new DatabaseSync(path);
  db.exec(`CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL, "odd name" TEXT, at DATETIME);
    CREATE TABLE tag(name TEXT, lang TEXT, PRIMARY KEY(name, lang)); CREATE TABLE "1st"(a)`);
  db.close();
  const { code, stdout } = await runHere("schema", "init", "--db", path);
  assert.equal(code, 0);
  assert.match(stdout, /sk: \{"type":"string","value":"tag#\$\{name\}#\$\{lang\}"\}/);
  assert.match(stdout, /Left out, for their names: "odd name"/);
  assert.doesNotMatch(stdout, /1st/);
});

Deno.test("cli: schema init makes a counter's new ids by a generator, keeps defaults, and asks how unclear dates are read", async () => {
  using dir = new TempDir();
  const { DatabaseSync } = await import("node:sqlite");
  const path = dir.file("app.db"), file = dir.file("schema.json5"), db = new DatabaseSync(path);
  db.exec(`CREATE TABLE sensor(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, gain REAL DEFAULT 1.5,
      made DATETIME DEFAULT CURRENT_TIMESTAMP, odd TEXT DEFAULT (hex(randomblob(2))));
    CREATE TABLE sample(id INTEGER PRIMARY KEY, sensor_id INTEGER NOT NULL REFERENCES sensor(id), at TIMESTAMP);
    INSERT INTO sensor(name) VALUES ('a'), ('b');
    INSERT INTO sample(sensor_id, at) VALUES (1, 1700000000), (2, '2026-01-02T03:04:05+02:00')`);
  assert.equal((await runHere("schema", "init", file, "--db", path)).code, 0);
  const text = Deno.readTextFileSync(file);
  assert.match(text, /id: \{"type":"string","generate":"ulid"\}, \/\/ a counter/);
  assert.match(text, /sensor_id: \{"type":"string","required":true\}, \/\/ a row of sensor/);
  assert.match(text, /gain: \{"type":"number","default":1\.5\}/);
  assert.match(text, /odd: \{"type":"string"\}, \/\/ its default was hex\(randomblob\(2\)\)/);
  assert.match(text, /made: \{[^}]*"default":\{"\$function":"\(\) => new Date\(\)"\}/);
  assert.match(text, /sample: \{ sync: "both" \}, \/\/ dates: \{ at: \{ unit: "s" \} \}/);
  assert.match(text, /sensor: \{ sync: "both" \}, \/\/ dates: \{ made: \{ zone: "UTC" \} \}/);
  const plan = ["schema", "onboard", "--db", path, "--schema", file];
  assert.equal((await runHere(...plan)).code, 1, "nobody has said yet how its dates are read");
  Deno.writeTextFileSync(
    file,
    text.replace(/(sample: \{ sync: "both") \}, \/\/ (dates: \{ .*? \} \}).*/, "$1, $2 },")
      .replace(/(sensor: \{ sync: "both") \}, \/\/ (dates: \{ .*? \} \}).*/, "$1, $2 },"),
  );
  const { code, stdout } = await runHere(...plan);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /^ {2}odd: its default hex\(randomblob\(2\)\) is gone; give the field one$/m);
  db.close();
});

const [kind] = (await emulators()).filter(({ name }) => name === "dynoxide");
const noEmulator = skipped(kind?.missing);
Deno.test({
  name: "cli: schema init proposes a schema from a DynamoDB table's items",
  ignore: noEmulator,
  async fn() {
    const emulator = await kind!.start();
    const client = new DynamoDBClient({
      endpoint: emulator.endpoint,
      region: "eu-west-1",
      credentials: { accessKeyId: "x", secretAccessKey: "x" },
    });
    try {
      await client.send(
        new CreateTableCommand({
          TableName: "orders",
          BillingMode: "PAY_PER_REQUEST",
          AttributeDefinitions: ["pk", "sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
          KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
        }),
      );
      for (const id of ["1", "2"]) {
        const Item = {
          pk: { S: "org#acme" },
          sk: { S: `order#${id}` },
          __type: { S: "Order" },
          type: { S: "Order" },
          orgId: { S: "acme" },
          id: { S: id },
          total: { N: "5" },
          at: { S: "2026-01-02T03:04:05.000Z" },
          tags: { SS: ["a"] },
          expires: { N: "4102444800" },
        };
        await client.send(new PutItemCommand({ TableName: "orders", Item }));
      }
      const url = `dynamodb://orders?region=eu-west-1&endpoint=${encodeURIComponent(emulator.endpoint)}`;
      const { code, stdout, stderr } = await run("schema", "init", "--table", url, "--type-field", "type");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /Order: \{\n +pk: \{"type":"string","value":"org#\$\{orgId\}"\},\n +sk: .*"order#\$\{id\}"/);
      assert.match(stdout, /at: \{"type":"date","isoDates":true,"required":true\}/);
      assert.match(stdout, /expires: \{"type":"number","ttl":true,"required":true\}/);
      assert.match(stdout, /params: \{"typeField":"type"\}/);
    } finally {
      client.destroy();
      await emulator.stop();
    }
  },
});

testWith("sqlite3")("cli: schema sql makes the same tables in the sqlite3 shell", async () => {
  using dir = new TempDir();
  const { stdout } = await runHere("schema", "sql", example);
  const shell = async (db: string, sql: string) => {
    const child = new Deno.Command("sqlite3", { args: [db], stdin: "piped", stdout: "piped", stderr: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(sql));
    await writer.close();
    const { code, stdout, stderr } = await child.output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  };
  const first = await shell(dir.file("a.db"), `${stdout}\n.schema --nosys`);
  const second = await shell(dir.file("b.db"), `${first}\n.schema --nosys`);
  // The shell adds a view's columns behind it as a comment, once more each time.
  const bare = (text: string) => text.split("\n").filter((line) => !line.startsWith("/* ")).join("\n");
  assert.equal(bare(second), bare(first), "what the shell prints makes the same again");
  assert.match(
    await shell(
      dir.file("a.db"),
      "INSERT INTO Setting(name, value) VALUES ('x', 1); SELECT sk, deviceId FROM Setting;",
    ),
    /setting#x\|demo-1/,
  );
});

Deno.test("cli: schema onboard says table by table what a first start does, row by row what it can't; the file stays as it is", async () => {
  using dir = new TempDir();
  const schema = write(dir, "schema.json", {
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Reading: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "reading#${id}" },
        deviceId: { type: "string", required: true },
        id: { type: "string", generate: "ulid" },
        at: { type: "date", isoDates: true },
        value: { type: "number", required: true },
      },
      Setting: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "setting#${name}" },
        deviceId: { type: "string", required: true },
        name: { type: "string", required: true },
      },
    },
    params: { identity: { deviceId: "deviceId" } },
    process: { Reading: { sync: "up" }, Setting: { sync: "both" } },
  });
  const path = dir.file("logger.db");
  const change = (sql: string) => {
    const db = new DatabaseSync(path);
    db.exec(sql);
    db.close();
  };
  change(`CREATE TABLE Reading(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, value REAL, mine TEXT);
    INSERT INTO Reading(at, value, mine) VALUES ('2026-01-02 03:04:05Z', 1, 'm'), ('2026-01-02 03:04:05+02:00', 2, NULL);
    CREATE TABLE Log(x)`);
  const before = Deno.readFileSync(path);
  const plan = ["schema", "onboard", "--db", path, "--schema", schema];
  const { code, stdout, stderr } = await runHere(...plan);
  assert.equal(code, 0, stderr);
  assert.deepEqual(stdout.trimEnd().split("\n"), [
    "Reading: rebuilt with its 2 rows; 2 wait to be sent",
    "  mine: of no field; its 1 values move to _sync_kept",
    "  id: new rows get an id by the schema; what the counter gave is _id now (last_insert_rowid())",
    "  value: an INSERT that leaves it out is refused from now on; give the field a default",
    "Setting: a new, empty table",
    "Log: of no model, left alone",
  ]);
  assert.deepEqual(Deno.readFileSync(path), before);
  change(`INSERT INTO Reading(at, value) VALUES ('02.01.2026', 3), ('2026-01-02 03:04', 4), (1700000000, 5);
    CREATE VIEW Setting AS SELECT 'a' AS name`);
  const changed = Deno.readFileSync(path);
  const refused = await runHere(...plan);
  assert.equal(refused.code, 1);
  assert.deepEqual(refused.stdout.trimEnd().split("\n"), [
    "REFUSED: 3 values of Reading",
    "  Reading row 3: at = 02.01.2026 can't become a date",
    "  Reading row 4: at = 2026-01-02 03:04 names no zone",
    "  Reading row 5: at = 1700000000 is a number without a unit",
    '  Nothing was changed. Say in the schema how such dates are read, as "process": {"Reading": {"dates": ' +
    '{"at": {"zone": "Europe/Berlin", "unit": "s"}}}}, or change these rows first.',
    "REFUSED: Setting is a view, not a table",
    "  Nothing was changed. Rename it.",
    "Log: of no model, left alone",
  ]);
  assert.deepEqual(Deno.readFileSync(path), changed);
  assert.equal((await runHere(...plan.slice(0, 4))).code, 2);
});
