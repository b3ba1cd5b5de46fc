/**
 * What an answer of the cloud does to a change, its key and its row: the table of rules §4. One transaction settles a
 * whole batch (rows, records, outbox entries and the batch itself), so a crash leaves either a batch that is sent
 * again, or everything settled.
 *
 * | answer | nothing newer pending on the key | newer pending |
 * | --- | --- | --- |
 * | ok, or stale showing the change's own version | base := sent; awaiting echo | same; the newer becomes sendable |
 * | stale, newest (and `up` in a shared scope) | row, base := current; own → `_conflicts` | base := current without its version, newer stays and is judged by its own time; current unstamped: all yield |
 * | stale, cloud | as above | all pending → `_conflicts`, row := current |
 * | stale, device, or `up` in device scope | current → `_conflicts`; rebase, send again | rebase; the newest is sent |
 * | stale, merge | base := current, row := merge, send again | same |
 * | gone | row removed; own → `_conflicts` | all pending yield |
 * | gone, but the base has expired | base := none, sent again as a create (rule A2) | same, the newest |
 * | clock | new stamp, send again (the old one still counts as own) | same |
 * | invalid, too-large | copy → `_rejected`; row := current | newer stays |
 * | throttled, late | sent again, later | |
 * | schema | back to the outbox; its model waits (`waits.ts`) | same |
 *
 * @module
 */
import { deviceOf, sameVersion } from "../../protocol/versions.ts";
import { type Attributes, isExpired, jsonEquals, modelDigest } from "../../schema.ts";
import type { Ack, Answer, Current, Version } from "../../protocol.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { keepRejected } from "../store/kept.ts";
import { isPoison } from "./aside.ts";
import type { Context } from "./context.ts";
import type { Batch, Flight } from "./flight.ts";
import { keepRestored } from "./heal.ts";
import { comesDown, goesUp, isTracked, type ItemRecord } from "./items.ts";
import type { Candidate } from "./outbox.ts";
import { noteLateRows } from "./late_rows.ts";
import { joined } from "./runs.ts";

/**
 * How many refused versions of a key are remembered: if a worker of another version wrote one, it is one of the last.
 */
const priorMax = 8;
const accepted: Pick<Answer, "code"> & Partial<Answer> = { code: "ok" };

/** Applies an acknowledgement to its batch. */
export function settleAnswers(context: Context, batch: Batch, ack: Ack): void {
  const { store, outbox, counters, clock, limits } = context;
  const answers = new Map(ack.answers.map((answer) => [answer.at, answer]));
  const settled = new Set<Flight>(), left: Flight[] = [], again: Flight[] = [], unfit: [Flight, Answer][] = [];
  let throttled = false;
  batch.flights.forEach((flight, at) => {
    if (flight.settled) return;
    const code = answers.get(at)?.code ?? "ok";
    if (code === "throttled" || code === "late") {
      left.push(flight);
      throttled ||= code === "throttled";
    } else if (code === "clock") again.push(flight);
    else if (code === "schema") unfit.push([flight, answers.get(at)!]);
    else settled.add(flight);
  });
  // Nothing was processed (all late): the batch stays unchanged and is sent again with the time just learnt.
  const untouched = left.length === batch.flights.length;
  let rereads = false;
  if (!untouched) {
    store.tx(() => {
      outbox.forget(joined([...settled].map((f) => f.entries)));
      context.inFlight.remove(batch);
      store.applying(() => {
        batch.flights.forEach((flight, at) => {
          if (settled.has(flight)) settle(context, flight, answers.get(at) ?? accepted, ack.time);
        });
      });
      noteLateRows(store, settled, ack.time);
      for (const flight of again) requeue(context, flight);
      rereads = waitAll(context, batch, settled, unfit, ack.schema);
      store.setMeta("lastAck", clock.nowMs());
    });
    counters.acknowledged += settled.size;
  }
  const rest = untouched ? batch : left.length > 0 ? store.tx(() => context.inFlight.reissue(batch, left)) : undefined;
  if (rest) {
    rest.retryAtMs = undefined;
    rest.unanswered = 0;
    rest.attempts = throttled ? Math.min(batch.attempts, 16) : 0;
    if (throttled) {
      const waitMs = backoffMs(rest.attempts, context.random, { firstMs: 250, maxMs: limits.retryMaxMs });
      // If the cloud says how long to wait, its value counts.
      rest.notBeforeMs = clock.monotonicMs() + Math.max(waitMs, ack.afterMs ?? 0);
    }
  }
  // Only after everything still in flight is stored, because storing claims the entries.
  if (rereads) outbox.restart(context.inFlight.entries(), context.waits.numbers);
}

