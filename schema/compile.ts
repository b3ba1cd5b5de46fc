/**
 * Compiles a OneTable schema: parse, normalise, validate, and work out keys, scopes and listings. It reports all
 * problems at once, and refuses a schema with any problem as a whole, because a silently ignored feature makes data
 * silently wrong. What has no effect on data here (notes, models that do not sync and are not understood) is carried
 * and listed in `warnings`.
 *
 * @module
 */
import { Carried, carriedSentence } from "./carried.ts";
import { type ModelContext, optional, type SchemaContext } from "./compile_context.ts";
import { comesDown } from "./direction.ts";
import { compileDateRules } from "./date_rules.ts";
import { compileMetrics } from "./metrics.ts";
import { compileNotify } from "./notify.ts";
import { SchemaError } from "./errors.ts";
import { canonicalJson, hashText } from "./json.ts";
import { type IdentityNames, roleOf } from "./identity.ts";
import { keyIdentity } from "./key_identity.ts";
import { keyTypes } from "./key_types.ts";
import { enumerationOf, resolveTemplate, scopeOf, type TemplateContext } from "./keys.ts";
import { compileFields, withKeys } from "./model_fields.ts";
import { checkKeyField, checkTold, keyOfIndex, notEnumerable } from "./model_keys.ts";
import type { Field, Model, Schema } from "./model.ts";
import { isName, nameRule, quoted } from "./names.ts";
import { type JsonMap, normaliseSchema, type Problems } from "./normalise.ts";
import { compileEncoded } from "./placement.ts";
import { compileProcess, noteProcess, type Process } from "./process.ts";
import { templateFields } from "./template.ts";
import { checkTexts } from "./texts.ts";
import type { OneTableSchema } from "./types.ts";
import { compileHead, compileIdentity, compileIndexes, compileParams } from "./settings.ts";
import { isMap, type Json } from "./values.ts";

/** OneTable's own bookkeeping, which is among the models of a schema that it has saved; its items are never synced. */
const oneTableModels = ["_Schema", "_Migration"];

/** How strictly a schema is judged. */
export interface CompileOptions {
  /** Refuse what would otherwise only be a warning. Default false. */
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
  keyTypes({ primary, indexes, models }).clashes.forEach((clash) => carried.warn(clash));
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

/**
 * The compiled schema of a literal; a compiled schema is returned unchanged. @throws SchemaError as
 * {@link compileSchema}
 */
export function compiledOf(schema: OneTableSchema | Schema): Schema {
  return isCompiled(schema) ? schema : compileSchema(schema);
}

function isCompiled(schema: OneTableSchema | Schema): schema is Schema {
  return schema.models instanceof Map;
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
  // Everything derived from fields would only repeat their problems.
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
  const said = { ...process, ...compileSignals(name, entry, process, { fields, identityNames, report }, context) };
  return completeModel(name, number, said, { sorted, keyNames, identityNames, fields, templates }, context, report);
}

/** What the model's entry in `process` says of its fields. */
function compileSignals(
  model: string,
  entry: Json | undefined,
  { sync, inCloud }: Process,
  about: {
    readonly fields: ReadonlyMap<string, Field>;
    readonly identityNames: IdentityNames;
    readonly report: (text: string) => void;
  },
  { carried }: ModelContext,
): Pick<Model, "dates" | "metrics" | "notify"> {
  const { dates, metrics, notify }: JsonMap = isMap(entry) ? entry : {};
  return {
    ...optional("dates", compileDateRules(dates, about.fields, about.report)),
    ...optional("metrics", compileMetrics(metrics, { ...about, model, sync, carried })),
    ...optional("notify", compileNotify(notify, { ...about, inCloud })),
  };
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

/** Who owns the items, how they are listed, and what else follows from the keys. */
function completeModel(
  name: string,
  number: number,
  process: Process & Pick<Model, "dates" | "metrics" | "notify">,
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
 * Whether a computed attribute names what is not a field: OneTable never renders it (unless a caller passes the value
 * beside the item), so it is not an attribute of the item. It is removed with a warning, unless it is a key.
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

/** Freezes plain data all the way down; the map of models is not written to by anyone. */
function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) freeze(inner);
  return value;
}
