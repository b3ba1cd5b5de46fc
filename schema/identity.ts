/**
 * Who an item belongs to: the fields that hold the device's and the account's id. A schema names them
 * (`params.identity`, or per model in `process`); without that they are `deviceId` and `accountId`. If a model's key
 * templates name these fields, they decide its scope, and both sides insert the writer's own ids; otherwise they are
 * ordinary data that defaults to these ids.
 *
 * @module
 */
import type { Identity, Model, Schema } from "./model.ts";

/** Which id a field holds. */
export type IdentityRole = keyof Identity;

/** The fields' names, by what they hold. */
export type IdentityNames = { readonly [R in IdentityRole]: string };

/** The names where a schema says nothing else. */
export const usualIdentity: IdentityNames = { deviceId: "deviceId", accountId: "accountId" };

/**
 * Why a device or an account cannot have this id under a schema: the id contains a character by which a model's key
 * separates ids.
 *
 * @returns a sentence, or undefined if it can
 */
export function identityProblem(schema: Schema, identity: Partial<Identity>): string | undefined {
  for (const model of schema.models.values()) {
    const { separators } = model.keyIdentity;
    for (const name of model.identityFields) {
      const id = idIn(model, identity, name);
      const taken = [...separators].find((character) => id?.includes(character));
      if (taken === undefined) continue;
      return `the ${roleOf(model, name) === "deviceId" ? "device" : "account"} id ${JSON.stringify(id)} has a ` +
        `${JSON.stringify(taken)}, which separates ids in the keys of ${model.name}`;
    }
  }
  return undefined;
}

/** Which id the field of this name holds; undefined if none. */
export function roleOf({ identityNames }: Pick<Model, "identityNames">, name: string): IdentityRole | undefined {
  return name === identityNames.deviceId ? "deviceId" : name === identityNames.accountId ? "accountId" : undefined;
}

/** The id of this identity that belongs in the field of this name; undefined if the field holds none. */
export function idIn<T extends Partial<Identity>>(
  model: Pick<Model, "identityNames">,
  identity: T,
  name: string,
): T[IdentityRole] | undefined {
  const role = roleOf(model, name);
  return role && identity[role];
}
