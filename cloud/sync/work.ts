/**
 * A device's message while it waits for its answer.
 *
 * @module
 */
import type { FromDevice, Sync } from "../../protocol.ts";
import type { Task } from "./fair_queue.ts";
import type { Arrival } from "./registry.ts";
import type { Moment } from "./shared_read.ts";

/** A message that waits for its turn, or is being answered. */
export class Work implements Task {
  readonly #done = Promise.withResolvers<void>();
  /** Resolves when the message is answered, or another has taken its place. */
  readonly done: Promise<void> = this.#done.promise;

  constructor(
    readonly deviceId: string,
    public message: FromDevice,
    readonly bytes: number,
    readonly asked: Moment,
    readonly arrival: Arrival,
    readonly answer: (work: Work) => Promise<{ after?: Promise<void> }>,
  ) {}

  /** Snapshots and comparisons read a whole channel; everything else reads what has changed. */
  get dear(): boolean {
    const { message } = this;
    if (message.type === "sync") return message.channels.some(({ seq, snapshot }) => snapshot || seq === undefined);
    return message.type === "compare" || message.type === "probe";
  }

  /** `done` waits for work after the answer; the next message does not. */
  async run(): Promise<void> {
    const { after } = await this.answer(this);
    if (after) after.finally(() => this.end());
    else this.end();
  }

  end(): void {
    this.#done.resolve();
  }
}

/** What is left of a waiting sync when another asks again: itself, fewer channels, or nothing. */
export function withoutChannels(waiting: Sync, asked: Sync): Sync | undefined {
  if (waiting.channels.length === 0) return asked.channels.length === 0 ? undefined : waiting;
  const names = new Set(asked.channels.map(({ channel }) => channel));
  const channels = waiting.channels.filter(({ channel }) => !names.has(channel));
  if (channels.length === waiting.channels.length) return waiting;
  return channels.length > 0 ? { ...waiting, channels } : undefined;
}
