/**
 * The registry: the devices, their accounts and their credentials, in the log table. The stored form of a token
 * (`device_token.ts`) or a certificate (`device_keys.ts`) does not admit anyone who has a copy of the table.
 *
 * In the log table: `devices#<bucket>` / `<device>`: `{account, created, token?, certs?, …}` (earlier builds:
 * `devices` / `<device>`). When it last sent anything: `presence.ts`; its last verification: `stored_report.ts`.
 *
 * @module
 */
import { randomBytes as nodeRandomBytes } from "node:crypto";
import { Log } from "../../protocol/log.ts";
import { checkId, isId, SyncError } from "../../schema.ts";
import { checkNames } from "./device_names.ts";
import type { Identity } from "../../schema/model.ts";
import type { DeviceReport, Key } from "../../protocol.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { absent, all, equals, lacks } from "../table/condition.ts";
import type { Table } from "../table/port.ts";
import { type BrokerCredential, brokerCredentials } from "./broker_credential.ts";
import { bucketKey, formerKey, listRows, lookedKey, readRows } from "./buckets.ts";
import { voidCode } from "./claimed_rows.ts";
import {
  type Credential,
  credentialsOf,
  fits,
  newToken,
  offered,
  promoted,
  rotated,
  sha256,
  storedToken,
  type TokenOptions,
  withdrawn,
} from "./device_token.ts";
import {
  credentialOfKey,
  type DeviceKey,
  keyOfCredential,
  keysOf,
  placeOf,
  storedKeys,
  withKey,
} from "./device_keys.ts";
import { type DeviceInfo, infoOf } from "./device_info.ts";
import { noteFormer } from "./former_certificates.ts";
import { Lru } from "./lru.ts";
import { Presence } from "./presence.ts";
import { type Arrival, isFrom, type Registered, registrationOf, Registrations } from "./registrations.ts";
import { keepReport, type StoredReport, storedReport } from "./stored_report.ts";
import type { ReportPoint } from "./report_points.ts";

export type { BrokerCredential } from "./broker_credential.ts";
export type { DeviceInfo } from "./device_info.ts";
export type { StoredReport } from "./stored_report.ts";
export type { Arrival, Registered } from "./registrations.ts";

/** Options of a {@link Registry}. */
export interface RegistryOptions {
  /** The clock, ms since 1970. */
  readonly now: () => number;
  /** Secret randomness; default the system's. */
  readonly randomBytes?: (count: number) => Uint8Array;
  /** How long a device is cached, and thus still admitted after another process revoked it: default 10 s. */
  readonly cacheMs?: number;
}

interface Known {
  readonly identity: Registered;
  readonly credentials: readonly Credential[];
  /** The hash of a token that is offered. */
  readonly next?: string;
  readonly keys: readonly DeviceKey[];
  readonly atMs: number;
}

/** An admitted device, and its credential: see {@link Registry.identityOf}. */
export interface Admitted extends Identity {
  /** The credential by which it was admitted. */
  readonly credential: string;
}

const logger = new Log("registry");

/** How long a token stays valid after a rotation. */
const graceDefaultMs = 24 * 3600_000;
/** A cached device younger than this is not read again for a key that it does not have. */
const freshMs = 1_000;
/** Short, so that a device that another process added is admitted soon. */
const unknownMs = 2_000;

