/**
 * Columns that an application added to a model's table (`ALTER TABLE … ADD COLUMN`): they outlive a rebuild, as its indexes and
 * triggers do, with their type, default, collation and constraints. SQLite keeps their definitions as text in the table's own,
 * which is known: what it has more is theirs.
 *
 * @module
 */
import { type Database, faultOf } from "../sqlite/driver.ts";
import { ident } from "../store/sql.ts";

/** A column of an application's. */
export interface OwnColumn {
  /** Without quotes. */
  readonly name: string;
  readonly definition: string;
}

/**
 * The columns that the table has more than Twintable made it with.
 *
 * @param made the text that the table was made with
 * @param present the text that it has now
 */
export function ownColumns(made: string, present: string): OwnColumn[] {
  let head = 0, tail = 0;
  while (head < made.length && made[head] === present[head]) head++;
  while (tail < made.length - head && made.at(-1 - tail) === present.at(-1 - tail)) tail++;
  // Something of Twintable's own was altered: what is theirs can't be told from it.
  if (head + tail < made.length) return [];
  return definitionsOf(present.slice(head, present.length - tail)).flatMap((definition) => {
    const [, quoted, plain] = /^(?:["`[]((?:[^"`\]]|"")+)["`\]]|(\w+))/.exec(definition) ?? [];
    const name = quoted?.replaceAll('""', '"') ?? plain;
    return name === undefined ? [] : [{ name, definition }];
  });
}

/** Splits at commas that are in no parentheses and no quotes. */
function definitionsOf(text: string): string[] {
  const found: string[] = [];
  let depth = 0, quote = "", from = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i];
    if (c !== undefined && quote !== "") {
      if (c === quote) quote = "";
    } else if (c === "'" || c === '"' || c === "`") quote = c;
    else if (c === "[") quote = "]";
    else if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === undefined || (c === "," && depth === 0)) {
      found.push(text.slice(from, i).trim());
      from = i + 1;
    }
  }
  return found.filter((definition) => definition !== "");
}

/** Adds them to a new, empty table. Returns the names of those that it has now: one that does not fit is left to who asks. */
export function addOwnColumns(db: Database, table: string, columns: readonly OwnColumn[]): string[] {
  return columns.flatMap(({ name, definition }) => {
    try {
      db.exec(`ALTER TABLE ${ident(table)} ADD COLUMN ${definition}`);
      return [name];
    } catch (error) {
      if (faultOf(error) !== "other") throw error;
      return [];
    }
  });
}
