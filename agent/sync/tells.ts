/**
 * Reports the device's position in its channels as soon as the cloud asks (`tell` in `changes`), so that people see a
 * change arrive within milliseconds. At most once a second: of several questions in a second, the last is answered at
 * the second's end, with the cursors of that moment. If the entry in the question is not applied yet, the device
 * answers again when it is. Sync does not depend on this: a lost answer is replaced by the next one, or by the next
 * report.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";

/** The shortest time between two answers. */
const everyMs = 1_000;
/** An entry that has not arrived by then comes with a catch-up that nobody watches. */
const patienceMs = 30_000;

/** See the module. */
export class Tells {
  #asked = false;
  #toldMs = -Infinity;
  /** By channel: the entry in the question, if not applied yet, and until when to wait for it. */
  readonly #awaited = new Map<Channel, { readonly seq: number; readonly untilMs: number }>();

  constructor(
    private readonly nowMs: () => number,
    private readonly cursors: () => Readonly<Record<Channel, { readonly seq?: number }>>,
    private readonly tell: (at: Readonly<Record<Channel, number>>) => boolean,
  ) {}

  /** The cloud asks, with this entry; 0: with none. */
  ask(channel: Channel, seq: number): void {
    this.#asked = true;
    if (seq > 0) this.#awaited.set(channel, { seq, untilMs: this.nowMs() + patienceMs });
  }

  /** Earlier questions belong to another connection. */
  disconnected(): void {
    this.#asked = false;
    this.#awaited.clear();
  }

  /** Answers, if asked and not just answered. Call it after applied entries are committed. */
  answer(): void {
    const now = this.nowMs();
    if ((!this.#asked && this.#awaited.size === 0) || now < this.#toldMs + everyMs) return;
    const cursors = this.cursors();
    for (const [channel, { seq, untilMs }] of this.#awaited) {
      const isThere = (cursors[channel]?.seq ?? -1) >= seq;
      if (isThere) this.#asked = true;
      if (isThere || now >= untilMs) this.#awaited.delete(channel);
    }
    if (!this.#asked) return;
    this.#asked = false;
    this.#toldMs = now;
    const at = Object.entries(cursors).flatMap(([channel, { seq }]) => seq === undefined ? [] : [[channel, seq]]);
    this.tell(Object.fromEntries(at));
  }

  /** The monotonic time at which {@link answer} has something to do; Infinity: nothing. */
  get dueMs(): number {
    return this.#asked ? this.#toldMs + everyMs : Infinity;
  }
}
