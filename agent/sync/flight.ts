/**
 * Batches in flight: sent and not answered yet. A batch is stored before it is first sent, and resent byte-identical
 * (except the time of transmission), because its stamps name exactly this content. It is deleted in the transaction
 * that settles its last change.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { type Attributes, modelDigest, parseJson, renderKey } from "../../schema.ts";
import { type Change, changeText, type Key, type Version, withList } from "../../protocol.ts";
import { keyAttributesOf, keyText } from "./items.ts";
import type { Runs } from "./runs.ts";
import type { Store } from "../store/store.ts";

/** One change in flight. */
export interface Flight {
  readonly model: Model;
  readonly key: Key;
  readonly text: string;
  /** The key fields' attributes: the form of the key in `_conflicts` and in a hint. */
  readonly keyAttributes: Attributes;
  readonly change: Change;
  /** The base's attributes when the change was made: what a merge is made against. */
  readonly base?: Attributes;
  readonly entries: Runs;
  readonly upto: number;
  /** The versions under which this state was sent: the present one last, before it those of earlier transmissions. */
  readonly stamps: Version[];
  /** The key's record contains versions that the cloud refused because of its schema (`ItemRecord.prior`). */
  readonly tried?: true;
  /** It is offered to a restored table (`heal.ts`). */
  readonly offer?: true;
  /**
   * Settled by something else than its answer (its removal came down first): it is not sent again, and its answer is
   * ignored.
   */
  settled?: boolean;
  /**
   * Its echo came down before its answer: the answer then makes the key clean at once. In memory only; losing it costs
   * a fetch.
   */
  echoed?: boolean;
}

/** A batch in flight. */
export interface Batch {
  readonly id: string;
  /** `<device>#<incarnation>` of its changes. */
  readonly source: string;
  readonly flights: Flight[];
  /** Contains only models that only sync up: sent as soon as the cloud's time is known. */
  readonly upOnly: boolean;
  /**
   * The digests of the changes' models in the schema that they were made under. Absent: an older version of Twintable
   * made it.
   */
  readonly schemas?: Readonly<Record<string, string>>;
  /** Read from the database: it may have been sent before this start. */
  readonly restored?: true;
  /**
   * Monotonic time of the first transmission, once it was sent; long ago if it may have been sent before this start.
   */
  firstMs?: number;
  /** Monotonic time of the last transmission, and of the one before it. */
  sentMs?: number;
  earlierMs?: number;
  /** Monotonic time at which it is sent again; undefined: not sent since the link came up. */
  retryAtMs?: number;
  /** Transmissions since the last answer of any kind. */
  attempts: number;
  /** Transmissions since the last answer about it, within this connection. */
  unanswered: number;
  /** Monotonic time before which it is not sent again (throttled). */
  notBeforeMs?: number;
}

/** The batches in flight, in memory and in `_inflight`. */
export class InFlight {
  readonly batches: Map<string, Batch> = new Map();
  readonly #byKey: Map<string, Flight> = new Map();

  constructor(readonly store: Store, readonly deviceId: string) {}

  get(key: Key): Flight | undefined {
    return this.#byKey.size === 0 ? undefined : this.#byKey.get(keyText(key));
  }

  has(text: string): boolean {
    return this.#byKey.has(text);
  }

  /** All batches are sent again as soon as they may be, as if for the first time. */
  sendAgain(): void {
    for (const batch of this.batches.values()) {
      batch.retryAtMs = undefined;
      batch.attempts = 0;
      batch.unanswered = 0;
      batch.notBeforeMs = undefined;
    }
  }

