/**
 * The types of the key attributes: DynamoDB gives an attribute that is a key one type in the whole table, so all models that
 * fill it must agree. The embedded table takes either, so a schema that disagrees works there and is warned of.
 *
 * @module
 */
import type { Schema } from "./model.ts";

/** The type of a key attribute: string or number. */
export type KeyType = "S" | "N";

/** What the models say of the key attributes. */
export interface KeyTypes {
  /** By attribute: the type; a string where no model declares it. */
  readonly types: ReadonlyMap<string, KeyType>;
  /** One sentence for each attribute that is a number in one model and a text in another. */
  readonly clashes: readonly string[];
}

/** The types of all attributes that are keys of the table or of its indexes. */
export function keyTypes({ primary, indexes, models }: Pick<Schema, "primary" | "indexes" | "models">): KeyTypes {
  const types = new Map<string, KeyType>(), clashes: string[] = [];
  for (const attribute of new Set([primary, ...indexes].flatMap(({ hash, sort }) => sort ? [hash, sort] : [hash]))) {
    const fields = new Map<KeyType, string>();
    for (const model of models.values()) {
      for (const field of model.fields) {
        if (field.attribute !== attribute) continue;
        const isNumber = !field.template && (field.type === "number" || (field.type === "date" && !field.isoDates));
        fields.set(isNumber ? "N" : "S", `${model.name}.${field.name}`);
      }
    }
    types.set(attribute, fields.keys().next().value ?? "S");
    if (fields.size < 2) continue;
    clashes.push(
      `the key attribute "${attribute}" is a number in ${fields.get("N")} and a text in ${fields.get("S")}: ` +
        "a DynamoDB table has one type for it",
    );
  }
  return { types, clashes };
}
