/**
 * What a base carried of a newer schema comes into its column with that schema, before anything is sent.
 */
import assert from "node:assert/strict";
import { openStore } from "../../../agent/store/store.ts";
import { compileSchema, type Schema } from "../../../schema.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { Scripted, twinCompiled, twinSchema } from "../twin_fixture.ts";

Deno.test("migration: an attribute that was only carried is in its new column, and a change made before the cloud answers keeps it", () => {
  using folder = new TempDir();
  const identity = { deviceId: "dev-1", accountId: "acme" };
  const open = (schema: Schema) =>
    openStore({ path: folder.file("d.db"), schema, identity, now: () => Date.UTC(2026, 0, 1) });
  const key = "device#dev-1 slot#A";
  const before = new Scripted({ store: open(twinCompiled) });
  before.connect();
  before.write({ A: { slot: "x", extra: "kept", when: "soon" }, B: { slot: "y" } });
  before.store.close();
  const { Slot } = twinSchema.models;
  const newer = compileSchema({
    ...twinSchema,
    models: {
      ...twinSchema.models,
      Slot: { ...Slot, extra: { type: "string", required: true, default: "none" }, when: { type: "date" } },
    },
  });
  using after = new Scripted({ store: open(newer) });
  for (const [name, item] of before.table) after.table.set(name, item);
  // What the column can't hold is left to the snapshot.
  assert.deepEqual(after.rows('SELECT name, extra, "when" FROM Slot ORDER BY name'), [
    { name: "A", extra: "kept", when: null },
    { name: "B", extra: "none", when: null },
  ]);
  assert.deepEqual(after.rows("SELECT * FROM _outbox"), []);
  after.sql("UPDATE Slot SET code = 5 WHERE name = 'A'");
  after.connect();
  const item = after.table.get(key)!.item;
  assert.deepEqual([item.code, item.extra], [5, "kept"]);
});
