/**
 * Fetches keys by name: those that were marked for a recheck while a local change was unsettled, those that a snapshot left
 * out, and those that could not be read. One question is open at a time.
 *
 * @module
 */
import { fetchKeysMax, type Items, type Key } from "../../protocol.ts";
import { Candidates, type Marked } from "./candidates.ts";
import type { Context } from "./context.ts";
import type { Faulty } from "./faulty.ts";
import type { Incoming } from "./incoming.ts";
import { keyText } from "./items.ts";
import type { Lacks } from "./lacks.ts";
import type { Portions } from "./portions.ts";
import type { Questions } from "./questions.ts";
import type { Settlements } from "./settlements.ts";

/** What fetching shares with the downlink. */
export interface FetchParts {
  readonly questions: Questions;
  readonly incoming: Incoming;
  readonly lacks: Lacks;
  readonly portions: Portions;
  readonly faulty: Faulty;
  readonly settlements: Settlements;
}

/** See the module. */
export class Fetches {
  readonly #candidates: Candidates;
  /** If the last answer left out every requested key: the monotonic time of the next try. Infinity otherwise. */
  #fetchAgainMs = Infinity;

  constructor(readonly context: Context, private readonly parts: FetchParts) {
    this.#candidates = new Candidates(context);
  }

  /** The open question is void. */
  clear(): void {
    this.#fetchAgainMs = Infinity;
  }

  /** A snapshot has ended: it may have left something out. */
  look(): void {
    this.#candidates.look();
  }

  /**
   * Asks for what is due by now, and for keys that are settled without an answer: their changes undid each other, or were
   * dropped at a cap. Returns the next monotonic time at which something is due.
   */
  tick(now: number): number {
    this.fetch();
    return Math.min(...[this.#fetchAgainMs, this.#candidates.dueMs].filter((at) => at > now));
  }

  /** A key without a change under way is still to be fetched: now, or when it is tried again. */
  get unfinished(): boolean {
    const { records, waits } = this.context, most = 4 * this.parts.portions.keys;
    if (this.parts.questions.fetching) return true;
    if (!records.unfetched) return false;
    return [...records.rechecks(most, waits.numbers), ...this.#candidates.all(most)].some((one) => !this.#isHeld(one));
  }

  /** A change of the key is under way: the key is fetched once that is settled. */
  #isHeld({ key, model }: Marked): boolean {
    return this.context.inFlight.get(key) !== undefined || this.context.outbox.pending(model, key);
  }

  /** Fetches keys that were marked and are settled now. Only one such request is open at a time. */
  fetch(): void {
    const { records, waits: { numbers }, clock } = this.context;
    const now = clock.monotonicMs(), waits = this.#fetchAgainMs !== Infinity && now < this.#fetchAgainMs;
    if (this.parts.questions.fetching || waits || !records.unfetched) return;
    this.#fetchAgainMs = Infinity;
    const serials = new Map<string, number>(), keys: Key[] = [], most = this.parts.portions.keys;
    const take = (marked: readonly Marked[]) => {
      for (const one of marked) {
        if (keys.length >= most) break;
        if (this.#isHeld(one)) continue;
        const { key, serial } = one;
        serials.set(keyText(key), serial);
        keys.push(key);
      }
    };
    take(records.rechecks(4 * most, numbers));
    if (keys.length < most) take(this.#candidates.take(4 * most));
    if (keys.length === 0) return;
    this.parts.questions.fetch(keys, serials);
  }

  /** Asks again for items that could not be read: the cause may be gone. Must not run inside a transaction. */
  askUnread(): void {
    const { store, asides, records } = this.context, unread = asides.unread(fetchKeysMax);
    if (unread.length === 0) return;
    store.tx(() => {
      for (const { key, model } of unread) {
        const record = records.open(model, key);
        if (record.recheck !== undefined) continue;
        records.mark(record);
        records.save(record);
      }
    });
    this.fetch();
  }

  /** The answer does not get through: asks for half as many keys, until one is set aside. Not inside a transaction. */
  tooManyKeys(id: string, keys: readonly Key[], reason: string): void {
    const { store, records } = this.context;
    const request = this.parts.questions.takeFetch(id)!;
    if (!this.parts.portions.fewerKeys(keys.length)) {
      const [key] = keys as [Key], record = records.get(key);
      store.tx(() => {
        if (!record || record.recheck !== request.serials.get(keyText(key))) return;
        record.recheck = undefined;
        this.parts.incoming.unreadable(key, reason, record.model);
        records.save(record);
      });
    }
    this.fetch();
  }

  /**
   * Fetched keys. The answer for a key is void if the key was changed, settled or marked again since the question. A
   * key that the answer leaves out was not read, which does not mean absent: it is fetched again, after the others.
   */
  items(message: Items): void {
    const { store, records, outbox, clock, limits, random } = this.context;
    const request = this.parts.questions.takeFetch(message.request);
    if (!request) return void this.context.counters.ignored++;
    const left = new Map(request.serials), isUnknown = this.parts.lacks.isUnknown(message);
    store.tx(() => {
      store.applying(() => {
        for (const entry of message.entries) {
          const text = keyText(entry.key);
          // As if it had been left out, until a page says what this cloud sends down.
          if (!entry.current && isUnknown) continue;
          if (!left.delete(text)) continue;
          const record = records.get(entry.key);
          if (!record || record.recheck !== request.serials.get(text)) continue;
          if (this.parts.settlements.since(entry.key, request)) continue;
          if (this.context.inFlight.get(entry.key) || outbox.pending(record.model, entry.key)) continue;
          record.recheck = undefined;
          record.awaiting = false;
          const fault = entry.unreadable ?? this.parts.faulty.of(entry);
          if (fault !== undefined) this.parts.incoming.unreadable(entry.key, fault, record.model);
          else if (entry.current || !this.parts.lacks.isSilent(record.model, message)) {
            this.parts.faulty.begin(entry);
            this.parts.incoming.fetched(record, entry);
          }
          records.save(record);
          this.parts.faulty.end();
        }
      });
      for (const key of request.keys) {
        const serial = left.get(keyText(key)), record = serial === undefined ? undefined : records.get(key);
        if (record?.recheck !== serial || !record) continue;
        records.mark(record);
        records.save(record);
      }
    });
    this.parts.portions.keysArrived(message.entries.length);
    this.#candidates.answered();
    const isFruitless = left.size === request.keys.length;
    if (isFruitless) this.#fetchAgainMs = clock.monotonicMs() + limits.retryMs * (1 + random());
    this.fetch();
  }
}
