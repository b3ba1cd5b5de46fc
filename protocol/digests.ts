/**
 * Digests by which a device and the cloud compare their items without sending them. Both sides compute them here.
 *
 * A range's digest is the exclusive or of its items': equal sets have equal digests in whatever order they are listed,
 * and two that differ have the same one by chance in 1 of 2^64.
 *
 * @module
 */
import { canonicalJson, hashText } from "../schema/json.ts";
import type { Attributes } from "../schema/values.ts";
import type { Key } from "./messages.ts";

/** The digest of one item: its key, and its attributes as a message carries them. 16 hex digits. */
export function itemDigest(key: Key, attributes: Attributes): string {
  return hashText(JSON.stringify(key) + canonicalJson(attributes));
}

/** The digests of several items, combined. */
export class DigestSum {
  #sum = 0n;
  count = 0;

  add(digest: string): void {
    this.#sum ^= BigInt(`0x${digest}`);
    this.count++;
  }

  /** 16 hex digits. */
  get digest(): string {
    return this.#sum.toString(16).padStart(16, "0");
  }
}
