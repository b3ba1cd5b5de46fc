/**
 * Which registration of a device's name a message belongs to: the one under which it was sent. A message may wait for half a
 * minute, in a queue or for its device's budget; by then its device may be revoked, and the name another account's.
 *
 * A message that arrived while this process knew a registration belongs to that one. Where it knew none, the message belongs to
 * the registration that is there in its turn, unless that was made after the message arrived.
 *
 * Nothing is read for it, and nothing more is stored: a device's row has the time of its registration and the account, and
 * rotations and renewals keep both.
 *
 * @module
 */
import type { Identity } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { Lru } from "./lru.ts";

/** What was known of a device as its message arrived. */
export interface Arrival {
  /** The last registration of this name that this process had read; absent: none. */
  readonly registration?: string;
  /** ms since 1970. */
  readonly atMs: number;
}

/** A device, and which registration of its name it is. */
export interface Registered extends Identity {
  /** The same for as long as the device is not revoked, nor added in its own place. */
  readonly registration: string;
}

/** What distinguishes a device's row from another of the same name. */
export function registrationOf({ created, account }: Item): string {
  return `${created} ${account}`;
}

/** The last registrations that this process has read, those of revoked devices among them. */
export class Registrations {
  readonly #last = new Lru<string, string>({
    bytesMax: 16 * 1024 * 1024,
    sizeOf: (deviceId, registration) => 2 * (deviceId.length + registration.length) + 80,
  });

  /** A device's row was read. */
  read({ deviceId, registration }: Registered): void {
    this.#last.set(deviceId, registration);
  }

  /** To be taken as a message arrives. */
  arrival(deviceId: string, atMs: number): Arrival {
    const registration = this.#last.get(deviceId);
    return registration === undefined ? { atMs } : { registration, atMs };
  }
}

/** Whether a message that arrived then was sent under this registration. */
export function isFrom({ registration, atMs }: Arrival, now: Registered): boolean {
  return registration === undefined
    ? Number(now.registration.split(" ", 1)[0]) <= atMs
    : registration === now.registration;
}
