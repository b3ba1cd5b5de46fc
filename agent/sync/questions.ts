/**
 * The open questions: what the device asked the cloud and has no answer to yet, when it asks again, and whether an
 * answer fits. `requests.ts` has the waits; the downlink handles the answers.
 *
 *     ask ──▶ out ──take──▶ (answered)            missing ──▶ planned ──after a part of the window──▶ ask
 *              │ ▲
 *              └─┘ overdue: the same question again, from the same cursor under the same id
 *
 * @module
 */
import type { Channel, CursorOf, Key, Later, Sync } from "../../protocol.ts";
import type { Context } from "./context.ts";
import { hasten, postpone, repeated, type Request, waitMs } from "./requests.ts";

/** How often the device asks the cloud for a sign of life: no more often than it repeats the questions themselves. */
const proofMs = 60_000;

/** A question for named keys. */
export interface FetchRequest extends Request {
  readonly keys: readonly Key[];
  /** The recheck serial of each asked key. */
  readonly serials: Map<string, number>;
}

/** What the questions need to know of the downlink. */
export interface Asker {
  readonly context: Context;
  readonly channels: readonly Channel[];
  /** The channel's present cursor. */
  cursorOf(channel: Channel): CursorOf;
  /** The number of settlements. */
  readonly settledSerial: number;
  /** When the cloud last answered anything (monotonic), to tell whether it is unreachable. */
  readonly answeredMs: number;
  /** The answer to this question does not get through. */
  swallowed(id: string): void;
}

/** See the module. */
export class Questions {
  readonly #requests: Map<Channel, Request> = new Map();
  /** The cursor from which each channel's question was asked, as text: its answer fits only from there. */
  readonly #askedFrom: Map<Channel, string> = new Map();
  /** Channels that are to be asked for at a monotonic time: something is missing, and other devices miss it, too. */
  readonly #planned: Map<Channel, number> = new Map();
  /** The request for the page after one that has arrived and is not applied yet. */
  readonly #ahead: Map<Channel, Request> = new Map();
  #fetch: FetchRequest | undefined;
  #time: Request | undefined;
  #counter = 0;
  #nextProofMs = -Infinity;

  constructor(readonly asker: Asker) {}

  clear(): void {
    this.#requests.clear();
    this.#planned.clear();
    this.#ahead.clear();
    this.#fetch = undefined;
    this.#time = undefined;
  }

  /** No open question could bring an item. */
  get none(): boolean {
    return this.#requests.size === 0 && !this.#fetch;
  }

  has(channel: Channel): boolean {
    return this.#requests.has(channel);
  }

  get fetching(): boolean {
    return this.#fetch !== undefined;
  }

