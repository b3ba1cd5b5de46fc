/**
 * The embedded data and log tables behind the `Table` port. Everything is one connection of {@link Engine}: a write of
 * many items is one transaction, and a read sees what was committed before it.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { keyOf, SyncError } from "../../schema.ts";
import type { Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { evaluate } from "../table/condition.ts";
import { itemProblem } from "../table/item_problem.ts";
import { findsNothing, itemBytesMax, itemSizeBytes, keyFault, returnedBytes } from "../table/item_size.ts";
import type { ItemPage, Query, Table, Write, WriteOptions, WriteResult } from "../table/port.ts";
import type { Engine } from "./engine.ts";
import { readItem, wholeOf } from "./item.ts";
import { indexSql, wholeSql } from "./layout.ts";

/** The most text of a page, like DynamoDB's 1 MB; one item is always returned. */
const pageBytesMax = 1024 * 1024;
/** A text above every other that begins as it does without this: the highest code point there is. */
const highest = "\u{10ffff}";

type Sql = string | number;
/** A row of a page; `at` is the first value by which the page is ordered. */
type Row = readonly [hash: string, sort: string, item: string, at: Sql];

/** The differences between the two tables. */
export interface Layout {
  readonly name: "items" | "log";
  keyOf(item: Item): Key;
  /** Why no item can have a key, as to DynamoDB; absent: its keys are our own. */
  keyProblem?(key: Key): string | undefined;
  /** Why DynamoDB would not take an item; undefined if it would. */
  problemOf(key: Key, item: Item): string | undefined;
  /** The schema whose secondary indexes can be queried; the log table has none. */
  readonly schema?: Schema;
}

/** The data table's layout. */
export function dataLayout(schema: Schema): Layout {
  const hasSort = schema.primary.sort !== undefined;
  const keyProblem = (key: Key) => keyFault(key, hasSort);
  const problemOf = (key: Key, item: Item) => keyProblem(key) ?? itemProblem(item);
  return { name: "items", keyOf: (item) => keyOf(schema, item), keyProblem, problemOf, schema };
}

/** The log table's: items carry their key as `hash` and `sort`, and `expires` in seconds if they expire. */
export const logLayout: Layout = {
  name: "log",
  keyOf: ({ hash, sort }) => {
    if (typeof hash !== "string" || typeof sort !== "string") {
      throw new SyncError("invalid", "a log item has no hash and sort of type string");
    }
    return [hash, sort];
  },
  // Twintable alone writes it.
  problemOf: () => undefined,
};

/** One of the tables. `closed` is called when it is closed. */
export class EmbeddedTable implements Table {
  readonly #engine: Engine;
  readonly #layout: Layout;
  readonly #now: () => number;
  readonly #closed: () => void;
  /** The previous item was new: then the next is tried as a new one, too, which saves a look-up. */
  #mostlyNew = false;

  constructor(engine: Engine, layout: Layout, now: () => number, closed: () => void) {
    this.#engine = engine;
    this.#layout = layout;
    this.#now = now;
    this.#closed = closed;
  }

  get(keys: readonly Key[]): Promise<(Item | undefined)[]> {
    return this.#settled(() => this.#engine.readTogether(() => keys.map((key) => this.#find(key))));
  }

