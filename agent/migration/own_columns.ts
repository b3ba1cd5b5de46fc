/**
 * Columns that an application added to a model's table (`ALTER TABLE … ADD COLUMN`): they survive a rebuild, as the
 * application's indexes and triggers do, with their type, default, collation and constraints. SQLite stores their
 * definitions inside the table's text; Twintable knows its own part, so the rest is the application's.
 *
 * @module
 */
import { type Database, faultOf } from "../sqlite/driver.ts";
import { ident } from "../store/sql.ts";

/** An application's column. */
export interface OwnColumn {
  /** Without quotes. */
  readonly name: string;
  readonly definition: string;
}

/**
 * The columns that the table has in addition to Twintable's.
 *
 * @param made the text that the table was made with
 * @param present the text that it has now
 */
export function ownColumns(made: string, present: string): OwnColumn[] {
  let head = 0, tail = 0;
  while (head < made.length && made[head] === present[head]) head++;
  while (tail < made.length - head && made.at(-1 - tail) === present.at(-1 - tail)) tail++;
  // Twintable's own part was altered: the application's columns cannot be told apart.
  if (head + tail < made.length) return [];
  return definitionsOf(present.slice(head, present.length - tail)).flatMap((definition) => {
    const [, quoted, plain] = /^(?:["`[]((?:[^"`\]]|"")+)["`\]]|(\w+))/.exec(definition) ?? [];
    const name = quoted?.replaceAll('""', '"') ?? plain;
    return name === undefined ? [] : [{ name, definition }];
  });
}

/** Splits at commas outside of parentheses and quotes. */
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

/**
 * Adds them to a new, empty table. Returns the names of those that were added; the caller handles those that do not
 * fit.
 */
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
