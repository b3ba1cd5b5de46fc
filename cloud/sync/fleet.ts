/**
 * The fleet in memory, so that all devices can be searched and sorted without a read for each: loaded from the registry
 * on first use, then updated by the devices' reports. Each worker has its own copy; a process that receives no presence
 * (a stateless handler) reads the registry again when its copy is old.
 *
 * About a KB a device: 10,000 devices are some 10 MB. The registry remains authoritative; this copy is for people.
 *
 * @module
 */
import { durationText } from "../../protocol/duration_text.ts";
import type { Channel, DeviceReport, Presence } from "../../protocol.ts";
import { type Attention, type Looked, usualDefaultMs } from "./attention.ts";
import { Lru } from "./lru.ts";
import { Reach } from "./reach.ts";
import type { DeviceInfo, Registry } from "./registry.ts";

/** The state of a device, at a glance. */
export type DeviceState = "online" | "lagging" | "trouble" | "silent";

/** A device with its state, and the reason for it. */
export interface DeviceStanding extends DeviceInfo {
  /** Its state. */
  readonly state: DeviceState;
  /** Why it is in that state, in a sentence; absent if there is nothing to say. */
  readonly why?: string;
  /** The age of the device's oldest pending change, ms. */
  readonly lagMs?: number;
  /**
   * How long the first entry of its channels' logs that it lacks has waited for it, ms: when it last told its position, or now
   * if it is away. Absent: this process does not know.
   */
  readonly downMs?: number;
  /** Of a silent one: for how long it is usually away, ms. */
  readonly usualMs?: number;
  /** It has been away for longer than that. */
  readonly overdue?: true;
}

/** A device's position in its channels, and when it reported it. */
export interface Told {
  readonly at: Readonly<Record<string, number>>;
  readonly atMs: number;
}

/** A change that waits for longer counts as lag. */
const lagMaxMs = 60_000;
/** After this time without a report, a device is not judged by its last one. It reports every five minutes. */
const reportedMaxMs = 700_000;
/** A device whose login is refused tries again at least so often. */
const refusedMaxMs = 900_000;
/** The age at which a copy of the registry is read again, with presence and without it. */
const freshMs = 300_000, unheardFreshMs = 15_000;
const pageSize = 1_000;

type Judged = Pick<DeviceStanding, "state" | "why" | "lagMs" | "usualMs" | "overdue">;

/** The state of a device, from what is known of it, and from what people said of it. */
export function stateOf(info: DeviceInfo, nowMs: number, attention?: Attention): Judged {
  const { report } = info;
  if (info.connected !== true) {
    const usualMs = attention?.usualMs(info.accountId) ?? usualDefaultMs;
    const isOverdue = nowMs - (info.seenMs ?? info.createdMs) > usualMs;
    return {
      state: "silent",
      usualMs,
      ...(isOverdue ? { overdue: true } : {}),
      ...(report?.problem ? { why: report.problem } : {}),
    };
  }
  if (!report || (info.reportedMs ?? 0) < nowMs - reportedMaxMs) return { state: "online" };
  const lagMs = report.oldest === undefined
    ? undefined
    : Math.max(0, Math.round(nowMs - report.oldest + (report.skew ?? 0)));
  const lag = lagMs === undefined ? {} : { lagMs };
  const trouble = troubleOf(report, attention?.looked(info.deviceId));
  if (trouble !== undefined) return { state: "trouble", why: trouble, ...lag };
  if (lagMs !== undefined && lagMs > lagMaxMs) {
    return { state: "lagging", why: `its oldest change has waited for ${durationText(lagMs / 1000)}`, ...lag };
  }
  return { state: "online", ...lag };
}

/** What is kept for people is trouble until somebody has looked at it; a problem is one while it lasts. */
function troubleOf({ problem, rejected = 0, aside = 0 }: DeviceReport, looked?: Looked): string | undefined {
  if (problem !== undefined) return problem;
  const newRejected = rejected - (looked?.rejected ?? 0), newAside = aside - (looked?.aside ?? 0);
  const since = (count: number, all: number) => count < all ? " since it was looked at" : "";
  if (newRejected > 0) {
    const were = newRejected === 1 ? "was" : "were";
    return `${newRejected} of its changes ${were} rejected${since(newRejected, rejected)}`;
  }
  if (newAside <= 0) return undefined;
  return `${newAside} ${newAside === 1 ? "item is" : "items are"} set aside${since(newAside, aside)}`;
}

function refusedText(forMs: number): string {
  return `its login is refused${forMs < 60_000 ? "" : `, for ${durationText(forMs / 1000)} now`}`;
}

