/**
 * All fields of a model: its own, the key templates from elsewhere, and the timestamps; checked against each other.
 *
 * @module
 */
import type { ModelContext } from "./compile_context.ts";
import { compileField } from "./fields.ts";
import type { Field, Index } from "./model.ts";
import { isName, nameRule, quoted } from "./names.ts";
import type { JsonMap } from "./normalise.ts";
import type { Process } from "./process.ts";
import type { Params } from "./settings.ts";
import { isMap, type Json, sourceAttribute, stampAttribute } from "./values.ts";

/**
 * The model's fields with the key templates that stand elsewhere: in `process` (`pk`, `sk`), or, for a model that is on the
 * device alone and has no hash key, its own name.
 */
export function withKeys(
  name: string,
  raw: JsonMap,
  entry: Json | undefined,
  process: Process,
  context: ModelContext,
): JsonMap {
  const { primary, params } = context;
  const has = (attribute: string) =>
    attribute === params.typeField || Object.hasOwn(raw, attribute) ||
    Object.values(raw).some((field) => isMap(field) && field.map === attribute);
  const given = (key: string) => isMap(entry) && Object.hasOwn(entry, key) ? entry[key] : undefined;
  const added: Record<string, Json> = {};
  const hash = given("pk") ?? (process.inCloud ? undefined : name);
  const sort = given("sk");
  if (hash !== undefined && !has(primary.hash)) added[primary.hash] = { type: "string", value: hash };
  if (sort !== undefined && primary.sort !== undefined && !has(primary.sort)) {
    added[primary.sort] = { type: "string", value: sort };
  }
  return { ...added, ...raw };
}

/** Compiles the fields of a model. */
export function compileFields(
  model: string,
  raw: JsonMap,
  context: ModelContext,
  report: (text: string) => void,
): Map<string, Field> {
  const { params, primary, problems, carried } = context;
  const reserved = [params.typeField, sourceAttribute, stampAttribute];
  const fields = new Map<string, Field>();
  const lower = new Map<string, string>();
  for (const [name, value] of Object.entries(raw)) {
    if (reserved.includes(name)) continue;
    if (name.startsWith("_")) {
      report(`the field name "${name}" is refused: names that begin with "_" are reserved`);
      continue;
    }
    if (!isName(name)) {
      report(`the field name ${quoted(name)} is refused: ${nameRule}`);
      continue;
    }
    const twin = lower.get(name.toLowerCase());
    if (twin !== undefined) report(`the fields "${twin}" and "${name}" differ only in case, as columns can't`);
    lower.set(name.toLowerCase(), name);
    const where = `model "${model}", field "${name}"`;
    const field = compileField(name, value, { params, problems, carried, where, place: `${model}.${name}` });
    if (field) fields.set(name, field);
  }
  addTimestamps(fields, lower, context, report);
  checkAttributeNames(fields, primary, params, report);
  if ([...fields.values()].filter((field) => field.ttl).length > 1) report('only one field can have "ttl"');
  return fields;
}

function addTimestamps(
  fields: Map<string, Field>,
  lower: ReadonlyMap<string, string>,
  context: ModelContext,
  report: (text: string) => void,
): void {
  const { params } = context, { timestamps } = params;
  const wanted: ["created" | "updated", string][] = [];
  if (timestamps === true || timestamps === "create") wanted.push(["created", params.createdField]);
  if (timestamps === true || timestamps === "update") wanted.push(["updated", params.updatedField]);
  for (const [timestamp, name] of wanted) {
    const twin = lower.get(name.toLowerCase());
    if (twin !== undefined && twin !== name) {
      report(`the field "${twin}" and the timestamp "${name}" differ only in case, as columns can't`);
    }
    const declared = fields.get(name);
    if (!declared) {
      if (twin === name) continue;
      const field = compileField(name, { type: "date" }, { ...context, where: name, place: name });
      if (field) fields.set(name, { ...field, timestamp });
    } else if (declared.type !== "date" || declared.ttl || !declared.synced || declared.packed) {
      report(
        `field "${name}": a timestamp must be a date that is synced, with an attribute of its own, and no expiry time`,
      );
    } else {
      fields.set(name, { ...declared, timestamp });
    }
  }
}

function checkAttributeNames(
  fields: ReadonlyMap<string, Field>,
  primary: Index,
  params: Params,
  report: (text: string) => void,
): void {
  const owners = new Map<string, string>();
  const packs = new Set([...fields.values()].flatMap(({ packed }) => packed ? [packed[0]] : []));
  for (const { name, attribute } of fields.values()) {
    if (packs.has(attribute)) report(`field "${name}": its attribute "${attribute}" is a map that other fields share`);
    const twin = owners.get(attribute);
    if (twin !== undefined) report(`the fields "${twin}" and "${name}" are both the attribute "${attribute}"`);
    if (attribute === params.typeField) report(`field "${name}": the attribute "${attribute}" holds the type`);
    owners.set(attribute, name);
  }
  // The device's table has a column for each key attribute beside those for the fields.
  for (const key of [primary.hash, primary.sort]) {
    for (const { name, attribute } of fields.values()) {
      if (name.toLowerCase() === key?.toLowerCase() && attribute !== key) {
        report(`field "${name}": its column would be named as the key attribute "${key}", which it is not`);
      }
    }
  }
}
