/**
 * The uplink: from the outbox to the cloud. Reads candidates, gives each a stamp, stores the batch, sends it, and
 * resends it until it is answered. At most one change per key is in flight; the window holds changes of different keys.
 * An idle link sends at once; a busy one sends when a batch is full or everything in flight is answered, like Nagle's
 * algorithm.
 *
 * Durable writes, in order: (1) batch and stamps, before the first transmission: after a crash, the agent sends the
 * same bytes again; (2) the answer's effects, outbox entries and the batch together (`answers.ts`): after a crash
 * before this, the agent resends, and the cloud answers `ok` to the equal version.
 *
 * @module
 */
import { type Attributes, dateToJson, digest, fieldOf, jsonToDate, SyncError } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Ack, Base, Change, Refused, Version } from "../../protocol.ts";
import { batchChangesMax, changeText } from "../../protocol.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { keepRejected } from "../store/kept.ts";
import { place, settleAnswers } from "./answers.ts";
import type { Context } from "./context.ts";
import type { Batch, Flight } from "./flight.ts";
import { comesDown, isTracked, type ItemRecord, keyAttributesOf } from "./items.ts";
import type { Candidate } from "./outbox.ts";
import { joined, type Runs } from "./runs.ts";
import { refusedByCloud } from "./split.ts";
import { Silence } from "./silence.ts";
import { lastSendSlackMs, RecentSends } from "./recent_sends.ts";
import { traceSent } from "./tracing.ts";
import { isEnvironmental } from "../store/faults.ts";
import type { LocalRow } from "../store/store.ts";

/** A base's stamp counts up to this far ahead of now: the cloud treats a later one as absent (rules §2). */
const stampAheadMaxMs = 120_000;
/** A removed version's stamp counts up to this far ahead of now. */
const goneAheadMaxMs = 60_000;

/** The sending half of the agent. Plain state machine: call {@link pump} when something may have become sendable. */
export class Uplink {
  /**
   * Every channel is caught up: only then may two-way models be sent, so that they do not undo a removal that waits
   * there.
   */
  caughtUp = false;
  readonly silence: Silence;
  readonly #sends: RecentSends;
  #stampCounter = 0;
  /** The highest stamp that was given before this start, in models of one device that only sync up. */
  readonly #stampFloor: number;
  #stampMax: number;
  /** How many changes make a full batch now: fewer if items are large. */
  #fullBatch: number;

  constructor(readonly context: Context) {
    this.silence = new Silence(context);
    this.#fullBatch = this.#batchMax;
    const last = Number(context.store.getMeta("lastSend") ?? 0);
    this.#sends = new RecentSends(last, context.clock.monotonicMs());
    this.#stampFloor = this.#stampMax = Number(context.store.getMeta("lastStamp") ?? 0);
  }

