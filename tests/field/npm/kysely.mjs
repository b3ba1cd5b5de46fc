/**
 * Kysely on a device's tables: its introspection, insert, update, upsert, RETURNING, and a migration of the application's own.
 *
 * Made after kysely-org/kysely#1397 (its introspection misses computed columns, which is right for what is written). Its migrator makes tables of its own (`kysely_migration`), which are nobody's business.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const [path, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const Database = require("better-sqlite3");
const { Kysely, Migrator, SqliteDialect } = require("kysely");

const db = new Kysely({ dialect: new SqliteDialect({ database: new Database(path, { timeout: 5000 }) }) });
const tables = await db.introspection.getTables();
const setting = tables.find(({ name }) => name === "Setting");
assert.ok(setting.columns.some(({ name }) => name === "name"), JSON.stringify(setting));
assert.ok(tables.find(({ name }) => name === "_status").isView);

const made = await db.insertInto("Setting").values({ name: "kysely", value: "1" }).returning(["_id", "created"])
  .executeTakeFirstOrThrow();
assert.ok(made._id > 0 && made.created);
await db.updateTable("Setting").set({ value: "2" }).where("name", "=", "kysely").execute();
for (const name of ["kysely", "other"]) {
  await db.insertInto("Setting").values({ name, value: "3" })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: "3" })).execute();
}
await db.insertInto("Setting").values({ name: "other", value: "x" }).onConflict((c) => c.doNothing()).execute();
await db.transaction().execute(async (tx) => {
  await tx.replaceInto("Setting").values({ name: "n", value: "x" }).execute();
  await tx.deleteFrom("Setting").where("name", "=", "n").execute();
});
// Migrations of the application's own tables leave the agent's alone.
const migrations = {
  a: { up: (db) => db.schema.createTable("mine").addColumn("id", "integer", (c) => c.primaryKey()).execute() },
  b: { up: (db) => db.schema.alterTable("mine").addColumn("note", "text").execute() },
};
const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve(migrations) } });
const { error } = await migrator.migrateToLatest();
assert.equal(error, undefined);
await db.insertInto("mine").values({ note: "n" }).execute();
await db.destroy();
console.log("ok");
