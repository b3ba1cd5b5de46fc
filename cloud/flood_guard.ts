/**
 * Cuts devices that flood an external broker. The embedded broker reads a fast device slowly, but Mosquitto limits no
 * client's rate: what one device sends beyond its budget pushes other devices' messages out of the queue that the
 * workers read. A device of ours never does so: it has a few batches in flight, and a worker has room for all of them.
 *
 *     message without room ─▶ counted by device ─{@link droppedMax} within {@link windowMs}─▶ noted in the log table
 *                                                                                             ─▶ disabled at the broker
 *     every worker, every {@link lookMs}: notes whose time is up ─▶ enabled at the broker ─▶ note removed
 *
 * The note comes first, so that a device that a killed worker had disabled is enabled by another one. In the log table:
 *
 * - `floods` / `<device>`: `{until, expires}`, `until` in ms of the cloud's clock
 *
 * @module
 */
import { Log } from "../protocol/log.ts";
import type { ControlCommand } from "./broker_config/mosquitto.ts";
import { equals } from "./table/condition.ts";
import type { Table } from "./table/port.ts";

/** Messages of one device without room within the window. A device of ours has none. */
const droppedMax = 200, windowMs = 5_000;
/** How long a device stays disabled. If it floods again, it is disabled again, within a second or so. */
export const disabledMs = 60_000;
/** How often the notes are read: one query. */
const lookMs = 5_000;
/** A note outlives every worker's restart, and nobody who forgets it. */
const noteMs = 7 * 86_400_000;
const hash = "floods";

/** Options of a {@link FloodGuard}. */
export interface FloodGuardOptions {
  /** The log table. */
  readonly log: Table;
  /** Tells the broker; rejects where it can't be told. */
  readonly send: (commands: ControlCommand[]) => Promise<void>;
  /** The cloud's clock, ms. */
  readonly now: () => number;
}

/** See the module. */
export class FloodGuard {
  /** How often a device was disabled. */
  readonly counters = { disabled: 0 };
  readonly #log = new Log("cloud");
  readonly #counts = new Map<string, number>();
  readonly #busy = new Set<string>();
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #looking: Promise<void> | undefined;

  constructor(private readonly options: FloodGuardOptions) {}

  /** Begins to enable devices whose time is up. */
  start(): void {
    this.#timers.push(
      setInterval(() => this.#counts.clear(), windowMs),
      setInterval(() => this.#looking ??= this.release().finally(() => this.#looking = undefined), lookMs),
    );
  }

  /** Ends the timers, and waits for what the broker is being told. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await this.#looking;
  }

  /** A message of a device found no room. Disables the device when that happens too often. Never rejects. */
  async dropped(deviceId: string): Promise<void> {
    const count = (this.#counts.get(deviceId) ?? 0) + 1;
    this.#counts.set(deviceId, count);
    if (count < droppedMax || this.#busy.has(deviceId)) return;
    this.#busy.add(deviceId);
    try {
      await this.#disable(deviceId);
      this.#counts.delete(deviceId);
    } catch (error) {
      this.#log.warn("{deviceId} floods the broker, and can't be disabled there: {error}", { deviceId, error });
    } finally {
      this.#busy.delete(deviceId);
    }
  }

  async #disable(deviceId: string): Promise<void> {
    const { log, send, now } = this.options, until = now() + disabledMs;
    const item = { hash, sort: deviceId, until, expires: Math.ceil((until + noteMs) / 1000) };
    await log.write([{ op: "put", item }]);
    await send([{ command: "disableClient", username: deviceId }]);
    this.counters.disabled++;
    this.#log.warn("{deviceId} floods the broker: it is disabled there for {seconds} s", {
      deviceId,
      seconds: disabledMs / 1000,
    });
  }

  /** Enables devices whose time is up. What fails is tried at the next look. Never rejects. */
  async release(): Promise<void> {
    const { log, send, now } = this.options;
    try {
      const { items } = await log.query({ index: "primary", hash, limit: 100 });
      for (const { sort, until } of items) {
        if (Number(until) > now()) continue;
        await send([{ command: "enableClient", username: String(sort) }]);
        // Not if it was disabled again meanwhile.
        await log.write([{ op: "delete", key: [hash, String(sort)], condition: equals("until", until!) }]);
      }
    } catch (error) {
      this.#log.warn("devices that were disabled for a flood can't be enabled yet: {error}", { error });
    }
  }
}