  #new(): Request {
    const { clock, limits, random, incarnation } = this.asker.context, firstMs = clock.monotonicMs();
    return {
      id: `${incarnation}/${++this.#counter}`,
      settledSerial: this.asker.settledSerial,
      firstMs,
      overdueMs: firstMs + waitMs(limits, 0, random),
      repeats: 0,
      unheard: 1,
      earlierMs: firstMs,
      lastMs: firstMs,
    };
  }

  /**
   * Asks for the named channels from their cursors; a device without channels asks for the time. Does not repeat an
   * open question, unless `force`.
   */
  sync(channels: readonly Channel[], force: boolean): void {
    const asked = channels.filter((channel) => force || !this.#requests.has(channel));
    if (asked.length === 0 && channels.length > 0) return;
    const request = this.#new();
    for (const channel of asked) {
      this.#requests.set(channel, request);
      this.#ahead.delete(channel);
      this.#planned.delete(channel);
    }
    if (asked.length === 0) this.#time = request;
    this.#send(request, asked);
  }

  #send({ id }: Request, channels: readonly Channel[]): void {
    const cursors = channels.map((channel) => this.asker.cursorOf(channel));
    cursors.forEach((cursor) => this.#askedFrom.set(cursor.channel, JSON.stringify(cursor)));
    this.asker.context.send(this.#syncOf(id, cursors));
  }

  /** Asks again, under the same id where the cursor is still the one that was asked from: any answer to it will do. */
  #askAgain(channels: readonly Channel[]): void {
    const { clock, limits, random } = this.asker.context;
    const moved = channels.filter((c) => this.#askedFrom.get(c) !== JSON.stringify(this.asker.cursorOf(c)));
    const still = channels.filter((channel) => !moved.includes(channel));
    for (const request of new Set(still.map((channel) => this.#requests.get(channel)!))) {
      repeated(request, limits, clock.monotonicMs(), random);
      this.#send(request, still.filter((channel) => this.#requests.get(channel) === request));
    }
    if (moved.length > 0) this.sync(moved, true);
  }

  #syncOf(request: string, channels: readonly CursorOf[]): Sync {
    const { store, restores: { epoch } } = this.asker.context, { fingerprint: schema } = store.schema;
    return { type: "sync", request, channels, schema, ...(epoch === undefined ? {} : { epoch }), later: 1 };
  }

  /** Something of a channel is missing that other devices miss as well: asks after a random part of the window. */
  missing(channel: Channel, windowMs: number): void {
    if (windowMs === 0) return this.sync([channel], false);
    if (this.#requests.has(channel) || this.#planned.has(channel)) return;
    this.#planned.set(channel, this.asker.context.clock.monotonicMs() + windowMs * this.asker.context.random());
  }

  /** The cloud says that an answer will take a while. */
  later({ request, afterMs }: Later): void {
    const now = this.asker.context.clock.monotonicMs();
    for (const out of this.#out()) if (out.id === request) postpone(out, now, afterMs);
  }

  /** A worker has started to receive: earlier questions may have been lost. */
  workerBack(windowMs: number): void {
    const { clock, random } = this.asker.context, now = clock.monotonicMs();
    for (const out of new Set(this.#out())) hasten(out, now, windowMs, random);
  }

  /** The highest number of repetitions among the open questions. */
  get repeats(): number {
    let most = 0;
    for (const { repeats } of this.#out()) most = Math.max(most, repeats);
    return most;
  }

  /** The questions that are out. */
  *#out(): Generator<Request> {
    yield* this.#requests.values();
    if (this.#fetch) yield this.#fetch;
    if (this.#time) yield this.#time;
  }

  /** The question for the page after one that has arrived and is not applied; undefined if it is already open. */
  askAhead(channel: Channel, request: string, from: CursorOf): Sync | undefined {
    if (this.#requests.get(channel)?.id !== request || this.#ahead.has(channel)) return undefined;
    const ahead: Request = { ...this.#new(), ahead: true };
    this.#ahead.set(channel, ahead);
    return this.#syncOf(ahead.id, [from]);
  }

  /** The question from {@link askAhead} could not be sent: it is asked when the page is applied. */
  notAsked({ request }: Sync): void {
    for (const [channel, { id }] of this.#ahead) if (id === request) this.#ahead.delete(channel);
  }

  /** Continues after a page was applied: the question is already open, or is asked now. */
  goOn(channel: Channel): void {
    const ahead = this.#ahead.get(channel);
    this.#ahead.delete(channel);
    if (!ahead) return this.sync([channel], true);
    this.#requests.set(channel, ahead);
    this.#askedFrom.set(channel, JSON.stringify(this.asker.cursorOf(channel)));
  }

  /** Closes and returns the question that this answers; undefined if no question with this id is open. */
  take(channel: Channel, id: string): Request | undefined {
    const request = this.#requests.get(channel);
    if (request?.id !== id) return undefined;
    this.#requests.delete(channel);
    return request;
  }

  takeFetch(id: string): FetchRequest | undefined {
    const request = this.#fetch;
    if (request?.id !== id) return undefined;
    this.#fetch = undefined;
    return request;
  }

  /** Closes the question for the time with this id, and returns whether there was one. */
  takeTime(id: string): boolean {
    if (this.#time?.id !== id) return false;
    this.#time = undefined;
    return true;
  }

  /** Asks for keys. Only one such question is open at a time. */
  fetch(keys: readonly Key[], serials: Map<string, number>): void {
    this.#fetch = { ...this.#new(), keys, serials };
    this.#sendFetch(this.#fetch);
  }

  #sendFetch({ id, keys }: FetchRequest): void {
    this.asker.context.send({ type: "fetch", request: id, keys, later: 1 });
  }

  /** The request with this id, if an answer to it is still wanted. */
  of(id: string): Pick<Request, "firstMs" | "ahead"> | undefined {
    for (const request of this.#out()) if (request.id === id) return request;
    return undefined;
  }

  /** The channels that wait for an answer under this id. */
  channelsOf(id: string): Channel[] {
    return [...this.#requests].flatMap(([channel, request]) => request.id === id ? [channel] : []);
  }

  /** The keys that are asked for under this id. */
  keysOf(id: string): readonly Key[] | undefined {
    return this.#fetch?.id === id ? this.#fetch.keys : undefined;
  }

  /**
   * If questions stay unanswered, asks the cloud for a sign of life: it is unreachable, or its answers are too large.
   */
  #askForProof(now: number): void {
    const { unansweredMax } = this.asker.context.limits;
    if (this.#time || now < this.#nextProofMs) return;
    const isUnsure = [...this.#out()].some(({ unheard, earlierMs }) =>
      unheard >= unansweredMax && this.asker.answeredMs <= earlierMs
    );
    if (!isUnsure) return;
    this.#nextProofMs = now + proofMs;
    this.sync([], true);
  }

  /** Overdue so often, while other answers arrive, that this answer evidently does not get through. */
  #isSwallowed({ unheard, earlierMs, overdueMs }: Request, now: number): boolean {
    const { answeredMs, context: { limits: { unansweredMax } } } = this.asker;
    return overdueMs <= now && unheard >= unansweredMax && answeredMs > earlierMs;
  }

  /** Nothing is missing of a channel any more. */
  unplan(channel: Channel): void {
    this.#planned.delete(channel);
  }

  /** Asks overdue and planned questions again. Returns the next monotonic time that something is due. */
  tick(): number {
    const { channels, context: { clock, limits, random } } = this.asker, now = clock.monotonicMs();
    for (const out of new Set(this.#out())) if (this.#isSwallowed(out, now)) this.asker.swallowed(out.id);
    this.#askForProof(now);
    const overdue = channels.filter((c) => (this.#requests.get(c)?.overdueMs ?? Infinity) <= now);
    if (overdue.length > 0) this.#askAgain(overdue);
    const planned = channels.filter((c) => (this.#planned.get(c) ?? Infinity) <= now);
    for (const channel of planned) this.#planned.delete(channel);
    if (planned.length > 0) this.sync(planned, false);
    const fetch = this.#fetch, time = this.#time;
    if (fetch && fetch.overdueMs <= now) {
      repeated(fetch, limits, now, random);
      this.#sendFetch(fetch);
    }
    if (time && time.overdueMs <= now) {
      repeated(time, limits, now, random);
      this.#send(time, []);
    }
    let due = Math.min(...this.#planned.values());
    for (const { overdueMs } of this.#out()) due = Math.min(due, overdueMs);
    return due;
  }
}
