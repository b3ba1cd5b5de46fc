/**
 * The condition under which a device's change is written: the table of rules §3, as one expression on the current item,
 * so that a change costs one conditional write and no read.
 *
 * `s` the change's stamp; STAMPED: the item has a `_stamp` of now+120 s at most; SAME: the item is the base that the
 * change was made from; T: the item's `updated` does not forbid the change.
 *
 * | model | create | update | remove |
 * |---|---|---|---|
 * | both, `newest` | absent or W | exists and W | absent or W |
 * | both, `cloud` / `device` / `merge` | absent or SAME | SAME | absent or SAME |
 * | up, device scope | absent, or not STAMPED and SAME, or STAMPED and not (same device and `_stamp` ≥ s) | as create | as create |
 * | up, account or global scope | absent, or STAMPED and `_stamp` < s, or not STAMPED and SAME | as create | as create |
 *
 * W = (STAMPED and `_stamp` < s and T) or (not STAMPED and (SAME or an honest `updated` < ms(s))).
 *
 * Under every policy, a create or update also replaces an expired item without a `_stamp`, or with one before `s` (rule
 * A1), whether or not anything has removed it yet.
 *
 * In addition, an existing item must be of this model and this identity (see `isOwn`). A change with an index key that
 * its model does not declare is only written over an item that has the same (see `foreign.ts`).
 *
 * @module
 */
import type { Base, Change } from "../../protocol.ts";
import { dateToJson, expiryAgeMaxMs, fieldOf, idIn, roleOf } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import { holdersOf, isPlaced, placeAttributes } from "../../schema/placement.ts";
import { absent, all, any, atMost, beginsWith, equals, exists, greater, lacks, less, not } from "../table/condition.ts";
import { undeclaredIndexKeys } from "./foreign.ts";
import { attributeOf } from "./visible.ts";
import type { Condition } from "../table/port.ts";

/** A stamp or `updated` counts up to this far ahead of the cloud's clock. */
export const aheadMaxMs = 60_000;
/**
 * A `_stamp` in the table later than this counts as absent: otherwise one far-future write would make an item
 * unwritable for good.
 */
export const stampAheadMaxMs = 120_000;
/**
 * Attributes of a base that are compared if a table cannot accept the whole condition: together with `_source`,
 * `_stamp` and `updated`, some 130 operators and 1.5 KB, well within DynamoDB's 300 and 4 KB.
 */
const narrowAttributesMax = 60;

/** The context of conditions, in addition to the change. */
export interface ConditionContext {
  readonly schema: Schema;
  readonly identity: Identity;
  /** The cloud's time, ms. */
  readonly now: number;
}

/** The common part of all conditions of a model. */
interface Parts {
  readonly owned: Condition;
  readonly stamped: Condition;
  readonly unstamped: Condition;
  readonly otherDevice: Condition;
  /** The item has expired. Undefined: items of the model do not expire. */
  readonly expired?: Condition;
}

/** The conditions of a batch's changes. */
export class Conditions {
  readonly #context: ConditionContext;
  readonly #parts = new Map<Model, Parts>();

  constructor(context: ConditionContext) {
    this.#context = context;
  }

