/**
 * The registry: which devices there are, whose they are, and what they prove themselves by. It stands in the log table.
 * What is kept of a token (`device_token.ts`) lets nobody in who has a copy of the table.
 *
 * In the log table: `devices#<bucket>` / `<device>`: `{account, created, token, …}` (before, `devices` / `<device>`);
 * `verified` / `<device>`: `{request, report, time}`, its last verification. When it was heard of: `presence.ts`.
 *
 * @module
 */
import { randomBytes as nodeRandomBytes } from "node:crypto";
import { checkId, isId, SyncError } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";
import type { DeviceReport } from "../../protocol.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { absent, equals } from "../table/condition.ts";
import type { Table } from "../table/port.ts";
import { bucketKey, formerKey, listRows, readRows } from "./buckets.ts";
import {
  type Credential,
  credentialsOf,
  fits,
  newToken,
  rotated,
  sha256,
  storedToken,
  type TokenOptions,
} from "./device_token.ts";
import { Lru } from "./lru.ts";
import { Presence } from "./presence.ts";

/** A device, as the registry tells of it. */
export interface DeviceInfo {
  /** The device's id. */
  readonly deviceId: string;
  /** Its account. */
  readonly accountId: string;
  /** When it was added, ms since 1970. */
  readonly createdMs: number;
  /** When its token expires; absent: never. */
  readonly untilMs?: number;
  /** Until when the token before it is valid, too. */
  readonly beforeUntilMs?: number;
  /** When it was last heard of, within 5 minutes: at its last periodic sync at the latest. */
  readonly seenMs?: number;
  /** Whether it was connected when it was last heard of. */
  readonly connected?: boolean;
  /** What it said of itself last, and when. */
  readonly report?: DeviceReport;
  /** When it said so, ms since 1970. */
  readonly reportedMs?: number;
}

/** What a device told of a verification that the cloud asked for. */
export interface StoredReport {
  /** The request's id. */
  readonly request: string;
  /** When it came, ms since 1970. */
  readonly atMs: number;
  /** What the device told. */
  readonly report: Attributes;
}

/** Options of a {@link Registry}. */
export interface RegistryOptions {
  /** The clock, ms since 1970. */
  readonly now: () => number;
  /** Secret randomness; default the system's. */
  readonly randomBytes?: (count: number) => Uint8Array;
  /** How long a device is remembered, and thus let in after it was revoked elsewhere: default 10 s. */
  readonly cacheMs?: number;
}

interface Known {
  readonly identity: Identity;
  readonly credentials: readonly Credential[];
  readonly atMs: number;
}

/** A device that was let in, and by which credential: see {@link Registry.identityOf}. */
export interface Admitted extends Identity {
  /** Which of its credentials let it in. */
  readonly credential: string;
}

/** A device as a broker knows it. */
export interface BrokerCredential extends Identity {
  /** PBKDF2 with SHA-512, base64. Absent for a device that a build before this one added. */
  readonly password?: { readonly salt: string; readonly hash: string };
}

