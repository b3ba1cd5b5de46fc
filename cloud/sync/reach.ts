/**
 * How far channels' logs have grown, as far as this process has heard: so that a device's position says how long the entries
 * that it lacks have been waiting for it. For people; no sync rule depends on it.
 *
 * What is not known is not said: a channel of which nothing was heard since the start has no lag, not even 0. An entry's time is
 * when it was heard of, at the latest that of its append: a lag is the least that it can be.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import { Lru } from "./lru.ts";

/** An entry, and when it was heard of. */
interface Heard {
  readonly seq: number;
  readonly atMs: number;
}

/** Entries of a channel that are remembered: the oldest of them, and the newest. */
const entriesMax = 8;

/** See the module. */
export class Reach {
  readonly #channels = new Lru<Channel, readonly Heard[]>({ sizeOf: (channel) => 2 * channel.length + 500 });

  /** The log of a channel goes to this entry, at least. */
  heard(channel: Channel, seq: number, atMs: number): void {
    const known = this.#channels.get(channel) ?? [], last = known.at(-1);
    if (last && seq <= last.seq) {
      // A log that ends before all that is known begins anew: its table was restored.
      if (seq < known[0]!.seq) this.#channels.set(channel, [{ seq, atMs }]);
      return;
    }
    const next = [...known, { seq, atMs }];
    // Not the oldest: for a device that lacks everything, it says for how long.
    if (next.length > entriesMax) next.splice(1, 1);
    this.#channels.set(channel, next);
  }

  /**
   * How long the first entry that a device is known to lack has waited for it, at this moment; 0: it lacks none; undefined: its
   * position, or where the logs end, is not known.
   *
   * @param fromMs entries from before then do not count: it may have them without having said so
   */
  lagMs(at: Readonly<Record<Channel, number>>, momentMs: number, fromMs = -Infinity): number | undefined {
    let lagMs: number | undefined;
    for (const [channel, position] of Object.entries(at) as [Channel, number][]) {
      const known = this.#channels.get(channel);
      if (!known) continue;
      const lacks = known.find(({ seq, atMs }) => seq > position && atMs >= fromMs);
      lagMs = Math.max(lagMs ?? 0, lacks ? momentMs - lacks.atMs : 0);
    }
    return lagMs;
  }
}
