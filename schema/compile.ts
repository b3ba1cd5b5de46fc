/**
 * Compiles a OneTable schema: parse, normalise, validate, and work out keys, scopes and listings. All problems are found in
 * one go; a schema that has any is refused as a whole, because a feature that is silently ignored is data that is
 * silently wrong.
 *
 * @module
 */
import { SchemaError } from "./errors.ts";
import { compileField } from "./fields.ts";
import { canonicalJson, hashText } from "./json.ts";
import { attributeTemplate, enumerationOf, resolveTemplate, scopeOf, type TemplateContext } from "./keys.ts";
import type { ConflictPolicy, Field, Index, Model, Schema, SyncDirection } from "./model.ts";
import { isName, nameRule, quoted } from "./names.ts";
import { type JsonMap, normaliseSchema, type Problems } from "./normalise.ts";
import { type Template, templateFields } from "./template.ts";
import { compileHead, compileIndexes, compileParams, type Params } from "./settings.ts";
import { isMap, type Json, sourceAttribute, stampAttribute } from "./values.ts";

/** OneTable's own bookkeeping, which stands among the models of a schema that it has saved; its items are never synced. */
const oneTableModels = ["_Schema", "_Migration"];
const identityNames = ["deviceId", "accountId"] as const;

/**
 * Compiles a schema: a TypeScript object or parsed JSON. `blend` must be resolved before (see `loadSchema`).
 *
 * @throws SchemaError with every problem found.
 */
export function compileSchema(source: unknown): Schema {
  const problems: Problems = [];
  const plain = normaliseSchema(source, problems);
  if (!plain) throw new SchemaError(problems);
  const version = compileHead(plain, problems);
  const params = compileParams(plain.params, problems);
  const { primary, indexes } = compileIndexes(plain.indexes, problems);
  const models = compileModels(plain, params, primary, indexes, problems);
  if (problems.length > 0) throw new SchemaError(problems);
  return freeze({
    version,
    fingerprint: hashText(canonicalJson(plain)),
    source: plain,
    primary,
    indexes,
    typeField: params.typeField,
    separator: params.separator,
    models,
  });
}

interface ModelContext {
  readonly params: Params;
  readonly primary: Index;
  readonly indexes: readonly Index[];
  readonly problems: Problems;
}

function compileModels(
  plain: JsonMap,
  params: Params,
  primary: Index,
  indexes: readonly Index[],
  problems: Problems,
): Map<string, Model> {
  const context = { params, primary, indexes, problems };
  const models = new Map<string, Model>();
  const raw = plain.models;
  if (!isMap(raw)) {
    problems.push('the schema needs "models"');
    return models;
  }
  const process = plain.process === undefined ? {} : plain.process;
  if (!isMap(process)) problems.push('"process" must be an object');
  const processes = isMap(process) ? process : {};
  for (const name of Object.keys(processes)) {
    if (!Object.hasOwn(raw, name)) problems.push(`"process" names the model ${quoted(name)}, which does not exist`);
  }
  const lower = new Map<string, string>();
  for (const [name, fields] of Object.entries(raw)) {
    if (oneTableModels.includes(name)) continue;
    if (!checkModelName(name, lower, problems)) continue;
    const entry = Object.hasOwn(processes, name) ? processes[name] : undefined;
    const model = compileModel(name, models.size, fields, entry, context);
    if (model) models.set(name, model);
  }
  checkTtl([...models.values()], problems);
  return models;
}

function checkModelName(name: string, lower: Map<string, string>, problems: Problems): boolean {
  const twin = lower.get(name.toLowerCase());
  lower.set(name.toLowerCase(), name);
  if (name.startsWith("_")) {
    problems.push(`the model name "${name}" is refused: names that begin with "_" are reserved`);
  } else if (!isName(name)) {
    problems.push(`the model name ${quoted(name)} is refused: ${nameRule}`);
  } else if (/^sqlite_/i.test(name)) problems.push(`the model name "${name}" is refused: SQLite reserves "sqlite_"`);
  else if (twin !== undefined) {
    problems.push(`the model names "${twin}" and "${name}" differ only in case, as tables can't`);
  } else return true;
  return false;
}

function checkTtl(models: readonly Model[], problems: Problems): void {
  const attributes = new Set(models.flatMap((model) => {
    const field = model.fields.find((f) => f.name === model.ttlField);
    return field ? [field.attribute] : [];
  }));
  if (attributes.size > 1) {
    problems.push(`a DynamoDB table has one expiry attribute, and "ttl" is on ${[...attributes].join(" and ")}`);
  }
}

