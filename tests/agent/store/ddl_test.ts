/**
 * The tables: what a plain INSERT fills in, what the constraints refuse and say, and the DDL itself for an example.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { agentTablesSql, laterColumns } from "../../../agent/store/tables.ts";
import { tableSql, uniqueIndexes } from "../../../agent/store/ddl.ts";
import { compileSchema } from "../../../schema.ts";
import { compiled, identity, memoryStore, StoreFile } from "../store_fixture.ts";
import { testWith } from "../../support/tools.ts";

const withShell = testWith("sqlite3");

Deno.test("ddl: the table and indexes of an example model are these", () => {
  const setting = compiled.models.get("Setting")!;
  const date = (name: string) =>
    `"${name}" TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) CONSTRAINT "${name} must be an ISO date" ` +
    `CHECK ("${name}" GLOB '[0-9][0-9][0-9][0-9]-*' AND julianday("${name}") IS NOT NULL OR "${name}" IS NULL)`;
  assert.equal(
    tableSql(setting, identity),
    `CREATE TABLE "Setting" (
  _id INTEGER PRIMARY KEY CONSTRAINT "_id can't be -1" CHECK (_id <> -1),
  "pk" TEXT GENERATED ALWAYS AS ('device#dev-1') VIRTUAL,
  "sk" TEXT GENERATED ALWAYS AS ('setting#' || "name") VIRTUAL,
  "deviceId" TEXT NOT NULL DEFAULT ('dev-1'),
  "name" TEXT NOT NULL CONSTRAINT "name must not have a NUL" CHECK (instr("name", char(0)) = 0),
  "slot" ANY CONSTRAINT "slot must be a number" CHECK (CASE typeof("slot") WHEN 'integer' THEN 1 WHEN 'real' THEN "slot" = 0 OR abs("slot") BETWEEN 1e-130 AND 9.99e125 WHEN 'text' THEN NOT "slot" GLOB '*[^-+.0-9eE]*' AND json_valid("slot") WHEN 'null' THEN 1 ELSE 0 END),
  "value" TEXT DEFAULT ('it''s on'),
  "note" TEXT,
  ${date("created")},
  ${date("updated")},
  CONSTRAINT "the key's hash must have 1 to 2048 bytes" CHECK (length("pk") BETWEEN 1 AND 512 OR length(CAST("pk" AS BLOB)) BETWEEN 1 AND 2048),
  CONSTRAINT "the key's sort must have 1 to 1024 bytes" CHECK (length("sk") BETWEEN 1 AND 256 OR length(CAST("sk" AS BLOB)) BETWEEN 1 AND 1024)
) STRICT`,
  );
  assert.deepEqual(uniqueIndexes(setting).map((index) => index.sql), [
    'CREATE UNIQUE INDEX "_sync_Setting.key" ON "Setting"("name")',
    'CREATE UNIQUE INDEX "_sync_Setting.unique.slot" ON "Setting"("slot")',
  ]);
});

withShell("ddl: a plain INSERT in the sqlite3 shell makes a complete item", () => {
  using file = new StoreFile();
  const store = file.open();
  const before = Date.now();
  file.shell("INSERT INTO Thing(kind, n) VALUES ('a', 42); INSERT INTO Telemetry(cpu) VALUES (0.5)");
  const thing = store.db.sql("SELECT * FROM Thing").get()!;
  assert.deepEqual([thing.pk, thing.sk, thing.gs1pk, thing.gs1sk], [
    "account#acme",
    "thing#a#00000042",
    "kind#a",
    null,
  ]);
  assert.deepEqual([thing.accountId, thing.deviceId], ["acme", "dev-1"]);
  assert.match(String(thing.token), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.match(String(thing.code), /^[0-9A-HJKMNP-TV-Z]{7}$/);
  assert.match(String(thing.created), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(thing.created, thing.updated);
  const { id } = store.db.sql("SELECT id FROM Telemetry").get()!;
  assert.match(String(id), /^[0-9A-HJKMNP-TV-Z]{26}$/);
  const ms = [...String(id).slice(0, 10)].reduce((n, c) => n * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(c), 0);
  assert.ok(ms >= before - 1 && ms <= Date.now() + 1, `the ULID's time is ${ms}`);
});

Deno.test("ddl: ULIDs and UUIDs made by SQL do not repeat within a statement", () => {
  const store = memoryStore();
  store.db.exec(`
    WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 1000)
    INSERT INTO Thing(kind, n) SELECT 'a', i FROM t`);
  const { tokens, codes } = store.db.sql(
    "SELECT count(DISTINCT token) AS tokens, count(DISTINCT code) AS codes FROM Thing",
  ).get()!;
  assert.deepEqual([tokens, codes], [1000, 1000]);
  store.close();
});

withShell("ddl: what the schema does not allow is refused, with a sentence that names the column", () => {
  using file = new StoreFile();
  file.open();
  const refused: [string, RegExp][] = [
    ["INSERT INTO Setting(value) VALUES ('x')", /NOT NULL constraint failed: Setting\.name/],
    ["INSERT INTO Setting(name, slot) VALUES ('a', 'x')", /slot must be a number/],
    ["INSERT INTO Setting(name, slot) VALUES ('a', 9e999)", /slot must be a number/],
    ["INSERT INTO Setting(name, slot) VALUES ('a', x'00')", /slot must be a number/],
    ["INSERT INTO Setting(name, slot) VALUES ('a', '1-2')", /slot must be a number/],
    ["INSERT INTO Thing(kind, n) VALUES ('c', 1)", /kind must be one of a, b, it's/],
    ["INSERT INTO Thing(kind, n) VALUES ('a', 1.5)", /n must be a whole number, since it stands in the key/],
    ["INSERT INTO Thing(kind, n) VALUES ('a', '007')", /n must be a whole number/],
    ["INSERT INTO Thing(kind, n, flag) VALUES ('a', 1, 2)", /flag must be 0 or 1/],
    ["INSERT INTO Thing(kind, n, flag) VALUES ('a', 1, 'true')", /cannot store TEXT value in INTEGER column/],
    ["INSERT INTO Thing(kind, n, at) VALUES ('a', 1, 'today')", /at must be an ISO date/],
    ["INSERT INTO Thing(kind, n, at) VALUES ('a', 1, '2024-13-01')", /at must be an ISO date/],
    ["INSERT INTO Thing(kind, n, meta) VALUES ('a', 1, '[]')", /meta must be a JSON object/],
    ["INSERT INTO Thing(kind, n, meta) VALUES ('a', 1, '{')", /meta must be a JSON object/],
    ["INSERT INTO Thing(kind, n, list) VALUES ('a', 1, '{}')", /list must be a JSON array/],
    [
      "INSERT INTO Thing(kind, n, tags) VALUES ('a', 1, '[]')",
      /tags must be a JSON array of its members, one at least/,
    ],
    ["INSERT INTO Thing(kind, n, blob) VALUES ('a', 1, 'text')", /cannot store TEXT value in BLOB column/],
    ["INSERT INTO Setting(name) VALUES (hex(zeroblob(600)))", /sort must have 1 to 1024 bytes/],
    ["INSERT INTO Setting(name) VALUES ('a' || char(0))", /name must not have a NUL/],
    ["INSERT INTO Setting(_id, name) VALUES (-1, 'a')", /_id can't be -1/],
  ];
  for (const [sql, reason] of refused) assert.throws(() => file.shell(sql), reason, sql);
  assert.equal(file.shell("SELECT count(*) FROM _outbox"), "0");
  file.shell("INSERT INTO Setting(name, slot) VALUES ('a', '12345678901234567890.5'), ('b', NULL), ('c', NULL)");
  assert.throws(() => file.shell("INSERT INTO Setting(name, slot) VALUES ('d', '12345678901234567890.5')"), /UNIQUE/);
  file.shell("INSERT INTO Thing(kind, n, at, tags) VALUES ('a', 1, datetime('now'), '[1]')");
});

Deno.test("ddl: defaults of each type are SQL defaults, nothing else is", () => {
  const field = (type: string, value: unknown, more = {}) => ({ type, default: value, ...more });
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "id" } },
    models: {
      M: {
        id: { type: "string", required: true },
        s: field("string", "a'b"),
        n: field("number", 1.5),
        i: field("number", 7),
        b: field("boolean", true),
        o: field("object", { x: [1, null] }),
        l: field("array", ["'"]),
        d: field("date", "2024-01-02T03:04:05.006Z"),
        none: { type: "string" },
      },
    },
    params: { isoDates: true },
    process: { M: { sync: "up" } },
  });
  const store = memoryStore({ schema });
  store.db.exec("INSERT INTO M(id) VALUES ('x')");
  const model = schema.models.get("M")!;
  assert.deepEqual(store.rows(model).byKey(["x", ""])!.item, {
    id: "x",
    s: "a'b",
    n: 1.5,
    i: 7,
    b: true,
    o: { x: [1, null] },
    l: ["'"],
    d: "2024-01-02T03:04:05.006Z",
  });
  assert.equal(store.db.sql("SELECT typeof(i) AS t FROM M").get()!.t, "integer");
  store.close();
});

Deno.test("ddl: a key of a plain attribute, without a sort key, and columns named as the agent's own", () => {
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "id" } },
    models: {
      M: { id: { type: "string" }, sort: { type: "string" }, segment: { type: "number" }, hash: { type: "string" } },
    },
    process: { M: { sync: "up" } },
  });
  const store = memoryStore({ schema });
  const model = schema.models.get("M")!;
  const rows = store.rows(model);
  store.tx(() => store.applying(() => rows.put(["12", ""], { id: "12", sort: "s", segment: 3 })));
  store.db.exec("INSERT OR REPLACE INTO M(id, segment, hash) VALUES ('12', 9, 'h')");
  assert.deepEqual(rows.byKey(["12", ""])!.item, { id: "12", segment: 9, hash: "h" });
  assert.deepEqual({ ...store.db.sql("SELECT hash, sort, key, segment FROM _outbox WHERE kind = 3").get() }, {
    hash: "12",
    sort: "",
    key: '{"id":"12"}',
    segment: 1,
  });
  store.db.exec("INSERT INTO _sync_seen VALUES ('global', '12', '')");
  store.db.exec("INSERT INTO M(id) VALUES ('13')");
  assert.deepEqual(rows.unseen("global", -1, 10).map(({ key }) => key), [["13", ""]]);
  store.close();
});

Deno.test("tables: a column that came later is in its table's definition too, by which a file knows that it lacks one", () => {
  const db = new DatabaseSync(":memory:");
  db.exec(agentTablesSql);
  const missing = laterColumns.filter(({ table, name }) =>
    !db.prepare(`PRAGMA table_info(${table})`).all().some((column) => column.name === name)
  );
  db.close();
  assert.deepEqual(missing, []);
});
