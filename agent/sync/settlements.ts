/**
 * Which keys were settled by answers to the uplink since a question was asked: the answer to that question may be older.
 *
 * @module
 */
import { keyText } from "../../protocol/keys.ts";
import type { Key } from "../../protocol.ts";
import type { Request } from "./requests.ts";

/** See the module. */
export class Settlements {
  /** Counts settlements by answers. */
  serial = 0;
  /** When each key was settled last, while a question is open. */
  readonly #settledAt: Map<string, number> = new Map();

  /** These keys are settled now; while no question is open, that need not be remembered. */
  note(keys: Iterable<Key>, isAsked: boolean): void {
    this.serial++;
    if (!isAsked) return this.clear();
    for (const key of keys) this.#settledAt.set(keyText(key), this.serial);
  }

  since(key: Key, request: Request): boolean {
    return this.#settledAt.size > 0 && (this.#settledAt.get(keyText(key)) ?? 0) > request.settledSerial;
  }

  clear(): void {
    this.#settledAt.clear();
  }
}
