/**
 * Texts that are not UTF-8 (`CAST(x'42fc' AS TEXT)`). The runtime silently makes another text of such bytes, so reading
 * a row for an application or for the cloud would pass on a text that nobody wrote. Every reader of a row's texts
 * therefore checks here, and refuses the row by name; the row stays as it is, to be repaired by SQL.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Model } from "../../schema/model.ts";
import { SyncError } from "../../schema/errors.ts";
import { type Database, rowIdOf, type SqlValue } from "../sqlite/driver.ts";
import { mayBeAltered, utf8Of } from "./columns.ts";
import { ident } from "./sql.ts";

/** A text that was read: its name, the SQL that reads it, and the driver's result. */
export interface ReadText {
  readonly name: string;
  readonly sql: string;
  readonly value: SqlValue | undefined;
}

/**
 * Refuses a row with a text that is not UTF-8. It scans each text, and runs a query only if one contains the runtime's
 * replacement character.
 *
 * @throws SyncError `invalid`, with the row, what it is of, and its bytes
 */
export function refuseAlteredTexts(
  db: Database,
  model: Model,
  id: SqlValue | undefined,
  texts: readonly ReadText[],
): void {
  if (!texts.some(({ value }) => mayBeAltered(value))) return;
  const columns = texts.map(({ sql }, i) => `CASE WHEN typeof(${sql}) = 'text' THEN CAST(${sql} AS BLOB) END AS t${i}`);
  const bytes = db.sql(`SELECT ${columns.join(", ")} FROM ${ident(model.name)} WHERE _id = ?`).get(rowIdOf(id));
  for (const [i, { name }] of texts.entries()) {
    const text = bytes?.[`t${i}`];
    if (!(text instanceof Uint8Array)) continue;
    try {
      utf8Of(text);
    } catch (cause) {
      const what = `Reading row ${id} of ${model.name}: ${name} ${(cause as Error).message}`;
      throw new SyncError("invalid", `${what} (its bytes: ${hexOf(text)})`, { cause });
    }
  }
}

/** The first bytes, as SQL writes them. */
function hexOf(bytes: Uint8Array): string {
  return `x'${Buffer.from(bytes.subarray(0, 32)).toString("hex")}'${bytes.length > 32 ? "…" : ""}`;
}