function compileModel(
  name: string,
  number: number,
  raw: Json,
  entry: Json | undefined,
  context: ModelContext,
): Model | undefined {
  const { problems, params, primary } = context;
  const before = problems.length;
  const report = (text: string) => void problems.push(`model "${name}": ${text}`);
  const process = compileProcess(entry, report);
  if (!isMap(raw)) {
    report("it must be an object of fields");
    return undefined;
  }
  const fields = compileFields(name, raw, context, report);
  // Whatever is derived from fields would only repeat their problems.
  if (problems.length > before) return undefined;
  const templates: TemplateContext = { model: name, params, fields };
  for (const field of fields.values()) {
    if (!field.template) continue;
    const template = resolveTemplate(field, templates, (text) => report(`field "${field.name}": ${text}`));
    if (template) fields.set(field.name, { ...field, template });
  }
  if (problems.length > before) return undefined;
  const hashKey = keyOfIndex("hash", primary.hash, templates, report);
  const sortKey = primary.sort === undefined ? undefined : keyOfIndex("sort", primary.sort, templates, report);
  if (!hashKey || (primary.sort !== undefined && !sortKey)) return undefined;

  const keyNames = [...new Set([hashKey, sortKey].flatMap((key) => key ? templateFields(key.template) : []))];
  for (const keyName of keyNames) checkKeyField(fields, keyName, report);
  if (problems.length > before) return undefined;
  // A key must be complete on both sides: OneTable itself fails to write an item whose key lacks a value.
  for (const keyName of keyNames) fields.set(keyName, { ...fields.get(keyName)!, required: true });

  const identityFields = keyNames.filter((n): n is "deviceId" | "accountId" => n === "deviceId" || n === "accountId");
  const scope = scopeOf(keyNames);
  const comesDown = process.sync === "down" || process.sync === "both";
  const enumeration = comesDown
    ? enumerationOf({ scope, identityFields }, primary, context.indexes, templates)
    : undefined;
  if (comesDown && !enumeration) report(notEnumerable(scope, process.sync));
  const list = [...fields.values()];
  const named = (test: (field: Field) => boolean) => list.find(test)?.name;
  return {
    name,
    number,
    ...process,
    scope,
    fields: list,
    hashKey,
    ...optional("sortKey", sortKey),
    keyFields: keyNames.filter((n) => n !== "deviceId" && n !== "accountId"),
    identityFields,
    ...optional("enumeration", enumeration),
    ...optional("ttlField", named((field) => field.ttl)),
    ...optional("createdField", named((field) => field.timestamp === "created")),
    ...optional("updatedField", named((field) => field.timestamp === "updated")),
  };
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V };
}

function notEnumerable(scope: string, sync: SyncDirection): string {
  const names = scope === "device"
    ? "nothing but ${deviceId} and ${accountId}"
    : scope === "account"
    ? "nothing but ${accountId}"
    : "no field";
  return `it can't be listed for a snapshot, which "sync": "${sync}" needs: the hash template of its primary key, or of a ` +
    `secondary index that every item is in, must name ${names}`;
}

interface Process {
  readonly onDevice: boolean;
  readonly inCloud: boolean;
  readonly sync: SyncDirection;
  readonly conflict: ConflictPolicy;
  readonly keep?: "newest";
}

function compileProcess(entry: Json | undefined, report: (text: string) => void): Process {
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
  const keep = map.keep === undefined ? undefined : choose("keep", ["newest"], "newest");
  // Elsewhere a dropped change would leave the device with other rows than the table, for good.
  if (keep && sync !== "up") {
    report(`"keep": "newest" drops rows that were not sent, and "sync" is "${sync}", not "up"`);
  }
  if (sync !== "none" && enable !== "both") {
    report(`"sync": "${sync}" needs the model on both sides, and "enable" is "${enable}"`);
  }
  return { onDevice: enable !== "cloud", inCloud: enable !== "device", sync, conflict, ...optional("keep", keep) };
}

function compileFields(
  model: string,
  raw: JsonMap,
  context: ModelContext,
  report: (text: string) => void,
): Map<string, Field> {
  const { params, primary, problems } = context;
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
    const field = compileField(name, value, params, problems, `model "${model}", field "${name}"`);
    if (field) fields.set(name, field);
  }
  addTimestamps(fields, lower, params, report);
  checkAttributeNames(fields, primary, params, report);
  if ([...fields.values()].filter((field) => field.ttl).length > 1) report('only one field can have "ttl"');
  return fields;
}

function addTimestamps(
  fields: Map<string, Field>,
  lower: ReadonlyMap<string, string>,
  params: Params,
  report: (text: string) => void,
): void {
  const { timestamps } = params;
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
      const field = compileField(name, { type: "date" }, params, [], name);
      if (field) fields.set(name, { ...field, timestamp });
    } else if (declared.type !== "date" || declared.ttl || !declared.synced) {
      report(`field "${name}": a timestamp must be a date that is synced and no expiry time`);
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
  for (const { name, attribute } of fields.values()) {
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

function keyOfIndex(
  role: "hash" | "sort",
  attribute: string,
  context: TemplateContext,
  report: (text: string) => void,
): { readonly attribute: string; readonly template: Template } | undefined {
  const found = attributeTemplate(attribute, context);
  if (!found) {
    report(`the primary index's ${role} attribute "${attribute}" has neither a field nor a value template`);
    return undefined;
  }
  if (found.field && found.field.type !== "string") {
    report(`the key attribute "${attribute}" must be of type string, and is of type ${found.field.type}`);
    return undefined;
  }
  if (found.template.parts.length === 0) {
    report(`the key attribute "${attribute}" has an empty template`);
    return undefined;
  }
  return { attribute, template: found.template };
}

function checkKeyField(
  fields: ReadonlyMap<string, Field>,
  name: string,
  report: (text: string) => void,
): void {
  const field = fields.get(name);
  if (!field) return;
  if (!field.synced) report(`field "${name}": a key field can't have "sync": "none"`);
  if (field.ttl) report(`field "${name}": a key field can't be the expiry time`);
  if (!identityNames.includes(name as "deviceId")) return;
  if (field.type !== "string") report(`field "${name}": it names who writes, and must be of type string`);
  for (const property of ["default", "generate", "enum", "validate"] as const) {
    if (field[property] !== undefined) {
      report(
        `field "${name}": "${property}" is not supported where the key names it: the value is the writer's own id`,
      );
    }
  }
}

/** Freezes plain data all the way down; the map of models is not written to by anyone. */
function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) freeze(inner);
  return value;
}
