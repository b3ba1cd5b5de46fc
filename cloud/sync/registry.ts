/**
 * The registry: which devices there are, whose they are, and what they prove themselves by. It stands in the log table.
 * A token is random and given out once; only its SHA-256 is kept, so that a copy of the table lets nobody in.
 *
 * In the log table: `devices#<bucket>` / `<device>`: `{account, token, created}` (before, `devices` / `<device>`);
 * `verified` / `<device>`: `{request, report, time}`, its last verification. When it was heard of: `presence.ts`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, randomBytes as nodeRandomBytes, timingSafeEqual } from "node:crypto";
import { checkId, isId, SyncError } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { absent } from "../table/condition.ts";
import type { Table } from "../table/port.ts";
import { bucketKey, formerKey, listRows, readRows } from "./buckets.ts";
import { Lru } from "./lru.ts";
import { Presence } from "./presence.ts";

/** A device, as the registry tells of it. */
export interface DeviceInfo {
  readonly deviceId: string;
  readonly accountId: string;
  readonly createdMs: number;
  /** When it was last heard of, within 5 minutes: at its last periodic sync at the latest. */
  readonly seenMs?: number;
  /** Whether it was connected when it was last heard of. */
  readonly connected?: boolean;
}

/** What a device told of a verification that the cloud asked for. */
export interface VerifyReport {
  readonly request: string;
  readonly atMs: number;
  readonly report: Attributes;
}

/** Options of a {@link Registry}. */
export interface RegistryOptions {
  readonly now: () => number;
  /** Secret randomness; default the system's. */
  readonly randomBytes?: (count: number) => Uint8Array;
  /** How long a device is remembered, and thus let in after it was revoked elsewhere: default 10 s. */
  readonly cacheMs?: number;
}

interface Known {
  readonly identity: Identity;
  readonly tokenHash: string;
  readonly atMs: number;
}

/** Short: a device that was added by another process is let in soon. */
const unknownMs = 2_000;
/** Something to compare with where there is no such device, so that the time taken does not tell. */
const nobody = sha256("");

/** Workers come in at brokers under such names. */
function isReserved(deviceId: string): boolean {
  return deviceId.toLowerCase().startsWith("twintable-");
}

