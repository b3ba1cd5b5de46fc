/**
 * Passes keys on by channel: one entry after the other within a channel, and no channel waits for another. Keys that
 * arrive while their channel is busy go into the next entry together: a slow log gets fewer, larger entries, not a
 * longer queue.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import type { LogKey } from "./log_items.ts";
import { mergeKeys } from "./entries.ts";

interface Piece {
  readonly keys: readonly LogKey[];
  done(passed: boolean): void;
}

/** The most keys that go together, except those of one piece: enough for some entries. */
const togetherMax = 2_000;

/** See the module. */
export class ChannelLanes {
  readonly #pass: (channel: Channel, keys: readonly LogKey[]) => Promise<boolean>;
  /** Pieces that wait, of channels that are busy. */
  readonly #waiting = new Map<Channel, Piece[]>();

  /** @param pass passes keys on; false if it was told to stop. Never rejects. */
  constructor(pass: (channel: Channel, keys: readonly LogKey[]) => Promise<boolean>) {
    this.#pass = pass;
  }

  /** Whether the channel is busy. */
  isBusy(channel: Channel): boolean {
    return this.#waiting.has(channel);
  }

  /** Resolves with true when the keys were passed on, or with false when that was stopped. */
  add(channel: Channel, keys: readonly LogKey[]): Promise<boolean> {
    return new Promise((done) => {
      const waiting = this.#waiting.get(channel);
      if (waiting) return void waiting.push({ keys, done });
      this.#waiting.set(channel, [{ keys, done }]);
      void this.#run(channel);
    });
  }

  async #run(channel: Channel): Promise<void> {
    const waiting = this.#waiting.get(channel)!;
    while (waiting.length > 0) {
      const pieces = takeSome(waiting);
      const passed = await this.#pass(channel, pieces.length === 1 ? pieces[0]!.keys : mergeKeys(pieces.map(keysOf)));
      for (const piece of pieces) piece.done(passed);
    }
    this.#waiting.delete(channel);
  }
}

function keysOf({ keys }: Piece): readonly LogKey[] {
  return keys;
}

function takeSome(waiting: Piece[]): Piece[] {
  let count = 0, keys = 0;
  while (count < waiting.length && (count === 0 || keys + waiting[count]!.keys.length <= togetherMax)) {
    keys += waiting[count++]!.keys.length;
  }
  return waiting.splice(0, count);
}