  get #batchMax(): number {
    return Math.min(this.context.limits.batchChangesMax, batchChangesMax);
  }

  /** The link came up: batches in flight may not have been sent. */
  connected(): void {
    this.context.inFlight.sendAgain();
  }

  /** A worker has started to receive: unanswered batches are sent again, spread over the window. */
  workerBack(windowMs: number): void {
    const { clock, random } = this.context, now = clock.monotonicMs();
    for (const batch of this.context.inFlight.batches.values()) {
      if (batch.retryAtMs !== undefined) batch.retryAtMs = Math.min(batch.retryAtMs, now + windowMs * random());
    }
  }

  /**
   * Sends everything that may be sent now: first batches in flight that are unsent or overdue, then new batches while
   * the window has room.
   */
  pump(): void {
    const { clock, limits } = this.context;
    if (!clock.known) return;
    this.silence.split();
    for (const batch of [...this.context.inFlight.batches.values()]) {
      if (this.#isDue(batch) && !this.#transmit(batch)) return;
    }
    if (this.context.waits.any) this.#askAgain();
    while (this.#flying < limits.windowBatches) {
      if (!this.#worthABatch()) return;
      const batch = this.#nextBatch();
      if (!batch) return;
      if (!this.#transmit(batch)) return;
    }
  }

  /** Batches whose answer may still be expected. */
  get #flying(): number {
    return this.context.inFlight.batches.size - this.silence.alone;
  }

  #worthABatch(): boolean {
    const { outbox } = this.context;
    const unsent = outbox.waiting.size + outbox.unread();
    return unsent >= (this.#flying === 0 ? 1 : this.#fullBatch);
  }

  /**
   * In models that wait, changes that may probe now become candidates (`waits.ts`); none while other probes of the
   * model are open.
   */
  #askAgain(): void {
    const { store, waits, outbox } = this.context;
    for (const wait of waits.due()) {
      const { model, width } = wait;
      if (wait.freed || !this.#mayGo(!comesDown(model)) || this.#isAsking(model)) continue;
      if (store.tx(() => outbox.ask(model, width)) === 0) waits.exhausted(wait);
    }
  }

  #isAsking(model: Model): boolean {
    for (const candidate of this.context.outbox.waiting.values()) if (candidate.model === model) return true;
    return [...this.context.inFlight.batches.values()].some(({ flights }) =>
      flights.some((flight) => flight.model === model && !flight.settled)
    );
  }

  #mayGo(upOnly: boolean): boolean {
    return upOnly || this.caughtUp;
  }

  #isDue(batch: Batch): boolean {
    if (!this.#mayGo(batch.upOnly)) return false;
    const now = this.context.clock.monotonicMs();
    if (batch.notBeforeMs !== undefined && now < batch.notBeforeMs) return false;
    return batch.retryAtMs === undefined || now >= batch.retryAtMs;
  }

  /** How long to wait for an answer: doubling, capped, jittered by half. */
  #patienceMs(batch: Batch): number {
    const { retryMs, retryMaxMs } = this.context.limits;
    const backoff = { firstMs: retryMs, maxMs: retryMaxMs, least: 0.75, most: 1.25 };
    return backoffMs(batch.attempts, this.context.random, backoff);
  }

  /** The next monotonic time at which {@link pump} has something to do by itself; it has already done what is due. */
  nextDueMs(): number {
    const { clock, outbox } = this.context;
    if (!clock.known) return Infinity;
    const times: (number | undefined)[] = [this.context.waits.nextDueMs()];
    for (const { retryAtMs, notBeforeMs } of this.context.inFlight.batches.values()) times.push(retryAtMs, notBeforeMs);
    for (const { holdUntilMs } of outbox.waiting.values()) times.push(holdUntilMs);
    const now = clock.monotonicMs();
    return Math.min(Infinity, ...times.filter((at): at is number => at !== undefined && at > now));
  }

  #transmit(batch: Batch): boolean {
    const { store, clock, counters } = this.context;
    let sending: Batch | undefined = batch;
    if (batch.flights.some((f) => f.settled)) {
      sending = store.tx(() => this.context.inFlight.reissue(batch, batch.flights.filter((f) => !f.settled)));
      if (!sending) return true;
    }
    this.#noteSend();
    const now = clock.monotonicMs();
    for (const { text, change, model } of sending.flights) {
      if (change.op === "create" || model.sync === "up") this.#sends.note(text, now, change.stamp);
    }
    if (sending.attempts > 0) counters.resent++;
    sending.earlierMs = sending.sentMs;
    sending.firstMs ??= sending.restored ? -Infinity : now;
    sending.sentMs = now;
    sending.retryAtMs = now + this.#patienceMs(sending);
    sending.attempts++;
    sending.unanswered++;
    counters.sent += sending.flights.length;
    return this.context.send({
      type: "up",
      batch: sending.id,
      sent: clock.nowMs(),
      changes: sending.flights.map((f) => f.change),
      ...(sending.schemas ? { schemas: sending.schemas } : {}),
    });
  }

  /**
   * Stores the time of the last transmission, before each transmission, to within a few seconds. A start that used the
   * time of the first transmission instead sent a removal while a copy of a later one was still under way, which
   * brought the item back (sim: late 1000178).
   */
  #noteSend(): void {
    const { store, clock } = this.context;
    const now = clock.nowMs(), noted = store.getMeta("lastSend");
    if (noted !== undefined && Math.abs(now - Number(noted)) < lastSendSlackMs) return;
    store.tx(() => store.setMeta("lastSend", now));
  }

  /**
   * Builds and stores the next batch. Its changes are all of one kind: either of models that only sync up, or of models
   * that come down, too.
   */
  #nextBatch(): Batch | undefined {
    const { store, outbox, incarnation, limits } = this.context;
    return store.tx(() => {
      outbox.begin();
      const flights: Flight[] = [], nothing: Runs[] = [], done: Candidate[] = [];
      let upOnly: boolean | undefined, bytes = 0, more = true;
      const visited = new Set<string>();
      while (flights.length < this.#batchMax && bytes < limits.batchBytesMax) {
        for (const candidate of outbox.waiting.values()) {
          if (visited.has(candidate.text)) continue;
          visited.add(candidate.text);
          const kind = !comesDown(candidate.model);
          if (upOnly !== undefined && kind !== upOnly) continue;
          if (!this.#mayGo(kind) || this.context.inFlight.has(candidate.text)) continue;
          const built = this.#buildOrReject(candidate);
          if (built === "hold") continue;
          done.push(candidate);
          if (built === "nothing") {
            nothing.push(candidate.entries);
            continue;
          }
          const size = changeText(built.change).length;
          if (size > limits.changeBytesMax) {
            this.#tooLarge(built, size);
            nothing.push(candidate.entries);
            continue;
          }
          flights.push(built);
          upOnly = kind;
          bytes += size;
          if (flights.length >= this.#batchMax || bytes >= limits.batchBytesMax) break;
        }
        if (!more || flights.length >= this.#batchMax || bytes >= limits.batchBytesMax) break;
        more = outbox.scan(this.#fullBatch - flights.length);
        if (!more && outbox.waiting.size === visited.size) break;
      }
      for (const candidate of done) outbox.taken(candidate);
      if (nothing.length > 0) outbox.forget(joined(nothing));
      if (flights.length === 0) return undefined;
      this.#fullBatch = bytes >= limits.batchBytesMax ? flights.length : this.#batchMax;
      this.#noteStamps(flights);
      return this.context.inFlight.add(incarnation, flights, upOnly!);
    });
  }

  /** In the transaction that stores the batch: see {@link #stampFloor}. */
  #noteStamps(flights: readonly Flight[]): void {
    const stamps = flights.filter(({ model }) => !isTracked(model)).map(({ change }) => change.stamp);
    const highest = Math.max(0, ...stamps);
    if (highest <= this.#stampMax) return;
    this.#stampMax = highest;
    this.context.store.setMeta("lastStamp", highest);
  }

  /**
   * A row that is invalid by the schema (in a table that was altered without it) goes to `_rejected`, and holds up
   * nothing.
   */
  #buildOrReject(candidate: Candidate): Flight | "nothing" | "hold" {
    try {
      return this.#build(candidate);
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== "invalid") throw error;
      const { store, counters, clock } = this.context;
      counters.rejected++;
      keepRejected(store.db, {
        model: candidate.model.name,
        key: this.#keyJson(candidate),
        code: "invalid",
        reason: error.message,
        timeMs: clock.nowMs(),
      });
      return "nothing";
    }
  }

  /** The name of the key of an unreadable row. */
  #keyJson({ model, key }: Candidate): string {
    const rows = this.context.store.rows(model), id = rows.idByKey(key);
    return (id === undefined ? undefined : rows.keyJson(id)) ?? JSON.stringify(key);
  }

  /** Turns a candidate into a change, from the row as it is now and its base; `nothing` if nothing is to be sent. */
  #build(candidate: Candidate): Flight | "nothing" | "hold" {
    const { store, records, outbox, clock, incarnation, identity } = this.context;
    const { model, key } = candidate;
    const row = outbox.rowOf(candidate);
    const record = records.open(model, key);
    const op = this.#operation(candidate, record, row);
    const offer = record.offer && row && store.rows(model).equals(row, record.offer.item) ? record.offer : undefined;
    if (!op) return this.#dropOffer(record);
    // Without a base, the insert must be read first: if it were read after its state was sent, it would say that
    // nothing had been sent.
    if (row && candidate.removed && !isTracked(model) && outbox.hasUnread(model)) return "hold";
    // A hint may come from a reused row number: an item that equals the table's is not sent.
    if (op === "update" && isTracked(model) && !offer && store.rows(model).equals(row!, record.base!)) {
      return this.#dropOffer(record);
    }
    if (op === "remove") {
      // Only the removal's own entry contains the key's attributes: the entries read so far concern the row that is
      // gone.
      if (!record.base && !candidate.removedKey && outbox.hasUnread(model)) return "hold";
      candidate.holdUntilMs ??= this.#sends.safeFromMs(candidate.text, clock.monotonicMs(), clock.nowMs());
      if (clock.monotonicMs() < candidate.holdUntilMs) return "hold";
    }
    const stamp = offer?.stamp ?? this.#stamp(candidate, record);
    // The stamp is more than 60 s ahead of now, because the base's stamp came from a fast clock. The change waits;
    // otherwise the cloud would answer `clock` each time.
    const earlyMs = stamp / 1000 - clock.nowMs() - goneAheadMaxMs;
    if (earlyMs > 0) {
      candidate.holdUntilMs = clock.monotonicMs() + Math.ceil(earlyMs);
      return "hold";
    }
    const source = `${identity.deviceId}#${incarnation}`;
    const known = record.base ?? (op === "remove" ? record.offer?.item : undefined);
    const base = known && baseOf(model, known, record.version);
    const keyAttributes = keyAttributesOf(model, row?.item ?? record.base ?? candidate.removedKey ?? {});
    const change: Change = row
      ? {
        model: model.name,
        op,
        // In the form that the cloud accepts: whoever wrote the lost item may have used another one.
        item: offer ? store.rows(model).merged(row, offer.item) : this.#stampedItem(candidate, row, record, stamp, op),
        stamp,
        base,
      }
      : { model: model.name, op, key: keyAttributes, stamp, base };
    return {
      model,
      key,
      text: candidate.text,
      keyAttributes,
      change,
      base: record.base,
      entries: candidate.entries,
      upto: candidate.upto,
      stamps: [...candidate.prior, [source, stamp]],
      ...(record.prior ? { tried: true } : {}),
      ...(offer ? { offer: true } : {}),
    };
  }

  /** Nothing is to be sent, so nothing is offered any more. */
  #dropOffer(record: ItemRecord): "nothing" {
    if (record.offer) {
      record.offer = undefined;
      this.context.records.save(record);
    }
    return "nothing";
  }

  #operation(candidate: Candidate, record: ItemRecord, row?: LocalRow): Change["op"] | undefined {
    if (row) return record.base ? "update" : "create";
    if (record.base) return "remove";
    // What only goes up was offered unseen: the restored table may have it all the same.
    if (record.offer && !comesDown(candidate.model)) return "remove";
    // After a refusal because of the schema, a worker of another version may have written the change all the same. An
    // `up` model of one device has no base that says whether the table has the item: the table certainly lacks only a
    // row that was inserted and removed again without having been sent.
    if (record.prior) return "remove";
    return isTracked(candidate.model) || candidate.inserted ? undefined : "remove";
  }

  /**
   * rules §2: assigned at the first transmission; never a stamp that this key had before, and above the version that it
   * replaces.
   */
  #stamp(candidate: Candidate, record: ItemRecord): number {
    const { clock } = this.context;
    const now = clock.nowMs();
    this.#stampCounter = (this.#stampCounter + 1) % 1000;
    const own = Math.floor(clock.correctedMs(candidate.timeMs, candidate.segment)) * 1000 + this.#stampCounter;
    let stamp = own;
    const base = record.version?.[1];
    if (base !== undefined && base <= (now + stampAheadMaxMs) * 1000) stamp = Math.max(stamp, base + 1);
    if (record.offer) stamp = Math.max(stamp, record.offer.stamp + 1);
    if (record.gone !== undefined && record.gone <= (now + goneAheadMaxMs) * 1000) {
      stamp = Math.max(stamp, record.gone + 1);
    }
    // A model of one device that only syncs up has no base that says what the table has.
    if (!isTracked(candidate.model)) {
      // Recent stamps are remembered, and stamps from before this start are not above the floor. Without the floor, a
      // clock that was set back while no agent ran would make the newer state look older than the device's own older
      // version.
      for (const sent of [this.#sends.stampOf(candidate.text), this.#stampFloor]) {
        if (sent !== undefined && sent <= (now + stampAheadMaxMs) * 1000) stamp = Math.max(stamp, sent + 1);
      }
    }
    // Raised twice above the same version, it would be the same stamp twice.
    if (stamp > own && record.issued !== undefined) stamp = Math.max(stamp, record.issued + 1);
    const prior = [...candidate.prior, ...record.prior ?? []];
    while (stamp === record.issued || prior.some((v) => v[1] === stamp)) stamp++;
    return stamp;
  }

  /**
   * The item as it is sent: untouched attributes as the base has them, `updated` set from the stamp, and in a create
   * also `created`, if the row got it by default at its commit. The row is updated if that changed them.
   */
  #stampedItem(
    candidate: Candidate,
    row: LocalRow,
    { base, offer }: ItemRecord,
    stamp: number,
    op: string,
  ): Attributes {
    const { store, clock } = this.context;
    const { model } = candidate;
    const rows = store.rows(model);
    // A write over an item that was to be offered: attributes that the row does not have stay as they were.
    let item = rows.merged(row, offer?.item ?? base);
    const moved: { created?: number; updated?: number } = {};
    for (const which of ["created", "updated"] as const) {
      const name = which === "created" ? model.createdField : model.updatedField;
      const field = name === undefined ? undefined : fieldOf(model, name);
      if (!field || !field.synced) continue;
      const has = item[field.attribute] == null ? undefined : jsonToDate(field, item[field.attribute]!)?.getTime();
      let wanted = Math.floor(stamp / 1000);
      if (which === "created") {
        if (op !== "create" || has === undefined || Math.abs(has - candidate.firstTimeMs) > 2000) continue;
        wanted = Math.floor(clock.correctedMs(candidate.firstTimeMs, candidate.segment));
      }
      if (has === wanted) continue;
      item = { ...item, [field.attribute]: dateToJson(field, new Date(wanted)) };
      moved[which] = wanted;
    }
    if (moved.created !== undefined || moved.updated !== undefined) {
      try {
        store.applying(() => rows.setTimestamps(row.id, moved));
      } catch (error) {
        // An application's trigger may refuse it: the item is sent with these times all the same.
        if (isEnvironmental(error) || !store.db.inTransaction) throw error;
      }
    }
    return item;
  }

  #tooLarge(flight: Flight, bytes: number): void {
    const { store, counters, clock } = this.context;
    const { change } = flight;
    counters.rejected++;
    keepRejected(store.db, {
      model: change.model,
      key: JSON.stringify(flight.keyAttributes),
      op: change.op,
      item: change.item,
      code: "too-large",
      reason: `the change is ${bytes} bytes as JSON; an item of a DynamoDB table holds 400 KB`,
      stamp: change.stamp,
      timeMs: clock.nowMs(),
    });
    // The table never had it: the row goes back to what the table has.
    const record = this.context.records.open(flight.model, flight.key);
    const current = record.base ? { model: change.model, item: record.base, version: record.version } : null;
    store.applying(() => place(this.context, record, current, flight.keyAttributes));
    this.context.records.save(record);
  }

  /** An answer. Unknown batches (answered already, or of a rolled-back database) are ignored. */
  acknowledged(ack: Ack): void {
    const batch = this.context.inFlight.batches.get(ack.batch);
    if (!batch) {
      this.context.counters.ignored++;
      return;
    }
    settleAnswers(this.context, batch, ack);
    traceSent(this.context, batch, ack);
  }

  /** A batch that the cloud could not read as a whole. Unknown ones are ignored, as above. */
  refused({ batch: id, reason }: Refused): void {
    const batch = this.context.inFlight.batches.get(id);
    if (batch) refusedByCloud(this.context, batch, reason);
    else this.context.counters.ignored++;
  }
}

/** What a change contains of its base: the version, and the content if a version cannot decide (rules §3). */
function baseOf(model: Model, known: Attributes, version: Version | undefined): Base {
  // The base may still contain an attribute that no longer travels: the cloud compares only what it would have itself.
  const local = model.fields.filter((field) => !field.synced && field.attribute in known);
  const item = local.length === 0
    ? known
    : Object.fromEntries(Object.entries(known).filter(([name]) => !local.some(({ attribute }) => attribute === name)));
  if (version && (model.conflict === "newest" || model.sync === "up")) return { version, digest: digest(item) };
  return { version, item };
}
