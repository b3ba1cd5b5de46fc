/**
 * What an application adds to a model's table outlives a new schema: columns of any definition, as its indexes and triggers.
 */
import assert from "node:assert/strict";
import { compileSchema, SyncError } from "../../../schema.ts";
import { StoreFile } from "../store_fixture.ts";

const schemaOf = (fields: Record<string, unknown>) =>
  compileSchema({
    version: "1.0.0",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true, timestamps: true },
    models: {
      Note: {
        pk: { type: "string", value: "device#${deviceId}" },
        sk: { type: "string", value: "note#${name}" },
        deviceId: { type: "string", required: true },
        name: { type: "string", required: true },
        text: { type: "string" },
        ...fields,
      },
    },
    process: { Note: { sync: "both" } },
  } as never);

Deno.test("own columns: with type, default, constraint, collation, computed and oddly named ones, through schemas forth and back", () => {
  using file = new StoreFile();
  const first = schemaOf({}), next = schemaOf({ more: { type: "number" }, stars: { type: "number" } });
  const store = file.open({ schema: first });
  store.db.exec(`INSERT INTO Note(name, text) VALUES ('a', 't');
    ALTER TABLE Note ADD COLUMN mine TEXT COLLATE NOCASE;
    ALTER TABLE Note ADD COLUMN "odd, (name)" INTEGER NOT NULL DEFAULT 3 CHECK ("odd, (name)" IN (3, 4));
    ALTER TABLE Note ADD COLUMN upper_mine TEXT AS (upper(mine) || ',') VIRTUAL;
    ALTER TABLE Note ADD COLUMN stars REAL;
    CREATE INDEX by_upper ON Note(upper_mine);
    UPDATE Note SET mine = 'x', "odd, (name)" = 4, stars = 2.5;
    INSERT INTO Note(name) VALUES ('b')`);
  store.close();
  for (const [i, schema] of [next, first, next].entries()) {
    const { db, migration } = file.open({ schema });
    // A field of the new schema takes the column of its name over, with its values.
    if (i === 0) assert.equal(db.prepare("SELECT stars FROM Note WHERE name = 'a'").get()!.stars, 2.5);
    assert.deepEqual(migration.rebuilt, ["Note"]);
    const rows = db.prepare(`SELECT name, mine, "odd, (name)" AS odd, upper_mine AS up FROM Note ORDER BY name`).all();
    assert.deepEqual(rows.map((row) => ({ ...row })), [
      { name: "a", mine: "x", odd: 4, up: "X," },
      { name: "b", mine: null, odd: 3, up: null },
    ]);
    assert.throws(() => db.exec(`UPDATE Note SET "odd, (name)" = 5`), /CHECK/);
    assert.equal(db.prepare("SELECT count(*) AS n FROM Note WHERE mine = 'X'").get()!.n, 1, "the collation");
    assert.match(
      JSON.stringify(db.prepare("EXPLAIN QUERY PLAN SELECT * FROM Note WHERE upper_mine = 'X,'").all()),
      /by_upper/,
    );
    db.close();
  }
  assert.deepEqual(file.open({ schema: next }).migration, { created: [], rebuilt: [], restored: [], noticed: [] });
});

Deno.test("own columns: an index that no longer fits is refused with the cause", () => {
  using file = new StoreFile();
  const first = schemaOf({ more: { type: "number" } });
  file.open({ schema: first }).db.exec("CREATE INDEX by_more ON Note(more)");
  assert.throws(
    () => file.open({ schema: schemaOf({}) }),
    (error) =>
      error instanceof SyncError && error.code === "migration" &&
      /\(.*more.*\): CREATE INDEX by_more/.test(error.message),
  );
});
