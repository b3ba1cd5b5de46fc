/**
 * A device's row in the registry while a claim code becomes that device (`identity/claims.ts`). Guarantee: a code lets its
 * device in once. Whatever is repeated, delayed or killed, a device that was revoked is not let in by the code again.
 *
 * Two rows change, and no table writes both at once, so each step is conditional on the one before:
 *
 *     nothing ─(reserve)─▶ reserved, lets nobody in ─(the code's row names this reservation)─▶ admitted ─(settled)─▶ as any other
 *
 * - Each reservation has a number of its own, and the code's row names at most one, for ever: only that one is admitted.
 * - Whoever revokes a reserved device first has the code's row name none (`registry.ts`). A process that is still between
 *   two steps then finds another row than the one that it expects.
 *
 * In a device's row: `claim`: `<the code's hash>/<number>`, from the reservation until it is settled. A reserved row has no
 * credentials.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { absent, all, any, equals, lacks } from "../table/condition.ts";
import type { Condition, Table } from "../table/port.ts";
import { bucketKey, formerKey } from "./buckets.ts";
import { noteFormer } from "./former_certificates.ts";

/** The code's `done` where its device was revoked before it was let in. */
const revoked = "revoked";
const withoutCredentials = all(lacks("token"), lacks("certs"));

/** The place of a code's row. */
export function claimKey(hash: string): Key {
  return [`claim#${hash.slice(0, 2)}`, hash];
}

/** The reservation in a device's row that was made for this code. */
export function reservationIn(row: Item | undefined, hash: string): string | undefined {
  return typeof row?.claim === "string" && row.claim.startsWith(`${hash}/`) ? row.claim : undefined;
}

/** Writes one row. @returns whether its condition held; undefined: the table did not take it */
async function written(table: Pick<Table, "write">, item: Item, condition: Condition): Promise<boolean | undefined> {
  const [result] = await table.write([{ op: "put", item, condition }]);
  return result?.outcome === "written" ? true : result?.outcome === "refused" ? false : undefined;
}

/** Reserves the name of a device that there is not. @returns false: there is one; undefined: try again */
export async function reserve(
  table: Pick<Table, "get" | "write">,
  device: { readonly deviceId: string; readonly accountId: string },
  claim: string,
  nowMs: number,
): Promise<boolean | undefined> {
  const [hash, sort] = bucketKey("devices", device.deviceId);
  if ((await table.get([formerKey("devices", device.deviceId)]))[0]) return false;
  return await written(table, { hash, sort, account: device.accountId, created: nowMs, claim }, absent);
}

/** Has the code's row name this reservation. @returns its row; false: it names another, or none any more */
export async function name(table: Pick<Table, "write">, code: Item, claim: string): Promise<Item | false | undefined> {
  const named: Item = { ...code, done: claim };
  const isNamed = await written(
    table,
    named,
    all(equals("by", code.by!), any(lacks("done"), equals("done", claim))),
  );
  return isNamed ? named : isNamed;
}

/** Lets a reserved device in. @returns false: its row is another one, or is gone */
export async function admit(
  table: Pick<Table, "write">,
  row: Item,
  credentials: Attributes,
): Promise<boolean | undefined> {
  return await written(table, { ...row, ...credentials }, all(equals("claim", row.claim!), withoutCredentials));
}

/** Whether a row is reserved, and lets nobody in. */
export function isReservation(row: Item): boolean {
  return row.claim !== undefined && row.token === undefined && row.certs === undefined;
}

/** The device is as any other: what its code was is forgotten. */
export async function settle(table: Pick<Table, "write">, row: Item): Promise<void> {
  const { claim, ...rest } = row;
  const same = ["token", "certs"].map((name) => row[name] === undefined ? lacks(name) : equals(name, row[name]));
  // Where the row was changed meanwhile, the next repetition of the claim does it.
  await table.write([{ op: "put", item: rest, condition: all(equals("claim", claim!), ...same) }]);
}

/** Removes a reservation that leads nowhere. */
export async function giveUp(table: Pick<Table, "write">, deviceId: string, claim: string): Promise<void> {
  const condition = all(equals("claim", claim), withoutCredentials);
  await table.write([{ op: "delete", key: bucketKey("devices", deviceId), condition }]);
}

/**
 * Before a device's row is deleted: its code leads nowhere any more, and its certificates are noted.
 *
 * @returns the condition on which the row may be deleted: it is still the one whose code that is; undefined: try again
 */
export async function voidCode(table: Pick<Table, "get" | "write">, deviceId: string): Promise<Condition | undefined> {
  const [row] = await table.get([bucketKey("devices", deviceId)]);
  if (!await noteFormer(table, row)) return undefined;
  // A renewal at this moment has a certificate of which nothing is noted.
  const sameCerts = row?.certs === undefined ? lacks("certs") : equals("certs", row.certs);
  if (typeof row?.claim !== "string") return all(lacks("claim"), sameCerts);
  const isSame = all(equals("claim", row.claim), sameCerts),
    [code] = await table.get([claimKey(row.claim.split("/")[0]!)]);
  if (!code || code.done !== undefined) return isSame;
  // Refused: somebody names the reservation at this moment, and the code is used.
  return await written(table, { ...code, done: revoked }, lacks("done")) === undefined ? undefined : isSame;
}
