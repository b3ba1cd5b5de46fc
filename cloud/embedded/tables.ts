/**
 * The embedded tables: SQLite in the process, so that development, tests, the simulation and a small self-hosted fleet
 * need nothing else. One file holds both tables; one process serves it.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { expiryAgeMaxMs } from "../../schema.ts";
import type { SyncError } from "../../schema/errors.ts";
import type { Schema } from "../../schema/model.ts";
import type { ChangeStream, DataTable, StreamBatch, StreamOptions, StreamRecord, Tables } from "../table/port.ts";
import { Engine, type Synchronous } from "./engine.ts";
import { attributeSql, sweepUnwantedSql, ttlAttributes, wantAllSql, wholeSql } from "./layout.ts";
import { readItem, wholeOf } from "./item.ts";
import { dataLayout, EmbeddedTable, logLayout } from "./table.ts";

/** Options of {@link openEmbedded}. */
export interface EmbeddedOptions {
  /** Which keys and indexes the items have. */
  readonly schema: Schema;
  /** The clock for deadlines and expiry, ms. */
  readonly now: () => number;
  /** Default `full`. */
  readonly synchronous?: Synchronous;
  /**
   * Opens beside a process that serves the table, for a command that reads or writes a little (`device add`). It must not
   * read the stream. Default false: a second process is refused.
   */
  readonly shared?: boolean;
  /** The file's maximum size, in pages of 4 KB: beyond it, writes fail as on a full disk. Default: none. */
  readonly pagesMax?: number;
  /**
   * How long callers may keep one turn of the event loop, ms, before others have theirs; default 10. `Infinity`, for a
   * simulation whose order of events must not hang on the machine: nobody waits.
   */
  readonly sliceMs?: number;
}

/** Both tables, and what only embedded tables have. */
export interface EmbeddedTables extends Tables {
  /**
   * Deletes expired items, at most `limit` of each table (default 1000). Deleted data items are removals in the change
   * stream, as with DynamoDB's TTL. Call it from time to time. @returns how many were deleted.
   */
  sweepExpired(limit?: number): Promise<number>;
  /**
   * Resolves, with a sentence, when the file was deleted or replaced while it is served: then nothing works any more.
   */
  readonly lost: Promise<SyncError>;
  /** Commits what is waiting and closes both tables. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens, or creates, the tables in a file; `:memory:` keeps them in memory.
 *
 * @throws SyncError `in-use` if another process serves the file, `not-a-table`, `newer`, `corrupt`, `unavailable`.
 */
export function openEmbedded(path: string, options: EmbeddedOptions): EmbeddedTables {
  const { schema, now } = options;
  const engine = new Engine(path, schema, {
    synchronous: options.synchronous ?? "full",
    shared: options.shared ?? false,
    pagesMax: options.pagesMax,
    sliceMs: options.sliceMs,
  });
  const open = new Set(["data", "log"]);
  const closed = (name: string) => {
    open.delete(name);
    if (open.size === 0) engine.close();
  };
  const table = new EmbeddedTable(engine, dataLayout(schema), now, () => closed("data"));
  const data: DataTable = Object.assign(table, {
    stream: (options?: StreamOptions) => streamOf(engine, schema, options?.unwanted ?? []),
  });
  const log = new EmbeddedTable(engine, logLayout, now, () => closed("log"));
  return {
    data,
    log,
    sweepExpired: (limit = 1000) =>
      engine.transact(() => sweep(engine, schema, Math.floor(now() / 1000), limit), limit),
    lost: engine.lost,
    close: () => engine.turns.last(() => engine.close()),
  };
}

function sweep(engine: Engine, schema: Schema, nowSeconds: number, limit: number): number {
  const [head] = engine.sql("SELECT coalesce(max(seq), 0) FROM changes").get() as unknown as [number];
  let count = 0;
  for (const attribute of ttlAttributes(schema)) {
    const sql = attributeSql(attribute);
    // A text sorts after every number, and so never expires; neither does a time over five years ago (`isExpired`).
    count += Number(
      engine.sql(
        `DELETE FROM items WHERE id IN
           (SELECT id FROM items WHERE ${sql} IS NOT NULL AND ${sql} > ? AND ${sql} <= ? LIMIT ?)`,
      ).run(nowSeconds - expiryAgeMaxMs / 1000, nowSeconds, limit).changes,
    );
  }
  // In the same transaction, nobody else has written: everything after the head is the sweep's.
  if (count > 0) engine.sql("UPDATE changes SET expired = 1 WHERE seq > ?").get(head);
  return count + Number(
    engine.sql(
      "DELETE FROM log WHERE (hash, sort) IN (SELECT hash, sort FROM log WHERE expires IS NOT NULL AND expires <= ? LIMIT ?)",
    ).run(nowSeconds, limit).changes,
  );
}

/** Records and text that are read together: the records of a batch are in memory. */
const batchRecordsMax = 1000;
const batchBytesMax = 4 * 1024 * 1024;

type ChangeRow = readonly [
  seq: number,
  hash: string,
  sort: string,
  old: string | null,
  new: string | null,
  expired: number | null,
];

function streamOf(engine: Engine, schema: Schema, unwanted: readonly string[]): ChangeStream {
  return {
    async *batches(signal: AbortSignal) {
      await leaveOut(engine, schema, unwanted);
      // Records without a checkpoint are still in the table, and come again after a restart; within a run, each is
      // delivered once.
      let position = 0;
      while (!signal.aborted) {
        // Read before the rows, so that a commit in between is not missed.
        const { commits } = engine;
        const rows = engine.readTogether(() => readChanges(engine, position));
        if (rows.length === 0) await engine.committed(commits, signal);
        else {
          position = rows.at(-1)![0];
          yield batchOf(engine, schema, rows);
        }
      }
    },
  };
}

/** From here on, the triggers record nothing of these types. */
function leaveOut(engine: Engine, schema: Schema, types: readonly string[]): Promise<void> {
  return engine.transact(() => {
    engine.sql(wantAllSql).run();
    for (const type of types) engine.sql("INSERT OR IGNORE INTO unwanted(type) VALUES (?)").run(type);
    if (types.length > 0) engine.sql(sweepUnwantedSql(schema)).run();
  });
}

function readChanges(engine: Engine, after: number): ChangeRow[] {
  return engine.rows<ChangeRow>(
    `SELECT seq, ${wholeSql("hash")}, ${
      wholeSql("sort")
    }, old, new, expired FROM changes WHERE seq > ? ORDER BY seq LIMIT ? OFFSET ?`,
    [after],
    {
      limit: batchRecordsMax,
      bytesMax: batchBytesMax,
      bytesOf: ([, , , before, after]) => (before?.length ?? 0) + (after?.length ?? 0),
    },
  );
}

function batchOf(engine: Engine, { primary }: Schema, rows: readonly ChangeRow[]): StreamBatch {
  const records = rows.map(([seq, hash, sort, before, after, expired]): StreamRecord => {
    const key: Key = [wholeOf(hash), wholeOf(sort)];
    return {
      id: String(seq),
      key,
      ...(before === null ? {} : { old: readItem(primary, key, before) }),
      ...(after === null ? {} : { new: readItem(primary, key, after) }),
      ...(expired === 1 ? { expired: true } : {}),
    };
  });
  const first = rows[0]![0], last = rows.at(-1)![0];
  return {
    records,
    // Only this batch's own rows: an earlier batch may still be under way.
    checkpoint: () =>
      engine.transact(() => {
        engine.sql("DELETE FROM changes WHERE seq BETWEEN ? AND ?").run(first, last);
      }, rows.length),
  };
}
