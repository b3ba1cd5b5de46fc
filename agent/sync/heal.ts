/**
 * Healing a table that was restored to an earlier time (rules B4–B8): what the device has and the table lacks is **offered**:
 * sent as an ordinary change with the stamp that it had, so that of several holders the newest version wins, whoever comes
 * first or last. What is not offered stands in `_conflicts` (`restored`).
 *
 * | the lost base, and what is shown | what happens |
 * | --- | --- |
 * | nothing, or what has expired | offered |
 * | an older stamp, or none, and no later `updated` | offered, made from what is shown |
 * | the same version | nothing |
 * | anything else | the table's is taken; the base, where it differs, goes to `_conflicts` |
 *
 * @module
 */
import { type Attributes, fieldOf, isExpired, jsonEquals, jsonToDate } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Current, Key } from "../../protocol.ts";
import type { Context } from "./context.ts";
import { goesUp, isTracked, type ItemRecord, keyAttributesOf } from "./items.ts";
import { updatedMsSql } from "../migration/onboard.ts";
import { outboxKinds } from "../store/triggers.ts";
import { ident } from "../store/sql.ts";

/** An `updated` further ahead of the cloud's time is not honest. */
const aheadMaxMs = 60_000;

/**
 * A clean or awaiting key with a lost base, and what the restored table has of it. Must run inside the store's transaction.
 *
 * @returns whether the base is offered: row and record are as they have to be then
 */
export function heal(context: Context, record: ItemRecord, current: Current | undefined): boolean {
  const { records, clock, restores } = context, base = record.base!, nowMs = clock.nowMs();
  const shown = current && !isExpired(record.model, current.item, nowMs) ? current : undefined;
  record.era = records.learnt.era;
  if (shown && jsonEquals(shown.item, base)) return false;
  const hasRow = context.store.rows(record.model).idByKey(record.key) !== undefined;
  if (goesUp(record.model) && hasRow && wins(record, shown, nowMs)) {
    offer(context, record, shown, restores.sinceMs ?? nowMs);
    return true;
  }
  keepRestored(context, record, base);
  return false;
}

function wins({ model, version }: ItemRecord, shown: Current | undefined, nowMs: number): boolean {
  if (!shown) return true;
  // Of a base without a version nobody can say which of two is newer.
  if (!version) return false;
  const ms = Math.floor(version[1] / 1000), updated = updatedOf(model, shown.item);
  const isLater = updated !== undefined && updated > ms && updated <= nowMs + aheadMaxMs;
  if (shown.version) return shown.version[1] < version[1] && !isLater;
  return updated !== undefined && updated < ms;
}

function updatedOf(model: Model, item: Attributes): number | undefined {
  const field = model.updatedField === undefined ? undefined : fieldOf(model, model.updatedField);
  const value = field && item[field.attribute];
  return field && value != null ? jsonToDate(field, value)?.getTime() : undefined;
}

function offer(context: Context, record: ItemRecord, current: Current | undefined, unstampedMs: number): void {
  const { outbox, clock, identity } = context, base = record.base!;
  let stamp = record.version?.[1] ?? (record.atMs ?? unstampedMs) * 1000;
  // Another's version by the stamp that this device gave to one of its own: as this device's it would be taken for that.
  const isOwn = record.version?.[0].slice(0, record.version[0].lastIndexOf("#")) === identity.deviceId;
  if (!isOwn && stamp === record.issued) stamp--;
  record.offer = { item: base, stamp };
  record.base = current?.item;
  record.version = current?.version;
  record.awaiting = false;
  outbox.append(record.model, record.key, keyAttributesOf(record.model, base), clock.clock.wallMs());
}

/** A version that the restored table replaced, or a removal that it did not know, is kept for people. */
export function keepRestored({ records, counters, clock }: Context, record: ItemRecord, item: Attributes): void {
  counters.conflicts++;
  records.conflict(
    record.model,
    keyAttributesOf(record.model, item),
    "update",
    item,
    "restored",
    record.version,
    clock.nowMs(),
  );
}

/** Keys that are looked at together. */
const keysAtOnce = 500;

/**
 * What no snapshot shows, because it never comes down (B8): of models that other devices write too, each lost base is
 * offered; of the device's own, which have no bases, every row that is not older than the restored time is sent again, all
 * where rows don't say how old they are. Must run inside the store's transaction.
 */
export function offerWhatOnlyGoesUp(context: Context): void {
  const { store, restores } = context;
  for (const model of store.schema.models.values()) {
    if (!model.onDevice || model.sync !== "up") continue;
    if (isTracked(model)) offerAll(context, model);
    else if (restores.sinceMs !== undefined) sendAgain(context, model, restores.sinceMs - aheadMaxMs);
  }
}

function offerAll(context: Context, model: Model): void {
  const { store, records, restores } = context;
  for (let after: Key = ["", ""];;) {
    const keys = store.db.sql(
      `SELECT hash, sort FROM _sync_items WHERE model = ? AND base IS NOT NULL AND (hash, sort) > (?, ?)
       ORDER BY hash, sort LIMIT ?`,
    ).all(store.number(model), ...after, keysAtOnce).map((row): Key => [String(row.hash), String(row.sort)]);
    for (const key of keys) {
      const record = records.get(key);
      if (!record || !restores.hasLost(record) || !store.rows(model).idByKey(key)) continue;
      record.era = records.learnt.era;
      offer(context, record, undefined, restores.sinceMs!);
      records.save(record);
    }
    if (keys.length < keysAtOnce) return;
    after = keys.at(-1)!;
  }
}

function sendAgain({ store }: Context, model: Model, sinceMs: number): void {
  const updated = updatedMsSql(model), number = store.number(model);
  // Without the time a row counts as new.
  const where = updated.said ? `WHERE ${updated.said} >= ? OR ${updated.said} IS NULL` : "";
  store.db.sql(
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ${number}, _id, ${outboxKinds.update}, ${updated.sql}, ` +
      `segment FROM ${ident(model.name)}, _sync_flag ${where}`,
  ).run(...(updated.said ? [sinceMs] : []));
}
