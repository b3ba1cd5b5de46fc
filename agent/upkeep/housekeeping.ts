/**
 * Housekeeping of the agent's own tables: what would grow for ever is trimmed, expired rows are purged. A purge is not
 * captured: the table's own TTL removes the item there.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Context } from "../sync/context.ts";
import { keptRemoval } from "../store/tables.ts";

/** One round. Each step is a transaction of its own, short enough not to hold up a writer. */
export function trimHistory({ store, limits, clock }: Context): void {
  const { db } = store;
  const keep = limits.historyMax;
  store.tx(() => {
    db.sql("DELETE FROM _changes WHERE sequence <= (SELECT max(sequence) FROM _changes) - ?").run(keep);
    for (const table of ["_conflicts", "_rejected"]) {
      db.sql(`DELETE FROM ${table} WHERE id <= (SELECT max(id) FROM ${table}) - ?`).run(keep);
      db.sql(
        `DELETE FROM ${table} WHERE id < (SELECT max(id) FROM ${table}) AND id <= (
           SELECT id FROM (SELECT id, sum(length(CAST(item AS BLOB))) OVER (ORDER BY id DESC) AS bytes FROM ${table})
           WHERE bytes > ? ORDER BY id DESC LIMIT 1)`,
      ).run(limits.historyBytesMax);
    }
    // A jump of the clock corrects what was recorded before it, and nothing else: entries are in the order of segments.
    db.sql(
      `DELETE FROM _sync_clock WHERE segment < min(
         coalesce((SELECT segment FROM _outbox ORDER BY seq LIMIT 1), (SELECT segment FROM _sync_flag)),
         coalesce((SELECT min(json_extract(value, '$.segment')) FROM _sync_kept WHERE name = '${keptRemoval}'),
           (SELECT segment FROM _sync_flag)))`,
    ).run();
    const goneBefore = (clock.nowMs() - limits.goneKeptMs) * 1000;
    db.sql(`UPDATE _sync_items SET gone = NULL WHERE gone IS NOT NULL AND gone < ?`).run(goneBefore);
    // The removal of an item that was gone already has no echo: it would be awaited for ever.
    db.sql(`
      DELETE FROM _sync_items
      WHERE base IS NULL AND recheck IS NULL AND gone IS NULL AND (awaiting = 0 AND issued IS NULL OR issued < ?)
    `).run(goneBefore);
  });
}

/** Rows that one transaction looks at: some milliseconds. */
const purgeScanRows = 10_000;
/** Transactions in a row for one model: a backlog of expired rows goes within minutes. */
const purgesMax = 20;

/**
 * Purges expired rows of every model: from the table's oldest rows on while there are any, and a further part of the
 * table, another one each round, for rows that were given an early expiry. `positions` remembers where.
 */
export function purgeExpired({ store, clock }: Context, positions: Map<string, number>): void {
  const models = [...store.schema.models.values()].filter((model) => model.onDevice && model.ttlField !== undefined);
  // Offline after a restart the time is not known, but what had expired before is expired.
  const nowMs = models.length > 0 ? clock.atLeastMs() : undefined;
  if (nowMs === undefined) return;
  const purge = (model: Model, after: number) =>
    store.tx(() => store.applying(() => store.rows(model).purgeExpired(nowMs, after, purgeScanRows)));
  for (const model of models) {
    for (let n = 0; n < purgesMax && purge(model, 0).removed > 0; n++);
    const after = positions.get(model.name) ?? 0;
    positions.set(model.name, purge(model, after).last ?? 0);
  }
}
