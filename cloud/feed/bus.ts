/**
 * The exchange among workers: that somebody watches, events, and answers of devices for which another worker waits. It
 * uses `tt/w/feed`, which brokers' rules reserve for workers; best effort, for people: no sync rule depends on it.
 *
 * @module
 */
import { isMap } from "../../schema/values.ts";
import type { FeedRow } from "./rows.ts";

/** A message among workers. */
export type BusMessage =
  /** Somebody watches at the sender, for this long from now. */
  | { readonly kind: "interest"; readonly ttlMs: number }
  /** Events at the sender, and how many more were left out. */
  | { readonly kind: "rows"; readonly rows: readonly FeedRow[]; readonly gap?: number }
  /** A device answered a request of some worker. */
  | { readonly kind: "answer"; readonly device: string; readonly request: string; readonly answer: unknown };

/** The connection among workers. */
export interface Bus {
  /** Sends to all other workers. Lost if there is no connection. */
  publish(message: BusMessage): void;
  /** Calls back with other workers' messages. @returns a function that ends it */
  subscribe(listener: (message: BusMessage) => void): () => void;
}

/** Workers' clocks and versions may differ: interest never lasts longer than this. */
const ttlMaxMs = 60_000;
/** The most rows of a worker's message: a second's. */
const rowsMax = 400;

/** A message's payload; by `from`, a worker recognises its own. */
export function encodeBus(from: string, message: BusMessage): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: 1, from, ...message }));
}

/** The message of another worker; undefined: its own, or one that this version does not know. */
export function decodeBus(own: string, payload: Uint8Array): BusMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    // Not a message of a worker of this version.
    return undefined;
  }
  if (!isMap(value) || value.v !== 1 || value.from === own) return undefined;
  switch (value.kind) {
    case "interest":
      return { kind: "interest", ttlMs: Math.max(0, Math.min(Number(value.ttlMs) || 0, ttlMaxMs)) };
    case "rows": {
      const rows = Array.isArray(value.rows) ? value.rows.slice(0, rowsMax) as unknown as FeedRow[] : [];
      const known = rows.filter((row) => isMap(row) && typeof (row as { type?: unknown }).type === "string");
      const gap = Number(value.gap);
      return { kind: "rows", rows: known, ...(gap > 0 ? { gap } : {}) };
    }
    case "answer": {
      const { device, request, answer } = value;
      if (typeof device !== "string" || typeof request !== "string") return undefined;
      return { kind: "answer", device, request, answer };
    }
    default:
      return undefined;
  }
}
