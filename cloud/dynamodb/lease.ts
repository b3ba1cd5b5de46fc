/**
 * A lease in the log table: at most one reader of a stream at a time, and a successor soon after it dies. Each holder
 * has a higher **term** than the one before; positions carry the term, so that a replaced holder cannot overwrite its
 * successor's.
 *
 *     free ──put term+1──▶ held ──beat every third of the lease──▶ held
 *       ▲                   │ no beat seen for a whole lease, by the *watcher's* clock
 *       └──release──────────┴──▶ another takes it with term+1
 *
 * A watcher measures silence by its own clock and never compares times of two machines: clocks that differ cost
 * nothing.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { Item } from "../../schema/values.ts";
import { absent, all, equals } from "../table/condition.ts";
import type { Condition, Table } from "../table/port.ts";
import type { Sleep } from "./retry.ts";

/** The context of a lease. */
export interface LeaseOptions {
  readonly log: Table;
  /** The hash value under which it is stored. */
  readonly name: string;
  /** Names this holder, unlike every other one: random. */
  readonly owner: string;
  /** How long after its last beat a silent holder is replaced, ms. */
  readonly leaseMs: number;
  readonly now: () => number;
  readonly sleep: Sleep;
}

const sortValue = "lease";

/** A held lease. It renews itself until it is released or lost. */
export class Lease {
  /** Higher than that of every holder before. */
  readonly term: number;
  readonly #options: LeaseOptions;
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  #beat: number;
  #renewedAt: number;
  #lost = false;
  #fault: unknown;

  /** Use {@link acquireLease}. */
  constructor(options: LeaseOptions, term: number, beat: number) {
    this.#options = options;
    this.term = term;
    this.#beat = beat;
    this.#renewedAt = options.now();
    this.#renewing = this.#renew();
  }

  /** Whether it is certain that no one else has taken it. */
  get held(): boolean {
    return !this.#lost && this.#options.now() - this.#renewedAt < this.#options.leaseMs;
  }

  /** Called when a write found a higher term. */
  lose(): void {
    this.#lost = true;
    this.#stop.abort();
  }

  /** Stops renewing and admits the next holder at once. If the release fails, the lease expires by itself. */
  async release(): Promise<void> {
    this.#stop.abort();
    await this.#renewing;
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#lost) return;
    this.#lost = true;
    try {
      await put(this.#options, { owner: "", term: this.term, beat: this.#beat + 1 }, ours(this.term));
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
    }
  }

  async #renew(): Promise<void> {
    const { leaseMs, now, sleep, owner } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(leaseMs / 3, signal);
      if (signal.aborted) return;
      const begunAt = now();
      try {
        const kept = await put(this.#options, { owner, term: this.term, beat: ++this.#beat }, ours(this.term));
        if (kept === "refused") return this.lose();
        if (kept === "written") this.#renewedAt = begunAt;
      } catch (error) {
        // The table can't be reached: tried again at the next beat; `held` turns false by itself in the meantime.
        if (error instanceof SyncError) continue;
        // Not an operating fault: it is thrown in `release`, where a caller waits for it.
        this.#fault = error;
        return this.lose();
      }
    }
  }
}

/** Waits for the lease; undefined once the signal aborts. @throws SyncError if the table can't be used. */
export async function acquireLease(options: LeaseOptions, signal: AbortSignal): Promise<Lease | undefined> {
  const { log, name, owner, leaseMs, now, sleep } = options;
  let seen: { readonly state: string; readonly at: number } | undefined;
  while (!signal.aborted) {
    const begunAt = now();
    const [item] = await log.get([[name, sortValue]]);
    const term = numberOf(item, "term"), beat = numberOf(item, "beat");
    const state = `${term} ${beat}`;
    if (seen?.state !== state) seen = { state, at: begunAt };
    const free = item === undefined || item.owner === "" || now() - seen.at >= leaseMs;
    if (free) {
      const condition = item === undefined ? absent : all(equals("term", term), equals("beat", beat));
      const taken = await put(options, { owner, term: term + 1, beat: beat + 1 }, condition);
      if (taken === "written") return new Lease(options, term + 1, beat + 1);
      // Refused: another one was faster, or our own put succeeded and its answer was lost. In both cases the next read
      // shows it.
      const [current] = await log.get([[name, sortValue]]);
      if (current?.owner === owner && numberOf(current, "term") === term + 1) {
        return new Lease(options, term + 1, beat + 1);
      }
      continue;
    }
    await sleep(leaseMs / 4, signal);
  }
  return undefined;
}

function ours(term: number): Condition {
  return equals("term", term);
}

async function put(
  { log, name }: LeaseOptions,
  content: { readonly owner: string; readonly term: number; readonly beat: number },
  condition: Condition,
): Promise<"written" | "refused" | "unknown"> {
  const [result] = await log.write([{ op: "put", item: { hash: name, sort: sortValue, ...content }, condition }]);
  return result?.outcome === "written" || result?.outcome === "refused" ? result.outcome : "unknown";
}

function numberOf(item: Item | undefined, attribute: string): number {
  const value = item?.[attribute];
  return typeof value === "number" ? value : 0;
}