  /** Reads `_inflight`: after a start, or after a transaction failed. */
  restart(): void {
    this.batches.clear();
    this.#byKey.clear();
    for (const row of this.store.db.sql("SELECT batch, payload FROM _inflight ORDER BY serial").all()) {
      const id = row.batch as string;
      const stored = parseJson(row.payload as string) as unknown as StoredBatch;
      const flights = stored.flights.flatMap((flight) => this.#restored(flight, this.#sourceOf(id)));
      const { upOnly, schemas } = stored;
      const batch = this.#hold({
        id,
        source: this.#sourceOf(id),
        flights,
        upOnly,
        schemas,
        restored: true,
        attempts: 0,
        unanswered: 0,
      });
      // The new schema lacks models of this batch: an answer's indexes would no longer fit.
      if (flights.length < stored.flights.length) this.store.tx(() => this.reissue(batch, flights));
    }
  }

  /** A flight from its stored form; undefined if the schema no longer has its model. */
  #restored({ change, base, entries, upto, prior = [], tried, offer }: StoredFlight, source: string): Flight[] {
    const model = this.store.schema.models.get(change.model);
    if (!model?.onDevice || model.sync === "none") return [];
    const keyAttributes = change.key ?? keyAttributesOf(model, change.item!);
    const key = renderKey(model, keyAttributes, this.store.identity);
    if (!key) return [];
    const stamps: Version[] = [...prior, [source, change.stamp]];
    return [{ model, key, text: keyText(key), keyAttributes, change, base, entries, upto, stamps, tried, offer }];
  }

  #sourceOf(batchId: string): string {
    return `${this.deviceId}#${batchId.slice(0, batchId.lastIndexOf("/"))}`;
  }

  #hold(batch: Batch): Batch {
    this.batches.set(batch.id, batch);
    for (const flight of batch.flights) if (!flight.settled) this.#byKey.set(flight.text, flight);
    return batch;
  }

  /** A new batch number. It continues to count across starts, so that no answer to an older batch matches this one. */
  #nextId(incarnation: string): { id: string; serial: number } {
    const serial = Number(this.store.getMeta("batchSerial") ?? 0) + 1;
    this.store.setMeta("batchSerial", serial);
    return { id: `${incarnation}/${serial}`, serial };
  }

  /** Stores a new batch. Must run inside the transaction that gave the stamps; the caller sends after it is committed. */
  add(
    incarnation: string,
    flights: Flight[],
    upOnly: boolean,
    schemas: Batch["schemas"] = this.#schemasOf(flights),
  ): Batch {
    const { id, serial } = this.#nextId(incarnation);
    const payload = withList({ upOnly, schemas }, "flights", flights.map(storedText));
    this.store.db.sql("INSERT INTO _inflight(batch, serial, payload) VALUES (?, ?, ?)").run(id, serial, payload);
    return this.#hold({ id, source: this.#sourceOf(id), flights, upOnly, schemas, attempts: 0, unanswered: 0 });
  }

  #schemasOf(flights: readonly Flight[]): Readonly<Record<string, string>> {
    const models = new Set(flights.map(({ model }) => model));
    return Object.fromEntries([...models].map((model) => [model.name, modelDigest(this.store.schema, model)]));
  }

  /** Removes a batch; the caller stores or settles its unsettled flights. Must run inside a transaction. */
  remove(batch: Batch): void {
    this.batches.delete(batch.id);
    for (const flight of batch.flights) {
      if (this.#byKey.get(flight.text) === flight) this.#byKey.delete(flight.text);
    }
    this.store.db.sql("DELETE FROM _inflight WHERE batch = ?").run(batch.id);
  }

  /**
   * Moves the rest of a batch to a new id, with its own incarnation, so that an answer to the old id, whose indexes no
   * longer fit, is ignored. Returns the new batch, if anything is left.
   */
  reissue(batch: Batch, left: Flight[]): Batch | undefined {
    return this.replace(batch, [left])[0];
  }

  /** As {@link reissue}, in several batches; none for an empty list. */
  replace(batch: Batch, parts: readonly Flight[][]): Batch[] {
    this.remove(batch);
    const incarnation = batch.source.slice(this.deviceId.length + 1), schemas = batch.schemas ?? {};
    return parts.filter((part) => part.length > 0).map((part) => this.add(incarnation, part, batch.upOnly, schemas));
  }

  /** The outbox entries of all changes in flight. */
  entries(): Runs[] {
    return [...this.batches.values()].flatMap(({ flights }) => flights.map(({ entries }) => entries));
  }

  /** Removes one change because something else settled it; the batch is reissued when it is next sent. */
  settle(flight: Flight): void {
    flight.settled = true;
    if (this.#byKey.get(flight.text) === flight) this.#byKey.delete(flight.text);
  }
}

/** The stored form of a batch. */
interface StoredBatch extends Pick<Batch, "upOnly" | "schemas"> {
  readonly flights: StoredFlight[];
}

/** The stored form of a flight; the rest is derived from it. */
interface StoredFlight extends Pick<Flight, "change" | "base" | "entries" | "upto" | "tried" | "offer"> {
  readonly prior?: Version[];
}

function storedText({ change, base, entries, upto, stamps, tried, offer }: Flight): string {
  const rest: Omit<StoredFlight, "change"> = { base, entries, upto, tried, offer };
  const text = JSON.stringify(stamps.length > 1 ? { ...rest, prior: stamps.slice(0, -1) } : rest);
  return `${text.slice(0, -1)},"change":${changeText(change)}}`;
}
