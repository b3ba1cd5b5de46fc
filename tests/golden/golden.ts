/**
 * The golden files of a release: what devices in the field hold and say for years. See `make.ts` for what each has, and
 * CONTRIBUTING.md ("Change a format") for what to do where a test here fails.
 *
 * @module
 */
import { AssertionError } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Message } from "../../protocol.ts";
import type { Json } from "../../schema/values.ts";

/** A message as `messages.json` has it; payloads in base64 but for plain JSON. */
export interface GoldenPayloads {
  readonly name: string;
  readonly direction: "up" | "down";
  readonly message: Message;
  readonly plain: string;
  readonly inflates: string;
  readonly deflated: readonly string[];
  readonly parts: readonly string[];
  readonly deflatedParts: readonly string[];
}

/** What went over the broker. */
export interface Said {
  readonly topic: string;
  /** The cloud's time, ms. */
  readonly atMs: number;
  readonly payload: string;
  readonly message?: Message;
}

/** A table's rows. */
export type Rows = readonly Readonly<Record<string, Json>>[];

/** What stands in the golden files. A text above 2,000 characters is `{sha256}`. */
export interface Expected {
  readonly endedMs: number;
  readonly tokens: Readonly<Record<string, string>>;
  readonly device: Readonly<Record<string, Rows>>;
  readonly second: Readonly<Record<string, Rows>>;
  readonly cloud: Readonly<Record<string, Rows>>;
}

/** Digests, ids and tokens as a release made them. */
export interface GoldenFacts {
  readonly item: Readonly<Record<string, Json>>;
  readonly key: readonly [string, string];
  readonly digest: string;
  readonly other: string;
  readonly both: string;
  readonly ids: { readonly atMs: number; readonly ulid: string; readonly uuid: string };
  readonly tokens: {
    readonly primary: string;
    readonly prefix: string;
    readonly secondary: string;
    readonly scan: string;
    readonly dynamo: { readonly key: Readonly<Record<string, object>>; readonly token: string };
  };
}

/** The releases whose files are here, the oldest first. */
export const releases = ["c989acf", "baa1385"] as const;
/** Folders with messages: of releases, and of what came after one, by its day. */
export const messageSets = [
  ...releases,
  "2026-11-28",
  "2026-11-29",
  "2026-11-29-orders",
  "2026-11-29-renew",
  "2026-11-30-progress",
] as const;

function bytesOf(release: string, name: string): Uint8Array {
  const bytes = readFileSync(new URL(`./${release}/${name}`, import.meta.url));
  return name.endsWith(".gz") ? gunzipSync(bytes) : bytes;
}

/** A JSON file of a release, packed or not. */
export function golden<T>(release: string, name: string): T {
  return JSON.parse(new TextDecoder().decode(bytesOf(release, name)));
}

/** Unpacks a database of a release. */
export function unpack(release: string, name: string, to: string): string {
  writeFileSync(to, bytesOf(release, name));
  return to;
}

/** A payload's bytes. */
export function payloadOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

/** Runs assertions on what is frozen; a failure says what it means. */
export async function frozen(what: string, check: () => void | Promise<void>): Promise<void> {
  try {
    await check();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AssertionError({
      message: `this breaks devices in the field: ${what} (CONTRIBUTING.md, "Change a format"): ${why}`,
    });
  }
}