/** See the module. */
export class Fleet {
  readonly #registry: Registry;
  readonly #now: () => number;
  readonly #devices = new Map<string, DeviceInfo>();
  /** Reports that arrived while the registry was being read: newer than its rows. */
  readonly #heard = new Map<string, Presence & { readonly atMs: number }>();
  /** The devices' last known positions in their channels, from reports or answers. */
  readonly #at = new Lru<string, Told>({ sizeOf: (deviceId) => 2 * deviceId.length + 300 });
  readonly #reach = new Reach();
  /** Names whose login was refused: since when, and when last. Anybody can make such. */
  readonly #refused = new Lru<string, { readonly sinceMs: number; readonly lastMs: number }>({
    entriesMax: 10_000,
    sizeOf: (name) => 2 * name.length + 40,
  });
  #loadedMs = -Infinity;
  #loading: Promise<void> | undefined;
  #hears = false;
  /** Since when there may be devices that the copy lacks. */
  #lacksMs: number | undefined;

  /**
   * What people said of the devices; absent: nobody can.
   *
   * @internal
   */
  readonly attention: Attention | undefined;

  /** The devices of a registry. */
  constructor(
    { registry, now, attention }: { registry: Registry; now: () => number; attention?: Attention },
  ) {
    this.#registry = registry;
    this.attention = attention;
    this.#now = now;
    // Read again on the next use of the fleet.
    registry.onWritten(() => this.#lacksMs = -Infinity);
  }

  /** Handles a device's presence. Stores nothing before the fleet is first used. */
  heard(deviceId: string, presence: Presence): void {
    this.#hears = true;
    const at = presence.at ?? presence.report?.at;
    if (at) this.#at.set(deviceId, { at, atMs: this.#now() });
    // An answer to a question contains nothing else.
    if (presence.at && !presence.report) return;
    if (this.#loadedMs === -Infinity && !this.#loading) return;
    if (presence.online) this.#refused.delete(deviceId);
    if (presence.report) this.attention?.heard(deviceId, presence.report);
    const heard = { ...presence, atMs: this.#now() };
    if (this.#loading) this.#heard.set(deviceId, heard);
    const known = this.#devices.get(deviceId);
    if (known) this.#devices.set(deviceId, withPresence(known, heard));
    else if (presence.online) this.#lacksMs ??= this.#now();
  }

  /**
   * A device's last reported position; undefined: this process has none.
   *
   * @internal
   */
  told(deviceId: string): Told | undefined {
    return this.#at.get(deviceId);
  }

  /** One device with its state: from memory if that is fresh, otherwise from the registry. */
  async one(deviceId: string): Promise<DeviceStanding | undefined> {
    const isFresh = this.#hears && this.#now() - this.#loadedMs <= freshMs;
    const info = (isFresh ? this.#devices.get(deviceId) : undefined) ?? await this.#registry.info(deviceId);
    await this.attention?.refresh();
    return info && this.#judged(info, this.#now());
  }

  /**
   * All devices, if they are in memory without reading; undefined: they are not. Devices that were added elsewhere since the
   * registry was read are missing.
   *
   * @param ageMaxMs since that
   */
  peek(ageMaxMs: number = freshMs): DeviceStanding[] | undefined {
    const nowMs = this.#now();
    if (!this.#hears || nowMs - this.#loadedMs > ageMaxMs) return undefined;
    return [...this.#devices.values()].map((info) => this.#judged(info, nowMs));
  }

  #judged(info: DeviceInfo, nowMs: number): DeviceStanding {
    const { connected, seenMs, report, reportedMs = 0 } = info;
    const told = this.#at.get(info.deviceId) ?? (report?.at && { at: report.at, atMs: reportedMs });
    // Since it left, it can have applied nothing; what came between its last word and then, it may have.
    const downMs = told &&
      (connected === true
        ? this.#reach.lagMs(told.at, told.atMs)
        : this.#reach.lagMs(told.at, nowMs, seenMs ?? told.atMs));
    const refused = connected === true ? undefined : this.#refused.get(info.deviceId);
    const isRefused = refused !== undefined && nowMs - refused.lastMs < refusedMaxMs;
    return {
      ...info,
      ...stateOf(info, nowMs, this.attention),
      ...(downMs === undefined ? {} : { downMs }),
      ...(isRefused ? { state: "trouble", why: refusedText(nowMs - refused.sinceMs) } : {}),
    };
  }

  /**
   * Somebody's login under this name was refused.
   *
   * @returns whether there is such a device, as far as it is in memory
   * @internal
   */
  refused(name: string): boolean {
    const lastMs = this.#now(), before = this.#refused.get(name);
    const goesOn = before !== undefined && lastMs - before.lastMs < refusedMaxMs;
    this.#refused.set(name, { sinceMs: goesOn ? before.sinceMs : lastMs, lastMs });
    return this.#devices.has(name);
  }

  /**
   * The log of a channel goes to this entry, at least.
   *
   * @internal
   */
  appended(channel: Channel, seq: number): void {
    this.#reach.heard(channel, seq, this.#now());
  }

  /**
   * The sum of what devices report, as far as it is in memory: reads nothing, and judges no state.
   *
   * @internal
   */
  reported(name: "rejected" | "conflicts", counts: (deviceId: string) => boolean): number {
    let sum = 0;
    for (const { deviceId, report } of this.#devices.values()) if (counts(deviceId)) sum += report?.[name] ?? 0;
    return sum;
  }

  /** All devices with their states, in no order. Reads the registry if the copy is old. */
  async all(): Promise<{ readonly devices: DeviceStanding[]; readonly asOfMs: number }> {
    const ageMs = this.#now() - this.#loadedMs;
    // A stranger that connects again and again must not make a read of the whole registry each time.
    const lacks = this.#lacksMs !== undefined && (this.#lacksMs === -Infinity || ageMs > unheardFreshMs);
    if (lacks || ageMs > (this.#hears ? freshMs : unheardFreshMs)) await (this.#loading ??= this.#load());
    await this.attention?.refresh();
    const nowMs = this.#now();
    const devices = [...this.#devices.values()].map((info) => this.#judged(info, nowMs));
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
    // The broker repeats an old retained message at each connect of the worker: it is not news about an absent device.
    ...(online ? { seenMs: atMs } : {}),
    ...(report ? { report, reportedMs: atMs } : {}),
  };
}
