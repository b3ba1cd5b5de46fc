/**
 * Says where the device is in its channels as soon as the cloud asks (`tell` in `changes`), so that people see a change arrive
 * within milliseconds. At most once a second: of several questions in a second the last is answered at its end, by the cursors
 * of then; and where the entry of the question is not applied yet, it is answered again when it is. Nothing of sync depends on
 * it: what is lost is known by the next question, or by the next report.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";

/** The shortest time between two answers. */
const everyMs = 1_000;
/** An entry that has not come by then comes with a catch-up that nobody watches. */
const patienceMs = 30_000;

/** See the module. */
export class Tells {
  #asked = false;
  #toldMs = -Infinity;
  /** By channel the entry that is asked about and not applied yet, and until when it is waited for. */
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

  /** What was asked before is of another connection. */
  disconnected(): void {
    this.#asked = false;
    this.#awaited.clear();
  }

  /** Answers, if it was asked and not just answered: to be called when what was applied is committed. */
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