/**
 * Changes that the cloud's schema does not accept go back to the outbox, and their models wait. A change that was made
 * under an earlier schema of the device is made again instead.
 *
 * @returns whether the outbox must be read from its start
 */
function waitAll(
  context: Context,
  batch: Batch,
  settled: ReadonlySet<Flight>,
  unfit: readonly [Flight, Answer][],
  cloud: string | undefined,
): boolean {
  const { store, records, outbox, waits } = context;
  const waited = new Set(
    [...settled, ...unfit.map(([flight]) => flight)].map((f) => f.model).filter((m) => waits.has(m)),
  );
  let rereads = false;
  for (const [flight, { reason = "" }] of unfit) {
    const { model, key, text, entries, stamps } = flight;
    const record = records.open(model, key);
    record.prior = [...record.prior ?? [], ...stamps].slice(-priorMax);
    records.save(record);
    if (batch.schemas?.[model.name] !== modelDigest(store.schema, model)) rereads = true;
    else if (waits.refused(model, cloud, reason)) rereads = true;
    outbox.refused(model, text, entries);
  }
  for (const model of waited) waits.asked(model, [...settled].some((flight) => flight.model === model));
  return rereads;
}

/** A refused stamp: the change becomes a candidate again, with its entries, and remembers the versions that were its own. */
function requeue(context: Context, flight: Flight): void {
  const { outbox } = context;
  const newer = outbox.waiting.get(flight.text);
  const entry: Candidate = {
    model: flight.model,
    key: flight.key,
    text: flight.text,
    entries: newer ? joined([flight.entries, newer.entries]) : flight.entries,
    upto: newer?.upto ?? flight.upto,
    // Corrected by the offset just learnt: the recorded time is read from the outbox again, unless a newer entry gives
    // it.
    ...(newer ? { timeMs: newer.timeMs, segment: newer.segment } : timeOf(context, flight)),
    firstTimeMs: newer?.firstTimeMs ?? timeOf(context, flight).timeMs,
    inserted: false,
    removedKey: flight.keyAttributes,
    prior: flight.stamps,
  };
  outbox.waiting.set(flight.text, entry);
}

function timeOf(context: Context, flight: Flight): { timeMs: number; segment: number } {
  const row = context.store.db.sql("SELECT time, segment FROM _outbox WHERE seq = ?").get(flight.upto);
  return row
    ? { timeMs: Number(row.time), segment: Number(row.segment) }
    : { timeMs: context.clock.clock.wallMs(), segment: 0 };
}

/** Settles one change. The flight's own entries are deleted already: what is pending now is newer. */
export function settle(
  context: Context,
  flight: Flight,
  answer: Pick<Answer, "code"> & Partial<Answer>,
  ackMs: number,
): void {
  const { records, outbox, clock } = context;
  const untracked = !isTracked(flight.model) && flight.base === undefined;
  // No record of this key existed, and none is needed: the usual case for measurements.
  if (untracked && answer.code === "ok" && !answer.over && !flight.tried) return;
  const record = records.open(flight.model, flight.key);
  const { prior, offer, version: baseVersion } = record, hasLost = context.restores.hasLost(record);
  record.prior = undefined;
  // An offer that a local write superseded was sent as that write.
  const offered = flight.offer ? offer : undefined;
  record.offer = undefined;
  // While in flight the batch remembers the stamp; from now on the record does.
  if (isTracked(flight.model)) record.issued = Math.max(record.issued ?? 0, flight.change.stamp);
  const ownStale = answer.code === "stale" && answer.current?.version !== undefined &&
    flight.stamps.some((v) => sameVersion(v, answer.current!.version));
  if (answer.code === "ok" || ownStale) {
    written(context, flight, record, ownStale ? answer.current!.version! : flight.stamps.at(-1)!, answer.over);
  } else if (answer.code === "invalid" || answer.code === "too-large") {
    rejected(context, flight, record, answer);
  } else if (offered && (answer.code === "stale" || answer.code === "gone")) {
    offerRefused(context, flight, record, answer.current ?? null);
  } else if (hasLost && offersAgain(flight, baseVersion, answer)) {
    // The restored table lacks this change's base: the change is rebased on what the table has.
    record.base = answer.current?.item;
    record.version = answer.current?.version;
    outbox.append(flight.model, flight.key, flight.keyAttributes, clock.clock.wallMs());
  } else if (answer.code === "gone") {
    if (hasRunOut(context, flight, ackMs)) again(context, flight, record);
    else lost(context, flight, record, null, true);
  } else if (prior?.some((version) => sameVersion(version, answer.current?.version))) {
    // A worker of another version wrote it before a worker of this version refused it: the present state is based on
    // it.
    record.base = answer.current!.item;
    record.version = answer.current!.version;
    outbox.append(flight.model, flight.key, flight.keyAttributes, clock.clock.wallMs());
  } else stale(context, flight, record, answer.current ?? null);
  // An item that its table refused waits aside, and is tried again when no echo is awaited for its key. The echo of a
  // refused change never comes: a fetch settles the key.
  if (record.awaiting && context.asides.has(flight.key)) records.mark(record);
  records.save(record);
}

