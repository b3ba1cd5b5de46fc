/**
 * The end of a snapshot: keys of the channel's scope that the device has and the snapshot did not show become
 * candidates, and are fetched by name (`candidates.ts`). Nothing is removed here.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { beforeRows } from "../sqlite/driver.ts";
import type { Channel, Key } from "../../protocol.ts";
import type { Context } from "./context.ts";
import { comesDown } from "./items.ts";

/** The models whose items a channel carries. */
export function modelsOf(context: Context, channel: Channel): Model[] {
  const scope = channel === "global" ? "global" : channel.slice(0, channel.indexOf(":"));
  return [...context.store.schema.models.values()].filter((m) => m.onDevice && comesDown(m) && m.scope === scope);
}

/**
 * Marks the unseen keys of a channel, in the models that the snapshot covers. Must run inside the transaction that sets
 * the cursor.
 */
export function sweepChannel(context: Context, channel: Channel, models: readonly Model[]): void {
  const { store, records, asides } = context;
  const mark = (model: Model, key: Key) => {
    const record = records.open(model, key);
    records.markUnseen(record);
    records.save(record);
  };
  for (const model of models) {
    for (const key of unseenKeys(context, model, channel)) mark(model, key);
    for (const key of asides.unseen(model, channel)) mark(model, key);
    // The gap that made the snapshot necessary may have contained an awaited echo. A base without a row (a pending
    // removal) that the snapshot did not show is checked again, too.
    for (const key of awaitedKeys(context, model)) {
      const record = records.get(key);
      if (!record) continue;
      records.mark(record);
      records.save(record);
    }
  }
  store.db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(channel);
}

function* unseenKeys(context: Context, model: Model, channel: Channel): Iterable<Key> {
  const { store } = context;
  let after = beforeRows;
  while (true) {
    const page = store.rows(model).unseen(channel, after, 256);
    for (const { id, key } of page) {
      yield key;
      after = id;
    }
    if (page.length < 256) return;
  }
}

function awaitedKeys(context: Context, model: Model): Key[] {
  return context.store.db.sql("SELECT hash, sort FROM _sync_items WHERE model = ? AND awaiting = 1")
    .all(context.store.number(model)).map((row) => [row.hash as string, row.sort as string] as const);
}