/** How long a token is valid after a newer one was given. */
const graceDefaultMs = 24 * 3600_000;
/** Short: a device that was added by another process is let in soon. */
const unknownMs = 2_000;
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
    // Both ids, the tokens' hashes, and the objects around them.
    sizeOf: (deviceId, { identity, credentials }) =>
      2 * (deviceId.length + identity.accountId.length) + 100 * credentials.length + 120,
    left: (_, { identity }) => this.#count(identity.accountId, -1),
  });
  /** Names that no device has, with when that was found: who guesses makes no work, and learns nothing from the time taken. */
  readonly #unknown = new Lru<string, number>({
    bytesMax: 4 * 1024 * 1024,
    sizeOf: (deviceId) => 2 * deviceId.length + 80,
  });

  /** A registry in the log table. */
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

  /** What is stored of a new token. */
  #stored(token: string, options: TokenOptions): Attributes {
    return storedToken(token, this.#randomBytes(12), options, this.#now());
  }

  /**
   * Adds a device and gives its token: 32 random bytes in base64url, which can't be had again.
   *
   * @param options.replace A device of this name gets a new token (and account) instead of being refused.
   * @throws RangeError for an id that is none; SyncError `exists`, `unavailable`.
   */
  async add(deviceId: string, accountId: string, options: TokenOptions & { replace?: boolean } = {}): Promise<string> {
    checkId("device", deviceId);
    checkId("account", accountId);
    if (isReserved(deviceId)) {
      throw new RangeError(
        `a device can't be named "${deviceId}": names that begin with "twintable-" are the workers'`,
      );
    }
    const token = newToken(this.#randomBytes);
    const [hash, sort] = bucketKey("devices", deviceId), former = formerKey("devices", deviceId);
    const item = { hash, sort, account: accountId, created: this.#now(), ...this.#stored(token, options) };
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

  /**
   * Gives a device another token, and leaves the one that it has valid for a while: a device in the field takes the new one
   * when it hears of it, and is never without a valid one. Of three the oldest is void at once.
   *
   * @param options.graceMs how long the old token is valid at most; default 24 h
   * @throws RangeError for an id that is none; SyncError `not-found`, `unavailable`
   */
  async rotate(deviceId: string, options: TokenOptions & { graceMs?: number } = {}): Promise<string> {
    const { graceMs = graceDefaultMs } = options;
    checkId("device", deviceId);
    const [row] = await readRows(this.#table, "devices", [deviceId]);
    if (!row || typeof row.token !== "string") {
      throw new SyncError("not-found", `there is no device "${deviceId}"`, { hint: "add it first" });
    }
    const token = newToken(this.#randomBytes);
    const item = rotated(row, this.#stored(token, options), this.#now() + graceMs);
    const [result] = await this.#table.write([{ op: "put", item, condition: equals("token", row.token) }]);
    if (result?.outcome === "refused") {
      throw new SyncError("unavailable", `"${deviceId}" was changed meanwhile: try again`, { retryable: true });
    }
    if (result?.outcome !== "written") throw throttled();
    this.#known.delete(deviceId);
    return token;
  }

  /** Who the device is, if the token is its own and valid. Takes the same time for a wrong one. */
  async authenticate(deviceId: string, token: string): Promise<Identity | undefined> {
    const admitted = await this.admit(deviceId, token);
    return admitted && { deviceId: admitted.deviceId, accountId: admitted.accountId };
  }

  /** As {@link authenticate}, with what {@link identityOf} knows the token by. */
  async admit(deviceId: string, token: string): Promise<Admitted | undefined> {
    const known = await this.#find(deviceId), credential = sha256(token);
    const isRight = fits(known?.credentials ?? [], credential, this.#now());
    return known && isRight ? { ...known.identity, credential } : undefined;
  }

  /** Who the device is; undefined if there is none of this name, or a credential is given that is valid no more. */
  async identityOf(deviceId: string, credential?: string): Promise<Identity | undefined> {
    const known = await this.#find(deviceId);
    if (!known || (credential !== undefined && !fits(known.credentials, credential, this.#now()))) return undefined;
    return known.identity;
  }

  /** False where it was found lately that there is no device of this name. Nothing is asked. */
  mayExist(deviceId: string): boolean {
    return isId(deviceId) && !this.#isMissed(deviceId);
  }

  #isMissed(deviceId: string): boolean {
    const missedMs = this.#unknown.get(deviceId);
    return missedMs !== undefined && this.#now() - missedMs < Math.min(this.#cacheMs, unknownMs);
  }

  /** The account of a device that is remembered: nothing is asked. */
  rememberedAccount(deviceId: string): string | undefined {
    return this.#known.get(deviceId)?.identity.accountId;
  }

  async #find(deviceId: string): Promise<Known | undefined> {
    const cached = this.#known.get(deviceId);
    if (cached && this.#now() - cached.atMs < this.#cacheMs) return cached;
    this.#known.delete(deviceId);
    if (!isId(deviceId)) return undefined;
    if (this.#isMissed(deviceId)) return undefined;
    this.#unknown.delete(deviceId);
    const [item] = await readRows(this.#table, "devices", [deviceId]);
    if (!item || typeof item.account !== "string" || typeof item.token !== "string") {
      this.#unknown.set(deviceId, this.#now());
      return undefined;
    }
    const identity = { deviceId, accountId: item.account };
    const known = { identity, credentials: credentialsOf(item), atMs: this.#now() };
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
  async report(deviceId: string): Promise<StoredReport | undefined> {
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

  /** What a broker that checks tokens itself needs to know, page by page. */
  async brokerCredentials(after?: string): Promise<{ devices: BrokerCredential[]; next?: string }> {
    const { rows, next } = await listRows(this.#table, "devices", 200, after);
    const devices = rows.map(({ sort, account, mosquitto }): BrokerCredential => {
      const [salt, hash] = typeof mosquitto === "string" ? mosquitto.split("$") : [];
      const password = salt && hash ? { password: { salt, hash } } : {};
      return { deviceId: String(sort), accountId: String(account), ...password };
    });
    return { devices, ...(next === undefined ? {} : { next }) };
  }

  /** Notes that a message of the device came; or that it came or went, where `connected` says so. See `presence.ts`. */
  async touch(deviceId: string, connected?: boolean, report?: DeviceReport): Promise<boolean> {
    if (connected === undefined) return await this.#presence.heard(deviceId);
    return await this.#presence.connected(deviceId, connected, report);
  }

  /** Notes that a device has orders, so that whoever hears of it looks; or that it has none any more. */
  async expectOrders(deviceId: string, has: boolean): Promise<void> {
    await this.#presence.expectOrders(deviceId, has);
  }

  /** What is known of one device; undefined if there is none of this name. Two reads. */
  async info(deviceId: string): Promise<DeviceInfo | undefined> {
    if (!isId(deviceId)) return undefined;
    const [[row], [seen]] = await Promise.all([
      readRows(this.#table, "devices", [deviceId]),
      readRows(this.#table, "seen", [deviceId]),
    ]);
    return row && infoOf(row, seen);
  }
}

function infoOf(item: Item, seen: Item | undefined): DeviceInfo {
  return {
    deviceId: String(item.sort),
    accountId: String(item.account),
    createdMs: Number(item.created),
    ...(typeof item.until === "number" ? { untilMs: item.until } : {}),
    ...(typeof item.beforeUntil === "number" ? { beforeUntilMs: item.beforeUntil } : {}),
    ...(typeof seen?.seen === "number" ? { seenMs: seen.seen } : {}),
    ...(typeof seen?.connected === "boolean" ? { connected: seen.connected } : {}),
    ...(typeof seen?.report === "string"
      ? { report: JSON.parse(seen.report) as DeviceReport, reportedMs: Number(seen.reported) }
      : {}),
  };
}

function throttled(): SyncError {
  return new SyncError("unavailable", "the registry's table is throttled", { retryable: true });
}
