/**
 * Compiles a OneTable schema: parse, normalise, validate, and work out keys, scopes and listings. All problems are found in
 * one go; a schema that has any is refused as a whole, because a feature that is silently ignored is data that is
 * silently wrong. What has no effect on data here (notes, models that do not sync and are not understood) is carried and
 * listed in `warnings`.
 *
 * @module
 */
import { Carried, carriedSentence } from "./carried.ts";
import { comesDown } from "./direction.ts";
import { compileDateRules } from "./date_rules.ts";
import { SchemaError } from "./errors.ts";
import { compileField } from "./fields.ts";
import { canonicalJson, hashText } from "./json.ts";
import { type IdentityNames, type IdentityRole, roleOf } from "./identity.ts";
import { type KeyIdentity, keyIdentity } from "./key_identity.ts";
import { attributeTemplate, enumerationOf, resolveTemplate, scopeOf, type TemplateContext } from "./keys.ts";
import type { ConflictPolicy, Field, Index, Model, Schema, Scope, SyncDirection } from "./model.ts";
import { isName, nameRule, quoted } from "./names.ts";
import { type JsonMap, normaliseSchema, type Problems } from "./normalise.ts";
import { compileEncoded } from "./placement.ts";
import { type Template, templateFields } from "./template.ts";
import { checkTexts } from "./texts.ts";
import type { OneTableSchema } from "./types.ts";
import { compileHead, compileIdentity, compileIndexes, compileParams, type Params } from "./settings.ts";
import { isMap, type Json, sourceAttribute, stampAttribute } from "./values.ts";

/** OneTable's own bookkeeping, which stands among the models of a schema that it has saved; its items are never synced. */
const oneTableModels = ["_Schema", "_Migration"];

/** How strictly a schema is judged. */
export interface CompileOptions {
  /** Refuse what would only be warned of. Default false. */
  readonly strict?: boolean;
  /** Warnings from reading the schema. */
  readonly notes?: readonly string[];
}

/**
 * Compiles a schema: a TypeScript object or parsed JSON. `blend` must be resolved before (see `loadSchema`).
 *
 * @throws SchemaError with every problem found.
 */
export function compileSchema(source: unknown, { strict = false, notes = [] }: CompileOptions = {}): Schema {
  const problems: Problems = [];
  const carried = new Carried();
  notes.forEach((note) => carried.warn(note));
  const plain = normaliseSchema(source, problems);
  if (!plain) throw new SchemaError(problems);
  checkTexts(plain, problems);
  const version = compileHead(plain, problems);
  const params = compileParams(plain.params, problems, carried);
  const { primary, indexes } = compileIndexes(plain.indexes, problems);
  const context = { params, primary, indexes, carried };
  const { models, opaque } = compileModels(plain, context, problems);
  const { warnings } = carried;
  if (strict) problems.push(...warnings);
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
    carried: opaque,
    annotations: carried.annotations,
    warnings,
  });
}

/** The compiled schema of a literal; one that is compiled stays as it is. @throws SchemaError as {@link compileSchema} */
export function compiledOf(schema: OneTableSchema | Schema): Schema {
  return isCompiled(schema) ? schema : compileSchema(schema);
}

function isCompiled(schema: OneTableSchema | Schema): schema is Schema {
  return schema.models instanceof Map;
}

interface SchemaContext {
  readonly params: Params;
  readonly primary: Index;
  readonly indexes: readonly Index[];
  readonly carried: Carried;
}
interface ModelContext extends SchemaContext {
  readonly problems: Problems;
}
interface Models {
  readonly models: Map<string, Model>;
  /** Those that are carried, with the reasons. */
  readonly opaque: Map<string, readonly string[]>;
}