  #find([hash, sort]: Key): Item | undefined {
    // SQLite would look for another text where the key is none.
    if (keyFault([hash, sort], false) !== undefined) return undefined;
    const row = this.#engine.sql(`SELECT item FROM ${this.#layout.name} WHERE hash = ? AND sort = ?`)
      .get(hash, sort) as unknown as [string] | undefined;
    return row && this.#read([hash, sort], row[0]);
  }

  #read(key: Key, text: string): Item {
    return readItem(this.#layout.schema?.primary, key, text);
  }

  write(
    writes: readonly Write[],
    options: WriteOptions = {},
  ): Promise<WriteResult[]> {
    return this.#settled(() => {
      const { deadline, returnedBytesMax = Infinity } = options;
      let returned = 0;
      const one = (write: PreparedWrite): WriteResult => {
        if (returned > returnedBytesMax) return { outcome: "throttled" };
        const result = this.#writeOne(write, deadline);
        if (returnedBytesMax < Infinity) returned += returnedBytes(result);
        return result;
      };
      options.signal?.throwIfAborted();
      const prepared = writes.map((write) => prepare(this.#layout, write));
      return this.#engine.transact(
        () => prepared.map(one),
        writes.length,
      );
    });
  }

  #writeOne({ write, key, text, tooLarge, invalid }: PreparedWrite, deadline: number | undefined): WriteResult {
    if (deadline !== undefined && this.#now() > deadline) return { outcome: "late" };
    if (invalid !== undefined) return { outcome: "invalid", message: invalid };
    if (tooLarge !== undefined) return { outcome: "too-large", message: tooLarge };
    if (text !== undefined && this.#mostlyNew && this.#insertNew(write, key, text)) return { outcome: "written" };
    const current = this.#find(key);
    this.#mostlyNew = current === undefined && this.#layout.name === "items";
    if (write.condition && !evaluate(write.condition, current)) return { outcome: "refused", current };
    if (text === undefined) {
      if (current) this.#engine.sql(`DELETE FROM ${this.#layout.name} WHERE hash = ? AND sort = ?`).get(...key);
    } else if (this.#layout.name === "log") this.#putLog(key, text, (write as { item: Item }).item.expires);
    else if (current) this.#engine.sql("UPDATE items SET item = ? WHERE hash = ? AND sort = ?").get(text, ...key);
    else this.#engine.sql("INSERT INTO items(hash, sort, item) VALUES (?, ?, ?)").get(...key, text);
    return { outcome: "written", old: current };
  }

  /** False if there is an item, or its absence is not allowed: then the usual path finds out which. */
  #insertNew({ condition }: Write, key: Key, text: string): boolean {
    if (condition && !evaluate(condition, undefined)) return false;
    try {
      this.#engine.sql("INSERT INTO items(hash, sort, item) VALUES (?, ?, ?)").get(...key, text);
      return true;
    } catch (error) {
      if (/UNIQUE constraint failed/.test((error as Error).message)) return false;
      throw error;
    }
  }

  #putLog([hash, sort]: Key, text: string, expires: unknown): void {
    this.#engine.sql("INSERT OR REPLACE INTO log(hash, sort, item, expires) VALUES (?, ?, ?, ?)")
      .get(hash, sort, text, typeof expires === "number" ? BigInt(Math.floor(expires)) : null);
  }

  query(query: Query): Promise<ItemPage> {
    if (findsNothing(query)) return Promise.resolve({ items: [] });
    return this.#settled(() => this.#engine.readTogether(() => this.#query(query)));
  }

  #query(query: Query): ItemPage {
    const { schema } = this.#layout;
    const isPrimary = query.index === "primary" || query.index === schema?.primary.name;
    const index = isPrimary ? undefined : schema?.indexes.find(({ name }) => name === query.index);
    if (!isPrimary && !index) throw new RangeError(`the table has no index ${JSON.stringify(query.index)}`);
    // The order: the index's sort value if it has one, then the key, which makes the order total.
    const columns = index ? indexSql(index).columns : ["hash", "sort"];
    const [hashSql, sortSql] = columns;
    const order = index ? [...(sortSql ? [sortSql] : []), "hash", "sort"] : ["sort"];
    const where = [`${hashSql} = ?`], parameters: Sql[] = [query.hash];
    const add = (sql: string, ...values: Sql[]) => {
      where.push(sql);
      parameters.push(...values);
    };
    if (index) where.push(indexSql(index).present);
    if (query.sortPrefix && sortSql) {
      // SQLite seeks to one bound on each side, and chose the prefix here, scanning all earlier pages: a long list took
      // quadratic time. The unary plus makes it seek to the start of the page.
      const begins = query.after !== undefined || query.sortAfter !== undefined;
      const [lower, upper] = [
        begins && !query.reverse ? "+" : "",
        query.after !== undefined && query.reverse ? "+" : "",
      ];
      add(`${lower}${sortSql} >= ? AND ${upper}${sortSql} < ?`, query.sortPrefix, query.sortPrefix + highest);
    }
    if (query.sortAfter !== undefined && sortSql) add(`${sortSql} > ?`, query.sortAfter);
    if (query.after !== undefined) {
      const sign = query.reverse ? "<" : ">";
      add(
        `(${order.join(", ")}) ${sign} (${order.map(() => "?").join(", ")})`,
        ...readToken(query.after, order.length),
      );
    }
    const direction = query.reverse ? " DESC" : "";
    const sql =
      `SELECT ${wholeSql("hash")}, ${wholeSql("sort")}, item, ${wholeSql(order[0]!)} FROM ${this.#layout.name} WHERE ${
        where.join(" AND ")
      } ` +
      `ORDER BY ${order.map((column) => column + direction).join(", ")} LIMIT ? OFFSET ?`;
    return this.#page(
      sql,
      parameters,
      checkLimit(query.limit),
      ([hash, sort, , at]) => index ? [...(sortSql ? [at] : []), hash, sort] : [sort],
    );
  }

  /** How many items there are. */
  size(): Promise<number> {
    return this.#settled(() =>
      this.#engine.read(() => {
        const [count] = this.#engine.sql(`SELECT count(*) FROM ${this.#layout.name}`).get() as unknown as [number];
        return Number(count);
      })
    );
  }

  scan({ limit, after }: { limit: number; after?: string }): Promise<ItemPage> {
    return this.#settled(() =>
      this.#engine.readTogether(() => {
        const where = after === undefined ? "" : "WHERE (hash, sort) > (?, ?) ";
        const sql = `SELECT ${wholeSql("hash")}, ${
          wholeSql("sort")
        }, item, 0 FROM ${this.#layout.name} ${where}ORDER BY hash, sort LIMIT ? OFFSET ?`;
        const parameters = after === undefined ? [] : readToken(after, 2);
        return this.#page(sql, parameters, checkLimit(limit), ([hash, sort]) => [hash, sort]);
      })
    );
  }

  /** Up to `limit` rows of a statement; one more is read to know whether there is a next page. */
  #page(sql: string, parameters: Sql[], limit: number, positionOf: (row: Row) => Sql[]): ItemPage {
    const rows = this.#engine.rows<Row>(sql, parameters, {
      limit: limit + 1,
      bytesMax: pageBytesMax,
      bytesOf: ([, , item]) => item.length,
    });
    const items: Item[] = [];
    let last: Row | undefined, bytes = 0;
    for (const read of rows) {
      const row: Row = [wholeOf(read[0]), wholeOf(read[1]), read[2], wholeOf(read[3])];
      if (last && (items.length === limit || bytes > pageBytesMax)) break;
      items.push(this.#read([row[0], row[1]], row[2]));
      bytes += row[2].length;
      last = row;
    }
    const more = items.length < rows.length || bytes > pageBytesMax;
    return last && more ? { items, next: JSON.stringify(positionOf(last)) } : { items };
  }

  /** Does the work in this turn of the event loop, or where that has lasted long in the next. It throws by rejecting. */
  #settled<T>(work: () => T | Promise<T>): Promise<T> {
    const pause = this.#engine.turns.pause();
    return pause ? pause.then(work) : new Promise((resolve) => resolve(work()));
  }

  /** After what was called before it. */
  close(): Promise<void> {
    return this.#engine.turns.last(() => this.#closed());
  }
}

