/**
 * What workers tell each other: that somebody watches, what happened, and answers of devices that another worker waits for. On
 * `tt/w/feed`, which brokers' rules keep to workers; best effort, for people to look at: no rule of sync depends on it.
 *
 * @module
 */
import { isMap } from "../../schema/values.ts";
import type { FeedRow } from "./rows.ts";

/** A message among workers. */
export type BusMessage =
  /** Somebody watches at the sender, for so long from now. */
  | { readonly kind: "interest"; readonly ttlMs: number }
  /** What happened at the sender, and how much more than can be told. */
  | { readonly kind: "rows"; readonly rows: readonly FeedRow[]; readonly gap?: number }
  /** A device answered a request that some worker made. */
  | { readonly kind: "answer"; readonly device: string; readonly request: string; readonly answer: unknown };

/** Workers' way to each other. */
export interface Bus {
  /** Tells all other workers. Lost where there is no connection. */
  publish(message: BusMessage): void;
  /** Called with what others tell. @returns what ends it */
  subscribe(listener: (message: BusMessage) => void): () => void;
}

/** Workers with clocks and plans of their own: interest is never longer than this. */
const ttlMaxMs = 60_000;
/** A worker's message has at most so many rows: a second's. */
const rowsMax = 400;

/** A message's payload; `from` tells a worker its own. */
export function encodeBus(from: string, message: BusMessage): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: 1, from, ...message }));
}

/** The message of another worker; undefined: one's own, or none that this version knows. */
export function decodeBus(own: string, payload: Uint8Array): BusMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    // Whatever it is, it is no worker's of this version.
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
