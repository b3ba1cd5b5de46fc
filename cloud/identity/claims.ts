/**
 * Claim codes: how a device that has nothing yet comes by its credentials. An operator makes a code, for one device or for any
 * new one of an account; the device shows it once, with a token or a certificate request that it has made itself.
 *
 *     open ─(shown, with a credential)─▶ taken by it ─(device reserved in the registry)─▶ done: names that reservation
 *       └──────────────────────────────────────── expired ────────────────────────────────────────┘
 *
 * - A code is 20 letters of base 32 (100 bits); only its SHA-256 is kept, which is also its place in the table: it is found by a
 *   hash or not at all, and nothing is compared with it.
 * - Whoever takes it first has it: one conditional write decides. The same device, which is who shows the same credential, may
 *   show it again, in case it did not hear the answer.
 * - What it has become is not made again: once the device was in the registry and is not (it was revoked), the code is worth
 *   nothing. `sync/claimed_rows.ts` has the steps, and why that holds wherever the cloud is killed.
 *
 * In the log table: `claim#<first two digits>` / `<hash>`: `{account, device?, until, by?, claimed?, done?, expires}`;
 * `done`: the reservation that was let in, or `revoked`; of earlier builds: 1.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, randomBytes as systemBytes } from "node:crypto";
import { checkId, isId, SyncError } from "../../schema.ts";
import type { Identity } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { Audit } from "../operations/audit.ts";
import type { DeviceKey } from "../sync/device_keys.ts";
import { admit, claimKey, giveUp, isReservation, name, reservationIn, reserve, settle } from "../sync/claimed_rows.ts";
import { checkFormer } from "../sync/former_certificates.ts";
import { isReserved } from "../sync/device_names.ts";
import type { Registry } from "../sync/registry.ts";
import { absent, lacks } from "../table/condition.ts";
import type { Condition, Table } from "../table/port.ts";
import type { Authority } from "./authority.ts";

/** What {@link Claims} work with. */
export interface ClaimsContext {
  /** The log table. */
  readonly table: Table;
  readonly registry: Pick<
    Registry,
    "rowOf" | "storedFor" | "forget" | "info" | "identityOf" | "certificates" | "admit"
  >;
  readonly audit: Pick<Audit, "note">;
  readonly now: () => number;
  readonly randomBytes?: (count: number) => Uint8Array;
  /** Issues certificates; absent: codes become tokens alone. */
  readonly authority?: () => Promise<Pick<Authority, "certify">>;
  /** Lets a device in at a broker that has credentials of its own. @throws SyncError `unavailable`: the device comes again */
  readonly tellBroker?: (identity: Identity, token: string | undefined) => Promise<void>;
  /** How long the certificates are valid, ms. */
  readonly certificateValidMs?: number;
}

/** What a code is for. */
export interface CodeOptions {
  readonly accountId: string;
  /** This device alone; absent: any that is not there yet. */
  readonly deviceId?: string;
  /** How long it may be shown, ms; default 24 h. */
  readonly validMs?: number;
}

/** A code, which can't be had again. */
export interface ClaimCode {
  readonly code: string;
  /** What the audit calls it. */
  readonly id: string;
  readonly untilMs: number;
}

/** What a device shows with a code. */
export type ClaimedCredential = { readonly token: string } | { readonly csr: string };

/** What a device has become. */
export interface Claimed extends Identity {
  /** PEM, where it showed a request. */
  readonly cert?: string;
}

/** Default of {@link CodeOptions.validMs}. */
export const codeValidMs = 24 * 3_600_000;
/** A code that lives for long lies about. */
export const codeValidMaxMs = 30 * 24 * 3_600_000;
/** Crockford's base 32: no I, L, O, U, which are read as others, or make words. */
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const codeLetters = 20, groupLetters = 5;
/** A token that a device makes is as long as ours: 32 bytes in base64url. */
const tokenPattern = /^[A-Za-z0-9_-]{43,128}$/;

