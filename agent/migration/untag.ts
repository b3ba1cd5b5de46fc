/**
 * Columns of JSON written by earlier versions held tagged JSON: `{"$b": …}` for a nested binary, `{"$m": …}` around a
 * map that looked like a tag. A column now holds plain JSON, in which such a map means itself, so the texts are
 * rewritten once.
 *
 * Runs inside the migration, while capture has no triggers: nothing is sent for it. A crash leaves the old texts and
 * the old mark.
 *
 * @module
 */
import type { Database } from "../sqlite/driver.ts";
import type { Model } from "../../schema/model.ts";
import { readTagged } from "../../schema/tagged.ts";
import { parseJson, untaggedText } from "../../schema/json.ts";
import { utf8Of } from "../store/columns.ts";
import { ident } from "../store/sql.ts";

/** The mark in `_sync` for the form of JSON columns. */
export const columnsFact = "columns";
/** Its value: plain JSON. */
export const plainColumns = "plain";

const rowsAtOnce = 256;

/** Rewrites the columns of a table that hold tags. */
export function untagColumns(db: Database, model: Model, present: readonly string[]): void {
  const fields = model.fields.filter(({ type, name, template }) =>
    !template && (type === "object" || type === "array") && present.includes(name)
  );
  for (const { name } of fields) untag(db, ident(model.name), ident(name));
}

function untag(db: Database, table: string, column: string): void {
  const page = db.prepare(
    `SELECT CAST(_id AS TEXT) AS id, CAST(${column} AS BLOB) AS bytes FROM ${table}
     WHERE _id > CAST(? AS INTEGER) AND typeof(${column}) = 'text' AND instr(${column}, '"$') ORDER BY _id LIMIT ?`,
  );
  const write = db.prepare(`UPDATE ${table} SET ${column} = ? WHERE _id = CAST(? AS INTEGER)`);
  for (let after = "-9223372036854775808";;) {
    const rows = page.all(after, rowsAtOnce);
    for (const { id, bytes } of rows) {
      const plain = untagged(bytes as Uint8Array);
      if (plain !== undefined) write.run(plain, String(id));
    }
    if (rows.length < rowsAtOnce) return;
    after = String(rows.at(-1)!.id);
  }
}

/**
 * The text without tags, if it had any. A text that is not JSON, or not UTF-8, stays as it is: reading the row reports
 * it.
 */
function untagged(bytes: Uint8Array): string | undefined {
  try {
    const text = utf8Of(bytes), plain = untaggedText(readTagged(parseJson(text)));
    return plain === text ? undefined : plain;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}
