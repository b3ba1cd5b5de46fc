/**
 * What one entry of a channel does to its key: the table of rules §6. The device compares no stamps.
 *
 * | key | mark | item, or its absence |
 * | --- | --- | --- |
 * | clean | equal version: nothing; else recheck | row and base := it |
 * | pending, in flight | recheck, unless it is the echo of what is in flight | the same |
 * | awaiting echo | equal: clean; else recheck | identical to the base: clean; else recheck |
 * | any, with `was` | – | `gone` := max; a flight of that version is settled |
 * | any, with `over` | – | `superseded` := max; a flight of that version is settled |
 *
 * An entry that only names its item (rule D4) is a recheck.
 *
 * @module
 */
import { type Attributes, jsonEquals, SyncError } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Current, Entry, Key, Version } from "../../protocol.ts";
import { place as placeItem } from "./answers.ts";
import type { Context } from "./context.ts";
import type { Flight } from "./flight.ts";
import { heal, keepAside, keepRestored } from "./heal.ts";
import type { LocalRow } from "../store/store.ts";
import { comesDown, expiresByText, goesUp, isRowExpired, type ItemRecord, keyAttributesOf } from "./items.ts";

/** Applies entries to keys. */
export class Incoming {
  readonly #context: Context;
  /** A snapshot of a restored table is under way: incoming items may be older than the rows. */
  restoring = false;

  constructor(context: Context) {
    this.#context = context;
  }

