/**
 * What applications do in the simulation: writes on devices, by SQL as any program makes them, and writes in the cloud, by
 * applications that know nothing of Twintable. Every value is written once, so that its fate can be told.
 *
 * @module
 */
import { completeItem } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { SimDevice } from "./device.ts";
import type { Random } from "./random.ts";

/** All item names: a key may be changed to one that is not in play. */
export const names = ["a", "b"] as const;
/** An item that no device can take: what else happens must not suffer from it. */
export const poisonName = "poison";

/** The attributes that applications set. */
export interface Values {
  readonly v?: number;
  readonly w?: string;
  /** Of the next version of the schema. */
  readonly x?: string;
}

/** What one transaction did to one key. */
export interface Effect {
  readonly name: string;
  /** The values that it set. */
  readonly set: Values;
  /** The row went, or was replaced: what it held before is superseded. */
  readonly whole: boolean;
  readonly removed: boolean;
}

/** A local commit, to be accounted for at the end. */
export interface Commit extends Effect {
  readonly device: string;
  readonly key: string;
  readonly model: Model;
  readonly order: number;
  /** True time. */
  readonly at: number;
  /** Lost with a power failure: nothing is promised for it. */
  forgotten: boolean;
  /** The device knew of no living item of this key any more. */
  unknown?: boolean;
  /** When it was made the device can no longer know: a jump of its clock went unnoticed. */
  undated?: boolean;
}

const other = (name: string) => name === names[0] ? names[1] : names[0];

/** JSON objects as applications write them; `N` is a value that is written once. */
const oddTexts = [
  ...[
    '{"$n":"N"}',
    '{"$n":N}',
    '{"$b":"AAEC","n":N}',
    '{"$b":"AAEC"}',
    '{"$ss":["N"]}',
    '{"$m":{"$n":"N"}}',
    '{"$ref":N}',
  ],
  ...['{"a":[{"$x":{"$y":N}}]}', '{"__proto__":{"__proto__":N}}', '{"constructor":N,"toString":null}', '{"0":N,"":1}'],
  ...[
    '{"n":1234567890123456789N}',
    '{"f":0.1000000000000000000000N}',
    '{"t":"\\ufeff\\u0000\\ufffd😀N"}',
    '{"$":N}',
    "{}",
  ],
];

/** Some odd object, as JSON. */
export function oddText(random: Random, value: number): string {
  return random.pick(oddTexts).replace("N", String(value));
}

/** One write on a device in one of the shapes SQL has; what it did. */
export function writeLocally(
  device: SimDevice,
  model: Model,
  value: number,
  random: Random,
  options: { readonly names: readonly string[]; readonly refusing: boolean; readonly knowsX?: boolean },
): readonly Effect[] {
  const { names, refusing, knowsX = false } = options;
  const name = random.pick(names), table = `"${model.name}"`;
  const row = device.store.db.sql(`SELECT w FROM ${table} WHERE name = ?`).get(name), has = row !== undefined;
  const text = `${refusing && random.chance(0.3) ? "bad" : "w"}${value}`;
  const sql = (statement: string, ...values: (string | number)[]) =>
    device.write(model, (db) => db.sql(statement).run(...values));
  const did = (set: Values, whole = false): readonly Effect[] => [{ name, set, whole, removed: false }];
  const removal: Effect = { name, set: {}, whole: true, removed: true };
  if (has && random.chance(0.25)) {
    sql(`DELETE FROM ${table} WHERE name = ?`, name);
    return [removal];
  }
  if (has && knowsX && random.chance(0.3)) {
    sql(`UPDATE ${table} SET x = ? WHERE name = ?`, `x${value}`, name);
    return did({ x: `x${value}` });
  }
  switch (random.below(9)) {
    case 0:
      sql(`INSERT OR REPLACE INTO ${table}(name, v) VALUES (?, ?)`, name, value);
      return did({ v: value }, true);
    case 1:
      sql(`INSERT OR REPLACE INTO ${table}(name, v, w) VALUES (?, ?, ?)`, name, value, text);
      return did({ v: value, w: text }, true);
    case 2:
      sql(`INSERT INTO ${table}(name, v) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET v = excluded.v`, name, value);
      return did({ v: value });
    case 3:
      device.write(model, (db) => {
        db.exec(`BEGIN; DELETE FROM ${table} WHERE name = '${name}'`);
        db.exec(`INSERT INTO ${table}(name, v) VALUES ('${name}', ${value}); COMMIT`);
      });
      return did({ v: value }, true);
    case 4:
      if (!has) break;
      // The key changes, the other values move with it; an item that stood there is evicted.
      sql(`UPDATE OR REPLACE ${table} SET name = ?, v = ? WHERE name = ?`, other(name), value, name);
      return [
        removal,
        {
          name: other(name),
          set: { v: value, ...(row!.w === null ? {} : { w: String(row!.w) }) },
          whole: true,
          removed: false,
        },
      ];
    case 5:
      if (!has) break;
      sql(`UPDATE ${table} SET w = ? WHERE name = ?`, text, name);
      return did({ w: text });
    case 6:
      device.write(model, (db) => {
        db.exec(`BEGIN; INSERT OR REPLACE INTO ${table}(name, v) VALUES ('${name}', ${value}); ROLLBACK`);
      });
      return [];
  }
  if (has) {
    sql(`UPDATE ${table} SET v = ? WHERE name = ?`, value, name);
    return did({ v: value });
  }
  sql(`INSERT INTO ${table}(name, v, w) VALUES (?, ?, ?)`, name, value, text);
  return did({ v: value, w: text });
}

/** The item that a cloud application puts. */
export function cloudItem(
  schema: Schema,
  model: Model,
  identity: Identity,
  attributes: Item,
  updatedMs?: number,
): Item {
  return completeItem(schema, model, {
    ...attributes,
    ...(model.scope === "device" ? { deviceId: identity.deviceId } : {}),
    ...(model.scope === "account" ? { accountId: identity.accountId } : {}),
    ...(model.updatedField && updatedMs !== undefined ? { updated: new Date(updatedMs).toISOString() } : {}),
  }, identity);
}
