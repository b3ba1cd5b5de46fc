/**
 * A new schema on an old file: what each kind of change does to rows, to changes that wait, to cursors and to the cloud's
 * items. One table of cases; each begins with the same rows, some of them known to the cloud, some waiting to be sent.
 */
import assert from "node:assert/strict";
import { compileSchema, type Item, type OneTableSchema, type Schema, SyncError } from "../../../schema.ts";
import { Twinned } from "../../property/twinned.ts";

type Fields = Record<string, Record<string, unknown>>;

const pk = { type: "string", value: "d#${deviceId}" };
const device = { type: "string", required: true };

/** The schema that every case begins with. */
const first: { models: Record<string, Fields>; process: Record<string, { sync: string }> } = {
  models: {
    Setting: {
      pk,
      sk: { type: "string", value: "setting#${name}" },
      deviceId: device,
      name: { type: "string", required: true },
      value: { type: "string", default: "old" },
      level: { type: "number" },
      at: { type: "date", isoDates: true },
      secret: { type: "string", sync: "none" },
      tags: { type: "set", items: { type: "string" } },
    },
    Sample: {
      pk,
      sk: { type: "string", value: "sample#${id}" },
      deviceId: device,
      id: { type: "string", required: true },
      n: { type: "number" },
    },
    Order: {
      pk,
      sk: { type: "string", value: "order#${id}" },
      deviceId: device,
      id: { type: "string", required: true },
      text: { type: "string" },
    },
    Note: {
      pk,
      sk: { type: "string", value: "note#${id}" },
      deviceId: device,
      id: { type: "string", required: true },
      text: { type: "string" },
    },
  },
  process: { Setting: { sync: "both" }, Sample: { sync: "up" }, Order: { sync: "down" }, Note: { sync: "none" } },
};

function schemaOf({ models, process }: typeof first): Schema {
  return compileSchema({
    format: "onetable:1.1.0",
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { timestamps: true, isoDates: false },
    models,
    process,
  });
}

/** The first schema with changes: fields of `Setting` (undefined removes one), whole models, directions. */
function changed(
  setting: Record<string, Record<string, unknown> | undefined>,
  models: Record<string, Fields | undefined> = {},
  process: typeof first.process = {},
): Schema {
  const fields = Object.fromEntries(
    Object.entries({ ...first.models.Setting, ...setting }).filter(([, field]) => field !== undefined),
  ) as Fields;
  const all = Object.fromEntries(
    Object.entries({ ...first.models, Setting: fields, ...models }).filter(([, model]) => model !== undefined),
  ) as Record<string, Fields>;
  const directions = Object.fromEntries(Object.entries({ ...first.process, ...process }).filter(([name]) => all[name]));
  return schemaOf({ models: all, process: directions });
}

type Row = Record<string, unknown>;

/** Puts items of the models whose fields are `id` and `text`. */
async function put(twinned: Twinned, items: [sk: string, id: string, text: string, type: string][]): Promise<void> {
  await twinned.tables.data.write(items.map(([sk, id, text, _type]) => ({
    op: "put",
    item: { pk: "d#dev-1", sk, deviceId: "dev-1", id, text, _type },
  })));
}

/** A device with rows `a` and `b` in the cloud, and after that, unsent: `a` altered, `b` removed, `c` new. */
async function begin(schema = schemaOf(first)): Promise<Twinned> {
  const twinned = new Twinned(schema);
  // Of a model that this schema lacks, too: the channel's log passes it by.
  await put(twinned, [["order#1", "1", "do", "Order"], ["alarm#1", "1", "wake", "Alarm"]]);
  twinned.store.db.exec(`
    INSERT INTO Setting(_id, name, value, level, at, secret, tags) VALUES
      (1, 'a', '12', 1, '2030-01-02T03:04:05.678Z', 's', '["x","y"]'), (2, 'b', '7', 2, NULL, NULL, NULL);
    INSERT INTO Sample(id, n) VALUES ('s1', 1);
    INSERT INTO Note(id, text) VALUES ('n1', 'mine')`);
  await twinned.settle();
  await twinned.settle();
  twinned.store.db.exec(`
    UPDATE Setting SET level = 11 WHERE name = 'a';
    DELETE FROM Setting WHERE name = 'b';
    INSERT INTO Setting(_id, name, value, level) VALUES (3, 'c', '3', 33);
    INSERT INTO Sample(id, n) VALUES ('s2', 2)`);
  return twinned;
}

