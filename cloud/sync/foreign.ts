/**
 * Refuses what a device may not claim about an item: that it belongs to somebody else, or to somebody else's listing.
 *
 * - If a key names `deviceId` and `accountId`, they must be the sender's, and so must every declared `accountId` of a
 *   model that belongs to a device or an account. A declared `deviceId` of an account's model may name any device of
 *   that account. They are checked, not inserted: the item stays as the device has it.
 * - The key attributes of a secondary index are derived from the model's templates (`completeItem`). Only the cloud may
 *   set one that the model does not declare: a device must return it unchanged.
 * - If the model says `strict`, all undeclared attributes are refused.
 *
 * @module
 */
import type { Change } from "../../protocol.ts";
import { fieldOf, fieldOfAttribute } from "../../schema.ts";
import type { IdentityRole } from "../../schema/identity.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { Attributes, Json } from "../../schema/values.ts";
import { attributeOf, goesUp } from "./visible.ts";

function valueOf(model: Model, attributes: Attributes, name: string): Json | undefined {
  const attribute = attributeOf(model, name);
  return Object.hasOwn(attributes, attribute) ? attributes[attribute] : undefined;
}

/** An identity in the payload that is not the sender's own is a fault of the device, not to be repaired silently. */
export function foreignIdentity(
  model: Model,
  attributes: Attributes,
  identity: Identity,
  strangers: ReadonlySet<string>,
): string | undefined {
  for (const role of ["deviceId", "accountId"] as const) {
    const name = model.identityNames[role], value = valueOf(model, attributes, name);
    if (value !== undefined && isForeign(model, role, value, identity[role], strangers)) {
      return `${model.name} names a ${name} that is not the sender's`;
    }
  }
  return undefined;
}

function isForeign(
  model: Model,
  role: IdentityRole,
  value: Json,
  own: string,
  strangers: ReadonlySet<string>,
): boolean {
  const name = model.identityNames[role];
  if (model.identityFields.includes(name)) return value !== own;
  if (model.scope === "global" || value === null || !fieldOf(model, name)) return false;
  return role === "accountId" ? value !== own : typeof value === "string" && strangers.has(value);
}

/** Devices of other accounts that the changes name. A name that no device has belongs to nobody. */
export async function strangersIn(
  { schema, accountOf }: { readonly schema: Schema; accountOf?(deviceId: string): Promise<string | undefined> },
  identity: Identity,
  changes: readonly Change[],
): Promise<ReadonlySet<string>> {
  const named = new Set<string>(), strangers = new Set<string>();
  if (!accountOf) return strangers;
  for (const change of changes) {
    const model = schema.models.get(change.model);
    if (!model || !goesUp(model) || model.scope !== "account" || !change.item) continue;
    const name = model.identityNames.deviceId;
    if (model.identityFields.includes(name) || !fieldOf(model, name)) continue;
    const value = valueOf(model, change.item, name);
    if (typeof value === "string" && value !== identity.deviceId) named.add(value);
  }
  for (const deviceId of named) {
    const account = await accountOf(deviceId);
    if (account !== undefined && account !== identity.accountId) strangers.add(deviceId);
  }
  return strangers;
}

const indexKeys = new WeakMap<Schema, ReadonlySet<string>>();

/** Attributes that are the key of a secondary index, and that the model does not declare. */
export function undeclaredIndexKeys(schema: Schema, model: Model, attributes: Attributes): string[] {
  let keys = indexKeys.get(schema);
  if (!keys) {
    const { hash, sort } = schema.primary;
    keys = new Set(
      schema.indexes.flatMap((index) => [index.hash, ...(index.sort === undefined ? [] : [index.sort])])
        .filter((name) => name !== hash && name !== sort && name !== schema.typeField),
    );
    indexKeys.set(schema, keys);
  }
  if (keys.size === 0) return [];
  return Object.keys(attributes).filter((name) => keys.has(name) && !fieldOfAttribute(model, name));
}

/** Why an undeclared attribute is refused, if the model refuses them. */
export function unwantedAttribute(model: Model, attributes: Attributes): string | undefined {
  if (!model.strict) return undefined;
  const unknown = Object.keys(attributes).find((name) => !fieldOfAttribute(model, name));
  return unknown === undefined
    ? undefined
    : `${model.name} is strict, and its schema has no ${JSON.stringify(unknown)}`;
}
