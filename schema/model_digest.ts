/**
 * Whether two versions of a schema define a model alike. A device sends the digests of a batch's models with the batch
 * (`Up.schemas`), so that the cloud can tell an invalid change from a change of another schema version: it refuses the
 * first, and the second waits until both sides have the same version.
 *
 * A digest is two halves of 16 hex digits: one over what the model's keys are made of, one over everything in the
 * model. If the keys differ, no change may be written, because it would go to another item than the device's.
 *
 * @module
 */
import { canonicalJson, hashText } from "./json.ts";
import type { Model, Schema } from "./model.ts";
import type { Template } from "./template.ts";
import { isMap, type Json } from "./values.ts";

const digests = new WeakMap<Model, string>();

/** The digest of a model in its schema: 32 hex digits. The schema's `version`, and other models, don't count. */
export function modelDigest(schema: Schema, model: Model): string {
  let digest = digests.get(model);
  if (digest === undefined) {
    const { models, process, indexes, params } = schema.source as Record<string, Json | undefined>;
    const of = (map: Json | undefined) => (isMap(map) && Object.hasOwn(map, model.name) ? map[model.name]! : null);
    const says: Json = [of(models), of(process), indexes ?? null, params ?? null];
    digest = hashText(keysText(model) + schema.typeField) + hashText(canonicalJson(says));
    digests.set(model, digest);
  }
  return digest;
}

/** Whether two digests are of models that make equal keys of equal attributes. */
export function haveEqualKeys(a: string, b: string): boolean {
  return a.slice(0, 16) === b.slice(0, 16);
}

/** What a model's primary key is made of, by attribute: equal texts give every item the same key. */
export function keysText(model: Model): string {
  const part = (template: Template) =>
    template.parts.map((p) => {
      if ("literal" in p) return p.literal;
      const field = model.fields.find(({ name }) => name === p.field);
      // A text and a number render alike; a date renders as it is in the item.
      const form = field?.type === "string" || field?.type === "number" ? "" : `${field?.type}${field?.isoDates}`;
      return ["$", field?.attribute ?? p.field, p.width ?? "", p.pad ?? "", form];
    });
  return JSON.stringify([part(model.hashKey.template), model.sortKey && part(model.sortKey.template)]);
}