  #modelOf(entry: Entry, record: ItemRecord | undefined): Model | undefined {
    const name = entry.current?.model ?? entry.mark?.model ?? entry.named;
    if (name === undefined) return record?.model ?? this.#modelByKey(entry.key);
    const model = this.#context.store.schema.models.get(name);
    return model?.onDevice && comesDown(model) ? model : undefined;
  }

  /**
   * The model of an absent item that has no record: the one whose table holds a row with its key, or has the key set
   * aside.
   */
  #modelByKey(key: Key): Model | undefined {
    for (const model of this.#context.store.schema.models.values()) {
      if (!model.onDevice || !comesDown(model)) continue;
      if (this.#context.store.rows(model).idByKey(key) !== undefined) return model;
    }
    return this.#context.asides.modelOf(key);
  }

  /**
   * One entry: the table of rules §6. Must run inside the transaction that moves the cursor, with capture off.
   *
   * @param quiet nothing is pending or in flight anywhere: then no key needs a look-up
   * @param outdated the key was settled after this page was requested, so the page may be older
   */
  apply(entry: Entry, quiet: boolean, outdated: boolean): void {
    const { records, outbox, asides, inFlight } = this.#context;
    if (entry.unreadable !== undefined) return this.unreadable(entry.key, entry.unreadable);
    let record = records.get(entry.key);
    const model = this.#modelOf(entry, record);
    if (!model || !comesDown(model)) {
      asides.drop(entry.key);
      this.#context.counters.ignored++;
      return;
    }
    record ??= records.open(model, entry.key);
    if (outdated) record.awaiting = true;
    this.#noteGone(record, entry);
    const flight = inFlight.get(entry.key);
    if (flight && entry.was) this.#cameAndWent(flight, record, entry.was);
    if (flight && entry.over && !flight.settled) this.#cameAndWent(flight, record, entry.over);
    // Looked up again: the flight may have been settled meanwhile.
    const unsettled = !quiet && (inFlight.get(entry.key) !== undefined || outbox.pending(model, entry.key));
    if (flight && !flight.settled && isEchoOf(flight, entry)) flight.echoed = true;
    else if (unsettled || entry.named !== undefined) {
      if (flight) flight.echoed = false;
      records.mark(record);
    } else if (entry.mark) {
      const [source, stamp] = entry.mark.version;
      const equal = record.version?.[0] === source && record.version[1] === stamp;
      if (!equal || record.base === undefined) records.mark(record);
      else {
        record.awaiting = false;
        // The table has it, even if it was restored.
        record.era = records.learnt.era;
        // Removed, and back with the same version: a duplicate of the write arrived after the removal.
        if (entry.was && stamp <= entry.was[1]) this.place(record, { ...entry, current: ownOf(record) });
      }
    } else if (record.awaiting) {
      if (this.#isBase(record, entry)) {
        record.awaiting = false;
        // Usually the row already has this content and is left alone, because `_changes` does not list an application's
        // own writes. Exceptions: a duplicate brought the item back, or a new schema has a column for an attribute that
        // only the base carried (sim: versions 4020804).
        this.place(record, entry);
      } else records.mark(record);
    } else if (record.recheck !== undefined) records.mark(record);
    else this.place(record, entry);
    if (model.sync === "down") this.#untrack(record);
    records.save(record);
  }

  /**
   * An unreadable entry says nothing about its item, not even that it is absent: it is set aside, and delays only
   * itself.
   */
  unreadable(key: Key, reason: string, model?: Model): void {
    const { asides, clock, counters, records } = this.#context;
    counters.ignored++;
    asides.unreadable(key, reason, clock.nowMs(), records.get(key)?.model ?? this.#modelByKey(key) ?? model);
  }

  /**
   * Notes versions that are no longer in the table. A version that an item without one replaced (`over`) counts as removed
   * once that item is removed, for that removal does not name it. Not earlier: whoever replaced the version may put it back,
   * and the device would remove it.
   */
  #noteGone(record: ItemRecord, entry: Entry): void {
    const { was, removed, over, current, mark, named, foreign } = entry;
    if (was || removed) this.#supersededIsGone(record);
    if (was) record.gone = Math.max(record.gone ?? 0, was[1]);
    else if (removed) this.#removedUnstamped(record, entry);
    if (over && goesUp(record.model)) record.superseded = Math.max(record.superseded ?? 0, over[1]);
    if (!current && !mark && named === undefined && !foreign) this.#supersededIsGone(record);
  }

  /** Not after a restore: nobody removed what the restored table lacks. */
  #supersededIsGone(record: ItemRecord): void {
    const { superseded } = record;
    if (superseded === undefined) return;
    if (!this.#context.restores.hasLost(record)) record.gone = Math.max(record.gone ?? 0, superseded);
    record.superseded = undefined;
  }

  /**
   * An item without a version was removed. It is unknown which of this device's writes it replaced, so all of them
   * count as removed. The exception is the last one if its echo was not seen, or is in this entry: it may have been
   * made after the removal, by an application that replaced the item.
   */
  #removedUnstamped(record: ItemRecord, entry: Entry): void {
    const flight = this.#context.inFlight.get(record.key);
    const issued = Math.max(record.issued ?? 0, ...flight?.stamps.map(([, stamp]) => stamp) ?? []);
    const shown = entry.named !== undefined || (entry.mark?.version ?? entry.current?.version)?.[1] === issued;
    const unseen = shown || (flight ? flight.change.op !== "remove" : record.awaiting && record.base !== undefined);
    const gone = unseen ? issued - 1 : issued;
    if (gone > 0) record.gone = Math.max(record.gone ?? 0, gone);
  }

  /**
   * A model that only comes down is never sent: its record is not needed once the row is in place. But if the item's
   * expiry is a text, only the base says that the row cannot expire.
   */
  #untrack(record: ItemRecord): void {
    if (record.recheck !== undefined || record.awaiting) return;
    if (record.base && expiresByText(record.model, record.base)) return;
    record.base =
      record.version =
      record.gone =
      record.issued =
        undefined;
  }

  /** The entry is exactly the record's base: the awaited echo of this device's own write. */
  #isBase(record: ItemRecord, { current }: Entry): boolean {
    if (!current || !record.base) return current === undefined && record.base === undefined;
    const version = current.version;
    if (version?.[0] !== record.version?.[0] || version?.[1] !== record.version?.[1]) return false;
    return sameAttributes(current.item, record.base);
  }

  /**
   * What a fetch by name found. If a snapshot did not show a row, and the table does not have it, a copy goes to
   * `_conflicts` (rule C2). If its time has come, it has expired, and no copy is needed.
   */
  fetched(record: ItemRecord, entry: Entry): void {
    const { store, records, clock, counters, restores } = this.#context;
    if (!entry.current) this.#supersededIsGone(record);
    if (record.swept && !entry.current && !restores.hasLost(record)) {
      const row = readable(() => store.rows(record.model).byKey(record.key));
      const item = row ? store.rows(record.model).merged(row, record.base) : record.base;
      if (item && !isRowExpired(record.model, item, record.base, clock.nowMs())) {
        counters.conflicts++;
        const named = keyAttributesOf(record.model, item);
        records.conflict(record.model, named, "update", item, "swept", record.version, clock.nowMs());
      }
    }
    this.place(record, entry);
  }

  /**
   * Makes row and base equal to the entry. But what a restored table lacks is offered to it, or goes to `_conflicts`
   * (`heal.ts`).
   */
  place(record: ItemRecord, entry: Entry): void {
    const { restores } = this.#context;
    keepAside(this.#context, record, entry.current);
    if (restores.hasLost(record) && heal(this.#context, record, entry.current)) return;
    if (this.restoring && record.model.sync === "down") this.#keepRow(record, entry);
    const row = () => readable(() => this.#context.store.rows(record.model).byKey(record.key));
    const item = entry.current?.item ?? record.base ?? row()?.item;
    placeItem(this.#context, record, entry.current ?? null, keyAttributesOf(record.model, item ?? {}));
  }

  /**
   * In a model that only comes down, nothing says when its row was learnt, so every difference goes to `_conflicts`.
   */
  #keepRow(record: ItemRecord, { current }: Entry): void {
    const { store } = this.#context, rows = store.rows(record.model);
    const row = readable(() => rows.byKey(record.key));
    if (row && current && !rows.equals(row, current.item)) keepRestored(this.#context, record, row.item);
  }

  /**
   * A write of this device that was removed, or overwritten by a program that writes no version, before its answer came:
   * settled as written, never sent again. If a newer local write waits, it is based on what was written; otherwise the key
   * is fetched.
   */
  #cameAndWent(flight: Flight, record: ItemRecord, was: Version): void {
    const { outbox, records } = this.#context;
    const own = flight.stamps.find(([source, stamp]) => source === was[0] && stamp === was[1]);
    if (!own || flight.change.op === "remove") return;
    outbox.forget(flight.entries);
    this.#context.inFlight.settle(flight);
    // The batch that remembered the stamp goes.
    record.issued = Math.max(record.issued ?? 0, flight.change.stamp);
    if (outbox.pending(record.model, record.key)) {
      record.base = flight.change.item;
      record.version = own;
    }
    records.mark(record);
  }
}

/** A row, or none if it has a value that its column's type does not allow: then only the base is known. */
function readable(read: () => LocalRow | undefined): LocalRow | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof SyncError && error.code === "invalid") return undefined;
    throw error;
  }
}

/** The entry shows what the flight wrote: its answer will say the same. */
function isEchoOf({ change, stamps }: Flight, { current, mark, named }: Entry): boolean {
  const version = mark?.version ?? current?.version;
  // An entry that only names its item does not say whose version it is.
  if (named !== undefined) return false;
  if (change.op === "remove") return current === undefined && mark === undefined;
  const [source, stamp] = stamps.at(-1)!;
  if (version?.[0] !== source || version[1] !== stamp) return false;
  return mark !== undefined || sameAttributes(current!.item, change.item!);
}

/** The record's base as the item that the table has. */
function ownOf({ model, base, version }: ItemRecord): Current {
  return { model: model.name, item: base!, version };
}

function sameAttributes(a: Attributes, b: Attributes): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((n) => Object.hasOwn(b, n) && jsonEquals(a[n]!, b[n]!));
}
