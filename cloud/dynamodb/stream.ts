/**
 * The stream's reader: a DynamoDB table's stream as the port's `ChangeStream`. One reader of a table is active at a
 * time (a lease); others stand by. Records come in order per key; each is delivered at least once, and again after a
 * restart unless its batch was checkpointed.
 *
 *     lease ─▶ list shards ─▶ read those of the frontier, several at once ─▶ batch ─▶ (handled) ─▶ checkpoint
 *                  ▲                          │ read to its end and checkpointed
 *                  └──── its children take its place in the frontier ◀───┘
 *
 * Polling: `pollMs` while records come and for `idleAfterMs` after the last one, then backing off to `idlePollMs`; a
 * write by this process wakes it at once. Costs on AWS at the time of writing ($0.02 for 100,000 reads): a shard polled
 * each 50 ms is 52 million reads a month, $10.40; backed off to 1 s, $0.52.
 *
 * @module
 */
import { pause } from "../../protocol/within.ts";
import type { ChangeStream, StreamBatch, StreamStanding, Table } from "../table/port.ts";
import { Frontier } from "./frontier.ts";
import { acquireLease, type Lease } from "./lease.ts";
import { Positions } from "./positions.ts";
import type { Sleep } from "./retry.ts";
import type { StreamSource } from "./stream_source.ts";

/** Options of the reader. Times in ms. */
export interface TailerOptions {
  readonly source: StreamSource;
  /** Where positions and the lease are stored. */
  readonly log: Table;
  /** The data table's name. */
  readonly table: string;
  readonly now: () => number;
  /** Uniform in [0, 1); names the holder of the lease. */
  readonly random: () => number;
  readonly sleep?: Sleep;
  /** A reader that is silent for so long is replaced. Default 6000; renewed every third of it: 1 write every 2 s. */
  readonly leaseMs?: number;
  /** Default 50: a record that arrives just after a read is delivered 50 ms and two requests later. */
  readonly pollMs?: number;
  /** Default 1000. */
  readonly idlePollMs?: number;
  /** Default 300,000: five minutes. */
  readonly idleAfterMs?: number;
  /** Shards read at once; a batch thus holds at most so many MB. Default 8. */
  readonly readersMax?: number;
}

const backoffFactor = 1.5;

/** The reader of a table's stream. */
export class StreamTailer implements ChangeStream {
  readonly #options: Required<TailerOptions>;
  #wake = new AbortController();
  #awake = true;
  #tails = false;
  #shards = 0;
  #polledMs = 0;
  #slowestMs: number | undefined;

  constructor(options: TailerOptions) {
    this.#options = {
      sleep: pause,
      leaseMs: 6000,
      pollMs: 50,
      idlePollMs: 1000,
      idleAfterMs: 300_000,
      readersMax: 8,
      ...options,
    };
  }

  /** Announces that a record is about to come: ends the present pause, and the backoff. */
  wake(): void {
    this.#awake = true;
    this.#wake.abort();
  }

  standing(): StreamStanding {
    if (!this.#tails) return { tails: false };
    const pollMs = this.#slowestMs;
    this.#slowestMs = undefined;
    return { tails: true, shards: this.#shards, ...(pollMs === undefined ? {} : { pollMs }) };
  }

  #polled(shards: number): void {
    const now = this.#options.now();
    if (this.#tails) this.#slowestMs = Math.max(this.#slowestMs ?? 0, now - this.#polledMs);
    this.#tails = true;
    this.#shards = shards;
    this.#polledMs = now;
  }

  async *batches(signal: AbortSignal): AsyncGenerator<StreamBatch | { readonly lost: true }> {
    const { log, table, leaseMs, now, sleep, random } = this.#options;
    const name = `stream#${table}`;
    // A name for each run, not for each reader: two runs of one reader must not mistake each other's lease for their
    // own.
    const owner = Array.from({ length: 4 }, () => Math.floor(random() * 2 ** 32).toString(36)).join("");
    while (!signal.aborted) {
      const lease = await acquireLease({ log, name, owner, leaseMs, now, sleep }, signal);
      if (!lease) return;
      try {
        const frontier = new Frontier(this.#options, lease, new Positions(log, name, lease.term), signal);
        yield* this.#tail(frontier, lease, signal);
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        this.#tails = false;
        await lease.release();
      }
    }
  }

  async *#tail(
    frontier: Frontier,
    lease: Lease,
    signal: AbortSignal,
  ): AsyncGenerator<StreamBatch | { readonly lost: true }> {
    const { now, pollMs, idlePollMs, idleAfterMs } = this.#options;
    let delayMs = pollMs, busyAt = now();
    await frontier.open();
    while (!signal.aborted && lease.held) {
      if (!await frontier.list()) return;
      if (frontier.lost) {
        yield { lost: true };
        // The caller that asks for more has started the new epochs. After a crash before this point, the loss is
        // reported again.
        await frontier.settleLoss();
        continue;
      }
      let full = false;
      const groups = frontier.groups();
      this.#polled(groups.reduce((sum, group) => sum + group.length, 0));
      for (const group of groups) {
        const read = await frontier.read(group);
        // Unwanted records keep up the pace, too: a wanted one may follow them.
        full ||= read.full;
        if (read.busy) this.#awake = true;
        yield* read.batches;
        if (signal.aborted || !lease.held) return;
      }
      await frontier.retire();
      if (this.#awake) [busyAt, this.#awake, delayMs] = [now(), false, pollMs];
      else if (now() - busyAt > idleAfterMs) delayMs = Math.min(idlePollMs, delayMs * backoffFactor);
      if (!full) await this.#pause(delayMs, signal);
    }
  }

  /** Waits, or until {@link wake}, or until the signal aborts. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    this.#wake = new AbortController();
    if (this.#awake) return;
    const abort = () => this.#wake.abort();
    signal.addEventListener("abort", abort, { once: true });
    await this.#options.sleep(ms, this.#wake.signal);
    signal.removeEventListener("abort", abort);
  }
}
