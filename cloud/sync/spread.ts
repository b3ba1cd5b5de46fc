/**
 * The time over which many devices spread their questions: all devices of a shared channel miss a missing entry, and
 * when a worker starts to receive, all devices that asked meanwhile must ask again. The window follows from the number
 * of devices, which is stored in the log table, because a worker that has just started knows of none.
 *
 * In the log table: `fleet` / `fleet`: `{devices, time}`.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import type { Table } from "../table/port.ts";
import type { Registry } from "./registry.ts";

/** A thousand devices a second: about what a worker answers if most need little. */
const eachMs = 1;
/** A shorter window counts as 0: so few devices may ask at once. */
const windowMinMs = 100;
/** A device must not lag for longer; beyond that, the queue says when to ask. */
const windowMaxMs = 120_000;
/** How often the size is stored, if it has grown by a quarter. */
const keptEveryMs = 300_000;
const changeMin = 0.25;

/** See the module. */
export class Spread {
  readonly #table: Table;
  readonly #registry: Pick<Registry, "remembered">;
  readonly #now: () => number;
  #kept = 0;
  #keptMs = -Infinity;

  constructor(table: Table, registry: Pick<Registry, "remembered">, now: () => number) {
    this.#table = table;
    this.#registry = registry;
    this.#now = now;
  }

  /** The window for something missing on a channel, ms; 0: devices ask at once. */
  spreadMs(channel: Channel): number {
    if (channel.startsWith("device:")) return 0;
    if (channel.startsWith("account:")) return windowOf(this.#registry.remembered(channel.slice("account:".length)));
    return windowOf(this.#size);
  }

  get #size(): number {
    return Math.max(this.#kept, this.#registry.remembered());
  }

  /** Reads how many devices there were. @throws SyncError if the table fails */
  async load(): Promise<void> {
    const [item] = await this.#table.get([["fleet", "fleet"]]);
    if (typeof item?.devices === "number") this.#kept = item.devices;
  }

  /** Stores the number of devices from time to time. */
  async keep(): Promise<void> {
    const now = this.#now(), devices = this.#registry.remembered();
    if (now - this.#keptMs < keptEveryMs) return;
    this.#keptMs = now;
    // Only upwards: a worker that knows only few devices so far must not store that there are few.
    if (devices - this.#kept <= Math.max(changeMin * this.#kept, windowMinMs / eachMs)) return;
    this.#kept = devices;
    await this.#table.write([{ op: "put", item: { hash: "fleet", sort: "fleet", devices, time: now } }]);
  }
}

function windowOf(devices: number): number {
  const windowMs = devices * eachMs;
  return windowMs < windowMinMs ? 0 : Math.min(windowMaxMs, windowMs);
}