function rows(twinned: Twinned, sql: string): Row[] {
  return twinned.store.db.prepare(sql).all().map((row) => ({ ...row }));
}

async function item(twinned: Twinned, sort: string): Promise<Item | undefined> {
  return (await twinned.items()).find((found) => found.sk === sort);
}

/** Both sides get the schema. */
function renew(twinned: Twinned, schema: Schema): void {
  twinned.closeDevice();
  twinned.rollOut(schema);
  twinned.openDevice(schema);
}

interface Case {
  readonly what: string;
  readonly schema: Schema;
  /** Rows of the migrated file, before anything is sent. */
  readonly sql?: string;
  readonly rows?: readonly Row[];
  /** More to look at when both sides have come to rest. */
  readonly then?: (twinned: Twinned) => void | Promise<void>;
}

const cases: readonly Case[] = [
  {
    what: "a column is added: old rows have NULL, new ones its default",
    schema: changed({ unit: { type: "string", default: "C" } }),
    sql: "SELECT _id, name, level, unit FROM Setting ORDER BY _id",
    rows: [{ _id: 1, name: "a", level: 11, unit: null }, { _id: 3, name: "c", level: 33, unit: null }],
    async then(twinned) {
      twinned.store.db.exec("INSERT INTO Setting(name) VALUES ('new')");
      await twinned.settle();
      assert.equal((await item(twinned, "setting#new"))!.unit, "C");
      assert.equal((await item(twinned, "setting#a"))!.unit, undefined);
    },
  },
  {
    what: "a required column with a default is added: it fills rows, and items that are older than it",
    schema: changed({ unit: { type: "string", required: true, default: "C" } }),
    sql: "SELECT name, unit FROM Setting ORDER BY name",
    rows: [{ name: "a", unit: "C" }, { name: "c", unit: "C" }],
    async then(twinned) {
      const old = { pk: "d#dev-1", sk: "setting#old", deviceId: "dev-1", name: "old", _type: "Setting" };
      await twinned.tables.data.write([{ op: "put", item: old }]);
      await twinned.settle();
      assert.deepEqual(rows(twinned, "SELECT unit FROM Setting WHERE name = 'old'"), [{ unit: "C" }]);
      assert.deepEqual(await item(twinned, "setting#old"), old);
      twinned.store.db.exec("UPDATE Setting SET level = 5 WHERE name = 'old'");
      await twinned.settle();
      const { level, unit } = (await item(twinned, "setting#old"))!;
      assert.deepEqual([level, unit], [5, "C"]);
    },
  },
  {
    what: "a model is added: what the cloud has of it comes",
    schema: changed({}, { Alarm: { ...first.models.Order!, sk: { type: "string", value: "alarm#${id}" } } }, {
      Alarm: { sync: "down" },
    }),
    then(twinned) {
      assert.deepEqual(rows(twinned, "SELECT id, text FROM Alarm"), [{ id: "1", text: "wake" }]);
    },
  },
  {
    what: "a default is changed: rows keep their values",
    schema: changed({ value: { type: "string", default: "new" } }),
    sql: "SELECT name, value FROM Setting ORDER BY name",
    rows: [{ name: "a", value: "12" }, { name: "c", value: "3" }],
  },
  {
    what: "text becomes a number",
    schema: changed({ value: { type: "number" } }),
    sql: "SELECT name, value, typeof(value) AS type FROM Setting ORDER BY name",
    rows: [{ name: "a", value: 12, type: "integer" }, { name: "c", value: 3, type: "integer" }],
    async then(twinned) {
      assert.equal((await item(twinned, "setting#a"))!.value, 12);
    },
  },
  {
    what: "a number becomes text",
    schema: changed({ level: { type: "string" } }),
    sql: "SELECT name, level FROM Setting ORDER BY name",
    rows: [{ name: "a", level: "11" }, { name: "c", level: "33" }],
  },
  {
    what: "an ISO date becomes ms",
    schema: changed({ at: { type: "date", isoDates: false } }),
    sql: "SELECT name, at FROM Setting ORDER BY name",
    rows: [{ name: "a", at: Date.parse("2030-01-02T03:04:05.678Z") }, { name: "c", at: null }],
  },
  {
    what: "a set becomes a list",
    schema: changed({ tags: { type: "array" } }),
    sql: "SELECT tags FROM Setting WHERE name = 'a'",
    rows: [{ tags: '["x","y"]' }],
    async then(twinned) {
      assert.deepEqual((await item(twinned, "setting#a"))!.tags, ["x", "y"]);
    },
  },
  {
    what: "a field becomes unique, and the rows are",
    schema: changed({ level: { type: "number", unique: true } }),
    sql: "SELECT name FROM Setting WHERE level = 11",
    rows: [{ name: "a" }],
    then(twinned) {
      assert.throws(() => twinned.store.db.exec("INSERT INTO Setting(name, level) VALUES ('d', 11)"), /UNIQUE/);
    },
  },
  {
    what: "a field is renamed by map: its values stay, under the same attribute",
    schema: changed({ value: undefined, worth: { type: "string", map: "value" } }),
    sql: "SELECT name, worth FROM Setting ORDER BY name",
    rows: [{ name: "a", worth: "12" }, { name: "c", worth: "3" }],
    async then(twinned) {
      assert.equal((await item(twinned, "setting#c"))!.value, "3");
      assert.deepEqual(rows(twinned, "SELECT * FROM _sync_kept"), []);
    },
  },
  {
    what: "two fields swap their names by map",
    schema: changed({ value: { type: "number", map: "level" }, level: { type: "string", map: "value" } }),
    sql: "SELECT name, value, level FROM Setting ORDER BY name",
    rows: [{ name: "a", value: 11, level: "12" }, { name: "c", value: 33, level: "3" }],
  },
  {
    what: "a field gets another attribute: its values are sent under that one",
    schema: changed({ value: { type: "string", map: "v" } }),
    sql: "SELECT name, value FROM Setting ORDER BY name",
    rows: [{ name: "a", value: "12" }, { name: "c", value: "3" }],
    async then(twinned) {
      const { v, value } = (await item(twinned, "setting#a"))!;
      assert.deepEqual([v, value], ["12", "12"]);
    },
  },
  {
    what: "the key's field is renamed by map: the keys stay",
    schema: changed({
      name: undefined,
      title: { type: "string", required: true, map: "name" },
      sk: { type: "string", value: "setting#${title}" },
    }),
    sql: "SELECT title, sk FROM Setting ORDER BY title",
    rows: [{ title: "a", sk: "setting#a" }, { title: "c", sk: "setting#c" }],
  },
  {
    what: "a column is removed: its values are kept aside, the attribute stays in the cloud",
    schema: changed({ level: undefined }),
    sql: "SELECT row, name, value FROM _sync_kept ORDER BY row",
    rows: [{ row: 1, name: "level", value: 11 }, { row: 3, name: "level", value: 33 }],
    async then(twinned) {
      twinned.store.db.exec("UPDATE Setting SET value = 'x' WHERE name = 'a'");
      await twinned.settle();
      const { level, value } = (await item(twinned, "setting#a"))!;
      assert.deepEqual([level, value], [1, "x"]);
    },
  },
  {
    what: "a local field begins to travel: its values are sent",
    schema: changed({ secret: { type: "string" } }),
    sql: "SELECT secret FROM Setting WHERE name = 'a'",
    rows: [{ secret: "s" }],
    async then(twinned) {
      assert.equal((await item(twinned, "setting#a"))!.secret, "s");
      assert.deepEqual(rows(twinned, "SELECT secret FROM Setting WHERE name = 'a'"), [{ secret: "s" }]);
    },
  },
  {
    what: "a field travels no more: the row keeps its value",
    schema: changed({ value: { type: "string", sync: "none" } }),
    sql: "SELECT name, value FROM Setting ORDER BY name",
    rows: [{ name: "a", value: "12" }, { name: "c", value: "3" }],
    async then(twinned) {
      assert.equal((await item(twinned, "setting#c"))!.value, undefined);
      assert.deepEqual(rows(twinned, "SELECT value FROM Setting WHERE name = 'a'"), [{ value: "12" }]);
    },
  },
  {
    what: "a local model begins to go up: its rows are sent",
    schema: changed({}, {}, { Note: { sync: "up" } }),
    async then(twinned) {
      assert.equal((await item(twinned, "note#n1"))!.text, "mine");
    },
  },
  {
    what: "a local model begins to sync both ways: its rows are sent, the cloud's come",
    schema: changed({}, {}, { Note: { sync: "both" } }),
    async then(twinned) {
      assert.equal((await item(twinned, "note#n1"))!.text, "mine");
      assert.deepEqual(rows(twinned, "SELECT id, text FROM Note ORDER BY id"), [
        { id: "n1", text: "mine" },
        { id: "n2", text: "theirs" },
      ]);
    },
  },
  {
    what: "a model that only came down may now be written: from what the cloud has",
    schema: changed({}, {}, { Order: { sync: "both" } }),
    async then(twinned) {
      twinned.store.db.exec("UPDATE \"Order\" SET text = 'done'");
      await twinned.settle();
      assert.equal((await item(twinned, "order#1"))!.text, "done");
    },
  },
  {
    what: "a model that only went up syncs both ways",
    schema: changed({}, {}, { Sample: { sync: "both" } }),
    then(twinned) {
      assert.deepEqual(rows(twinned, "SELECT id, n FROM Sample ORDER BY id"), [{ id: "s1", n: 1 }, { id: "s2", n: 2 }]);
    },
  },
  {
    what: "an application's index, trigger and view on the table stay",
    schema: changed({ unit: { type: "string" } }),
    sql: "SELECT name FROM sqlite_master WHERE name LIKE 'app_%' ORDER BY name",
    rows: [{ name: "app_index" }, { name: "app_trigger" }, { name: "app_view" }],
  },
];

