/**
 * Over how long questions of many devices are to be spread: one missing entry on a shared channel is missed by all of its
 * devices, and a worker that begins to receive was missed by all who asked meanwhile. The window follows from how many
 * devices there are to ask, which is kept in the log table, because a worker that has just started has heard of none.
 *
 * In the log table: `fleet` / `fleet`: `{devices, time}`.
 *
 * @module
 */
import type { Channel } from "../../protocol.ts";
import type { Table } from "../table/port.ts";
import type { Registry } from "./registry.ts";

/** A thousand devices a second: about what a worker answers where most have little to ask. */
const eachMs = 1;
/** Shorter windows are none: so few devices may ask at once. */
const windowMinMs = 100;
/** A device must not lie behind for longer; beyond, the queue says when. */
const windowMaxMs = 120_000;
/** The size is kept this often, where it has grown by a quarter. */
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

  /** The window for what is missing on a channel, ms; 0: asked for at once. */
  spreadMs(channel: Channel): number {
    if (channel.startsWith("device:")) return 0;
    if (channel.startsWith("account:")) return windowOf(this.#registry.remembered(channel.slice("account:".length)));
    return windowOf(this.#size);
  }

  get #size(): number {
    return Math.max(this.#kept, this.#registry.remembered());
  }

  /** Reads how many devices there were. @throws SyncError where the table fails */
  async load(): Promise<void> {
    const [item] = await this.#table.get([["fleet", "fleet"]]);
    if (typeof item?.devices === "number") this.#kept = item.devices;
  }

  /** Keeps how many there are, now and then. */
  async keep(): Promise<void> {
    const now = this.#now(), devices = this.#registry.remembered();
    if (now - this.#keptMs < keptEveryMs) return;
    this.#keptMs = now;
    // Only upwards: a worker that has heard of few so far must not say that there are few.
    if (devices - this.#kept <= Math.max(changeMin * this.#kept, windowMinMs / eachMs)) return;
    this.#kept = devices;
    await this.#table.write([{ op: "put", item: { hash: "fleet", sort: "fleet", devices, time: now } }]);
  }
}

function windowOf(devices: number): number {
  const windowMs = devices * eachMs;
  return windowMs < windowMinMs ? 0 : Math.min(windowMaxMs, windowMs);
}
