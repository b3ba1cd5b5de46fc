/**
 * Changes of parts of an item, as OneTable's `update` accepts them in addition to plain properties: `set` by path,
 * `add` to a number, `push` to a list, `delete` from a set, `remove` of properties. They are computed from the item
 * inside the write transaction, so that no other write comes between.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";
import type { Field, Model } from "../../schema/model.ts";

/**
 * Names of properties with values of a type.
 *
 * @internal
 */
type ValueNames<Item, T> = {
  [P in keyof Item]-?: Exclude<Item[P], null | undefined> extends T ? P : never;
}[keyof Item];

/** What `update` does in addition to setting the given properties. */
export interface UpdateParams<Item> {
  /** True (the default): the item must exist. Null: it is created where it doesn't. */
  readonly exists?: true | null;
  /**
   * Values by path: `address.zip`, `stops[0].name`. Everything above the last name must exist. A path of one name sets
   * that property.
   */
  readonly set?: { readonly [path: string]: unknown };
  /** Numbers to add; a missing property counts as 0. */
  readonly add?: { readonly [P in ValueNames<Item, number>]?: number | bigint };
  /** Members to put at the end of lists; a missing list is empty. */
  readonly push?: { readonly [P in ValueNames<Item, readonly unknown[]>]?: readonly unknown[] };
  /** Members to remove from sets. An empty set is not a value: it is removed. */
  readonly delete?: { readonly [P in ValueNames<Item, ReadonlySet<unknown>>]?: readonly unknown[] };
  /** Properties to remove. */
  readonly remove?: readonly (keyof Item & string)[];
}

/** Property values by name. */
export type Properties = Record<string, unknown>;

/**
 * The properties that the changes give new values, null if one is removed.
 *
 * @param current a property's value now, in a form of its own: it is changed in place
 * @throws TypeError for an unknown property, or one of another type; SyncError `invalid` for a path that does not exist
 */
export function changedProperties(
  model: Model,
  params: UpdateParams<Properties>,
  current: (field: Field) => unknown,
): Properties {
  const changed: Properties = {};
  const fieldOf = (name: string, types?: readonly string[]): Field => {
    const field = model.fields.find((f) => f.name === name);
    if (!field) throw new TypeError(`the model ${model.name} has no property "${name}"`);
    if (types && !types.includes(field.type)) throw new TypeError(`${name} is of type ${field.type}`);
    return field;
  };
  const now = (field: Field) => field.name in changed ? changed[field.name] : current(field) ?? undefined;
  for (const [path, value] of Object.entries(params.set ?? {})) {
    const [name, ...rest] = pathOf(path);
    const field = fieldOf(name as string);
    changed[field.name] = rest.length === 0 ? value : setIn(now(field), rest, value, `${model.name}: ${path}`);
  }
  for (const [name, amount] of Object.entries(params.add ?? {})) {
    const field = fieldOf(name, ["number"]);
    if (amount !== undefined) changed[name] = sum(now(field) ?? 0, amount, `${model.name}: ${name}`);
  }
  for (const [name, members] of Object.entries(params.push ?? {})) {
    const field = fieldOf(name, ["array"]);
    if (members !== undefined) changed[name] = [...(now(field) ?? []) as unknown[], ...members as unknown[]];
  }
  for (const [name, members] of Object.entries(params.delete ?? {})) {
    const field = fieldOf(name, ["set"]);
    const left = new Set((now(field) ?? []) as Iterable<unknown>);
    for (const member of (members ?? []) as unknown[]) left.delete(memberOf(left, member));
    changed[name] = left.size > 0 ? left : null;
  }
  for (const name of params.remove ?? []) changed[fieldOf(name).name] = null;
  return changed;
}

/** `a.b[0].c` as its steps. */
function pathOf(path: string): (string | number)[] {
  const steps = path.split(".").flatMap((part) => {
    const match = /^([^[\]]+)((?:\[\d+\])*)$/.exec(part);
    if (!match) throw new TypeError(`"${path}" is not a path: name.name[0]`);
    return [match[1]!, ...[...match[2]!.matchAll(/\d+/g)].map((index) => Number(index[0]))];
  });
  return steps;
}

function setIn(root: unknown, steps: readonly (string | number)[], value: unknown, what: string): unknown {
  const nowhere = () => new SyncError("invalid", `${what} leads nowhere: what it names above is not there`);
  let at = root;
  for (const [i, step] of steps.entries()) {
    const isLast = i === steps.length - 1;
    if (typeof step === "number") {
      // At a list's end a member is added; beyond it there would be holes.
      if (!Array.isArray(at) || step > at.length - (isLast ? 0 : 1)) throw nowhere();
      if (isLast) at[step] = value;
      else at = at[step];
    } else {
      if (typeof at !== "object" || at === null || Object.getPrototypeOf(at) !== Object.prototype) throw nowhere();
      const map = at as Properties;
      if (isLast && (value === undefined || value === null)) delete map[step];
      else if (isLast) {
        Object.defineProperty(map, step, { value, enumerable: true, writable: true, configurable: true });
      } else if (!Object.hasOwn(map, step)) throw nowhere();
      else at = map[step];
    }
  }
  return root;
}

/** Exact for whole numbers of any length; a fraction beyond a double's digits is refused. */
function sum(a: unknown, b: unknown, what: string): number | bigint {
  const isWhole = (n: unknown) => typeof n === "bigint" || Number.isInteger(n);
  if (isWhole(a) && isWhole(b)) {
    const exact = BigInt(a as number) + BigInt(b as number);
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
  }
  if (typeof a === "number" && typeof b === "number") return a + b;
  throw new SyncError("invalid", `${what}: ${String(a)} and ${String(b)} can't be added without loss`);
}

/** A set's own member that equals the given one: bytes are compared by content. */
function memberOf(set: ReadonlySet<unknown>, member: unknown): unknown {
  if (!(member instanceof Uint8Array)) return member;
  const same = (other: unknown) =>
    other instanceof Uint8Array && other.length === member.length && other.every((byte, i) => byte === member[i]);
  return [...set].find(same);
}
