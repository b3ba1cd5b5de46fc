/**
 * What is sent and never answered. A broker may swallow a message without a word: by its access rules (MQTT 3.1.1 has no way to
 * say so), or because it is too large. After {@link Limits.unansweredMax} tries the problem is told; and where the cloud is
 * heard all the same, so that it is not simply away, what is silent is cut into smaller batches, down to one change.
 *
 * Guarantee: what gets through goes on: a change that stands alone and stays silent holds no place in the window. Bounded:
 * there are never more than {@link splitBatchesMax} batches in flight by this, the smallest are cut first, and a change that
 * stands alone is sent again ever more rarely, as any batch.
 *
 * @module
 */
import type { FromCloud } from "../../protocol.ts";
import { changeText } from "../../protocol.ts";
import type { Context } from "./context.ts";
import type { Batch } from "./flight.ts";
import { halve } from "./split.ts";

/** Batches in flight at which nothing is cut any more: of four full batches all silent, some 60 stand alone by then. */
export const splitBatchesMax = 64;
/** The cloud is asked for a sign of life this often. */
const proofMs = 30_000;

/** Where a device's messages go. */
export type UpTopic = "up" | "sync";

/** Watches what is not answered. */
export class Silence {
  #heardMs = -Infinity;
  #nextProofMs = -Infinity;
  #sinceMs: number | undefined;
  /** What the broker says of a topic (MQTT 5). */
  readonly #refusals: Map<UpTopic, string> = new Map();

  constructor(readonly context: Context) {}

  /** A message has come: the cloud, the broker and the way down are there. */
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

  /** Whether the cloud was heard since the try before the last: then it is not simply away. */
  #isHeardSince(batch: Batch): boolean {
    return this.#heardMs > (batch.earlierMs ?? batch.sentMs ?? Infinity);
  }

  /** Changes that stand alone and are silent: they are no longer counted in the window. */
  get alone(): number {
    if (this.context.limits.unansweredMax === Infinity) return 0;
    let n = 0;
    for (const batch of this.context.inFlight.batches.values()) {
      if (batch.flights.length === 1 && this.#isSilent(batch)) n++;
    }
    return n;
  }

  /** Cuts the smallest batch that stays silent while the cloud is heard. One at a time. */
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
    // One more try each tells which half it is.
    for (const [id, batch] of batches) {
      if (before.has(id)) continue;
      batch.unanswered = this.context.limits.unansweredMax - 1;
      batch.sentMs = smallest.sentMs;
    }
  }

  /** Whether to ask the cloud for a sign of life now, so that {@link split} can tell its absence from a message that is swallowed. */
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
   * Says what is not answered.
   *
   * @param repeats how often a question is out that was asked again
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
        `though the cloud is heard: the broker may not pass on what is published on d/${deviceId}/up, ` +
        `or messages of this size (the largest change is ${bytes} bytes; see --payload-max)`;
    }
    if (silent.length === 0 && repeats < limits.unansweredMax) return undefined;
    return `nothing that this device sends is answered since ${since}: no worker of the cloud is running, ` +
      `or the broker does not pass on what is published on d/${deviceId}/up and d/${deviceId}/sync`;
  }
}
