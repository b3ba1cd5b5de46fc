/**
 * A device without a database: the agent's own questions, with their waits, over cursors in memory. Thousands of them fit in
 * a test or a benchmark.
 *
 * @module
 */
import { defaultLimits } from "../../agent/sync/context.ts";
import { type Asker, Questions } from "../../agent/sync/questions.ts";
import type { Channel, CursorOf, FromCloud, FromDevice } from "../../protocol.ts";

/** The time that a device lives in. */
export interface Timers {
  /** Monotonic, ms. */
  nowMs(): number;
  /** Calls `go` after so long; what it returns prevents that. */
  after(ms: number, go: () => void): () => void;
}

/** What a device is made of. */
export interface LightDeviceOptions {
  readonly timers: Timers;
  readonly random: () => number;
  readonly send: (message: FromDevice) => void;
  readonly cursors: readonly CursorOf[];
}

/** See the module. */
export class LightDevice {
  /** Pages that brought it on, and those that it no longer wanted. */
  readonly answers = { used: 0, wasted: 0 };
  /** When it sent each question, by its own time. */
  readonly askedMs: number[] = [];
  /** When its last page came. */
  answeredMs = NaN;
  readonly #options: LightDeviceOptions;
  readonly #cursors: Map<Channel, CursorOf>;
  readonly #questions: Questions;
  #heardMs = -Infinity;
  #cancel: () => void = () => {};

  constructor(readonly deviceId: string, options: LightDeviceOptions) {
    this.#options = options;
    this.#cursors = new Map(options.cursors.map((cursor) => [cursor.channel, cursor]));
    this.#questions = new Questions(this.#asker());
  }

  #asker(): Asker {
    const { timers, random, send } = this.#options;
    const context = {
      clock: { monotonicMs: () => timers.nowMs() },
      limits: defaultLimits,
      incarnation: this.deviceId,
      random,
      store: { schema: {} },
      restores: {},
      send: (message: FromDevice) => {
        this.askedMs.push(timers.nowMs());
        send(message);
        return true;
      },
    } as unknown as Asker["context"];
    const cursorOf = (channel: Channel) => this.#cursors.get(channel)!, heardMs = () => this.#heardMs;
    return {
      context,
      channels: [...this.#cursors.keys()],
      cursorOf,
      settledSerial: 0,
      get answeredMs() {
        return heardMs();
      },
      // Its pages are small: nothing is gained by asking for less.
      swallowed: () => {},
    };
  }

  /** Nothing that it asked for is missing. */
  get caughtUp(): boolean {
    return this.#questions.none;
  }

  cursor(channel: Channel): CursorOf {
    return this.#cursors.get(channel)!;
  }

  /** It comes back: asks for each channel from where it is. */
  connected(): void {
    this.#questions.clear();
    this.#questions.sync([...this.#cursors.keys()], true);
    this.#plan();
  }

  disconnected(): void {
    this.#questions.clear();
    this.#cancel();
  }

  receive(message: FromCloud): void {
    this.#take(message);
    this.#plan();
  }

  #take(message: FromCloud): void {
    if (message.type !== "changes") this.#heardMs = this.#options.timers.nowMs();
    if (message.type === "later") this.#questions.later(message);
    else if (message.type === "changes") this.#live(message);
    else if (message.type === "time") this.#questions.takeTime(message.request);
    else if (message.type === "page" || message.type === "snapshot") this.#answered(message);
  }

  #live({ channel, seq, epoch, spreadMs = 0 }: Extract<FromCloud, { type: "changes" }>): void {
    if (seq === 0) return this.#questions.workerBack(spreadMs);
    const cursor = this.#cursors.get(channel);
    if (!cursor || (cursor.epoch === epoch && seq <= (cursor.seq ?? 0))) return;
    if (cursor.epoch === epoch && seq === (cursor.seq ?? 0) + 1) {
      this.#cursors.set(channel, { channel, epoch, seq });
    } else this.#questions.missing(channel, spreadMs);
  }

  #answered(message: Extract<FromCloud, { type: "page" | "snapshot" }>): void {
    const { channel, request, epoch } = message;
    if (!this.#questions.take(channel, request)) return void this.answers.wasted++;
    this.answers.used++;
    this.answeredMs = this.#options.timers.nowMs();
    this.#cursors.set(channel, { channel, epoch, seq: message.type === "page" ? message.to : message.head });
    if (message.type === "page" && message.more) this.#questions.sync([channel], true);
  }

  #plan(): void {
    const { timers } = this.#options;
    this.#cancel();
    const dueMs = this.#questions.tick();
    if (dueMs < Infinity) this.#cancel = timers.after(dueMs - timers.nowMs(), () => this.#plan());
  }
}