function compileModels(plain: JsonMap, context: SchemaContext, problems: Problems): Models {
  const models = new Map<string, Model>(), opaque = new Map<string, readonly string[]>();
  const raw = plain.models;
  if (!isMap(raw)) {
    problems.push('the schema needs "models"');
    return { models, opaque };
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
    const own: Problems = [];
    const said = Object.hasOwn(processes, name) ? processes[name] : undefined;
    const process = compileProcess(said, context.params, (text) => void problems.push(`model "${name}": ${text}`));
    noteProcess(name, said, context.carried);
    const model = checkModelName(name, lower, own)
      ? compileModel(name, models.size, fields, said, process, { ...context, problems: own })
      : undefined;
    if (model && own.length === 0) models.set(name, model);
    else if (process.sync !== "none") problems.push(...own);
    else {
      const why = own.map((text) => text.replace(/^model "[^"]*"(: |, )/, ""));
      opaque.set(name, why);
      context.carried.warn(carriedSentence(name, why));
    }
  }
  checkTtl([...models.values()], problems);
  return { models, opaque };
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
  given: Json,
  entry: Json | undefined,
  process: Process,
  context: ModelContext,
): Model | undefined {
  const { problems, params, primary } = context;
  const before = problems.length;
  const report = (text: string) => void problems.push(`model "${name}": ${text}`);
  if (!isMap(given)) {
    report("it must be an object of fields");
    return undefined;
  }
  const raw = withKeys(name, given, entry, process, context);
  const fields = compileFields(name, raw, context, report);
  // Whatever is derived from fields would only repeat their problems.
  if (problems.length > before) return undefined;
  const templates: TemplateContext = { model: name, params, fields };
  const identityNames = compileIdentity(
    isMap(entry) ? entry.identity : undefined,
    params.identity,
    (why) => report(`${why} in "process"`),
  );
  for (const field of [...fields.values()]) {
    if (!field.template || isNeverRendered(field, templates, context)) continue;
    const template = resolveTemplate(field, templates, (text) => report(`field "${field.name}": ${text}`));
    if (template) fields.set(field.name, { ...field, template });
  }
  if (problems.length > before) return undefined;
  compileEncoded(fields, raw, params.separator, report);
  const hashKey = keyOfIndex("hash", primary.hash, templates, report);
  const sortKey = primary.sort === undefined ? undefined : keyOfIndex("sort", primary.sort, templates, report);
  if (!hashKey || (primary.sort !== undefined && !sortKey)) return undefined;

  const keyNames = [...new Set([hashKey, sortKey].flatMap((key) => key ? templateFields(key.template) : []))];
  for (const keyName of keyNames) checkKeyField(fields, keyName, roleOf({ identityNames }, keyName), report);
  if (problems.length > before) return undefined;
  // A key must be complete on both sides: OneTable itself fails to write an item whose key lacks a value.
  for (const keyName of keyNames) fields.set(keyName, { ...fields.get(keyName)!, required: true });

  const sorted = { hashKey, ...optional("sortKey", sortKey) };
  const dates = compileDateRules(isMap(entry) ? entry.dates : undefined, fields, report);
  const said = { ...process, ...optional("dates", dates) };
  return completeModel(name, number, said, { sorted, keyNames, identityNames, fields, templates }, context, report);
}

/** What a model has once its fields and keys are known. */
interface Keyed {
  readonly sorted: Pick<Model, "hashKey" | "sortKey">;
  /** The fields that the keys name. */
  readonly keyNames: readonly string[];
  readonly identityNames: IdentityNames;
  readonly fields: ReadonlyMap<string, Field>;
  readonly templates: TemplateContext;
}

/** Whose the items are, how they are listed, and what else follows from the keys. */
function completeModel(
  name: string,
  number: number,
  process: Process & Pick<Model, "dates">,
  { sorted, keyNames, identityNames, fields, templates }: Keyed,
  context: ModelContext,
  report: (text: string) => void,
): Model {
  const identityFields = keyNames.filter((n) => roleOf({ identityNames }, n) !== undefined);
  const roles = new Map(identityFields.map((n) => [n, roleOf({ identityNames }, n)!]));
  const scope = scopeOf([...roles.values()]);
  const told = keyIdentity(sorted.hashKey.template, sorted.sortKey?.template, roles);
  checkTold(told, scope, identityNames, process, report, (text) => context.carried.warn(`model "${name}": ${text}`));
  const isSentDown = comesDown(process);
  const enumeration = isSentDown
    ? enumerationOf({ scope, identityFields, identityNames }, context.primary, context.indexes, templates)
    : undefined;
  if (isSentDown && !enumeration) report(notEnumerable(scope, process.sync, templates, identityNames, context));
  const list = [...fields.values()];
  const named = (test: (field: Field) => boolean) => list.find(test)?.name;
  return {
    name,
    number,
    ...process,
    scope,
    fields: list,
    ...sorted,
    keyFields: keyNames.filter((n) => !roles.has(n)),
    identityNames,
    identityFields,
    keyIdentity: told,
    ...optional("enumeration", enumeration),
    ...optional("ttlField", named((field) => field.ttl)),
    ...optional("createdField", named((field) => field.timestamp === "created")),
    ...optional("updatedField", named((field) => field.timestamp === "updated")),
  };
}

/**
 * Whether a computed attribute names what is not a field: OneTable never renders it (unless a caller hands the value in
 * beside the item), so it is no attribute of the item. Taken out, with a warning, unless it is a key.
 */
function isNeverRendered(field: Field, { fields, params, model }: TemplateContext, context: ModelContext): boolean {
  const { primary, carried } = context;
  if (field.attribute === primary.hash || field.attribute === primary.sort) return false;
  const stranger = templateFields(field.template!).find((name) => name !== params.typeField && !fields.has(name));
  if (stranger === undefined) return false;
  carried.warn(
    `model "${model}": ${field.name} is never computed: its template names \${${stranger}}, which is not a field`,
  );
  (fields as Map<string, Field>).delete(field.name);
  return true;
}

function optional<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V };
}

