/**
 * The table's items as a device may see them. This is the one place that decides what a device may see or write, so
 * that ingest, catch-up and fan-out cannot differ.
 *
 * @module
 */
import { comesDown, goesUp } from "../../schema/direction.ts";
import type { Channel, Current } from "../../protocol.ts";
import { channelOf, fieldOf, idIn, idOfItem, modelOf, roleOf, stripItem, versionOf } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";

export { comesDown, goesUp };

/** The channel that an item's changes enter; undefined if the item never goes down. */
export function downChannelOf(schema: Schema, item: Item | undefined): Channel | undefined {
  const model = item && modelOf(schema, item);
  return model && comesDown(model) ? channelOf(model, item) : undefined;
}

/** Whether there is an item, but of a model that does not come down by this schema. */
export function isForeign(schema: Schema, item: Item | undefined): boolean {
  if (!item) return false;
  const model = modelOf(schema, item);
  return !model || !comesDown(model);
}

/** Why an item for devices reaches none; undefined if it reaches some, or is not meant for devices. */
export function unidentified(schema: Schema, item: Item): string | undefined {
  if (item[schema.typeField] === undefined) return `it has no ${schema.typeField}`;
  const model = modelOf(schema, item);
  if (!model || !comesDown(model) || channelOf(model, item) !== undefined) return undefined;
  const name = model.identityNames[model.scope === "device" ? "deviceId" : "accountId"];
  return `it is a ${model.name} that names no ${name}, or one that is none`;
}

/** An item as a message carries it. */
export function currentOf(schema: Schema, model: Model, item: Item, identity?: Identity): Current {
  return { model: model.name, item: stripItem(schema, model, item, identity), version: versionOf(item) };
}

/** The attribute in the table of a field by name; a name that no field has is its own attribute. */
export function attributeOf(model: Model, name: string): string {
  return fieldOf(model, name)?.attribute ?? name;
}

/**
 * Whether an item under a key that this identity rendered is an item of the model and of that identity. Templates are not
 * injective (`a` and `b:c` make the same text as `a:b` and `c`), so a key alone proves nothing.
 */
export function isOwn(schema: Schema, model: Model, item: Item, identity: Identity): boolean {
  return item[schema.typeField] === model.name &&
    model.identityFields.every((name) => idOfItem(model, item, roleOf(model, name)!) === idIn(model, identity, name));
}
