/**
 * Random edits of a cloud application that knows nothing of Twintable: it puts, alters and deletes items, leaves hidden
 * attributes as they are, and has attributes of its own.
 *
 * @module
 */
import fc from "fast-check";
import { type Attributes, completeItem, type Item, keyOf, type Model, type Schema, stripItem } from "../../schema.ts";
import type { Json } from "../../schema/values.ts";
import { identity, type Twinned } from "./twinned.ts";
import { itemValue, unknownAttributes } from "./values.ts";

/** One edit. `at` in [0, 1) chooses among the model's items where there are some. */
export interface Edit {
  readonly op: "put" | "alter" | "delete";
  readonly model: string;
  readonly at: number;
  readonly set: Attributes;
  /** Optional attributes that go. */
  readonly drop: readonly string[];
  /** Sets `updated`, as OneTable does. */
  readonly bumps: boolean;
}

/** Edits of the schema's models that come down. Of an `up` model the device is the authority. */
export function edits(schema: Schema, clashing = false): fc.Arbitrary<Edit[]> {
  const models = [...schema.models.values()].filter((m) => m.onDevice && (m.sync === "both" || m.sync === "down"));
  if (models.length === 0) return fc.constant([]);
  return fc.array(fc.constantFrom(...models).chain((model) => edit(model, clashing)), { minLength: 1, maxLength: 6 });
}

function edit(model: Model, clashing: boolean): fc.Arbitrary<Edit> {
  const fields = model.fields.filter((field) =>
    !field.template && !field.timestamp && field.synced &&
    !(model.identityFields as readonly string[]).includes(field.name)
  );
  const isNeeded = (name: string) =>
    model.keyFields.includes(name) || model.fields.find((f) => f.name === name)!.required;
  const values = fc.record(
    Object.fromEntries(fields.map((field) => [field.attribute, itemValue(model, field, clashing)])),
    { requiredKeys: fields.filter((field) => isNeeded(field.name)).map((field) => field.attribute) },
  );
  const optional = fields.filter((field) => !isNeeded(field.name)).map((field) => field.attribute);
  return fc.record({
    op: fc.constantFrom<Edit["op"]>("put", "put", "alter", "alter", "delete"),
    model: fc.constant(model.name),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    set: fc.tuple(values, unknownAttributes).map(([known, unknown]) => ({ ...known, ...unknown }) as Attributes),
    drop: fc.subarray(optional, { maxLength: Math.min(1, optional.length) }),
    bumps: fc.boolean(),
  });
}

/** Makes the edits, one after the other. */
export async function applyEdits(twinned: Twinned, list: readonly Edit[]): Promise<void> {
  const { schema } = twinned.service;
  const { data } = twinned.tables;
  for (const edit of list) {
    const model = schema.models.get(edit.model)!;
    const items = (await twinned.items()).filter((item) => item[schema.typeField] === model.name);
    const old = items[Math.floor(edit.at * items.length)];
    if (edit.op === "put") await data.write([{ op: "put", item: fresh(schema, model, edit) }]);
    else if (old && edit.op === "delete") await data.write([{ op: "delete", key: keyOf(schema, old) }]);
    else if (old) await data.write([{ op: "put", item: altered(schema, model, edit, old) }]);
  }
}

function timestamps(model: Model, edit: Edit): Record<string, Json> {
  const now = new Date();
  return Object.fromEntries(
    model.fields.filter((field) => field.timestamp && edit.bumps && field.synced)
      .map((field) => [field.attribute, field.isoDates ? now.toISOString() : now.getTime()]),
  );
}

function fresh(schema: Schema, model: Model, edit: Edit): Item {
  return completeItem(schema, model, { ...edit.set, ...timestamps(model, edit) }, identity);
}

/** As an UpdateItem of a few attributes leaves it: the key and the hidden attributes stay. */
function altered(schema: Schema, model: Model, edit: Edit, old: Item): Item {
  const keyed = new Set(model.keyFields.map((name) => model.fields.find((field) => field.name === name)!.attribute));
  const set = Object.entries(edit.set).filter(([attribute]) => !keyed.has(attribute));
  const attributes: Record<string, Json> = { ...stripItem(schema, model, old), ...Object.fromEntries(set) };
  for (const attribute of edit.drop) delete attributes[attribute];
  Object.assign(attributes, timestamps(model, edit));
  const { _source, _stamp } = old;
  const item = completeItem(schema, model, attributes, identity);
  return _source === undefined ? item : { ...item, _source, _stamp: _stamp! };
}
