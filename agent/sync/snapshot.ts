/**
 * The end of a snapshot: what the channel's scope holds on the device and the snapshot did not show no longer exists.
 * Unsettled keys are never swept: they are marked and fetched once they are settled.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Channel, Key } from "../../protocol.ts";
import { place } from "./answers.ts";
import type { Context } from "./context.ts";
import type { InFlight } from "./flight.ts";
import { comesDown, keyAttributesOf } from "./items.ts";

/** The models whose items a channel carries. */
export function modelsOf(context: Context, channel: Channel): Model[] {
  const scope = channel === "global" ? "global" : channel.slice(0, channel.indexOf(":"));
  return [...context.store.schema.models.values()].filter((m) => m.onDevice && comesDown(m) && m.scope === scope);
}

/** Removes unseen rows of a channel. Must run inside the transaction that sets the cursor, with capture off. */
export function sweepChannel(context: Context, inFlight: InFlight, channel: Channel): void {
  const { store, records, outbox } = context;
  const { db } = store;
  for (const model of modelsOf(context, channel)) {
    for (const key of unseenKeys(context, model, channel)) {
      const record = records.open(model, key);
      if (inFlight.get(key) || record.awaiting || outbox.pending(model, key)) records.mark(record);
      else {
        const item = store.rows(model).byKey(key)?.item ?? record.base ?? {};
        place(context, record, null, keyAttributesOf(model, item));
      }
      records.save(record);
    }
    // An echo that is still awaited was perhaps swallowed by the gap that made the snapshot necessary. A base without a
    // row (a pending removal) that the snapshot did not show is looked at again too.
    for (const key of awaitedKeys(context, model)) {
      const record = records.get(key);
      if (!record) continue;
      records.mark(record);
      records.save(record);
    }
  }
  context.asides.sweep(modelsOf(context, channel), channel);
  db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(channel);
}

function* unseenKeys(context: Context, model: Model, channel: Channel): Iterable<Key> {
  const { store } = context;
  let after = -1;
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
