/**
 * The registry: which devices there are, whose they are, and what they prove themselves by. It stands in the log table.
 * A token is random and given out once; only its SHA-256 is kept, so that a copy of the table lets nobody in.
 *
 * In the log table: `devices` / `<device>`: `{account, token, created}`; `seen` / `<device>`: `{seen, connected}`, apart,
 * because it is written without looking; `verified` / `<device>`: `{request, report, time}`, its last verification.
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

/** A device, as the registry tells of it. */
export interface DeviceInfo {
  readonly deviceId: string;
  readonly accountId: string;
  readonly createdMs: number;
  /** When it was last heard of, within a minute. */
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

const cachedMax = 10_000;
const seenEveryMs = 60_000;
/** Something to compare with where there is no such device, so that the time taken does not tell. */
const nobody = sha256("");

/** Devices and accounts. */
export class Registry {
  readonly #table: Table;
  readonly #now: () => number;
  readonly #randomBytes: (count: number) => Uint8Array;
  readonly #cacheMs: number;
  readonly #revoked = new Set<(deviceId: string) => void>();
  readonly #known = new Map<string, Known>();
  readonly #seen = new Map<string, { readonly atMs: number; readonly connected?: boolean }>();

  constructor(table: Table, options: RegistryOptions) {
    this.#table = table;
    this.#now = options.now;
    this.#randomBytes = options.randomBytes ?? nodeRandomBytes;
    this.#cacheMs = options.cacheMs ?? 10_000;
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
    const token = this.#newToken();
    const item = { hash: "devices", sort: deviceId, account: accountId, token: sha256(token), created: this.#now() };
    const condition = options.replace ? undefined : absent;
    const [result] = await this.#table.write([{ op: "put", item, condition }]);
    if (result?.outcome === "refused") {
      throw new SyncError("exists", `there is a device "${deviceId}" already`, { hint: "revoke it first" });
    }
    if (result?.outcome !== "written") throw throttled();
    this.#known.delete(deviceId);
    // Whoever is connected came in with the old token.
    if (result.old !== undefined) { for (const listener of this.#revoked) listener(deviceId); }
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
    const [item] = await this.#table.get([["devices", deviceId]]);
    if (!item || typeof item.account !== "string" || typeof item.token !== "string") return undefined;
    const known = { identity: { deviceId, accountId: item.account }, tokenHash: item.token, atMs: this.#now() };
    this.#known.set(deviceId, known);
    if (this.#known.size > cachedMax) this.#known.delete(this.#known.keys().next().value!);
    return known;
  }

  /**
   * Removes a device, and tells {@link onRevoked}'s listeners, who cut its connection. In other processes the embedded broker
   * notices within a minute.
   *
   * @returns whether there was one.
   */
  async revoke(deviceId: string): Promise<boolean> {
    const results = await this.#table.write([
      { op: "delete", key: ["devices", deviceId] },
      { op: "delete", key: ["seen", deviceId] },
      { op: "delete", key: ["verified", deviceId] },
    ]);
    this.#known.delete(deviceId);
    this.#seen.delete(deviceId);
    const [result] = results;
    if (result?.outcome !== "written") throw throttled();
    for (const listener of this.#revoked) listener(deviceId);
    return result.old !== undefined;
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
    const page = await this.#table.query({
      index: "primary",
      hash: "devices",
      limit: options.limit ?? 100,
      after: options.after,
    });
    const seen = await this.#table.get(page.items.map((item) => ["seen", String(item.sort)] as const));
    return { devices: page.items.map((item, i) => infoOf(item, seen[i])), next: page.next };
  }

  /** Notes that the device was heard of. Written once a minute at most, and at each change of `connected`. */
  async touch(deviceId: string, connected?: boolean): Promise<void> {
    const before = this.#seen.get(deviceId);
    const isNews = connected !== undefined && connected !== before?.connected;
    if (!isNews && before && this.#now() - before.atMs < seenEveryMs) return;
    const state = connected ?? before?.connected;
    this.#seen.delete(deviceId);
    this.#seen.set(deviceId, { atMs: this.#now(), connected: state });
    if (this.#seen.size > cachedMax) this.#seen.delete(this.#seen.keys().next().value!);
    const item: Item = {
      hash: "seen",
      sort: deviceId,
      seen: this.#now(),
      ...(state === undefined ? {} : { connected: state }),
    };
    await this.#table.write([{ op: "put", item }]);
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
