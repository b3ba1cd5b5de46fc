/**
 * A schema's settings for all models: version, `params`, `indexes`.
 *
 * @module
 */
import type { Carried } from "./carried.ts";
import { type IdentityNames, usualIdentity } from "./identity.ts";
import type { Index } from "./model.ts";
import { isName, quoted } from "./names.ts";
import type { JsonMap, Problems } from "./normalise.ts";
import { isMap, type Json, sourceAttribute, stampAttribute } from "./values.ts";

/** The schema's `params`, with OneTable's defaults. */
export interface Params {
  readonly isoDates: boolean;
  readonly nulls: boolean;
  readonly typeField: string;
  readonly separator: string;
  readonly timestamps: boolean | "create" | "update";
  readonly createdField: string;
  readonly updatedField: string;
  /** Which fields hold the device's and the account's id. */
  readonly identity: IdentityNames;
  /** Whether models refuse undeclared attributes from devices. */
  readonly strict: boolean;
}

/** Checks what is at the top of a schema; gives its version. */
export function compileHead(plain: JsonMap, problems: Problems): string {
  const { version, format, blend } = plain;
  if (typeof version !== "string" || version === "") problems.push('the schema\'s "version" must be a text: "0.0.1"');
  if (format !== undefined && (typeof format !== "string" || !/^onetable:1\.\d/.test(format))) {
    problems.push(`the format ${quoted(format)} is not supported: "onetable:1.1.0" is`);
  }
  if (blend !== undefined && !(Array.isArray(blend) && blend.length === 0)) {
    problems.push('"blend" names files: load the schema from its own file, so that they are found');
  }
  return typeof version === "string" ? version : "";
}

const paramNames = [
  "isoDates",
  "nulls",
  "typeField",
  "separator",
  "timestamps",
  "createdField",
  "updatedField",
  "legacyEmpties",
  "identity",
  "strict",
];
/** OneTable's own, without effect on items. */
const oneTables = ["hidden", "warn", "partial"];

/** The schema's `params` with OneTable's defaults. */
export function compileParams(raw: Json | undefined, problems: Problems, carried: Carried): Params {
  const given = raw === undefined ? {} : isMap(raw) ? raw : undefined;
  if (!given) problems.push('"params" must be an object');
  const map = given ?? {};
  for (const [name, value] of Object.entries(map)) {
    if (name === "legacyEmpties" && value !== false) {
      problems.push('the param "legacyEmpties" is not supported: it removes empty texts, and nothing is dropped here');
    } else if (![...paramNames, ...oneTables].includes(name)) carried.annotation(name, "params", paramNames);
  }
  const bool = (name: string): boolean => {
    const value = map[name];
    if (value !== undefined && typeof value !== "boolean") problems.push(`the param "${name}" must be true or false`);
    return value === true;
  };
  const text = (name: string, usual: string, ok: (value: string) => boolean): string => {
    const value = map[name];
    if (value === undefined) return usual;
    if (typeof value === "string" && ok(value)) return value;
    problems.push(`the param "${name}" can't be ${quoted(value)}`);
    return usual;
  };
  const timestamps = map.timestamps ?? false;
  if (typeof timestamps !== "boolean" && timestamps !== "create" && timestamps !== "update") {
    problems.push('the param "timestamps" must be true, false, "create" or "update"');
  }
  const params: Params = {
    isoDates: bool("isoDates"),
    nulls: bool("nulls"),
    strict: bool("strict"),
    typeField: text("typeField", "_type", isTypeField),
    separator: text("separator", "#", () => true),
    timestamps: timestamps as Params["timestamps"],
    createdField: text("createdField", "created", isName),
    updatedField: text("updatedField", "updated", isName),
    identity: compileIdentity(map.identity, usualIdentity, (why) => void problems.push(`the param ${why}`)),
  };
  if (params.createdField === params.updatedField) problems.push('"createdField" and "updatedField" must differ');
  return params;
}

/** The identity's fields, as `params` or a model's entry in `process` name them. */
export function compileIdentity(
  raw: Json | undefined,
  usual: IdentityNames,
  report: (text: string) => void,
): IdentityNames {
  if (raw === undefined) return usual;
  const ok = isMap(raw) &&
    Object.entries(raw).every(([role, name]) =>
      (role === "deviceId" || role === "accountId") && typeof name === "string" && isName(name)
    );
  const names = ok ? { ...usual, ...raw } as IdentityNames : usual;
  if (!ok) report('"identity" must name fields: {"deviceId": "thing", "accountId": "orgId"}');
  else if (names.deviceId === names.accountId) report('"identity" names one field for the device and the account');
  else return names;
  return usual;
}

function isTypeField(name: string): boolean {
  return isName(name.replace(/^_{1,8}/, "")) && name !== sourceAttribute && name !== stampAttribute;
}

/** The table's indexes: the primary one, and the others in the schema's order. */
export function compileIndexes(raw: Json | undefined, problems: Problems): { primary: Index; indexes: Index[] } {
  const found: Index[] = [];
  if (!isMap(raw) || !isMap(raw.primary)) {
    problems.push('the schema needs "indexes" with a "primary": {"primary": {"hash": "pk", "sort": "sk"}}');
  }
  const primaryHash = isMap(raw) && isMap(raw.primary) ? raw.primary.hash : undefined;
  for (const [name, index] of Object.entries(isMap(raw) ? raw : {})) {
    if (!isMap(index)) {
      problems.push(`the index "${name}" must be an object`);
      continue;
    }
    // A local secondary index shares the primary hash; OneTable treats an index without a hash as local.
    const isLocal = name !== "primary" && (index.type === "local" || index.hash === undefined);
    const hash = isLocal && index.hash === undefined ? primaryHash : index.hash;
    if (typeof hash !== "string" || hash === "") problems.push(`the index "${name}" needs a "hash" attribute`);
    else if (isLocal && hash !== primaryHash) problems.push(`the local index "${name}" must have the primary hash`);
    else if (index.sort !== undefined && (typeof index.sort !== "string" || index.sort === "" || index.sort === hash)) {
      problems.push(`the index "${name}" needs a "sort" attribute other than its hash, or none`);
    } else if (isLocal && index.sort === undefined) problems.push(`the local index "${name}" needs a "sort" attribute`);
    else found.push(index.sort === undefined ? { name, hash } : { name, hash, sort: index.sort as string });
  }
  const primary = found.find((index) => index.name === "primary") ?? { name: "primary", hash: "pk" };
  return { primary, indexes: found.filter((index) => index.name !== "primary") };
}