/** Devices and accounts. */
export class Registry {
  readonly #table: Table;
  readonly #now: () => number;
  readonly #randomBytes: (count: number) => Uint8Array;
  readonly #cacheMs: number;
  readonly #revoked = new Set<(deviceId: string) => void>();
  readonly #written = new Set<() => void>();
  readonly #presence: Presence;
  /** Cached devices by account. */
  readonly #counts = new Map<string, number>();
  readonly #known = new Lru<string, Known>({
    // Both ids, the tokens' hashes, and the objects around them.
    sizeOf: (deviceId, { identity, credentials, keys }) =>
      2 * (deviceId.length + identity.accountId.length) + 100 * credentials.length + 200 * keys.length + 120,
    left: (_, { identity }) => this.#count(identity.accountId, -1),
  });
  readonly #registrations = new Registrations();
  /** Unknown names, with the time of the look-up: guessing causes no work, and the time taken reveals nothing. */
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

  /** How many devices are cached, of this account or of all: about how many receive what is sent to them. */
  remembered(accountId?: string): number {
    return accountId === undefined ? this.#known.size : this.#counts.get(accountId) ?? 0;
  }

  /** The stored form of a new token. */
  #stored(token: string, options: TokenOptions): Attributes {
    return storedToken(token, this.#randomBytes(12), options, this.#now());
  }

  /**
   * Adds a device and returns its token: 32 random bytes in base64url, which cannot be retrieved later.
   *
   * @param options.replace A device of this name gets a new token (and account) instead of being refused.
   * @throws RangeError for an invalid id; SyncError `exists`, `unavailable`.
   */
  async add(deviceId: string, accountId: string, options: TokenOptions & { replace?: boolean } = {}): Promise<string> {
    const token = newToken(this.#randomBytes);
    await this.#put(deviceId, accountId, this.#stored(token, options), options.replace);
    return token;
  }

  /** Adds a device with a certificate. @throws RangeError for an id that is none; SyncError `exists`, `unavailable` */
  async admitNew(deviceId: string, accountId: string, key: DeviceKey): Promise<void> {
    await this.#put(deviceId, accountId, storedKeys([key]), false);
  }

  /** What a device's row has of a token that it has made itself, or of a certificate. @internal */
  storedFor(credential: { readonly token: string } | DeviceKey): Attributes {
    return "token" in credential ? this.#stored(credential.token, {}) : storedKeys([credential]);
  }

  /** A device's row, also of one that is not let in yet (`claimed_rows.ts`). @internal */
  async rowOf(deviceId: string): Promise<Item | undefined> {
    return (await readRows(this.#table, "devices", [deviceId]))[0];
  }

  /** Somebody else has written its row. @internal */
  forget(deviceId: string): void {
    this.#known.delete(deviceId);
    this.#unknown.delete(deviceId);
    for (const listener of this.#written) listener();
  }

  /** Calls the listener when this process has added, altered or removed a device. @internal */
  onWritten(listener: () => void): void {
    this.#written.add(listener);
  }

  async #put(deviceId: string, accountId: string, stored: Attributes, replace = false): Promise<void> {
    checkNames(deviceId, accountId);
    const [hash, sort] = bucketKey("devices", deviceId), former = formerKey("devices", deviceId);
    const item = { hash, sort, account: accountId, created: this.#now(), ...stored };
    const condition = replace ? undefined : absent;
    const [known, before] = await this.#table.get([former, [hash, sort]]);
    if (replace && !await noteFormer(this.#table, before)) throw throttled();
    const [result] = known && !replace ? [] : await this.#table.write([{ op: "put", item, condition }]);
    if ((known && !replace) || result?.outcome === "refused") {
      throw new SyncError("exists", `there is a device "${deviceId}" already`, { hint: "revoke it first" });
    }
    if (result?.outcome !== "written") throw throttled();
    // The new row counts from here on; a crash before this leaves a row that nobody reads.
    if (known) await this.#table.write([{ op: "delete", key: former }]);
    this.forget(deviceId);
    // Present connections used the old token.
    if (known ?? result.old) { for (const listener of this.#revoked) listener(deviceId); }
  }

  /** Writes a device's row over the one that was read. @throws SyncError `unavailable`: it was changed meanwhile, or the table */
  async #replace(item: Item, before: Item): Promise<void> {
    // Whatever else the row has: a rotation and a renewal at the same time are both kept, or one of them tries again.
    const condition = all(
      ...["token", "next", "certs"].map((name) => {
        const value = before[name];
        return value === undefined ? lacks(name) : equals(name, value);
      }),
    );
    const [result] = await this.#table.write([{ op: "put", item, condition }]);
    if (result?.outcome === "refused") {
      throw new SyncError("unavailable", `"${before.sort}" was changed meanwhile: try again`, { retryable: true });
    }
    if (result?.outcome !== "written") throw throttled();
    this.#known.delete(String(before.sort));
  }

  /** A device's row. @throws SyncError `not-found` */
  async #row(deviceId: string): Promise<Item> {
    checkId("device", deviceId);
    const [row] = await readRows(this.#table, "devices", [deviceId]);
    if (row && isWhole(row)) return row;
    throw new SyncError("not-found", `there is no device "${deviceId}"`, { hint: "add it first" });
  }

  /**
   * Lets a device in by one more certificate, beside what it has. The older ones go when this one has let it in.
   *
   * @param registration the one that asked for it; absent: whichever there is
   * @throws SyncError `not-found`; `exists`: it has too many that were never used; `unavailable`
   */
  async certify(deviceId: string, key: DeviceKey, registration?: string): Promise<void> {
    const row = await this.#row(deviceId);
    if (registration !== undefined && registrationOf(row) !== registration) {
      throw new SyncError("not-found", `"${deviceId}" is another device by now`);
    }
    const keys = withKey(keysOf(row), key, this.#now());
    if (!keys) throw new SyncError("exists", `"${deviceId}" has certificates that it has not used yet`);
    await this.#replace({ ...row, ...storedKeys(keys) }, row);
  }

  /** The certificates that let a device in, the newest last. @throws SyncError `not-found`, `unavailable` */
  async certificates(deviceId: string): Promise<readonly DeviceKey[]> {
    return keysOf(await this.#row(deviceId));
  }

  /**
   * Who the device is, if the public key of a certificate that names it was issued for it. Where that is the newest, the older
   * ones are void from now on.
   */
  async admitKey(deviceId: string, key: string): Promise<Admitted | undefined> {
    let known = await this.#find(deviceId);
    if (!known) return undefined;
    let place = placeOf(known.keys, key, this.#now());
    if (place < 0 && this.#now() - known.atMs > freshMs) {
      // Issued by another process since: its device comes with it at once.
      this.#known.delete(deviceId);
      known = await this.#find(deviceId);
      place = known ? placeOf(known.keys, key, this.#now()) : -1;
    }
    if (!known || place < 0) return undefined;
    if (place > 0 && place === known.keys.length - 1) await this.#used(deviceId, key);
    return { ...known.identity, credential: credentialOfKey(key) };
  }

  /** The newest key has let its device in: those before it are void. Where that can't be written, the next time. */
  async #used(deviceId: string, key: string): Promise<void> {
    try {
      const row = await this.#row(deviceId), keys = keysOf(row);
      if (keys.length > 1 && keys.at(-1)?.key === key) {
        await this.#replace({ ...row, ...storedKeys(keys.slice(-1)) }, row);
      }
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      logger.debug("{deviceId}: its former certificate stays for now: {reason}", { deviceId, reason: error.message });
    }
  }

  /**
   * Gives a device a new token, and leaves the present one valid for a while: a device in the field gets the new one in
   * time, and is never without a valid token. If there were three, the oldest becomes invalid at once.
   *
   * @param options.graceMs how long the old token is valid at most; default 24 h
   * @throws RangeError for an invalid id; SyncError `not-found`, `unavailable`
   */
  async rotate(deviceId: string, options: TokenOptions & { graceMs?: number } = {}): Promise<string> {
    const { graceMs = graceDefaultMs } = options;
    const row = await this.#row(deviceId), token = newToken(this.#randomBytes);
    await this.#replace(rotated(row, this.#stored(token, options), this.#now() + graceMs), row);
    return token;
  }

  /**
   * Gives a device a token that is valid in addition to the present one, until it is used: then it takes that one's place. One
   * that was offered before and not used is void.
   *
   * @throws SyncError `not-found` where the device has no token; `unavailable`
   * @internal
   */
  async offer(deviceId: string): Promise<string> {
    const [row] = await readRows(this.#table, "devices", [deviceId]);
    if (!row || typeof row.token !== "string") {
      throw new SyncError("not-found", `"${deviceId}" has no token that could be replaced`);
    }
    const token = newToken(this.#randomBytes);
    await this.#replace(offered(row, this.#stored(token, {})), row);
    return token;
  }

  /** Takes back what was offered and not used. @throws SyncError `unavailable` @internal */
  async withdraw(deviceId: string): Promise<void> {
    const [row] = await readRows(this.#table, "devices", [deviceId]);
    if (row?.next !== undefined) await this.#replace(withdrawn(row), row);
  }

  /** A device has come by the token that it was offered. Where the row changed meanwhile, somebody else has seen to it. */
  async #promote(deviceId: string, credential: string): Promise<void> {
    const [row] = await readRows(this.#table, "devices", [deviceId]);
    if (row?.next === credential) await this.#replace(promoted(row, this.#now()), row);
  }

  /** Who the device is, if the token is its own and valid. Takes the same time for a wrong one. */
  async authenticate(deviceId: string, token: string): Promise<Identity | undefined> {
    const admitted = await this.admit(deviceId, token);
    return admitted && { deviceId: admitted.deviceId, accountId: admitted.accountId };
  }

  /** As {@link authenticate}, with the credential for {@link identityOf}. */
  async admit(deviceId: string, token: string): Promise<Admitted | undefined> {
    const known = await this.#find(deviceId), credential = sha256(token);
    const isRight = fits(known?.credentials ?? [], credential, this.#now());
    if (isRight && known?.next === credential) await this.#promote(deviceId, credential);
    return known && isRight ? { ...known.identity, credential } : undefined;
  }

  /** Who the device is; undefined if there is none of this name, or if the given credential is no longer valid. */
  async identityOf(deviceId: string, credential?: string): Promise<Identity | undefined> {
    const known = await this.#find(deviceId);
    if (!known || (credential !== undefined && !this.#isValid(known, credential))) return undefined;
    return known.identity;
  }

  #isValid({ credentials, keys }: Known, credential: string): boolean {
    const key = keyOfCredential(credential), now = this.#now();
    return key === undefined ? fits(credentials, credential, now) : placeOf(keys, key, now) >= 0;
  }

  /** To be taken as a message arrives, for {@link identityAt}. Reads nothing. */
  arrival(deviceId: string): Arrival {
    return this.#registrations.arrival(deviceId, this.#now());
  }

  /**
   * Who sent a message that arrived then; undefined: there is no such device, or its name was given again since. Where
   * another process gave it again, the new device's first message may count as the old one's: the device sends it again.
   */
  async identityAt(deviceId: string, arrival: Arrival): Promise<Registered | undefined> {
    const identity = (await this.#find(deviceId))?.identity;
    return identity && isFrom(arrival, identity) ? identity : undefined;
  }

  /** False if a recent look-up found no device of this name. Reads nothing. */
  mayExist(deviceId: string): boolean {
    return isId(deviceId) && !this.#isMissed(deviceId);
  }

  #isMissed(deviceId: string): boolean {
    const missedMs = this.#unknown.get(deviceId);
    return missedMs !== undefined && this.#now() - missedMs < Math.min(this.#cacheMs, unknownMs);
  }

  /** The account of a cached device. Reads nothing. */
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
    if (!item || !isWhole(item)) {
      this.#unknown.set(deviceId, this.#now());
      return undefined;
    }
    const identity = { deviceId, accountId: String(item.account), registration: registrationOf(item) };
    this.#registrations.read(identity);
    const next = typeof item.next === "string" ? { next: item.next } : {};
    const known = {
      identity,
      credentials: credentialsOf(item),
      keys: keysOf(item),
      ...next,
      atMs: this.#now(),
    };
    this.#known.set(deviceId, known);
    this.#count(identity.accountId, 1);
    return known;
  }

  /**
   * Removes a device, and calls {@link onRevoked}'s listeners, which cut its connection. In other processes the
   * embedded broker notices within a minute.
   *
   * @returns whether there was one.
   */
  async revoke(deviceId: string): Promise<boolean> {
    const condition = await voidCode(this.#table, deviceId);
    if (!condition) throw throttled();
    const formerKeys = ["devices", "seen"].map((kind) => formerKey(kind, deviceId));
    const others: Key[] = [...formerKeys, bucketKey("seen", deviceId), ["verified", deviceId], lookedKey(deviceId)];
    const results = await this.#table.write([
      // A claim may be between two steps (`claimed_rows.ts`).
      { op: "delete", key: bucketKey("devices", deviceId), condition },
      ...others.map((key) => ({ op: "delete", key }) as const),
    ]);
    this.forget(deviceId);
    this.#presence.forget(deviceId);
    // Both forms of the device's row: while one may exist, the device is not revoked.
    const [row, former] = results;
    if (row?.outcome !== "written" || former?.outcome !== "written") throw throttled();
    for (const listener of this.#revoked) listener(deviceId);
    return (row.old ?? former.old) !== undefined;
  }

  /** Stores the report of a device's verification, replacing the last one. @throws SyncError if the table fails */
  async keepReport(deviceId: string, request: string, report: Attributes): Promise<void> {
    if (!await keepReport(this.#table, deviceId, { request, report, atMs: this.#now() })) throw throttled();
  }

  /** The report of the device's last verification, if any. */
  async report(deviceId: string): Promise<StoredReport | undefined> {
    return await storedReport(this.#table, deviceId);
  }

  /**
   * Calls the listener when this registry has revoked a device, or given it another token. @returns a function that
   * ends that.
   */
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

  /** The data for a broker that checks tokens itself, page by page. */
  async brokerCredentials(after?: string): Promise<{ devices: BrokerCredential[]; next?: string }> {
    return await brokerCredentials(this.#table, this.#now(), after);
  }

  /**
   * Notes that a message of the device arrived; or that it connected or disconnected, if `connected` says so. See
   * `presence.ts`.
   */
  async touch(deviceId: string, connected?: boolean, report?: DeviceReport): Promise<boolean> {
    if (connected === undefined) return await this.#presence.heard(deviceId);
    return await this.#presence.connected(deviceId, connected, report);
  }

  /**
   * What a device's reports said since then, a point for each ten minutes in which it reported; a day is kept at least.
   *
   * @internal
   */
  async points(deviceId: string, fromMs: number): Promise<ReportPoint[]> {
    return await this.#presence.points(deviceId, fromMs);
  }

  /** Notes that a device has orders, so that a worker that hears from it checks; or that it no longer has any. */
  async expectOrders(deviceId: string, has: boolean): Promise<void> {
    await this.#presence.expectOrders(deviceId, has);
  }

  /** The description of one device; undefined if there is none of this name. Two reads. */
  async info(deviceId: string): Promise<DeviceInfo | undefined> {
    if (!isId(deviceId)) return undefined;
    const [[row], [seen]] = await Promise.all([
      readRows(this.#table, "devices", [deviceId]),
      readRows(this.#table, "seen", [deviceId]),
    ]);
    return row && infoOf(row, seen);
  }
}

/** A device's row that lets somebody in. */
function isWhole({ account, token, certs }: Item): boolean {
  return typeof account === "string" && (typeof token === "string" || typeof certs === "string");
}

function throttled(): SyncError {
  return new SyncError("unavailable", "the registry's table is throttled", { retryable: true });
}
