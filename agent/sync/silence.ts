/**
 * Batches that are sent and never answered. A broker may silently drop a message because of its access rules (MQTT
 * 3.1.1 cannot report that), or because it is too large. After {@link Limits.unansweredMax} tries, the agent reports
 * the problem. If the cloud answers other messages, and so is not simply unreachable, the agent splits the unanswered
 * batches, down to single changes.
 *
 * Guarantee: changes that get through are not delayed, because an unanswered single change takes no place in the
 * window. Bounded: splitting never makes more than {@link splitBatchesMax} batches in flight, the smallest are split
 * first, and a single change is repeated ever more rarely, like any batch.
 *
 * @module
 */
import type { FromCloud } from "../../protocol.ts";
import { changeText } from "../../protocol.ts";
import type { Context } from "./context.ts";
import type { Batch } from "./flight.ts";
import { halve } from "./split.ts";

/**
 * Batches in flight at which nothing is split any more: if four full batches are unanswered, some 60 changes are single
 * by then.
 */
export const splitBatchesMax = 64;
/** How often the agent asks the cloud for a sign of life. */
const proofMs = 30_000;

/** The topics of a device's messages. */
export type UpTopic = "up" | "sync";

/** Watches unanswered batches. */
export class Silence {
  #heardMs = -Infinity;
  #nextProofMs = -Infinity;
  #sinceMs: number | undefined;
  /** The broker's reasons, by topic (MQTT 5). */
  readonly #refusals: Map<UpTopic, string> = new Map();

  constructor(readonly context: Context) {}

  /** A message has arrived: the cloud, the broker and the way down work. */
  heard(type: FromCloud["type"]): void {
    this.#heardMs = this.context.clock.monotonicMs();
    if (type === "ack" || type === "refused") this.#refusals.delete("up");
    else if (type !== "changes") this.#refusals.delete("sync");
  }

  /** The broker refused a message, and said why. */
  refused(topic: UpTopic, reason: string): void {
    this.#refusals.set(topic, reason);
  }

  #isSilent(batch: Batch): boolean {
    return batch.unanswered >= this.context.limits.unansweredMax;
  }

  #isOverdue(batch: Batch): boolean {
    return this.#isSilent(batch) && batch.retryAtMs !== undefined &&
      this.context.clock.monotonicMs() >= batch.retryAtMs;
  }

  /**
   * Whether a message from the cloud arrived since the try before the last: then the cloud is not simply unreachable.
   */
  #isHeardSince(batch: Batch): boolean {
    return this.#heardMs > (batch.earlierMs ?? batch.sentMs ?? Infinity);
  }

  /** Unanswered single changes: they no longer count in the window. */
  get alone(): number {
    if (this.context.limits.unansweredMax === Infinity) return 0;
    let n = 0;
    for (const batch of this.context.inFlight.batches.values()) {
      if (batch.flights.length === 1 && this.#isSilent(batch)) n++;
    }
    return n;
  }

  /** Splits the smallest batch that stays unanswered while the cloud answers others. One at a time. */
  split(): void {
    const { batches } = this.context.inFlight;
    if (batches.size >= splitBatchesMax) return;
    let smallest: Batch | undefined;
    for (const batch of batches.values()) {
      if (batch.flights.length < 2 || !this.#isOverdue(batch) || !this.#isHeardSince(batch)) continue;
      if (!smallest || batch.flights.length < smallest.flights.length) smallest = batch;
    }
    if (!smallest) return;
    const before = new Set(batches.keys());
    if (!halve(this.context, smallest)) return;
    // One more try each shows which half it is.
    for (const [id, batch] of batches) {
      if (before.has(id)) continue;
      batch.unanswered = this.context.limits.unansweredMax - 1;
      batch.sentMs = smallest.sentMs;
    }
  }

  /**
   * Whether to ask the cloud for a sign of life now, so that {@link split} can distinguish an unreachable cloud from a
   * dropped message.
   */
  wantsProof(): boolean {
    const now = this.context.clock.monotonicMs();
    if (now < this.#nextProofMs) return false;
    const isWanted = [...this.context.inFlight.batches.values()].some((b) =>
      this.#isSilent(b) && !this.#isHeardSince(b)
    );
    if (isWanted) this.#nextProofMs = now + proofMs;
    return isWanted;
  }

  /**
   * Reports what is not answered.
   *
   * @param repeats how often an open question was repeated
   */
  tell(repeats: number): void {
    const { problems, limits, clock } = this.context;
    if (limits.unansweredMax === Infinity) return;
    const silent = [...this.context.inFlight.batches.values()].filter((batch) => this.#isSilent(batch));
    const sentence = this.#sentence(silent, repeats);
    if (sentence === undefined) {
      this.#sinceMs = undefined;
      return problems.clear("unanswered");
    }
    this.#sinceMs ??= clock.clock.wallMs();
    problems.raise("unanswered", sentence);
  }

  #sentence(silent: readonly Batch[], repeats: number): string | undefined {
    const { limits, identity, clock } = this.context, { deviceId } = identity;
    for (const [topic, reason] of this.#refusals) {
      return `the broker refuses what this device publishes on d/${deviceId}/${topic}: ${reason}`;
    }
    const isHeard = silent.length > 0 && silent.some((batch) => this.#isHeardSince(batch));
    const since = new Date(this.#sinceMs ?? clock.clock.wallMs()).toISOString();
    if (isHeard) {
      const changes = silent.flatMap(({ flights }) => flights);
      const bytes = Math.max(...changes.map(({ change }) => changeText(change).length));
      return `${changes.length} ${changes.length === 1 ? "change is" : "changes are"} not answered since ${since}, ` +
        `although the cloud answers other messages: the broker may not forward what is published on d/${deviceId}/up, ` +
        `or messages of this size (the largest change is ${bytes} bytes; see --payload-max)`;
    }
    if (silent.length === 0 && repeats < limits.unansweredMax) return undefined;
    return `nothing that this device sends is answered since ${since}: no worker of the cloud is running, ` +
      `or the broker does not forward what is published on d/${deviceId}/up and d/${deviceId}/sync`;
  }
}
