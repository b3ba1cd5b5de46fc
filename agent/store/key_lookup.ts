/**
 * How a row is found by its item's key: by the columns of the rendered key, or, if that key is a fixed text with one
 * field at its end (`device#${deviceId}`, `telemetry#${id}`), by that field. The field has a unique index in any case,
 * so an index over the rendered key would be redundant: it would cost a third of an insert's time, and hold the longest
 * texts of the file.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Key } from "../../protocol.ts";
import { idIn } from "../../schema/identity.ts";
import type { Field, Identity, Model } from "../../schema/model.ts";
import { renderTemplate } from "../../schema/template.ts";
import type { SqlValue } from "../sqlite/driver.ts";
import { keySql, loneKeyField } from "./ddl.ts";
import { ident } from "./sql.ts";

/** A condition with its parameters. */
interface Where {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** See the module. */
export interface KeyLookup {
  /** The condition for the row of a key; {@link KeyLookup.values} are its parameters. */
  readonly sql: string;
  values(key: Key): SqlValue[];
  /** The order of a hash value's rows that equals the order of their items' sort values. */
  readonly order: string;
  /**
   * The condition for the rows of a hash value after `after` and up to `to` (undefined: the last); undefined: there are
   * none.
   */
  between(hash: string, after: string, to: string | undefined): Where | undefined;
}

/** Greater than every sort value: DynamoDB's have at most 1,024 bytes. */
const sortMax = "\u{10ffff}".repeat(257);

/** How rows of a model are found in the database of a device. */
export function keyLookup(model: Model, identity: Identity): KeyLookup {
  const field = loneKeyField(model);
  return field ? byField(model, field, identity) : byRenderedKey(model);
}

function byRenderedKey(model: Model): KeyLookup {
  const { hash, sort } = keySql(model);
  if (!sort) {
    return {
      sql: `${hash} = ?`,
      values: (key) => [key[0]],
      order: hash,
      // A table without sort values has one row for each hash value, and only a range from the beginning contains it.
      between: (value, after) => after === "" ? { sql: `${hash} = ?`, values: [value] } : undefined,
    };
  }
  return {
    sql: `${hash} = ? AND ${sort} = ?`,
    values: (key) => [...key],
    order: sort,
    between: (value, after, to) => ({
      sql: `${hash} = ? AND ${sort} > ? AND ${sort} <= ?`,
      values: [value, after, to ?? sortMax],
    }),
  };
}

function byField(model: Model, field: Field, identity: Identity): KeyLookup {
  const column = ident(field.name);
  const own = (name: string) => idIn(model, identity, name);
  const hash = renderTemplate(model.hashKey.template, own);
  const { text, parts } = model.sortKey!.template;
  const prefix = renderTemplate({ text, parts: parts.slice(0, -1) }, own)!;
  return {
    sql: `${column} = ?`,
    // NULL equals nothing: a key of another model, or of another device, has no row here.
    values: (key) => [key[0] === hash && key[1].startsWith(prefix) ? key[1].slice(prefix.length) : null],
    order: column,
    between(value, after, to) {
      const [low, high] = [placeIn(prefix, after), to === undefined ? "behind" as const : placeIn(prefix, to)];
      if (value !== hash || low === "behind" || high === "before") return undefined;
      const bounds: [string, SqlValue][] = [];
      // In a table that was altered without the schema, values that are not text sort before all texts, and are no
      // item's key.
      const isText = `typeof(${column}) = 'text'`;
      if (low !== "before") bounds.push([`${column} > ?`, low.rest]);
      if (high !== "behind") bounds.push([`${column} <= ?`, high.rest]);
      return {
        sql: [isText, ...bounds.map(([sql]) => sql)].join(" AND "),
        values: bounds.map(([, bound]) => bound),
      };
    },
  };
}

/** Where a text sorts relative to those that begin with the prefix, by bytes. */
function placeIn(prefix: string, text: string): "before" | "behind" | { readonly rest: string } {
  if (text.startsWith(prefix)) return { rest: text.slice(prefix.length) };
  return Buffer.compare(Buffer.from(text), Buffer.from(prefix)) < 0 ? "before" : "behind";
}
