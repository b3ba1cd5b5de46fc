/**
 * Messages beside the sync: what an operator tells a device to do, and a device's next certificate.
 *
 * @module
 */
import type { Attributes } from "../schema/values.ts";
import type { Told } from "./messages.ts";

/** What an order may ask a device to do; see {@link Order}. */
export type OrderKind = "sync" | "verify" | "retry" | "restore" | "drop" | "kept" | "rotate";

/** The tables that a device keeps for people. */
export type KeptName = "rejected" | "conflicts" | "aside";

/**
 * Asks a device to do something. The device answers with `ordered` each time the order arrives, and carries it out
 * once. Only on the device's own topic. Sent only to devices whose report says that they understand it.
 *
 * `sync`: ask for every channel. `verify`: as the message of that name. `retry`: put rejected changes back as local writes, or
 * try items that are set aside again. `restore`: put versions that lost a conflict back as local writes. `drop`: delete
 * either. `kept`: list them, without changing anything. `rotate`: use `token` at the broker from now on; until the
 * broker has accepted it, the old token is valid too. Only for devices whose report says that they can.
 */
export interface Order {
  /** Which message it is. */
  readonly type: "order";
  /** The order's id. */
  readonly order: string;
  /** What to do. */
  readonly do: OrderKind;
  /** Of `retry`, `restore`, `drop`, `kept`: in which table. */
  readonly table?: KeptName;
  /** This one alone; absent: all of the table, or of the model. */
  readonly id?: number;
  /** Of this model only. */
  readonly model?: string;
  /** For `retry` and `restore`: do it even if the row was written again since. */
  readonly force?: boolean;
  /** For `kept`: list after this number. */
  readonly after?: number;
  /** For `kept`: list at most so many. */
  readonly limit?: number;
  /** Of `verify`. */
  readonly repair?: boolean;
  /** Of `verify`. */
  readonly keysPerSecond?: number;
  /** Of `rotate`: the new token. A secret: nothing logs it, and no database keeps it. */
  readonly token?: string;
}

/** The state of an order. */
export interface Ordered {
  /** Which message it is. */
  readonly type: "ordered";
  /** The order's id. */
  readonly order: string;
  /** `running`: another report follows. */
  readonly state: "running" | "done" | "failed";
  /** The result: counts, rows, a `reason`. The device's own JSON. */
  readonly report: Attributes;
}

/**
 * Asks for another certificate, before the one that the device logs in with expires; answered by `renewed`. The key is a new
 * one, and stays on the device. A cloud that can't read this says nothing, and the device asks again some other time.
 */
export interface Renew {
  /** Which message it is. */
  readonly type: "renew";
  /** The request's id. */
  readonly request: string;
  /** A certificate request (PKCS #10, PEM) for the device's id, at most {@link certificateTextMax} characters. */
  readonly csr: string;
}

/** Answers a `renew`, on the device's own topic alone: with a certificate, or with a reason. */
export interface Renewed extends Told {
  /** Which message it is. */
  readonly type: "renewed";
  /** The request's id. */
  readonly request: string;
  /** The certificate, PEM. */
  readonly cert?: string;
  /** Why there is none. */
  readonly reason?: string;
  /** When to ask again at the earliest, ms. */
  readonly afterMs?: number;
}

/** Characters of a certificate, or of a request for one: a key of RSA with 4096 bits makes 2,500. */
export const certificateTextMax: number = 8 * 1024;