/** The same answer to a wrong, an expired and a used code: who guesses learns nothing. */
function refused(): SyncError {
  return new SyncError("denied", "this code is not valid: it is wrong, has expired, or was used by another device");
}

/** A code as it is hashed: people write it in lower case, without dashes, and take O for 0. */
function normal(code: string): string {
  return code.toUpperCase().replace(/[\s-]/g, "").replaceAll("O", "0").replace(/[IL]/g, "1");
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** See the module. */
export class Claims {
  constructor(private readonly context: ClaimsContext) {}

  /**
   * Makes a code.
   *
   * @throws RangeError for an id that is none; SyncError `exists`: there is such a device; `unavailable`
   */
  async make({ accountId, deviceId, validMs = codeValidMs }: CodeOptions): Promise<ClaimCode> {
    const { registry, now, randomBytes = systemBytes } = this.context;
    checkId("account", accountId);
    if (deviceId !== undefined) {
      checkId("device", deviceId);
      if (await registry.info(deviceId)) throw exists(deviceId);
    }
    if (!(validMs > 0 && validMs <= codeValidMaxMs)) throw new RangeError("a claim code is valid for 30 days at most");
    const text = [...randomBytes(codeLetters)].map((byte) => letters[byte % letters.length]!).join("");
    const hash = hashOf(text), untilMs = now() + validMs;
    const [bucket, sort] = claimKey(hash);
    const item: Item = {
      hash: bucket,
      sort,
      account: accountId,
      ...(deviceId === undefined ? {} : { device: deviceId }),
      until: untilMs,
      expires: Math.ceil(untilMs / 1000) + 86_400,
    };
    await this.#write(item, absent);
    return { code: text.match(new RegExp(`.{${groupLetters}}`, "g"))!.join("-"), id: hash.slice(0, 8), untilMs };
  }

  /**
   * Turns a code into a device's credentials.
   *
   * @throws SyncError `denied`: the code; `exists`: there is such a device already, and the code is as it was; `invalid`: the
   *   credential; `unsupported`: a certificate is asked for, and nobody issues any here; `unavailable`: to be tried again
   */
  async claim(code: string, deviceId: string, shown: ClaimedCredential): Promise<Claimed> {
    if (!isId(deviceId) || isReserved(deviceId)) throw new SyncError("invalid", "device is not an id of a device");
    if ("token" in shown && !tokenPattern.test(shown.token)) {
      throw new SyncError("invalid", "token is not 43 to 128 letters of base64url");
    }
    const hash = hashOf(normal(code)), row = await this.#open(hash, deviceId);
    const { credential, by, cert } = await this.#credentialOf(deviceId, shown);
    const claimed: Claimed = { deviceId, accountId: String(row.account), ...(cert === undefined ? {} : { cert }) };
    const mine = row.by === undefined ? await this.#take(row, deviceId, by) : row;
    if (mine.by !== by || mine.claimed !== deviceId) throw refused();
    await this.#become(mine, claimed, credential, shown);
    return claimed;
  }

  /** The device comes to be in the registry, or is there: wherever an earlier try ended. @throws SyncError */
  async #become(
    code: Item,
    claimed: Claimed,
    credential: { token: string } | DeviceKey,
    shown: ClaimedCredential,
  ): Promise<void> {
    const { table, registry } = this.context, { deviceId } = claimed, hash = String(code.sort);
    let row = await registry.rowOf(deviceId);
    if (code.done === undefined) {
      row = await this.#reserved(row, claimed, hash);
      const claim = reservationIn(row, hash);
      // Of an earlier build, which wrote the device first: it is there by what is shown, or is somebody else's.
      if (claim === undefined && !await this.#isIn(deviceId, shown, String(code.by))) throw exists(deviceId);
      const named = await name(table, code, claim ?? "done");
      if (named === undefined) throw throttled();
      // The device was revoked, or another try of this device is further.
      if (!named && claim !== undefined) await giveUp(table, deviceId, claim);
      if (!named) throw refused();
      code = named;
    }
    if (row && isReservation(row) && row.claim === code.done) {
      const isAdmitted = await admit(table, row, registry.storedFor(credential));
      if (isAdmitted === undefined) throw throttled();
      registry.forget(deviceId);
      row = await registry.rowOf(deviceId);
    }
    if (!row || !await this.#isIn(deviceId, shown, String(code.by))) throw refused();
    if (row.claim !== code.done) return;
    await this.context.tellBroker?.(claimed, "token" in shown ? shown.token : undefined);
    // A crash before this: the same device comes again, and the broker is told again.
    await settle(table, row);
  }

  /** The device's row, reserved for this code unless it is there. */
  async #reserved(row: Item | undefined, device: Identity, hash: string): Promise<Item | undefined> {
    const { table, registry, now, randomBytes = systemBytes } = this.context;
    if (row) return row;
    const claim = `${hash}/${Buffer.from(randomBytes(9)).toString("hex")}`;
    if (await reserve(table, device, claim, now()) === undefined) throw throttled();
    return await registry.rowOf(device.deviceId);
  }

  /** A code's row, while it may be shown for this device. */
  async #open(hash: string, deviceId: string): Promise<Item> {
    const { table, now } = this.context, [row] = await table.get([claimKey(hash)]);
    if (!row || !(now() < Number(row.until))) throw refused();
    if (row.device !== undefined && row.device !== deviceId) throw refused();
    return row;
  }

  async #credentialOf(
    deviceId: string,
    shown: ClaimedCredential,
  ): Promise<{ credential: { token: string } | DeviceKey; by: string; cert?: string }> {
    if ("token" in shown) return { credential: shown, by: hashOf(shown.token) };
    const { authority, certificateValidMs = 90 * 86_400_000 } = this.context;
    if (!authority) throw new SyncError("unsupported", "no certificates are issued here: claim a token");
    const { cert, key } = await (await authority()).certify(deviceId, shown.csr, certificateValidMs);
    return { credential: key, by: key.key, cert };
  }

  /** Takes an open code, unless another device does so first. @returns its row, as it is then */
  async #take(row: Item, deviceId: string, by: string): Promise<Item> {
    const { registry, audit, table, tellBroker, now } = this.context;
    if (tellBroker) await checkFormer(table, deviceId, now());
    if (await registry.info(deviceId)) throw exists(deviceId);
    const target = deviceId, who = `claim code ${String(row.sort).slice(0, 8)}`;
    await audit.note({ who, via: "device", action: "device.claim", target });
    const taken: Item = { ...row, by, claimed: deviceId };
    const [result] = await table.write([{ op: "put", item: taken, condition: lacks("by") }]);
    if (result?.outcome === "written") return taken;
    if (result?.outcome !== "refused") throw throttled();
    await audit.note({ who, via: "device", action: "device.claim", target, outcome: "another device was first" });
    return await this.#open(String(row.sort), deviceId);
  }

  /** Whether a device that was claimed is still in the registry by what it claimed with. */
  async #isIn(deviceId: string, shown: ClaimedCredential, by: string): Promise<boolean> {
    const { registry } = this.context;
    if ("token" in shown) return await registry.admit(deviceId, shown.token) !== undefined;
    if (!await registry.identityOf(deviceId)) return false;
    return (await registry.certificates(deviceId)).some(({ key }) => key === by);
  }

  async #write(item: Item, condition: Condition): Promise<void> {
    const [result] = await this.context.table.write([{ op: "put", item, condition }]);
    if (result?.outcome !== "written") throw throttled();
  }
}

function exists(deviceId: string): SyncError {
  return new SyncError("exists", `there is a device "${deviceId}" already`, { hint: "revoke it first" });
}

function throttled(): SyncError {
  return new SyncError("unavailable", "the claim could not be written: try again", { retryable: true });
}
