/**
 * What a model's items have as the keys of an index: which fields have to be known to ask it.
 *
 * @module
 */
import type { Index, Model, Schema } from "./model.ts";
import { composeTemplate } from "./keys.ts";
import { parseTemplate, type Template, templateFields } from "./template.ts";

/** An index as a model's items are in it. */
export interface IndexKeys {
  readonly index: Index;
  readonly isPrimary: boolean;
  /** The hash value. */
  readonly hash: Template;
  /** The sort value; absent where there is none, or where it is no text: it still makes the order. */
  readonly sort?: Template;
}

/** The indexes that have the model's items, those that can be asked by texts: the primary one comes first. */
export function indexKeysOf(schema: Schema, model: Model): IndexKeys[] {
  return [schema.primary, ...schema.indexes].flatMap((index, at) => {
    const hash = textTemplate(schema, model, index.hash);
    if (!hash) return [];
    const sort = index.sort === undefined ? undefined : textTemplate(schema, model, index.sort);
    return [{ index, isPrimary: at === 0, hash, ...(sort ? { sort } : {}) }];
  });
}

/** The fields of an index's keys, each once: those of the hash value first. */
export function fieldsOfIndex({ hash, sort }: IndexKeys): { readonly hash: string[]; readonly sort: string[] } {
  const own = [...new Set(templateFields(hash))];
  const others = sort ? [...new Set(templateFields(sort))].filter((name) => !own.includes(name)) : [];
  return { hash: own, sort: others };
}

/** An attribute's template if it is a text: `${name}` for a field that is stored as it is. */
function textTemplate(schema: Schema, model: Model, attribute: string): Template | undefined {
  if (attribute === model.hashKey.attribute) return model.hashKey.template;
  if (attribute === model.sortKey?.attribute) return model.sortKey.template;
  if (attribute === schema.typeField) return composeTemplate([{ literal: model.name }]);
  const field = model.fields.find((one) => one.attribute === attribute && !one.packed && !one.encoded);
  if (!field) return undefined;
  if (field.template) return field.template;
  const isText = field.type === "string" || field.type === "date" && field.isoDates;
  return isText ? parseTemplate(`\${${field.name}}`) : undefined;
}
