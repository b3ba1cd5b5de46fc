/**
 * TypeORM on a device's tables: insert, update, upsert, delete, and its `synchronize`, which makes a table anew where an entity says
 * something else than it finds.
 *
 * Made after typeorm/typeorm#1365 (a `temporary_` copy, the table dropped, though nothing had changed) and #2584 (rows lost by it): an entity of a model's table is `synchronize: false`, and then the others may be true.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const [path, folder, careless] = process.argv.slice(2);
const { DataSource, EntitySchema } = createRequire(`${folder}/`)("typeorm");
const Setting = new EntitySchema({
  name: "Setting",
  tableName: "Setting",
  synchronize: careless !== undefined,
  columns: {
    row: { name: "_id", type: "integer", primary: true, generated: "increment" },
    name: { type: "text", unique: true },
    value: { type: "text", nullable: true },
  },
});
const Mine = new EntitySchema({
  name: "Mine",
  tableName: "mine",
  columns: { id: { type: "integer", primary: true, generated: "increment" }, note: { type: "text", nullable: true } },
});
const source = new DataSource({
  type: "better-sqlite3",
  database: path,
  entities: [Setting, Mine],
  synchronize: true,
  prepareDatabase: (db) => {
    db.pragma("busy_timeout = 5000");
    // It makes this table where an entity of its own has a computed column; without it, it stops at ours.
    if (careless) {
      db.exec(
        `CREATE TABLE typeorm_metadata("type" varchar NOT NULL, "database" varchar, "schema" varchar, "table" varchar,
        "name" varchar, "value" text)`,
      );
    }
  },
});
if (careless === undefined) {
  await source.initialize();
  const settings = source.getRepository("Setting");
  const one = await settings.save({ name: "typeorm", value: "1" });
  assert.ok(one.row > 0);
  await settings.save({ ...one, value: "2" });
  await settings.upsert({ name: "typeorm", value: "3" }, ["name"]);
  await settings.upsert({ name: "other", value: "4" }, ["name"]);
  await settings.insert({ name: "n", value: "x" });
  await settings.delete({ name: "n" });
  await source.getRepository("Mine").save({ note: "mine" });
  assert.equal(await settings.countBy({}), 2);
  console.log("ok");
} else {
  let refused;
  await source.initialize().catch((error) => void (refused = error.message));
  console.log(`ok ${JSON.stringify({ refused })}`);
}
if (source.isInitialized) await source.destroy();
