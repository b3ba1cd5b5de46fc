/**
 * Keys of a model: the primary key's templates with everything resolved that the schema alone decides, the scope that
 * follows from them, and how a snapshot lists the model's items.
 *
 * @module
 */
import type { IdentityRole } from "./identity.ts";
import type { Enumeration, Field, Index, Model, Scope } from "./model.ts";
import type { Params } from "./settings.ts";
import { parseTemplate, type Template, templateFields, type TemplatePart } from "./template.ts";

/** Collects what is wrong with a template, as the end of a sentence. */
export type Report = (text: string) => void;

/** A field as the templates need it: the compiled field, and whether its own template renders dates as ISO text. */
export interface TemplateContext {
  readonly model: string;
  readonly params: Params;
  readonly fields: ReadonlyMap<string, Field>;
}

/**
 * A template as it is rendered: other computed fields and the typeField are inserted, so that it names only stored
 * fields. Undefined, with a report, if the two sides cannot render it alike.
 */
export function resolveTemplate(field: Field, context: TemplateContext, report: Report): Template | undefined {
  const parts = expand(field, context, [], report);
  return parts && composeTemplate(parts);
}

function expand(
  field: Field,
  context: TemplateContext,
  above: readonly string[],
  report: Report,
): TemplatePart[] | undefined {
  if (above.includes(field.name)) {
    report(`the value templates go round in a circle: ${[...above, field.name].join(" → ")}`);
    return undefined;
  }
  const parts: TemplatePart[] = [];
  for (const part of field.template?.parts ?? []) {
    const put = "literal" in part ? [part] : expandPart(part, field, context, [...above, field.name], report);
    if (!put) return undefined;
    parts.push(...put);
  }
  return parts;
}

function expandPart(
  part: Extract<TemplatePart, { field: string }>,
  owner: Field,
  context: TemplateContext,
  above: readonly string[],
  report: Report,
): TemplatePart[] | undefined {
  // OneTable has the model's name in the typeField before it runs templates.
  if (part.field === context.params.typeField) {
    return [{ literal: part.width === undefined ? context.model : context.model.padStart(part.width, part.pad) }];
  }
  const named = context.fields.get(part.field);
  if (!named) {
    report(`the template "${owner.template?.text}" names \${${part.field}}, which is not a field of the model`);
    return undefined;
  }
  if (named.template) {
    if (part.width !== undefined) {
      report(`\${${part.field}} can't be padded: it is a computed field`);
      return undefined;
    }
    return expand(named, context, above, report);
  }
  const problem = partProblem(named, owner);
  if (problem === undefined) return [part];
  report(`the template "${owner.template?.text}" names \${${part.field}}, ${problem}`);
  return undefined;
}

/** Why a stored field can't be in a template; undefined if it can. */
function partProblem(named: Field, owner: Field): string | undefined {
  if (!named.synced) return 'which has "sync": "none": the cloud could not derive the value';
  switch (named.type) {
    case "string":
    case "number":
    case "boolean":
      return undefined;
    case "date":
      // OneTable renders a date by the *template's* settings; SQL can do the same only if the item holds the same text.
      if (named.ttl) return "which is an expiry time: it stands in the item in another form than in a key";
      return named.isoDates === owner.isoDates
        ? undefined
        : 'whose "isoDates" differs from the template\'s: give both the same';
    default:
      return `which is of type ${named.type}: strings, whole numbers, booleans and dates can stand in a template`;
  }
}

/** A template from parts, neighbouring literals joined. */
export function composeTemplate(parts: readonly TemplatePart[]): Template {
  const joined: TemplatePart[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if ("literal" in part && last && "literal" in last) {
      joined[joined.length - 1] = { literal: last.literal + part.literal };
    } else joined.push(part);
  }
  const text = joined.map((part) => {
    if ("literal" in part) return part.literal;
    return part.width === undefined ? `\${${part.field}}` : `\${${part.field}:${part.width}:${part.pad ?? "0"}}`;
  }).join("");
  return { text, parts: joined };
}

/** What an index attribute of the model holds: its template, `${name}` for a stored field; undefined if the model has none. */
export function attributeTemplate(
  attribute: string,
  context: TemplateContext,
): { readonly template: Template; readonly field?: Field } | undefined {
  if (attribute === context.params.typeField) return { template: composeTemplate([{ literal: context.model }]) };
  const field = [...context.fields.values()].find((f) => f.attribute === attribute && !f.packed && !f.encoded);
  if (!field) return undefined;
  return { template: field.template ?? parseTemplate(`\${${field.name}}`), field };
}

/** Who must see the model's items, from the ids that the primary key names. */
export function scopeOf(named: readonly IdentityRole[]): Scope {
  return named.includes("deviceId") ? "device" : named.includes("accountId") ? "account" : "global";
}

/**
 * How a snapshot lists a model's items: an index whose hash template the scope resolves. The primary index is
 * preferred, because it does not lag; but an index that lists only this scope's items comes before one that would list
 * everybody's. Only ids that the primary key names are known: an accountId that is ordinary data may differ from the
 * device's own account.
 */
export function enumerationOf(
  model: Pick<Model, "scope" | "identityFields" | "identityNames">,
  primary: Index,
  indexes: readonly Index[],
  context: TemplateContext,
): Enumeration | undefined {
  const candidates = [primary, ...indexes].flatMap((index) =>
    candidate(index, index === primary, model.identityFields, context) ?? []
  );
  const { deviceId, accountId } = model.identityNames;
  const own = model.scope === "device" ? deviceId : model.scope === "account" ? accountId : undefined;
  const narrow = candidates.find(({ hash, sortPrefix }) =>
    own === undefined || [hash, sortPrefix].some((template) => template && templateFields(template).includes(own))
  );
  return narrow ?? candidates[0];
}

function candidate(
  index: Index,
  isPrimary: boolean,
  known: readonly string[],
  context: TemplateContext,
): Enumeration | undefined {
  const hash = attributeTemplate(index.hash, context);
  if (!hash || !templateFields(hash.template).every((name) => known.includes(name))) return undefined;
  // A secondary index does not contain items that lack one of its attributes: it can list the model only if no item can
  // lack one.
  if (!isPrimary && !isAlwaysThere(hash.template, context)) return undefined;
  const base = { index: index.name, hashAttribute: index.hash, hash: hash.template };
  if (index.sort === undefined) return base;
  const sort = attributeTemplate(index.sort, context);
  if (!isPrimary && (!sort || !isAlwaysThere(sort.template, context) || sort.field?.type !== "string")) {
    return undefined;
  }
  if (!sort) return base;
  return { ...base, sortAttribute: index.sort, sortPrefix: leadingPart(sort.template, known) };
}

/**
 * Whether every item of the model has the fields that the template names. A default is not enough: a writer without
 * OneTable omits it.
 */
function isAlwaysThere(template: Template, context: TemplateContext): boolean {
  return templateFields(template).every((name) => context.fields.get(name)?.required === true);
}

/** The leading parts of a template that the named fields alone resolve. */
function leadingPart(template: Template, names: readonly string[]): Template {
  const end = template.parts.findIndex((part) => "field" in part && !names.includes(part.field));
  return composeTemplate(end < 0 ? template.parts : template.parts.slice(0, end));
}