/**
 * Whether `gone` only says that an old copy has expired: the base, or the sent state if a newer change waits. The base
 * may have expired on the way, so the answer's time decides, and a resend stays unchanged.
 */
function hasRunOut({ outbox }: Context, { model, key, base, change }: Flight, ackMs: number): boolean {
  if (base && isExpired(model, base, ackMs)) return true;
  return change.item !== undefined && isExpired(model, change.item, ackMs) && outbox.pending(model, key);
}

/** The change has no base now: the key's state is sent again, as a create (rule A2). An expiry is not a removal. */
function again({ outbox, clock }: Context, flight: Flight, record: ItemRecord): void {
  record.base = record.version = undefined;
  const { model, key, keyAttributes } = flight;
  if (!outbox.pending(model, key)) outbox.append(model, key, keyAttributes, clock.clock.wallMs());
}

/** B6: a restored table lacks the change's base, and has nothing newer than it. */
function offersAgain(
  { model }: Flight,
  base: Version | undefined,
  answer: Pick<Answer, "code"> & Partial<Answer>,
): boolean {
  if (answer.code === "gone") return true;
  if (answer.code !== "stale" || model.conflict === "newest" || model.sync === "up") return false;
  const current = answer.current?.version;
  return current !== undefined && base !== undefined && current[1] < base[1];
}

/**
 * B5: the table did not accept an offer. The stamps decide under every policy, because both sides have what they had
 * before: a newer or equal item stays; an older one is replaced by sending the same stamp again. Not under `newest`,
 * where a later `updated` forbids it, and would for ever.
 */
function offerRefused(context: Context, flight: Flight, record: ItemRecord, current: Current | null): void {
  const { outbox, clock } = context, { item, stamp } = flight.change, theirs = current?.version?.[1];
  const isOlder = current === null || (theirs !== undefined && theirs < stamp && flight.model.conflict !== "newest");
  if (isOlder) {
    record.offer = { item: item!, stamp };
    record.base = current?.item;
    record.version = current?.version;
    return outbox.append(flight.model, flight.key, flight.keyAttributes, clock.clock.wallMs());
  }
  if (!jsonEquals(current.item, item!)) keepRestored(context, record, item!);
  if (outbox.pending(flight.model, flight.key)) {
    record.base = current.item;
    record.version = current.version;
  } else place(context, record, current, flight.keyAttributes);
  record.awaiting = comesDown(flight.model);
}

/** The change is in the table and becomes the base. Its echo is still to come if the model comes down. */
export function written(context: Context, flight: Flight, record: ItemRecord, version: Version, over?: Current): void {
  const { records, clock, counters } = context;
  const { change, model } = flight;
  context.asides.drop(flight.key);
  // Whatever a snapshot's list lacked, the table had the item just now.
  record.swept = false;
  if (over) {
    counters.conflicts++;
    records.conflict(model, flight.keyAttributes, "update", over.item, "overwritten", over.version, clock.nowMs());
  }
  if (change.op === "remove") {
    record.base = undefined;
    record.version = undefined;
    if (isTracked(model)) record.gone = Math.max(record.gone ?? 0, change.stamp);
  } else if (isTracked(model)) {
    record.base = change.item;
    record.version = version;
  } else {
    // An `up` model of one device has a base only while it is rebased on a foreign item.
    record.base = undefined;
    record.version = undefined;
  }
  if (comesDown(model)) record.awaiting = !flight.echoed;
}

