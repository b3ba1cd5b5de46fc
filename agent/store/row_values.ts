/**
 * A model's columns and the values of its items: an attribute's form in its column, whether a column has the same meaning as an
 * item's attribute, and the form in which a row's values are sent.
 *
 * @module
 */
import { checkValue } from "../../schema/check.ts";
import type { Field, Model } from "../../schema/model.ts";
import type { Attributes, Json } from "../../schema/values.ts";
import { toColumnLeniently } from "../migration/recast.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import { normalised, retagged, sameValue, toItem } from "./columns.ts";
import { defaultColumn, itemFields } from "./ddl.ts";

/**
 * The values that a row gets for attributes that it needs and its item lacks, because the item is older than the
 * requirement.
 */
function neededDefaults(model: Model): Map<Field, Json> {
  return new Map(
    itemFields(model).flatMap((field): [Field, Json][] => {
      const value = field.required ? defaultColumn(field) : undefined;
      return value === undefined ? [] : [[field, toItem(field, typeof value === "bigint" ? String(value) : value)!]];
    }),
  );
}

/** The same by attribute, for comparisons in the cloud. */
export function rowDefaults(model: Model): Attributes {
  return Object.fromEntries([...neededDefaults(model)].map(([{ attribute }, value]) => [attribute, value]));
}

/** The values of one model's rows. */
export class RowValues {
  readonly #fields: readonly Field[];
  readonly #known: ReadonlySet<string>;
  /**
   * For columns that may not be NULL: the value if the item lacks the attribute, because it is older than the
   * requirement.
   */
  readonly #defaults: ReadonlyMap<Field, Json>;

  constructor(model: Model) {
    this.#fields = itemFields(model);
    this.#known = new Set(model.fields.map((field) => field.attribute));
    this.#defaults = neededDefaults(model);
  }

  /** An item's values for the columns, in their order. @throws Error naming the field, for a value that it can't have */
  columnsOf(item: Attributes): SqlValue[] {
    return this.#fields.map((field) => {
      try {
        return toColumnLeniently(field, this.#given(field, item));
      } catch (cause) {
        throw new Error(`${field.name} ${(cause as Error).message}`, { cause });
      }
    });
  }

  /** Whether the item would leave a row with these values as it is. */
  equals(mine: Attributes, item: Attributes): boolean {
    return this.#fields.every((field) => this.#same(field, mine[field.attribute], this.#given(field, item)));
  }

  /** See {@link Rows.merged}. */
  merged(own: Attributes, base: Attributes | undefined): Attributes {
    if (!base) return own;
    const merged: [string, Json][] = [];
    for (const field of this.#fields) {
      const mine = own[field.attribute], theirs = base[field.attribute];
      const same = this.#same(field, mine, this.#given(field, base));
      const value = same && this.#isTakenBack(field, theirs) ? theirs : this.#asSent(field, mine, theirs);
      if (value !== undefined) merged.push([field.attribute, value]);
    }
    // Not by assignment: `__proto__` is a name like any other.
    return Object.fromEntries([
      ...merged,
      ...Object.entries(base).filter(([attribute]) => !this.#known.has(attribute)),
    ]);
  }

  #asSent(field: Field, mine: Json | undefined, theirs: Json | undefined): Json | undefined {
    if (mine === undefined || (field.type !== "object" && field.type !== "array")) return mine;
    const sent = retagged(mine, theirs);
    // The schema may have changed: a former set may be declared as a list now.
    return checkValue(field, sent) === undefined ? sent : mine;
  }

  /** An item's value, or the replacement for a value that the table needs and the item lacks. */
  #given(field: Field, item: Attributes): Json | undefined {
    return item[field.attribute] ?? this.#defaults.get(field) ?? item[field.attribute];
  }

  /**
   * Whether the cloud accepts a base's own form: not if it has a former type of the field, or lacks a required value.
   */
  #isTakenBack(field: Field, theirs: Json | undefined): boolean {
    return theirs == null ? !this.#defaults.has(field) : checkValue(field, theirs) === undefined;
  }

  /** Whether the row's value is the column form of the given value. */
  #same(field: Field, mine: Json | undefined, given: Json | undefined): boolean {
    try {
      return sameValue(mine, normalised(field, given));
    } catch {
      // A value of another type may still have a meaning in the column's type; otherwise the column cannot hold it.
      const meant = this.#meant(field, given);
      return meant !== undefined && sameValue(mine, meant);
    }
  }

  #meant(field: Field, given: Json | undefined): Json | undefined {
    try {
      const column = toColumnLeniently(field, given);
      return toItem(field, typeof column === "bigint" ? String(column) : column);
    } catch {
      return undefined;
    }
  }
}
