/**
 * Drizzle on a device's tables: insert, update, upsert, RETURNING, relations left aside.
 *
 * Made after drizzle-team/drizzle-orm#3979 (its kit wants to drop tables that it does not know; drizzle_kit.mjs tries that): its
 * queries themselves must be seen by the triggers, whatever their form.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const [path, folder] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const Database = require("better-sqlite3");
const { drizzle } = require("drizzle-orm/better-sqlite3");
const { eq, sql } = require("drizzle-orm");
const { integer, sqliteTable, text } = require("drizzle-orm/sqlite-core");

// What is computed, and what fills itself, is not mapped to be written.
const setting = sqliteTable("Setting", {
  row: integer("_id").primaryKey(),
  name: text("name").notNull().unique(),
  value: text("value"),
});
const client = new Database(path, { timeout: 5000 });
const db = drizzle(client);
const [made] = db.insert(setting).values({ name: "drizzle", value: "1" }).returning().all();
assert.ok(made.row > 0 && made.value === "1");
db.update(setting).set({ value: "2" }).where(eq(setting.name, "drizzle")).run();
const upsert = (name, value) =>
  db.insert(setting).values({ name, value }).onConflictDoUpdate({ target: setting.name, set: { value } }).run();
upsert("drizzle", "3");
upsert("other", "4");
db.insert(setting).values({ name: "other", value: "x" }).onConflictDoNothing().run();
db.transaction((tx) => {
  tx.insert(setting).values([{ name: "n1" }, { name: "n2" }]).run();
  tx.delete(setting).where(sql`name GLOB 'n[12]'`).run();
});
// Without a transaction that begins as a write, two programs that read first get `database is locked`, timeout or not.
db.transaction((tx) => tx.update(setting).set({ value: "5" }).where(eq(setting.name, "other")).run(), {
  behavior: "immediate",
});
assert.deepEqual(db.select({ name: setting.name, value: setting.value }).from(setting).orderBy(setting.name).all(), [
  { name: "drizzle", value: "3" },
  { name: "other", value: "5" },
]);
client.close();
console.log("ok");