for (const { what, schema, sql, rows: wanted, then } of cases) {
  Deno.test(`migration: ${what}`, async () => {
    await using twinned = await begin();
    twinned.store.db.exec(`CREATE INDEX app_index ON Setting(deviceId); CREATE VIEW app_view AS SELECT sk FROM Setting;
      CREATE TRIGGER app_trigger AFTER DELETE ON Setting BEGIN SELECT 1; END`);
    const cursors = rows(twinned, "SELECT channel, epoch, seq FROM _sync_channels");
    const waiting = rows(twinned, "SELECT seq, model, row, kind, time FROM _outbox ORDER BY seq");
    assert.equal(waiting.length, 4);
    twinned.closeDevice();
    // In the cloud first; there, items are added meanwhile.
    twinned.rollOut(schema);
    await put(twinned, [["note#n2", "n2", "theirs", "Note"]]);
    twinned.openDevice(schema);
    assert.equal(twinned.store.db.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
    if (sql) assert.deepEqual(rows(twinned, sql), wanted);
    assert.deepEqual(
      rows(twinned, "SELECT seq, model, row, kind, time FROM _outbox ORDER BY seq").slice(0, 4),
      waiting,
      "what waits goes on waiting",
    );
    const epochs = (list: Row[]) => list.map(({ channel, epoch }) => [channel, epoch]);
    assert.deepEqual(epochs(rows(twinned, "SELECT channel, epoch FROM _sync_channels")), epochs(cursors));
    await twinned.settle();
    await twinned.settle();
    // What waited has arrived: `a` altered, `b` removed, `c` new.
    const { level, value } = (await item(twinned, "setting#a"))!;
    if (!what.includes("removed") && !what.includes("number becomes text")) assert.equal(level, 11);
    if (what.includes("number becomes text")) assert.equal(level, "11");
    if (!what.includes("text becomes") && !what.includes("no more")) assert.equal(value, "12");
    assert.equal(await item(twinned, "setting#b"), undefined);
    assert.ok(await item(twinned, "setting#c"));
    assert.equal((await item(twinned, "sample#s2"))!.n, 2);
    assert.deepEqual(rows(twinned, 'SELECT id FROM "Order"'), [{ id: "1" }]);
    assert.deepEqual(rows(twinned, "SELECT * FROM _sync_aside"), []);
    assert.deepEqual(rows(twinned, "SELECT * FROM _rejected"), []);
    assert.deepEqual(rows(twinned, "SELECT * FROM _conflicts"), []);
    await then?.(twinned);
  });
}

interface Refusal {
  readonly what: string;
  readonly schema: Schema;
  readonly message: RegExp;
}

const refusals: readonly Refusal[] = [
  {
    what: "a required column without a default",
    schema: changed({ must: { type: "string", required: true } }),
    message: /rows of Setting don't fit the new schema: NOT NULL constraint failed: Setting\.must \(rows 1, 3, 4, 5\)$/,
  },
  {
    what: "a value that is none of the new type",
    schema: changed({ secret: { type: "number" } }),
    message: /Setting row 1: secret = s can't become a number/,
  },
  {
    what: "a value that the new enum lacks",
    schema: changed({ value: { type: "string", enum: ["7"] } }),
    message: /value must be one of 7 \(rows 1, 3, 4, 5\)$/,
  },
  {
    what: "rows that are not unique",
    schema: changed({ deviceName: { type: "string" }, tags: { type: "string", unique: true } }),
    message: /"tags" must be unique, and the rows 4, 5 share a value/,
  },
  {
    what: "a key of other parts",
    schema: changed({ sk: { type: "string", value: "settings#${name}" } }),
    message: /other keys of Setting's rows/,
  },
  {
    what: "another typeField",
    schema: compileSchema({ ...(schemaOf(first).source as OneTableSchema), params: { typeField: "kind" } }),
    message: /another typeField: the cloud has \w+'s items by the old/,
  },
  {
    what: "local rows that the cloud's would replace",
    schema: changed({}, {}, { Note: { sync: "down" } }),
    message: /The rows of Note are local/,
  },
];

for (const { what, schema, message } of refusals) {
  Deno.test(`migration: ${what}: refused before anything is touched, with what to do`, async () => {
    await using twinned = await begin();
    twinned.store.db.exec("INSERT INTO Setting(_id, name, tags) VALUES (4, 'd', '[\"z\"]'), (5, 'e', '[\"z\"]')");
    const before = dump(twinned);
    twinned.closeDevice();
    assert.throws(
      () => twinned.openDevice(schema),
      (error) =>
        error instanceof SyncError && error.code === "migration" && message.test(error.message) &&
        error.hint!.startsWith("Nothing was changed."),
    );
    twinned.openDevice(schemaOf(first));
    assert.deepEqual(twinned.store.migration, { created: [], rebuilt: [], restored: [], noticed: [] });
    assert.deepEqual(dump(twinned), before);
    await twinned.settle();
    assert.equal((await item(twinned, "setting#a"))!.level, 11);
  });
}

/** Everything that is in the file: its schema, and each table's rows. */
function dump(twinned: Twinned): Row {
  const objects = rows(twinned, "SELECT type, name, sql FROM sqlite_master ORDER BY name");
  const tables = objects.filter(({ type, name }) => type === "table" && !String(name).startsWith("sqlite_"));
  // The agent notes in `_sync` when it is connected.
  const stored = tables.filter(({ name }) => name !== "_sync");
  return { objects, ...Object.fromEntries(stored.map(({ name }) => [name, rows(twinned, `SELECT * FROM "${name}"`)])) };
}

Deno.test("migration: what begins to travel is sent, though nothing else of its row waits", async () => {
  await using twinned = await begin();
  await twinned.settle();
  await twinned.settle();
  const schema = changed({ secret: { type: "string" }, value: { type: "string", map: "v" } });
  twinned.closeDevice();
  twinned.rollOut(schema);
  twinned.openDevice(schema);
  await twinned.settle();
  const { secret, v, value } = (await item(twinned, "setting#a"))!;
  assert.deepEqual([secret, v, value], ["s", "12", "12"]);
  assert.deepEqual(rows(twinned, "SELECT secret, value FROM Setting WHERE name = 'a'"), [{ secret: "s", value: "12" }]);
});

Deno.test("migration: a model that goes keeps its rows, and is taken in again, with removals that waited, when it is back", async () => {
  await using twinned = await begin();
  const { Setting: _1, ...models } = first.models;
  const { Setting: _2, ...process } = first.process;
  twinned.closeDevice();
  twinned.openDevice(schemaOf({ models, process }));
  await twinned.settle();
  assert.ok(twinned.twin.drained, "what belongs to the model that is gone holds nothing up");
  assert.deepEqual(rows(twinned, "SELECT name FROM Setting ORDER BY name"), [{ name: "a" }, { name: "c" }]);
  assert.ok(await item(twinned, "setting#b"));
  twinned.store.db.exec("UPDATE Setting SET level = 333 WHERE name = 'c'");
  twinned.closeDevice();
  twinned.openDevice(schemaOf(first));
  await twinned.settle();
  await twinned.settle();
  assert.equal((await item(twinned, "setting#a"))!.level, 11);
  assert.equal(await item(twinned, "setting#b"), undefined);
  assert.equal((await item(twinned, "setting#c"))!.level, 333);
  assert.deepEqual(rows(twinned, "SELECT name, level FROM Setting ORDER BY name"), [
    { name: "a", level: 11 },
    { name: "c", level: 333 },
  ]);
});

Deno.test("migration: what is kept aside of a model that is gone may be dropped; when the model is back, the cloud's items come", async () => {
  await using twinned = await begin();
  const { Setting: _1, ...models } = first.models;
  const { Setting: _2, ...process } = first.process;
  twinned.closeDevice();
  twinned.openDevice(schemaOf({ models, process }));
  twinned.store.db.exec("DROP TABLE Setting; DELETE FROM _sync_kept WHERE model = 'Setting'");
  twinned.closeDevice();
  twinned.openDevice(schemaOf({ models, process }));
  assert.deepEqual(twinned.store.migration.restored, []);
  await twinned.settle();
  twinned.closeDevice();
  twinned.openDevice(schemaOf(first));
  await twinned.settle();
  await twinned.settle();
  assert.deepEqual(rows(twinned, "SELECT name, level FROM Setting ORDER BY name"), [
    { name: "a", level: 1 },
    { name: "b", level: 2 },
  ]);
  assert.ok(await item(twinned, "setting#b"), "the removal that waited was dropped with the rest");
});

Deno.test("migration: a model that stays on the device from now on keeps its rows, and what waited of it is not sent", async () => {
  await using twinned = await begin();
  twinned.closeDevice();
  twinned.openDevice(changed({}, {}, { Setting: { sync: "none" } }));
  await twinned.settle();
  assert.equal((await item(twinned, "setting#a"))!.level, 1);
  assert.ok(await item(twinned, "setting#b"));
  assert.deepEqual(rows(twinned, "SELECT name FROM Setting ORDER BY name"), [{ name: "a" }, { name: "c" }]);
  assert.equal((await item(twinned, "sample#s2"))!.n, 2);
});

Deno.test("migration: what is in flight of a model that is gone is left out, the rest of its batch goes under a new name", async () => {
  const both: typeof first.process = { ...first.process, Sample: { sync: "both" } };
  await using twinned = await begin(schemaOf({ models: first.models, process: both }));
  // Sent, and the process ends before an answer comes.
  twinned.twin.onCommit();
  const sent = [...twinned.twin.context.inFlight.batches.values()];
  assert.deepEqual(sent.map(({ flights }) => flights.map(({ model }) => model.name)), [[
    "Setting",
    "Setting",
    "Sample",
  ]]);
  twinned.closeDevice();
  const { Setting: _1, ...models } = first.models;
  const { Setting: _2, ...process } = both;
  twinned.openDevice(schemaOf({ models, process }));
  const [left] = [...twinned.twin.context.inFlight.batches.values()];
  assert.deepEqual(left!.flights.map(({ key }) => key[1]), ["sample#s2"]);
  // An answer to the batch as it was must not be taken for one to what is left of it.
  assert.notEqual(left!.id, sent[0]!.id);
  await twinned.settle();
  assert.equal((await item(twinned, "sample#s2"))!.n, 2);
  assert.deepEqual(rows(twinned, "SELECT * FROM _inflight"), []);
  assert.deepEqual(rows(twinned, "SELECT * FROM _outbox"), []);
});

Deno.test("migration: a local field that is back has its values again, one that does not fit is left aside", async () => {
  await using twinned = await begin();
  twinned.store.db.exec("INSERT INTO Note(id, text) VALUES ('n', 'mine')");
  await twinned.settle();
  const sql = "SELECT _id, secret FROM Setting ORDER BY _id", kept = "SELECT name, value FROM _sync_kept ORDER BY name";
  const before = rows(twinned, sql);
  const { text: _text, ...bare } = first.models.Note!;
  renew(twinned, changed({ secret: undefined }, { Note: bare }));
  const aside = rows(twinned, kept);
  assert.ok(aside.some(({ value }) => value === "mine") && aside.length > 1);
  renew(twinned, changed({ secret: { type: "number", sync: "none" } }));
  assert.deepEqual(rows(twinned, sql).map(({ secret }) => secret), before.map(() => null));
  assert.ok(rows(twinned, "SELECT text FROM Note").some(({ text }) => text === "mine"));
  assert.deepEqual(rows(twinned, kept), aside.filter(({ name }) => name === "secret"));
  renew(twinned, changed({ secret: undefined }));
  renew(twinned, schemaOf(first));
  assert.deepEqual(rows(twinned, sql), before);
  assert.deepEqual(rows(twinned, kept), []);
  await twinned.settle();
});

Deno.test("migration: kept values come back one by one, converted: what means none of the new type, or breaks a constraint, stays", async () => {
  await using twinned = await begin();
  twinned.store.db.exec(`INSERT INTO Note(id, text) VALUES ('n2', '7'), ('n3', '007'), ('n4', '7')`);
  const { text: _text, ...bare } = first.models.Note!;
  renew(twinned, changed({}, { Note: bare }));
  renew(twinned, changed({}, { Note: { ...bare, text: { type: "number", unique: true } } }));
  assert.deepEqual(rows(twinned, "SELECT id, text FROM Note ORDER BY id"), [
    { id: "n1", text: null },
    { id: "n2", text: 7 },
    { id: "n3", text: null },
    { id: "n4", text: null },
  ]);
  assert.deepEqual(rows(twinned, "SELECT value FROM _sync_kept ORDER BY row"), [
    { value: "mine" },
    { value: "007" },
    { value: "7" },
  ]);
});

Deno.test("migration: of a model that only goes up a field that is back has its values again, and they are sent", async () => {
  await using twinned = await begin();
  await twinned.settle();
  const { n: _n, ...bare } = first.models.Sample!;
  renew(twinned, changed({}, { Sample: { ...bare, note: { type: "string" } } }));
  twinned.store.db.exec("UPDATE Sample SET note = 'x' WHERE id = 's1'");
  await twinned.settle();
  assert.equal((await item(twinned, "sample#s1"))!.n, undefined, "the update replaced the item whole");
  renew(twinned, schemaOf(first));
  assert.deepEqual(rows(twinned, "SELECT id, n FROM Sample ORDER BY id"), [{ id: "s1", n: 1 }, { id: "s2", n: 2 }]);
  await twinned.settle();
  assert.equal((await item(twinned, "sample#s1"))!.n, 1);
  assert.deepEqual(rows(twinned, "SELECT name FROM _sync_kept WHERE model = 'Sample' AND name = 'n'"), []);
});

Deno.test("migration: a kept value does not come back to a row of another key that has the `_id` by now", async () => {
  await using twinned = await begin();
  const { text: _text, ...bare } = first.models.Note!;
  renew(twinned, changed({}, { Note: bare }));
  const [{ _id }] = rows(twinned, "SELECT _id FROM Note") as [{ _id: number }];
  twinned.store.db.exec("DELETE FROM Note; INSERT INTO Note(id) VALUES ('other')");
  renew(twinned, schemaOf(first));
  assert.deepEqual(rows(twinned, "SELECT _id, id, text FROM Note"), [{ _id, id: "other", text: null }]);
  assert.deepEqual(rows(twinned, "SELECT value, key FROM _sync_kept"), [{ value: "mine", key: '{"id":"n1"}' }]);
});

Deno.test("migration: where others write the items, too, what the cloud has of a field that is back wins over kept values", async () => {
  await using twinned = await begin();
  await twinned.settle();
  renew(twinned, changed({ level: undefined }));
  await twinned.settle();
  const { level: _a, ...a } = (await item(twinned, "setting#a"))!;
  const { level: _c, ...c } = (await item(twinned, "setting#c"))!;
  await twinned.tables.data.write([{ op: "put", item: { ...a, level: 99 } as Item }, { op: "put", item: c as Item }]);
  await twinned.settle();
  renew(twinned, schemaOf(first));
  await twinned.settle();
  await twinned.settle();
  assert.deepEqual(rows(twinned, "SELECT name, level FROM Setting ORDER BY name"), [
    { name: "a", level: 99 },
    { name: "c", level: null },
  ]);
  assert.equal((await item(twinned, "setting#a"))!.level, 99);
  assert.equal((await item(twinned, "setting#c"))!.level, undefined);
});

Deno.test("migration: forth and back again leaves every row as it was", async () => {
  await using twinned = await begin();
  await twinned.settle();
  await twinned.settle();
  const sql = "SELECT _id, name, value, level, at, secret, tags FROM Setting ORDER BY _id";
  const before = rows(twinned, sql);
  for (const { schema } of cases) {
    for (const each of [schema, schemaOf(first)]) {
      twinned.closeDevice();
      twinned.rollOut(each);
      twinned.openDevice(each);
      await twinned.settle();
    }
    // What the middle schema lacks has to come from somewhere: from the cloud.
    assert.deepEqual(rows(twinned, sql), before, JSON.stringify(schema.source.models));
  }
});
