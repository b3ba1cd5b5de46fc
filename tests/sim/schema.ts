/**
 * The schema that simulated devices and clouds share: one model for each way a model can behave. A run compiles only the
 * models that it uses, which is what makes it fast.
 *
 * @module
 */
import { compileSchema } from "../../schema.ts";
import type { Schema } from "../../schema/model.ts";

type Scope = "device" | "account" | "global";

/** A model of the simulation. */
export interface SimModel {
  readonly scope: Scope;
  readonly sync: "up" | "down" | "both";
  readonly conflict?: "newest" | "cloud" | "device" | "merge";
  /** Its items are listed by a secondary index, which lags. */
  readonly indexed?: boolean;
}

/** Two-way models of each scope and policy, and the one-way ones. */
export const simModels: Readonly<Record<string, SimModel>> = {
  Own: { scope: "device", sync: "both" },
  Cloudy: { scope: "device", sync: "both", conflict: "cloud" },
  Devicey: { scope: "device", sync: "both", conflict: "device" },
  Merged: { scope: "device", sync: "both", conflict: "merge" },
  Indexed: { scope: "device", sync: "both", indexed: true },
  Shared: { scope: "account", sync: "both" },
  SharedCloudy: { scope: "account", sync: "both", conflict: "cloud" },
  SharedDevicey: { scope: "account", sync: "both", conflict: "device" },
  SharedMerged: { scope: "account", sync: "both", conflict: "merge" },
  SharedIndexed: { scope: "account", sync: "both", indexed: true },
  World: { scope: "global", sync: "both" },
  Measure: { scope: "device", sync: "up" },
  Report: { scope: "account", sync: "up" },
  Order: { scope: "device", sync: "down" },
  Notice: { scope: "global", sync: "down" },
};

const hashes = { device: "d#${deviceId}", account: "a#${accountId}", global: "g#" } as const;
const indexedHashes = { device: "x#${deviceId}#${name}", account: "ax#${accountId}#${name}", global: "gx#${name}" };

/** How a schema differs from the plain one. */
export interface Variant {
  /** Items have an `updated` timestamp. */
  readonly timed: boolean;
  /** A `w` that begins with "bad" is invalid. */
  readonly refusing?: boolean;
  /** Items have an object `o`, whose values are all that JSON has: maps that look like tags, odd names, long numbers. */
  readonly odd?: boolean;
  /** The next version: it knows the attribute `x`, which to the version before is an unknown one. */
  readonly newer?: boolean;
  /** Items may have an expiry time. */
  readonly expiring?: boolean;
  /** Items may have an attribute `u`, of which a device has each value once. */
  readonly unique?: boolean;
}

function fieldsOf(name: string, { scope, indexed }: SimModel, { refusing, newer, expiring, odd, unique }: Variant) {
  const own = `${name.toLowerCase()}#\${name}`;
  return {
    pk: { type: "string", value: indexed ? indexedHashes[scope] : hashes[scope] },
    sk: { type: "string", value: own },
    ...(indexed ? { gs1pk: { type: "string", value: hashes[scope] }, gs1sk: { type: "string", value: own } } : {}),
    name: { type: "string", required: true },
    ...(scope === "device" ? { deviceId: { type: "string", required: true } } : {}),
    ...(scope === "account" ? { accountId: { type: "string", required: true } } : {}),
    v: { type: "number" },
    w: { type: "string", ...(refusing ? { validate: "/^(?!bad)/" } : {}) },
    ...(newer ? { x: { type: "string" } } : {}),
    ...(odd ? { o: { type: "object" } } : {}),
    ...(expiring ? { expires: { type: "date", ttl: true } } : {}),
    ...(unique ? { u: { type: "string", unique: true } } : {}),
  };
}

const compiled = new Map<string, Schema>();

/** The compiled schema of some models; equal arguments give the same one. */
export function simSchema(names: readonly string[], variant: Variant): Schema {
  const { timed, refusing = false, newer = false, expiring = false, odd = false, unique = false } = variant;
  const key = [...names, timed, refusing, newer, expiring, odd, unique].join();
  let schema = compiled.get(key);
  if (!schema) compiled.set(key, schema = compile(names, { timed, refusing, newer, expiring, odd, unique }));
  return schema;
}

function compile(names: readonly string[], variant: Variant): Schema {
  const chosen = names.map((name) => [name, simModels[name]!] as const);
  return compileSchema({
    format: "onetable:1.1.0",
    version: variant.newer ? "2" : "1",
    indexes: {
      primary: { hash: "pk", sort: "sk" },
      ...(chosen.some(([, { indexed }]) => indexed) ? { gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } } : {}),
    },
    params: { isoDates: true, timestamps: variant.timed ? "update" : false },
    models: Object.fromEntries(chosen.map(([name, model]) => [name, fieldsOf(name, model, variant)])),
    process: Object.fromEntries(chosen.map(([name, { sync, conflict }]) => [name, { sync, conflict }])),
  });
}