function stale(context: Context, flight: Flight, record: ItemRecord, current: Current | null): void {
  const { model } = flight;
  if (model.sync === "up" && model.scope === "device") return rebase(context, flight, record, current);
  if (model.sync === "up" || model.conflict === "newest") {
    return lost(context, flight, record, current, current !== null && current.version === undefined);
  }
  if (model.conflict === "cloud") return lost(context, flight, record, current, true);
  if (model.conflict === "device") return rebase(context, flight, record, current);
  merge(context, flight, record, current);
}

/**
 * The cloud's version stays. `all`: pending changes yield too; otherwise a newer local write stays, on the new base.
 */
function lost(context: Context, flight: Flight, record: ItemRecord, current: Current | null, all: boolean): void {
  const { store, records, outbox, clock, counters } = context;
  const { model, key, change } = flight;
  counters.conflicts++;
  const keep = (op: string, item: Attributes | undefined, why: string) =>
    records.conflict(model, flight.keyAttributes, op, item, why, flight.stamps.at(-1), clock.nowMs());
  keep(change.op, change.item, current ? "stale" : "gone");
  let newer = outbox.pending(model, key);
  if (newer && all) {
    const row = store.rows(model).byKey(key);
    keep(row ? "update" : "remove", row?.item, "yielded");
    outbox.drop(model, key);
    newer = false;
  }
  if (newer) {
    // The newer write was not made from this version. With this version as its base, its stamp would be raised above
    // it, and the older write would win. So its own time decides, and the result in the table is fetched.
    record.base = current?.item;
    record.version = undefined;
    if (comesDown(model)) records.mark(record);
  } else place(context, record, current, flight.keyAttributes);
  if (comesDown(model)) record.awaiting = true;
}

/** The device's version wins: the cloud's goes to `_conflicts`, and the device's state is sent again, based on it. */
function rebase(context: Context, flight: Flight, record: ItemRecord, current: Current | null): void {
  const { records, outbox, clock, counters } = context;
  const { model, key } = flight;
  if (current) {
    counters.conflicts++;
    records.conflict(
      model,
      flight.keyAttributes,
      "update",
      current.item,
      "overwritten",
      current.version,
      clock.nowMs(),
    );
  }
  record.base = current?.item;
  record.version = current?.version;
  outbox.append(model, key, flight.keyAttributes, clock.clock.wallMs());
}

/** Attribute by attribute: what the device changed since the base stays, the rest is the cloud's. The result is sent. */
function merge(context: Context, flight: Flight, record: ItemRecord, current: Current | null): void {
  const { store, records, outbox, clock, counters } = context;
  const { model, key } = flight;
  const row = store.rows(model).byKey(key);
  if (!row || !current) {
    // One side removed it: there is nothing to merge; the removal wins over an update, as everywhere.
    if (!row && current) return rebase(context, flight, record, current);
    return lost(context, flight, record, current, true);
  }
  const merged = mergeItems(flight.base ?? {}, store.rows(model).merged(row, flight.base), current.item);
  try {
    store.rows(model).put(key, merged.item);
  } catch (error) {
    // The merged item breaks a local constraint (another row here has the cloud's `unique` value): the cloud's item
    // wins.
    if (!isPoison(store, error)) throw error;
    return lost(context, flight, record, current, true);
  }
  context.asides.drop(key);
  counters.conflicts++;
  if (merged.clash) {
    records.conflict(model, flight.keyAttributes, "update", current.item, "merged", current.version, clock.nowMs());
  }
  record.base = current.item;
  record.version = current.version;
  outbox.append(model, key, flight.keyAttributes, clock.clock.wallMs());
}

