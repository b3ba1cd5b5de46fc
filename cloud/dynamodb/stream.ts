/**
 * The tailer: a DynamoDB table's stream as the port's `ChangeStream`. One tailer of a table is active at a time (a lease);
 * others stand by. Records come in order per key; each is delivered at least once, and again after a restart unless its
 * batch was checkpointed.
 *
 *     lease ─▶ list shards ─▶ read those of the frontier, several at once ─▶ batch ─▶ (handled) ─▶ checkpoint
 *                  ▲                          │ read to its end and checkpointed
 *                  └──── its children take its place in the frontier ◀───┘
 *
 * Polling: `pollMs` while records come and for `idleAfterMs` after the last one, then backing off to `idlePollMs`; a write by
 * this process wakes it at once. Costs on AWS at the time of writing ($0.02 for 100,000 reads): a shard polled each 50 ms is
 * 52 million reads a month, $10.40; backed off to 1 s, $0.52.
 *
 * @module
 */
import { pause } from "../sync/bounded.ts";
import type { ChangeStream, StreamBatch, Table } from "../table/port.ts";
import { Frontier } from "./frontier.ts";
import { acquireLease, type Lease } from "./lease.ts";
import { Positions } from "./positions.ts";
import type { Sleep } from "./retry.ts";
import type { StreamSource } from "./stream_source.ts";

/** How a tailer works. Times in ms. */
export interface TailerOptions {
  readonly source: StreamSource;
  /** Where positions and the lease are kept. */
  readonly log: Table;
  /** The data table's name. */
  readonly table: string;
  readonly now: () => number;
  /** Uniform in [0, 1); names the holder of the lease. */
  readonly random: () => number;
  readonly sleep?: Sleep;
  /** A tailer that is silent for so long is replaced. Default 6000; renewed each third of it: 1 write each 2 s. */
  readonly leaseMs?: number;
  /** Default 50: a record that comes just after a read is had 50 ms and two requests later. */
  readonly pollMs?: number;
  /** Default 1000. */
  readonly idlePollMs?: number;
  /** Default 300,000: five minutes. */
  readonly idleAfterMs?: number;
  /** Shards read at once; a batch thus holds at most so many MB. Default 8. */
  readonly readersMax?: number;
}

const backoffFactor = 1.5;

/** A table's stream, tailed. */
export class StreamTailer implements ChangeStream {
  readonly #options: Required<TailerOptions>;
  #wake = new AbortController();
  #awake = true;

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

  /** Says that a record is about to come: ends the pause under way, and the backing off. */
  wake(): void {
    this.#awake = true;
    this.#wake.abort();
  }

  async *batches(signal: AbortSignal): AsyncGenerator<StreamBatch | { readonly lost: true }> {
    const { log, table, leaseMs, now, sleep, random } = this.#options;
    const name = `stream#${table}`;
    // A name for each reading, not for each tailer: two readings of one tailer must not take each other's lease for theirs.
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
        // Whoever asks for more has begun the new epochs. Before this point, a crash makes the loss come up again.
        await frontier.settleLoss();
        continue;
      }
      let full = false;
      for (const group of frontier.groups()) {
        const read = await frontier.read(group);
        // Unwanted records keep the pace, too: a wanted one may stand behind them.
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
