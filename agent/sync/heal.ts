/**
 * Healing a table that was restored to an earlier time (rules B4–B8): the device **offers** what it has and the table
 * lacks: it sends ordinary changes with their original stamps, so that among several holders the newest version wins,
 * in whatever order they come. What it does not offer goes to `_conflicts` (`restored`).
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
import { deviceOf } from "../../protocol/versions.ts";
import { type Attributes, fieldOf, isExpired, jsonEquals, jsonToDate } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Current, Key } from "../../protocol.ts";
import type { Context } from "./context.ts";
import { goesUp, isTracked, type ItemRecord, keyAttributesOf } from "./items.ts";
import { earliestSince } from "./late_rows.ts";
import { marginMs } from "./restores.ts";
import { updatedMsSql } from "../migration/onboard.ts";
import { outboxKinds } from "../store/triggers.ts";
import { ident } from "../store/sql.ts";

/** An `updated` further ahead of the cloud's time than this does not count. */
const aheadMaxMs = 60_000;
/** A row's `updated` differs from what was sent by at most this. */
const correctionMs = 1_000;

/**
 * A clean or awaiting key with a lost base, and what the restored table has of it. Must run inside the store's
 * transaction.
 *
 * @returns whether the base is offered; if so, row and record are ready for it
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
  // Without the base's version, it is unknown which of the two is newer.
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
  // Another writer's version with a stamp that this device gave to one of its own versions: sent as this device's, it
  // would be taken for that one.
  const isOwn = record.version && deviceOf(record.version) === identity.deviceId;
  if (!isOwn && stamp === record.issued) stamp--;
  record.offer = { item: base, stamp };
  record.base = current?.item;
  record.version = current?.version;
  record.awaiting = false;
  outbox.append(record.model, record.key, keyAttributesOf(record.model, base), clock.clock.wallMs());
}

/** Stores a version that the restored table replaced, or an item whose removal it did not know, for people. */
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

/**
 * An item that waits beside its table (`aside.ts`) has no row of its own, so nothing offers it: where the restored table
 * lacks it, or has another, it goes to `_conflicts`.
 */
export function keepAside(context: Context, record: ItemRecord, current: Current | undefined): void {
  const aside = context.asides.itemOf(record.key);
  if (!aside || !context.restores.hasLostSince(aside.atMs)) return;
  const { item, version } = aside.current;
  if (current && jsonEquals(current.item, item)) return;
  if (isExpired(record.model, item, context.clock.nowMs())) return;
  keepRestored(context, { ...record, version }, item);
  context.asides.drop(record.key);
}

/** Keys that are examined together. */
const keysAtOnce = 500;

/**
 * The table has a new epoch. Answers that came before were ignored (rules B1), and their batches would wait for their
 * next turn, up to a minute. Must run inside the store's transaction.
 *
 * @param sinceMs since when the table may lack what the device has; undefined: it was not restored
 */
export function metEpoch(context: Context, sinceMs: number | undefined): void {
  context.inFlight.sendAgain();
  if (sinceMs !== undefined) offerWhatOnlyGoesUp(context, sinceMs);
}

/**
 * Models that never come down, and so appear in no snapshot (B8). What waits beside their tables goes to `_conflicts`. If other devices write the model too, the device
 * offers each lost base; in its own models, which have no bases, it sends every row again that is not older than the
 * restored time, or than a row that was acknowledged since (`late_rows.ts`), or all rows if they do not say how old they
 * are. Must run inside the store's transaction.
 */
function offerWhatOnlyGoesUp(context: Context, sinceMs: number): void {
  const { store } = context;
  for (const model of store.schema.models.values()) {
    if (!model.onDevice || model.sync !== "up") continue;
    for (const key of context.asides.of(model)) keepAside(context, context.records.open(model, key), undefined);
    if (isTracked(model)) offerAll(context, model, sinceMs);
    else sendAgain(context, model, earliestSince(store, sinceMs - marginMs) - correctionMs);
  }
}

function offerAll(context: Context, model: Model, sinceMs: number): void {
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
      offer(context, record, undefined, sinceMs);
      records.save(record);
    }
    if (keys.length < keysAtOnce) return;
    after = keys.at(-1)!;
  }
}

function sendAgain({ store }: Context, model: Model, sinceMs: number): void {
  const updated = updatedMsSql(model), number = store.number(model);
  // A row without a time counts as new.
  const where = updated.said ? `WHERE ${updated.said} >= ? OR ${updated.said} IS NULL` : "";
  store.db.sql(
    `INSERT INTO _outbox(model, row, kind, time, segment) SELECT ${number}, _id, ${outboxKinds.update}, ${updated.sql}, ` +
      `segment FROM ${ident(model.name)}, _sync_flag ${where}`,
  ).run(...(updated.said ? [sinceMs] : []));
}
