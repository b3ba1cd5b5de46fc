/**
 * drizzle-kit's `push` and `pull` on a device's file. `push` makes the database what its schema says, and drops whatever else it
 * finds: `tablesFilter` names the application's own tables. It reads all views, filter or not: the agent's two must pass the
 * filter, and be declared as existing, or it ends without a word.
 *
 * Made after drizzle-team/drizzle-orm#3979 (it wants to drop even SQLite's own tables) and drizzle-team/drizzle-kit-mirror#122 (a
 * push emptied a table).
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const [path, folder, careless] = process.argv.slice(2);
// Its packages are found from where its files are.
const own = mkdtempSync(join(folder, "kit-"));
try {
  writeFileSync(
    join(own, "mine.cjs"),
    `const { integer, sqliteTable, sqliteView, text } = require("drizzle-orm/sqlite-core");
    module.exports = {
      mine: sqliteTable("mine", { id: integer("id").primaryKey(), note: text("note") }),
      status: sqliteView("_status", { problem: text("problem") }).existing(),
      pending: sqliteView("_pending", { model: text("model"), key: text("key") }).existing(),
    };`,
  );
  const config = {
    dialect: "sqlite",
    schema: join(own, "mine.cjs"),
    out: join(own, "out"),
    dbCredentials: { url: path },
    ...(careless ? {} : { tablesFilter: ["mine", "_status", "_pending"] }),
  };
  writeFileSync(join(own, "drizzle.config.cjs"), `module.exports = ${JSON.stringify(config)};`);
  const kit = (command, ...args) =>
    execFileSync(process.execPath, [
      join(folder, "node_modules/drizzle-kit/bin.cjs"),
      command,
      "--config",
      join(own, "drizzle.config.cjs"),
      ...args,
    ], { cwd: own, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  try {
    said = kit("push", "--force");
    if (!careless) kit("pull");
  } catch (error) {
    if (!careless) throw new Error(`${error.stdout}${error.stderr}`);
    said = `${error.stdout}${error.stderr}`;
  }
  console.log(`ok ${JSON.stringify({ said: said.slice(-600) })}`);
} finally {
  rmSync(own, { recursive: true, force: true });
}
