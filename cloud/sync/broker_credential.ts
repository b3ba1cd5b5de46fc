/**
 * What a broker that checks tokens itself is told of a device.
 *
 * @module
 */
import type { Identity } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { Table } from "../table/port.ts";
import { listRows } from "./buckets.ts";
import { formerUntil } from "./former_certificates.ts";

/** A device as a broker knows it. */
export interface BrokerCredential extends Identity {
  /** PBKDF2 with SHA-512, base64. Absent for a device that an earlier build added. */
  readonly password?: { readonly salt: string; readonly hash: string };
  /** Whether it has a certificate of the device authority. */
  readonly certified?: true;
  /** Until when a certificate of a former device of this name is valid, ms since 1970. */
  readonly formerMs?: number;
}

/** The devices, page by page. */
export async function brokerCredentials(
  table: Table,
  nowMs: number,
  after: string | undefined,
): Promise<{ devices: BrokerCredential[]; next?: string }> {
  const { rows, next } = await listRows(table, "devices", 200, after);
  const former = await formerUntil(table, rows.map(({ sort }) => String(sort)), nowMs);
  const devices = rows.map((row, i) => brokerCredentialOf(row, former[i]));
  return { devices, ...(next === undefined ? {} : { next }) };
}

/** A device's row as a broker knows it. */
function brokerCredentialOf({ sort, account, mosquitto, certs }: Item, formerMs?: number): BrokerCredential {
  const [salt, hash] = typeof mosquitto === "string" ? mosquitto.split("$") : [];
  const password = salt && hash ? { password: { salt, hash } } : {};
  const certified = typeof certs === "string" ? { certified: true as const } : {};
  return {
    deviceId: String(sort),
    accountId: String(account),
    ...password,
    ...certified,
    ...(formerMs === undefined ? {} : { formerMs }),
  };
}
