/**
 * Texts that are no UTF-8 (`CAST(x'42fc' AS TEXT)`). The runtime makes another text of such bytes, without a word: whoever
 * reads a row for an application or for the cloud would hand on what nobody has written. So every reader of a row's texts asks
 * here, and refuses the row by name; it stays as it is, for SQL to mend.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Model } from "../../schema/model.ts";
import { SyncError } from "../../schema/errors.ts";
import { type Database, rowIdOf, type SqlValue } from "../sqlite/driver.ts";
import { mayBeAltered, utf8Of } from "./columns.ts";
import { ident } from "./sql.ts";

/** A text that was read: what it is called, the SQL that gives it, and what the driver made of it. */
export interface ReadText {
  readonly name: string;
  readonly sql: string;
  readonly value: SqlValue | undefined;
}

/**
 * Refuses a row with a text that is no UTF-8. Costs a look at each text, and a query only where the runtime's replacement
 * character stands in one.
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