/** Refuses keys in which another device's or account's could be read: a key must tell whose an item is. */
function checkTold(
  { locators, separators }: KeyIdentity,
  scope: Scope,
  names: IdentityNames,
  process: Process,
  report: (text: string) => void,
  warn: (text: string) => void,
): void {
  if (scope === "global" || process.sync === "none") return;
  const role = scope === "device" ? "deviceId" : "accountId";
  if (!locators[role]) {
    report(
      `its key does not tell where \${${
        names[role]
      }} begins and ends, so that two ${scope}s could make one key: put a ` +
        `literal as "#" between it and what stands next to it`,
    );
  } else if (separators !== "") {
    warn(
      `its key separates ids by ${
        [...separators].map((c) => JSON.stringify(c)).join(" and ")
      }, which ids may have: an id ` +
        `that has one is refused in this schema. "#" is safe`,
    );
  }
}

/** Why a model can't come down, with the index to paste that would list it. */
function notEnumerable(
  scope: Scope,
  sync: SyncDirection,
  templates: TemplateContext,
  names: IdentityNames,
  { primary, indexes }: ModelContext,
): string {
  const device = `\${${names.deviceId}}`, account = `\${${names.accountId}}`;
  const allowed = scope === "device"
    ? `nothing but ${device} and ${account}`
    : scope === "account"
    ? `nothing but ${account}`
    : "no field";
  const own = scope === "device" ? `#${device}` : scope === "account" ? `#${account}` : "";
  // An index that no field of this model is in already, or a new one.
  const free = indexes.find(({ hash, sort }) =>
    sort !== undefined && hash !== primary.hash && !attributeTemplate(hash, templates) &&
    !attributeTemplate(sort, templates)
  );
  const unused = Array.from({ length: 20 }, (_, i) => `gs${i + 1}`).find((n) =>
    !indexes.some(({ name }) => name === n)
  )!;
  const index = free ?? { name: unused, hash: `${unused}pk`, sort: `${unused}sk` };
  const key = [primary.hash, primary.sort].map((attribute) =>
    attribute === undefined ? "" : attributeTemplate(attribute, templates)?.template.text ?? ""
  ).filter((text) => text !== "").join("#");
  const field = (value: string) => JSON.stringify({ type: "string", value });
  const fields = `"${index.hash}": ${field(`${templates.model}${own}`)}, "${index.sort}": ${field(key)}`;
  const added = free ? "" : `"indexes": {"${index.name}": {"hash": "${index.hash}", "sort": "${index.sort}"}} and `;
  return `it can't be listed for a snapshot, which "sync": "${sync}" needs: the hash template of its primary key, or of a ` +
    `secondary index that every item is in, must name ${allowed}. This would do: ${added}in the model ${fields}`;
}

interface Process {
  readonly onDevice: boolean;
  readonly inCloud: boolean;
  readonly sync: SyncDirection;
  readonly conflict: ConflictPolicy;
  readonly keep?: "newest";
  readonly strict?: true;
}

function compileProcess(entry: Json | undefined, params: Params, report: (text: string) => void): Process {
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
  // Elsewhere a dropped change would leave the device with other rows than the table, for good.
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

const processNames = ["enable", "sync", "conflict", "keep", "strict", "pk", "sk", "identity", "dates"];

function noteProcess(name: string, entry: Json | undefined, carried: Carried): void {
  for (const key of isMap(entry) ? Object.keys(entry) : []) {
    if (!processNames.includes(key)) carried.annotation(key, `process.${name}`, processNames);
  }
}

/**
 * The model's fields with the key templates that stand elsewhere: in `process` (`pk`, `sk`), or, for a model that is on the
 * device alone and has no hash key, its own name.
 */
function withKeys(
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

function compileFields(
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
  role: IdentityRole | undefined,
  report: (text: string) => void,
): void {
  const field = fields.get(name);
  if (!field) return;
  if (!field.synced) report(`field "${name}": a key field can't have "sync": "none"`);
  if (field.packed && role) {
    report(`field "${name}": it names who writes, and needs an attribute of its own`);
  }
  if (field.ttl) report(`field "${name}": a key field can't be the expiry time`);
  if (!role) return;
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