  /**
   * The condition of one change of the model.
   *
   * @param narrow Compares only the first attributes of a base's content: for a table that refused the whole condition.
   */
  of(model: Model, change: Change, narrow = false): Condition {
    const parts = this.#partsOf(model);
    const base = change.base && storedBase(model, change.base, this.#context.identity);
    const rule = ruleOf(model, change, parts, sameAs(model, base, narrow), this.#context.now);
    const planted = undeclaredIndexKeys(this.#context.schema, model, change.item ?? {});
    const unchanged = planted.map((attribute) => equals(attribute, change.item![attribute]!));
    const allowed = anyOf(rule, deadRule(change, parts));
    const present = allowed ? all(parts.owned, allowed, ...unchanged) : undefined;
    if (unchanged.length > 0) return present ?? all(absent, exists);
    if (change.op === "update" && model.sync !== "up") return present ?? all(absent, exists);
    return present ? any(absent, present) : absent;
  }

  #partsOf(model: Model): Parts {
    const known = this.#parts.get(model);
    if (known) return known;
    const { schema, identity, now } = this.#context;
    const stamped = atMost("_stamp", (now + stampAheadMaxMs) * 1000);
    const parts = {
      owned: all(
        equals(schema.typeField, model.name),
        // If the key itself contains the id, an item without the attribute still belongs to that id.
        ...model.identityFields.map((name) => {
          const attribute = attributeOf(model, name), own = equals(attribute, idIn(model, identity, name)!);
          return model.keyIdentity.locators[roleOf(model, name)!] ? any(lacks(attribute), own) : own;
        }),
      ),
      stamped,
      unstamped: not(stamped),
      otherDevice: not(beginsWith("_source", `${identity.deviceId}#`)),
      expired: expiredRule(model, now),
    };
    this.#parts.set(model, parts);
    return parts;
  }
}

/** The rule for an existing item; undefined if no existing item allows the write. */
function ruleOf(
  model: Model,
  change: Change,
  { stamped, unstamped, otherDevice }: Parts,
  same: Condition | undefined,
  now: number,
): Condition | undefined {
  const unstampedAndSame = same && all(unstamped, same);
  // The stamp is at most now+60 s, so that `_stamp` < s implies STAMPED.
  const older = less("_stamp", change.stamp);
  if (model.sync === "up") {
    if (model.scope !== "device") return anyOf(older, unstampedAndSame);
    return anyOf(all(stamped, any(otherDevice, older)), unstampedAndSame);
  }
  if (model.conflict !== "newest") return same;
  const { timely, earlier } = updatedRules(model, change.stamp, now);
  const unversioned = anyOf(same, earlier);
  return anyOf(timely ? all(older, timely) : older, unversioned && all(unstamped, unversioned));
}

/**
 * Rule A1; the stamp still counts, because a late duplicate of an older create must not replace an item that has just
 * expired.
 */
function deadRule({ op, stamp }: Change, { expired, unstamped }: Parts): Condition | undefined {
  return op === "remove" || !expired ? undefined : all(expired, any(unstamped, less("_stamp", stamp)));
}

/** As `isExpired`: a number of seconds, not in the future and not more than five years back. */
function expiredRule(model: Model, now: number): Condition | undefined {
  const field = model.ttlField === undefined ? undefined : fieldOf(model, model.ttlField);
  if (!field) return undefined;
  const seconds = Math.floor(now / 1000);
  return all(greater(field.attribute, seconds - expiryAgeMaxMs / 1000), atMost(field.attribute, seconds));
}

/** T, and "an honest `updated` < ms(s)"; none if the model has no `updated`. */
function updatedRules(model: Model, stamp: number, now: number): { timely?: Condition; earlier?: Condition } {
  const field = model.updatedField === undefined ? undefined : fieldOf(model, model.updatedField);
  if (!field) return {};
  const form = (ms: number) => dateToJson(field, new Date(ms)) as number | string;
  const stampMs = form(Math.floor(stamp / 1000));
  // An `updated` of another type, like an absent one, compares as false and so does not stand in the way.
  const later = all(greater(field.attribute, stampMs), atMost(field.attribute, form(now + aheadMaxMs)));
  return { timely: not(later), earlier: less(field.attribute, stampMs) };
}

/** A base as the table's item holds it: packed fields in their maps, encoded ones inside the attributes they are in. */
function storedBase(model: Model, base: Base, identity: Identity): Base {
  if (!base.item || !isPlaced(model)) return base;
  return { ...base, item: { ...placeAttributes(model, base.item), ...holdersOf(model, base.item, identity) } };
}

/** SAME: the item's version is the base's (or both have none), and each attribute of the base is equal. */
function sameAs(model: Model, base: Base | undefined, narrow: boolean): Condition | undefined {
  if (!base || (!base.version && !base.item)) return undefined;
  const version = base.version
    ? [equals("_source", base.version[0]), equals("_stamp", base.version[1])]
    // No version: not both a text and a number. Any source is greater than a blank, any stamp greater than -1.
    : [not(all(greater("_source", " "), greater("_stamp", -1)))];
  return all(...version, ...contentOf(model, base, narrow));
}

function contentOf(model: Model, base: Base, narrow: boolean): Condition[] {
  const entries = Object.entries(base.item ?? {});
  if (!narrow) return entries.map(([attribute, value]) => equals(attribute, value));
  const updated = model.updatedField === undefined ? undefined : attributeOf(model, model.updatedField);
  const first = entries.filter(([attribute]) => attribute === updated);
  const rest = entries.filter(([attribute]) => attribute !== updated);
  return [...first, ...rest].slice(0, narrowAttributesMax).map(([attribute, value]) => equals(attribute, value));
}

function anyOf(...of: (Condition | undefined)[]): Condition | undefined {
  const present = of.filter((condition) => condition !== undefined);
  return present.length === 0 ? undefined : any(...present);
}
