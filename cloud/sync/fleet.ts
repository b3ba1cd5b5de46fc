/**
 * The fleet in memory, so that all devices can be searched and sorted without a read for each: loaded from the registry
 * when it is first asked for, then kept by what devices say of themselves. Each worker has its own; a worker that hears no
 * presence (a stateless handler) reads the registry again when its copy is old.
 *
 * About a KB a device: 10,000 devices are some 10 MB. The registry stays what counts; this is for people to look at.
 *
 * @module
 */
import type { DeviceReport, Presence } from "../../protocol.ts";
import { Lru } from "./lru.ts";
import type { DeviceInfo, Registry } from "./registry.ts";

/** How a device is, at a glance. */
export type DeviceState = "online" | "lagging" | "trouble" | "silent";

/** A device with what its state is, and for which reason. */
export interface DeviceStanding extends DeviceInfo {
  /** How it stands. */
  readonly state: DeviceState;
  /** Why it is in that state, in a sentence; absent where there is nothing to say. */
  readonly why?: string;
  /** How old the oldest change is that waits on the device, ms. */
  readonly lagMs?: number;
}

/** Where a device is in its channels, and when it said so. */
export interface Told {
  readonly at: Readonly<Record<string, number>>;
  readonly atMs: number;
}

/** A change that waits for longer is a lag. */
const lagMaxMs = 60_000;
/** A device that has not reported for longer is not judged by its last report. It reports each five minutes. */
const reportedMaxMs = 700_000;
/** A copy of the registry is read again when it is older, where presence is heard; and where it is not. */
const freshMs = 300_000, unheardFreshMs = 15_000;
const pageSize = 1_000;

/** The state of a device, from what is known of it. */
export function stateOf(
  info: DeviceInfo,
  nowMs: number,
): { readonly state: DeviceState; readonly why?: string; readonly lagMs?: number } {
  const { report } = info;
  if (info.connected !== true) return { state: "silent", ...(report?.problem ? { why: report.problem } : {}) };
  if (!report || (info.reportedMs ?? 0) < nowMs - reportedMaxMs) return { state: "online" };
  const lagMs = report.oldest === undefined
    ? undefined
    : Math.max(0, Math.round(nowMs - report.oldest + (report.skew ?? 0)));
  const lag = lagMs === undefined ? {} : { lagMs };
  const trouble = troubleOf(report);
  if (trouble !== undefined) return { state: "trouble", why: trouble, ...lag };
  if (lagMs !== undefined && lagMs > lagMaxMs) {
    return { state: "lagging", why: `its oldest change waits for ${Math.round(lagMs / 1000)} s`, ...lag };
  }
  return { state: "online", ...lag };
}

function troubleOf({ problem, rejected = 0, aside = 0 }: DeviceReport): string | undefined {
  if (problem !== undefined) return problem;
  if (rejected > 0) return `${rejected} of its changes were rejected`;
  return aside > 0 ? `${aside} items are set aside` : undefined;
}

/** See the module. */
export class Fleet {
  readonly #registry: Registry;
  readonly #now: () => number;
  readonly #devices = new Map<string, DeviceInfo>();
  /** What came while the registry was being read: newer than its rows. */
  readonly #heard = new Map<string, Presence & { readonly atMs: number }>();
  /** Where devices are in their channels, as they said it last: by report, or asked. */
  readonly #at = new Lru<string, Told>({ sizeOf: (deviceId) => 2 * deviceId.length + 300 });
  #loadedMs = -Infinity;
  #loading: Promise<void> | undefined;
  #hears = false;
  /** Since when there may be devices that the copy lacks. */
  #lacksMs: number | undefined;

  /** The devices of a registry. */
  constructor({ registry, now }: { registry: Registry; now: () => number }) {
    this.#registry = registry;
    this.#now = now;
  }

  /** A device's presence. Where nobody has asked for the fleet yet, nothing is kept. */
  heard(deviceId: string, presence: Presence): void {
    this.#hears = true;
    const at = presence.at ?? presence.report?.at;
    if (at) this.#at.set(deviceId, { at, atMs: this.#now() });
    // An answer to a question says nothing else.
    if (presence.at && !presence.report) return;
    if (this.#loadedMs === -Infinity && !this.#loading) return;
    const heard = { ...presence, atMs: this.#now() };
    if (this.#loading) this.#heard.set(deviceId, heard);
    const known = this.#devices.get(deviceId);
    if (known) this.#devices.set(deviceId, withPresence(known, heard));
    else if (presence.online) this.#lacksMs ??= this.#now();
  }

  /** The registry was changed here: it is read again when the fleet is asked for. */
  changed(): void {
    this.#lacksMs = -Infinity;
  }

  /**
   * Where a device said last that it is; undefined: it was not heard here.
   *
   * @internal
   */
  told(deviceId: string): Told | undefined {
    return this.#at.get(deviceId);
  }

  /** One device with its state: as it is in memory where that is fresh, else as the registry has it. */
  async one(deviceId: string): Promise<DeviceStanding | undefined> {
    const isFresh = this.#hears && this.#now() - this.#loadedMs <= freshMs;
    const info = (isFresh ? this.#devices.get(deviceId) : undefined) ?? await this.#registry.info(deviceId);
    return info && { ...info, ...stateOf(info, this.#now()) };
  }

  /** All devices, if they are in memory and up to date without reading; undefined: they are not. */
  peek(): DeviceStanding[] | undefined {
    const nowMs = this.#now();
    if (!this.#hears || nowMs - this.#loadedMs > freshMs) return undefined;
    return [...this.#devices.values()].map((info) => ({ ...info, ...stateOf(info, nowMs) }));
  }

  /** All devices with their states, in no order. Reads the registry where the copy is old. */
  async all(): Promise<{ readonly devices: DeviceStanding[]; readonly asOfMs: number }> {
    const ageMs = this.#now() - this.#loadedMs;
    // A stranger that connects again and again must not make a read of the whole registry each time.
    const lacks = this.#lacksMs !== undefined && (this.#lacksMs === -Infinity || ageMs > unheardFreshMs);
    if (lacks || ageMs > (this.#hears ? freshMs : unheardFreshMs)) await (this.#loading ??= this.#load());
    const nowMs = this.#now();
    const devices = [...this.#devices.values()].map((info) => ({ ...info, ...stateOf(info, nowMs) }));
    return { devices, asOfMs: this.#hears ? nowMs : this.#loadedMs };
  }

  async #load(): Promise<void> {
    const atMs = this.#now();
    this.#lacksMs = undefined;
    try {
      const found = new Map<string, DeviceInfo>();
      let after: string | undefined;
      do {
        const page = await this.#registry.list({ limit: pageSize, after });
        for (const info of page.devices) found.set(info.deviceId, info);
        after = page.next;
      } while (after !== undefined);
      this.#devices.clear();
      for (const [deviceId, info] of found) {
        const heard = this.#heard.get(deviceId);
        this.#devices.set(deviceId, heard ? withPresence(info, heard) : info);
      }
      this.#loadedMs = atMs;
    } finally {
      this.#heard.clear();
      this.#loading = undefined;
    }
  }
}

function withPresence(info: DeviceInfo, { online, report, atMs }: Presence & { readonly atMs: number }): DeviceInfo {
  return {
    ...info,
    connected: online,
    // An old retained message is heard again at each connect of the worker: it is no news of an absent device.
    ...(online ? { seenMs: atMs } : {}),
    ...(report ? { report, reportedMs: atMs } : {}),
  };
}