interface PreparedWrite {
  readonly write: Write;
  readonly key: Key;
  /** The item as text; absent for a delete. */
  readonly text?: string;
  readonly tooLarge?: string;
  /** Why DynamoDB would not take it. */
  readonly invalid?: string;
}

function prepare(layout: Layout, write: Write): PreparedWrite {
  if (write.op === "delete") return { write, key: write.key, invalid: layout.keyProblem?.(write.key) };
  const key = layout.keyOf(write.item), invalid = layout.problemOf(key, write.item);
  if (invalid !== undefined) return { write, key, invalid };
  const text = JSON.stringify(write.item);
  // A UTF-16 unit has three bytes at most, and a number may count one byte more than its text: short texts always fit.
  if (text.length * 4 <= itemBytesMax) return { write, key, text };
  const bytes = itemSizeBytes(write.item);
  if (bytes <= itemBytesMax) return { write, key, text };
  return { write, key, text, tooLarge: `the item has ${bytes} bytes: DynamoDB takes ${itemBytesMax} at most` };
}

/** A page's token is the place where it ended. A foreign token is refused. */
function readToken(token: string, length: number): Sql[] {
  try {
    const position = JSON.parse(token);
    const isPosition = Array.isArray(position) && position.length === length &&
      position.every((part) => typeof part === "string" || typeof part === "number");
    if (isPosition) return position;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new SyncError("invalid", "the page token is none of this table");
}

function checkLimit(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 1) {
    throw new RangeError(`a page's limit is ${limit}: 1 or more is required`);
  }
  return limit;
}