/** Devices and accounts. */
export class Registry {
  readonly #table: Table;
  readonly #now: () => number;
  readonly #randomBytes: (count: number) => Uint8Array;
  readonly #cacheMs: number;
  readonly #revoked = new Set<(deviceId: string) => void>();
  readonly #presence: Presence;
  /** Devices by account, of those that are remembered. */
  readonly #counts = new Map<string, number>();
  readonly #known = new Lru<string, Known>({
    // Both ids, the token's hash, and the objects around them.
    sizeOf: (deviceId, { identity }) => 2 * (deviceId.length + identity.accountId.length) + 64 + 120,
    left: (_, { identity }) => this.#count(identity.accountId, -1),
  });
  /** Names that no device has, with when that was found: who guesses makes no work, and learns nothing from the time taken. */
  readonly #unknown = new Lru<string, number>({
    bytesMax: 4 * 1024 * 1024,
    sizeOf: (deviceId) => 2 * deviceId.length + 80,
  });

  constructor(table: Table, options: RegistryOptions) {
    this.#table = table;
    this.#now = options.now;
    this.#randomBytes = options.randomBytes ?? nodeRandomBytes;
    this.#cacheMs = options.cacheMs ?? 10_000;
    this.#presence = new Presence(table, options.now);
  }

  #count(accountId: string, by: number): void {
    const count = (this.#counts.get(accountId) ?? 0) + by;
    if (count > 0) this.#counts.set(accountId, count);
    else this.#counts.delete(accountId);
  }

  /** How many devices are remembered, of this account or of all: about how many there are to hear what is sent to them. */
  remembered(accountId?: string): number {
    return accountId === undefined ? this.#known.size : this.#counts.get(accountId) ?? 0;
  }

  /** Never with a dash in front: a command line would take it for a flag. */
  #newToken(): string {
    let token: string;
    do token = base64url(this.#randomBytes(32)); while (token.startsWith("-"));
    return token;
  }

  /**
   * Adds a device and gives its token: 32 random bytes in base64url, which can't be had again.
   *
   * @param options.replace A device of this name gets a new token (and account) instead of being refused.
   * @throws RangeError for an id that is none; SyncError `exists`, `unavailable`.
   */
  async add(deviceId: string, accountId: string, options: { replace?: boolean } = {}): Promise<string> {
    checkId("device", deviceId);
    checkId("account", accountId);
    if (isReserved(deviceId)) {
      throw new RangeError(
        `a device can't be named "${deviceId}": names that begin with "twintable-" are the workers'`,
      );
    }
    const token = this.#newToken();
    const [hash, sort] = bucketKey("devices", deviceId), former = formerKey("devices", deviceId);
    const item = { hash, sort, account: accountId, token: sha256(token), created: this.#now() };
    const condition = options.replace ? undefined : absent;
    const [known] = await this.#table.get([former]);
    const [result] = known && !options.replace ? [] : await this.#table.write([{ op: "put", item, condition }]);
    if ((known && !options.replace) || result?.outcome === "refused") {
      throw new SyncError("exists", `there is a device "${deviceId}" already`, { hint: "revoke it first" });
    }
    if (result?.outcome !== "written") throw throttled();
    // The new row counts from here on; a crash before this leaves one that nobody looks at.
    if (known) await this.#table.write([{ op: "delete", key: former }]);
    this.#known.delete(deviceId);
    this.#unknown.delete(deviceId);
    // Whoever is connected came in with the old token.
    if (known ?? result.old) { for (const listener of this.#revoked) listener(deviceId); }
    return token;
  }

  /** Who the device is, if the token is its own. Takes the same time for a wrong one. */
  async authenticate(deviceId: string, token: string): Promise<Identity | undefined> {
    const known = await this.#find(deviceId);
    const isRight = timingSafeEqual(Buffer.from(sha256(token), "hex"), Buffer.from(known?.tokenHash ?? nobody, "hex"));
    return known && isRight ? known.identity : undefined;
  }

  /** Who the device is; undefined if there is none of this name. */
  async identityOf(deviceId: string): Promise<Identity | undefined> {
    return (await this.#find(deviceId))?.identity;
  }

  async #find(deviceId: string): Promise<Known | undefined> {
    const cached = this.#known.get(deviceId);
    if (cached && this.#now() - cached.atMs < this.#cacheMs) return cached;
    this.#known.delete(deviceId);
    if (!isId(deviceId)) return undefined;
    const missedMs = this.#unknown.get(deviceId);
    if (missedMs !== undefined && this.#now() - missedMs < Math.min(this.#cacheMs, unknownMs)) return undefined;
    this.#unknown.delete(deviceId);
    const [item] = await readRows(this.#table, "devices", [deviceId]);
    if (!item || typeof item.account !== "string" || typeof item.token !== "string") {
      this.#unknown.set(deviceId, this.#now());
      return undefined;
    }
    const known = { identity: { deviceId, accountId: item.account }, tokenHash: item.token, atMs: this.#now() };
    this.#known.set(deviceId, known);
    this.#count(item.account, 1);
    return known;
  }

  /**
   * Removes a device, and tells {@link onRevoked}'s listeners, who cut its connection. In other processes the embedded broker
   * notices within a minute.
   *
   * @returns whether there was one.
   */
  async revoke(deviceId: string): Promise<boolean> {
    const keys = ["devices", "seen"].flatMap((kind) => [bucketKey(kind, deviceId), formerKey(kind, deviceId)]);
    const results = await this.#table.write(
      [...keys, ["verified", deviceId] as const].map((key) => ({ op: "delete", key })),
    );
    this.#known.delete(deviceId);
    this.#presence.forget(deviceId);
    // Both forms of the device's own row: while one may be there, it is not revoked.
    const [row, former] = results;
    if (row?.outcome !== "written" || former?.outcome !== "written") throw throttled();
    for (const listener of this.#revoked) listener(deviceId);
    return (row.old ?? former.old) !== undefined;
  }

  /** Keeps what a device's verification has come to, in its last one's place. @throws SyncError where the table fails */
  async keepReport(deviceId: string, request: string, report: Attributes): Promise<void> {
    const item: Item = { hash: "verified", sort: deviceId, request, report: JSON.stringify(report), time: this.#now() };
    const [result] = await this.#table.write([{ op: "put", item }]);
    if (result?.outcome !== "written") throw throttled();
  }

  /** What the device's last verification has come to, if it had one. */
  async report(deviceId: string): Promise<VerifyReport | undefined> {
    const [item] = await this.#table.get([["verified", deviceId]]);
    if (!item) return undefined;
    return {
      request: String(item.request),
      atMs: Number(item.time),
      report: JSON.parse(String(item.report)) as Attributes,
    };
  }

  /** Calls the listener when this registry has revoked a device, or given it another token. @returns what ends that. */
  onRevoked(listener: (deviceId: string) => void): () => void {
    this.#revoked.add(listener);
    return () => this.#revoked.delete(listener);
  }

  /** A page of devices in the order of their names. */
  async list(options: { limit?: number; after?: string } = {}): Promise<{ devices: DeviceInfo[]; next?: string }> {
    const { rows, next } = await listRows(this.#table, "devices", options.limit ?? 100, options.after);
    const seen = await readRows(this.#table, "seen", rows.map(({ sort }) => String(sort)));
    return { devices: rows.map((row, i) => infoOf(row, seen[i])), ...(next === undefined ? {} : { next }) };
  }

  /** Notes that a message of the device came; or that it came or went, where `connected` says so. See `presence.ts`. */
  async touch(deviceId: string, connected?: boolean): Promise<void> {
    if (connected === undefined) await this.#presence.heard(deviceId);
    else await this.#presence.connected(deviceId, connected);
  }
}

function infoOf(item: Item, seen: Item | undefined): DeviceInfo {
  return {
    deviceId: String(item.sort),
    accountId: String(item.account),
    createdMs: Number(item.created),
    ...(typeof seen?.seen === "number" ? { seenMs: seen.seen } : {}),
    ...(typeof seen?.connected === "boolean" ? { connected: seen.connected } : {}),
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}

function throttled(): SyncError {
  return new SyncError("unavailable", "the registry's table is throttled", { retryable: true });
}
