/**
 * All that is in a database's file, as one text to compare.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Database } from "../../../agent/sqlite/driver.ts";

/** A digest of a file's objects and rows. Left out is when an entry of the outbox was made: it may be made again. */
export function contents(db: Database): string {
  const hash = createHash("sha256");
  const objects = db.prepare("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").all();
  hash.update(JSON.stringify(objects));
  for (const { name } of objects.filter(({ type }) => type === "table")) {
    for (const row of db.prepare(`SELECT * FROM "${name}"`).all()) {
      const { time: _, ...rest } = row;
      hash.update(JSON.stringify(name === "_outbox" ? rest : row));
    }
  }
  return hash.digest("hex");
}
