/**
 * A model's entry in `process`: where the model is, in which directions it syncs, and its conflict policy.
 *
 * @module
 */
import type { Carried } from "./carried.ts";
import { optional } from "./compile_context.ts";
import type { ConflictPolicy, SyncDirection } from "./model.ts";
import { quoted } from "./names.ts";
import type { Params } from "./settings.ts";
import { isMap, type Json } from "./values.ts";

/** The entry, with defaults. */
export interface Process {
  readonly onDevice: boolean;
  readonly inCloud: boolean;
  readonly sync: SyncDirection;
  readonly conflict: ConflictPolicy;
  readonly keep?: "newest";
  readonly strict?: true;
}

/** Compiles the entry. */
export function compileProcess(entry: Json | undefined, params: Params, report: (text: string) => void): Process {
  if (entry !== undefined && !isMap(entry)) report('its entry in "process" must be an object');
  const map = isMap(entry) ? entry : {};
  const choose = <T extends string>(key: string, choices: readonly T[], usual: T): T => {
    const value = map[key];
    if (value === undefined) return usual;
    if (choices.includes(value as T)) return value as T;
    report(`"${key}" in "process" must be one of ${choices.join(", ")}, and is ${quoted(value)}`);
    return usual;
  };
  const enable = choose("enable", ["both", "cloud", "device"], "both");
  const sync = choose("sync", ["none", "up", "down", "both"], "none");
  const conflict = choose("conflict", ["newest", "cloud", "device", "merge"], "newest");
  const { strict = params.strict } = map;
  if (typeof strict !== "boolean") report('"strict" in "process" must be true or false');
  const keep = map.keep === undefined ? undefined : choose("keep", ["newest"], "newest");
  // In other models, a dropped change would make the device differ from the table for good.
  if (keep && sync !== "up") {
    report(`"keep": "newest" drops rows that were not sent, and "sync" is "${sync}", not "up"`);
  }
  if (sync !== "none" && enable !== "both") {
    report(`"sync": "${sync}" needs the model on both sides, and "enable" is "${enable}"`);
  }
  return {
    onDevice: enable !== "cloud",
    inCloud: enable !== "device",
    sync,
    conflict,
    ...optional("keep", keep),
    ...optional("strict", strict === true ? true as const : undefined),
  };
}

const processNames = [
  "enable",
  "sync",
  "conflict",
  "keep",
  "strict",
  "pk",
  "sk",
  "identity",
  "dates",
  "metrics",
  "notify",
];

/** Notes members of the entry that are not known. */
export function noteProcess(name: string, entry: Json | undefined, carried: Carried): void {
  for (const key of isMap(entry) ? Object.keys(entry) : []) {
    if (!processNames.includes(key)) carried.annotation(key, `process.${name}`, processNames);
  }
}
