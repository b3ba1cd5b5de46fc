/**
 * Knex on a device's tables: insert, update, upsert, RETURNING, columnInfo; a migration of the application's own, and what happens
 * to one that alters a model's table: Knex copies it, drops it with its triggers, and renames the copy.
 *
 * Made after knex/knex#6142 (all triggers of the table are lost, without a word) and #6213 (rows are lost).
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const [path, folder, alter] = process.argv.slice(2);
const knex = createRequire(`${folder}/`)("knex")({
  client: "better-sqlite3",
  connection: { filename: path },
  useNullAsDefault: false,
});
const triggers = async () =>
  Number((await knex("sqlite_master").where({ type: "trigger", tbl_name: "Setting" }).count({ n: "*" }))[0].n);

if (alter === undefined) {
  const [made] = await knex("Setting").insert({ name: "knex", value: "1" }).returning(["_id", "created"]);
  assert.ok(made._id > 0 && made.created);
  await knex("Setting").where({ name: "knex" }).update({ value: "2" });
  await knex("Setting").insert({ name: "knex", value: "3" }).onConflict("name").merge(["value"]);
  await knex("Setting").insert({ name: "other", value: "4" }).onConflict("name").merge(["value"]);
  await knex("Setting").insert({ name: "other", value: "x" }).onConflict("name").ignore();
  await knex.transaction(async (tx) => {
    await tx("Setting").insert({ name: "n", value: "x" });
    await tx("Setting").where({ name: "n" }).delete();
  });
  assert.ok("name" in await knex("Setting").columnInfo());
  const before = await triggers();
  const migrations = ["mine", "more"];
  const migrationSource = {
    getMigrations: () => Promise.resolve(migrations),
    getMigrationName: (name) => name,
    getMigration: (name) => ({
      up: (db) =>
        name === "mine"
          ? db.schema.createTable("mine", (table) => table.increments("id"))
          : db.schema.alterTable("mine", (table) => void table.string("note")),
      down: () => Promise.resolve(),
    }),
  };
  await knex.migrate.latest({ migrationSource });
  // A column more needs no copy.
  await knex.schema.alterTable("Setting", (table) => void table.text("tint"));
  assert.equal(await triggers(), before);
  console.log("ok");
} else {
  const before = await triggers();
  let refused;
  try {
    await knex.schema.alterTable("Setting", (table) => void table.text("value").notNullable().defaultTo("x").alter());
  } catch (error) {
    refused = error.message;
  }
  console.log(`ok ${JSON.stringify({ refused, triggers: [before, await triggers()] })}`);
}
await knex.destroy();
