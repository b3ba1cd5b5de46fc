/**
 * Housekeeping of the agent's own tables: trims whatever would grow for ever. `purge.ts` removes expired rows.
 *
 * @module
 */
import type { Context } from "../sync/context.ts";
import { keptRemoval, trimmedName } from "../store/tables.ts";

/** One round. Each step is a transaction of its own, short enough not to hold up a writer. */
export function trimHistory(context: Context): void {
  const { store, limits, clock } = context, { db } = store;
  store.tx(() => {
    db.sql("DELETE FROM _changes WHERE sequence <= (SELECT max(sequence) FROM _changes) - ?").run(limits.historyMax);
    trimKept(context, "_conflicts", limits.historyMax, limits.historyBytesMax);
    trimKept(context, "_rejected", limits.rejectedMax, limits.rejectedBytesMax);
    // A clock jump corrects only times recorded before it: entries are in the order of segments.
    db.sql(
      `DELETE FROM _sync_clock WHERE segment < min(
         coalesce((SELECT segment FROM _outbox ORDER BY seq LIMIT 1), (SELECT segment FROM _sync_flag)),
         coalesce((SELECT min(json_extract(value, '$.segment')) FROM _sync_kept WHERE name = '${keptRemoval}'),
           (SELECT segment FROM _sync_flag)))`,
    ).run();
    const goneBefore = (clock.nowMs() - limits.goneKeptMs) * 1000;
    db.sql("UPDATE _sync_items SET gone = NULL WHERE gone IS NOT NULL AND gone < ?").run(goneBefore);
    db.sql("UPDATE _sync_items SET superseded = NULL WHERE superseded IS NOT NULL AND superseded < ?").run(goneBefore);
    // The removal of an absent item has no echo: it would be awaited for ever.
    db.sql(`
      DELETE FROM _sync_items
      WHERE base IS NULL AND recheck IS NULL AND gone IS NULL AND superseded IS NULL AND prior IS NULL AND offer IS NULL
        AND (awaiting = 0 AND issued IS NULL OR issued < ?)
    `).run(goneBefore);
  });
}

/** In the tables for people, the oldest rows are evicted and counted: `_status` has the number. */
function trimKept({ store }: Context, table: "_conflicts" | "_rejected", rowsMax: number, bytesMax: number): void {
  const { db } = store;
  const trimmed = db.sql(`DELETE FROM ${table} WHERE id <= (SELECT max(id) FROM ${table}) - ?`).changes(rowsMax) +
    db.sql(
      `DELETE FROM ${table} WHERE id < (SELECT max(id) FROM ${table}) AND id <= (
         SELECT id FROM (SELECT id, sum(length(CAST(item AS BLOB))) OVER (ORDER BY id DESC) AS bytes FROM ${table})
         WHERE bytes > ? ORDER BY id DESC LIMIT 1)`,
    ).changes(bytesMax);
  if (trimmed === 0) return;
  const name = trimmedName(table);
  store.setMeta(name, Number(store.getMeta(name) ?? 0) + trimmed);
}