/** A three-way merge of items. `clash`: both sides changed an attribute, differently; the device's value won. */
export function mergeItems(
  base: Attributes,
  mine: Attributes,
  theirs: Attributes,
): { item: Attributes; clash: boolean } {
  const item: [string, Attributes[string]][] = [];
  const own = (attributes: Attributes, name: string) => Object.hasOwn(attributes, name) ? attributes[name] : undefined;
  let clash = false;
  for (const name of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
    const [b, m, t] = [own(base, name), own(mine, name), own(theirs, name)];
    const same = (x?: Attributes[string], y?: Attributes[string]) =>
      x === undefined || y === undefined ? x === y : jsonEquals(x, y);
    const changed = !same(b, m);
    if (changed && !same(b, t) && !same(m, t)) clash = true;
    const value = changed ? m : t;
    if (value !== undefined) item.push([name, value]);
  }
  return { item: Object.fromEntries(item), clash };
}

/**
 * Refused for good: a copy goes to `_rejected`, and the row goes back to the table's version. A newer local write
 * stays.
 */
function rejected(
  context: Context,
  flight: Flight,
  record: ItemRecord,
  answer: Pick<Answer, "code"> & Partial<Answer>,
): void {
  const { store, outbox, records, clock, counters } = context;
  const { model, key, change } = flight;
  counters.rejected++;
  keepRejected(store.db, {
    model: model.name,
    key: JSON.stringify(flight.keyAttributes),
    op: change.op,
    item: change.item,
    code: answer.code,
    reason: answer.reason,
    stamp: change.stamp,
    timeMs: clock.nowMs(),
  });
  // The answer does not say what the table has: as far as the device knows, the base.
  const { base: item, version } = record;
  const current = answer.current !== undefined ? answer.current : item ? { model: model.name, item, version } : null;
  if (answer.current === undefined && comesDown(model)) records.mark(record);
  // The newer change was made from the present base, not from what the table has now, and is judged accordingly (sim:
  // refuse 5301639).
  if (isTracked(model) && outbox.pending(model, key)) return;
  // Without a record, a row that differs from the sent state is a newer write, and a missing row a removal (sim: refuse
  // 5200046).
  const row = store.rows(model).byKey(key);
  const isAsSent = row && change.item ? store.rows(model).equals(row, change.item) : !row && !change.item;
  if (isTracked(model) || isAsSent) place(context, record, current, flight.keyAttributes);
  if (!isTracked(model)) record.base = record.version = undefined;
}

/**
 * Makes row and base what the table has; an item that has expired counts as absent (rule A5). An own version that is
 * known to be removed is a duplicate that came back: it is removed again, with a copy in `_conflicts`. An item that
 * breaks a local constraint is set aside (`aside.ts`).
 */
export function place(
  context: Context,
  record: ItemRecord,
  shown: Current | null | undefined,
  keyAttributes: Attributes,
): void {
  const { store, records, outbox, asides, identity, clock, counters } = context;
  const { model, key } = record;
  const isOver = shown && clock.known && isExpired(model, shown.item, clock.nowMs());
  const current = isOver ? null : shown;
  const version = current?.version;
  const isOwn = version !== undefined && deviceOf(version) === identity.deviceId;
  // Whoever wrote it: a restored table has lost the removal.
  const isForgotten = goesUp(model) && context.restores.hasForgotten(record);
  const revived = version !== undefined && record.gone !== undefined && version[1] <= record.gone &&
    (isOwn || isForgotten);
  if (revived) {
    asides.drop(key);
    store.rows(model).remove(key);
    record.base = current!.item;
    record.version = version;
    counters.conflicts++;
    records.conflict(model, keyAttributes, "create", current!.item, "revived", version, clock.nowMs());
    outbox.append(model, key, keyAttributes, clock.clock.wallMs());
    return;
  }
  asides.drop(key);
  let changed: boolean;
  try {
    changed = records.replace(record, current);
  } catch (error) {
    // The cursor moves on all the same.
    if (!isPoison(store, error)) throw error;
    return asides.add(record, current ?? null, error, clock.nowMs());
  }
  if (changed) tellApplied(context, record, current ?? null, keyAttributes);
}

/** Reports a change from the cloud that has been applied: `_changes`, `watch`. */
export function tellApplied(
  context: Context,
  { model, key }: ItemRecord,
  current: Current | null,
  keyAttributes: Attributes,
): void {
  const op = current ? "put" : "remove";
  context.counters.applied++;
  context.changes.add(model, keyAttributes, op);
  context.applied({ model, op, key, item: current?.item });
}
