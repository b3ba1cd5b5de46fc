/**
 * The OneTable schema as TypeScript types: what a schema literal may contain, and the item types inferred from it. Only
 * {@link defineSchema} exists at run time.
 *
 * @module
 */

/** A field's type, by name or as the constructor that OneTable takes. */
export type OneTableType =
  | "string"
  | "number"
  | "boolean"
  | "date"
  | "object"
  | "array"
  | "set"
  | "binary"
  | "buffer"
  | "arraybuffer"
  | StringConstructor
  | NumberConstructor
  | BooleanConstructor
  | DateConstructor
  | ObjectConstructor
  | ArrayConstructor
  | SetConstructor
  | ArrayBufferConstructor;

/** One field of a model, as a schema gives it. What has no effect is carried; `crypt` is refused where a model syncs. */
export interface OneTableField {
  /** By name, or as a constructor. */
  readonly type: OneTableType;
  /** It must have a value. */
  readonly required?: boolean;
  /** The value of a new item that is created without one. */
  readonly default?: unknown;
  /** The values that it may have. */
  readonly enum?: readonly (string | number)[];
  /** What its value must match. */
  readonly validate?: RegExp | string;
  /** `ulid`, `uuid`, `uid` (10 characters) or `uid(n)`. */
  readonly generate?: string;
  /** A value template: `device#${deviceId}`, `${n:8:0}`. */
  readonly value?: string;
  /** The item expires at this time. */
  readonly ttl?: boolean;
  /** OneTable's; without effect here. */
  readonly hidden?: boolean;
  /** The attribute's name in the table, or `a.b`: the entry `b` of the map `a`, which other fields may share. */
  readonly map?: string;
  /** The value is only inside a computed attribute: `["sk", "#", 1]`, or that field's name. */
  readonly encode?: readonly [attribute: string, separator: string, piece: number] | string;
  /** With `unique`: unique only among rows that render this template alike. */
  readonly scope?: string;
  /** Whether null is stored. */
  readonly nulls?: boolean;
  /** An ISO text in the item, not milliseconds. */
  readonly isoDates?: boolean;
  /** The fields of an object. */
  readonly schema?: OneTableModel;
  /** The members of an array or set. */
  readonly items?: OneTableField;
  /** No two rows of the device have the same value. */
  readonly unique?: boolean;
  /** `none`: the attribute never leaves the device. */
  readonly sync?: "none";
  /** For people. */
  readonly description?: string;
  /** How existing values are read as dates, by field: the zone of texts without one, the unit of numbers. */
  readonly dates?: {
    readonly [field: string]: { readonly zone?: string; readonly unit?: "s" | "ms" | "us" | "julianday" };
  };
  /** What else a schema notes. */
  readonly [property: string]: unknown;
}

/** A model's fields by name. */
export interface OneTableModel {
  /** A field by its name. */
  readonly [field: string]: OneTableField;
}

/** How a model is synced. Other keys (`show`, `mem`, …) are carried. */
export interface OneTableProcess {
  /** Where the model exists. Default `both`. */
  readonly enable?: "cloud" | "device" | "both";
  /** Default `none`. */
  readonly sync?: "up" | "down" | "both" | "none";
  /** Default `newest`. */
  readonly conflict?: "newest" | "cloud" | "device" | "merge";
  /**
   * `newest`, for models with `sync: "up"`: when the device's outbox is full, the oldest rows that were not sent yet are
   * dropped, and counted. Default: writes are refused until there is room.
   */
  readonly keep?: "newest";
  /** True: the cloud refuses attributes that a device sends and the model does not declare. Default: `params.strict`. */
  readonly strict?: boolean;
  /** Templates of the primary key's attributes, if the model's own fields lack them. */
  readonly pk?: string;
  /** As `pk`, for the sort key. */
  readonly sk?: string;
  /** As `params.identity`, for this model. */
  readonly identity?: { readonly deviceId?: string; readonly accountId?: string };
  /**
   * Fields of devices' changes that become time series, separated by dimensions (a name, and a field). `period`:
   * seconds.
   */
  readonly metrics?:
    | false
    | readonly {
      readonly namespace?: string;
      readonly fields: readonly string[];
      readonly dimensions?: readonly { readonly [dimension: string]: string }[];
      readonly period?: number;
      readonly [property: string]: unknown;
    }[];
  /** Tells others of each change: true, or one of `url`, `topic` and `eventbridge`; `on` and `where` say of which. */
  readonly notify?: boolean | {
    readonly url?: string;
    readonly topic?: string;
    readonly eventbridge?: string;
    readonly on?: "create" | "update" | "remove" | readonly ("create" | "update" | "remove")[];
    readonly where?: { readonly [field: string]: unknown };
  };
  /** What else a schema notes. */
  readonly [key: string]: unknown;
}

/** A schema in the OneTable 1.1 format, with `process` (older: `control`) saying what is synced. */
export interface OneTableSchema {
  /** `onetable:1.1.0`. */
  readonly format?: string;
  /** The schema's own version. */
  readonly version: string;
  /** The table's indexes; one is `primary`. */
  readonly indexes: {
    readonly [name: string]: {
      readonly hash?: string;
      readonly sort?: string;
      readonly type?: string;
      readonly project?: string | readonly string[];
      readonly [property: string]: unknown;
    };
  };
  /** The models by name. */
  readonly models: { readonly [model: string]: OneTableModel };
  /** Settings for all models. */
  readonly params?: {
    /** Dates are ISO texts, by default. */
    readonly isoDates?: boolean;
    /** Whether null is stored, by default. */
    readonly nulls?: boolean;
    readonly timestamps?: boolean | "create" | "update";
    readonly typeField?: string;
    readonly createdField?: string;
    readonly updatedField?: string;
    readonly separator?: string;
    /** True: the cloud refuses attributes that devices send and models do not declare. Default false: they are carried. */
    readonly strict?: boolean;
    /** Which fields hold the device's and the account's id. Default `deviceId` and `accountId`. */
    readonly identity?: { readonly deviceId?: string; readonly accountId?: string };
    readonly hidden?: boolean;
    readonly warn?: boolean;
    readonly [param: string]: unknown;
  };
  /** How each model syncs. */
  readonly process?: { readonly [model: string]: OneTableProcess };
  /** An older name of `process`. */
  readonly control?: { readonly [model: string]: OneTableProcess };
  /** What else a schema notes. */
  readonly [key: string]: unknown;
}

/**
 * Returns a schema literal unchanged, with its literal types, so that `ItemOf` and the agent's models are typed from
 * it. It checks nothing: `compileSchema` does that.
 *
 * @example
 * ```ts
 * import { defineSchema, type ItemOf } from "./types.ts";
 * const schema = defineSchema({
 *   version: "0.0.1",
 *   indexes: { primary: { hash: "pk", sort: "sk" } },
 *   models: {
 *     Fault: {
 *       pk: { type: String, value: "fault#${deviceId}" },
 *       sk: { type: String, value: "fault#${id}" },
 *       deviceId: { type: String, required: true },
 *       id: { type: String, generate: "ulid" },
 *       severity: { type: String, enum: ["info", "warn"], required: true },
 *     },
 *   },
 *   process: { Fault: { sync: "up" } },
 * });
 * const fault: ItemOf<typeof schema, "Fault"> = { id: "1", deviceId: "d1", severity: "warn" };
 * ```
 */
export function defineSchema<const S extends OneTableSchema>(schema: S): S {
  return schema;
}

/** The models' names. */
export type ModelName<S extends OneTableSchema> = Extract<keyof S["models"], string>;

type Flat<T> = { [P in keyof T]: T[P] };
type NameOf<T> = T extends StringConstructor ? "string"
  : T extends NumberConstructor ? "number"
  : T extends BooleanConstructor ? "boolean"
  : T extends DateConstructor ? "date"
  : T extends SetConstructor ? "set"
  : T extends ArrayBufferConstructor | "buffer" | "arraybuffer" ? "binary"
  : T extends ArrayConstructor ? "array"
  : T extends ObjectConstructor ? "object"
  : T;

/** The JavaScript value of one field. A number beyond a double's digits is a `bigint`, or a decimal text with a fraction. */
export type ValueOf<F> = F extends { readonly enum: readonly (infer E)[] } ? E
  : F extends { readonly type: infer T } ? ValueOfType<NameOf<T>, F>
  : unknown;

type ValueOfType<N, F> = N extends "string" ? string
  : N extends "number" ? number
  : N extends "boolean" ? boolean
  : N extends "date" ? Date
  : N extends "set" ? Set<F extends { readonly items: infer I } ? ValueOf<I> : string | number>
  : N extends "binary" ? Uint8Array
  : N extends "array" ? (F extends { readonly items: infer I } ? ValueOf<I>[] : unknown[])
  : N extends "object" ? (F extends { readonly schema: infer M } ? ObjectOf<M> : Record<string, unknown>)
  : unknown;

type IsComputed<F> = F extends { readonly value: string } ? true : false;
type IsPresent<F> = F extends { readonly required: true } | { readonly generate: string } ? true : false;
type IsFilled<F> = F extends { readonly generate: string } ? true
  : F extends { readonly default: infer D } ? (D extends null | undefined ? false : true)
  : false;
type IsHidden<F> = F extends { readonly hidden: true } ? true : false;

type ObjectOf<M> = Flat<
  & { -readonly [P in keyof M as IsPresent<M[P]> extends true ? P : never]: ValueOf<M[P]> }
  & { -readonly [P in keyof M as IsPresent<M[P]> extends true ? never : P]?: ValueOf<M[P]> }
>;

type Param<S, P extends string, D> = S extends { readonly params: { readonly [K in P]: infer V } } ? V : D;
type CreatedField<S> = Param<S, "timestamps", false> extends true | "create"
  ? Extract<Param<S, "createdField", "created">, string>
  : never;
type UpdatedField<S> = Param<S, "timestamps", false> extends true | "update"
  ? Extract<Param<S, "updatedField", "updated">, string>
  : never;
/**
 * Names of the timestamps.
 *
 * @internal
 */
type TimestampField<S> = CreatedField<S> | UpdatedField<S>;
/**
 * The fields that hold the device's and the account's id: `params.identity`.
 *
 * @internal
 */
type IdentityField<S> =
  | Named<Param<S, "identity", object>, "deviceId">
  | Named<Param<S, "identity", object>, "accountId">;
type Named<I, R extends string> = I extends { readonly [K in R]: infer N } ? Extract<N, string> : R;
type Internal<S> = "_source" | "_stamp" | Extract<Param<S, "typeField", "_type">, string>;
/**
 * A model's fields.
 *
 * @internal
 */
type Fields<S extends OneTableSchema, M extends ModelName<S>> = Omit<S["models"][M], Internal<S>>;

/**
 * The properties of a model's item as they are read: required and generated ones are there, the others may be missing.
 * Computed (`value`) and hidden ones are optional and read-only.
 */
export type ItemOf<S extends OneTableSchema, M extends ModelName<S>> = ItemOfFields<Fields<S, M>, TimestampField<S>>;

type IsDerived<F> = IsComputed<F> extends true ? true : IsHidden<F>;
/**
 * An item of these fields.
 *
 * @internal
 */
type ItemOfFields<F, T extends string> = Flat<
  & {
    -readonly [P in keyof F as IsDerived<F[P]> extends true ? never : IsPresent<F[P]> extends true ? P : never]:
      ValueOf<F[P]>;
  }
  & {
    -readonly [P in keyof F as IsDerived<F[P]> extends true ? never : IsPresent<F[P]> extends true ? never : P]?:
      ValueOf<F[P]>;
  }
  & { readonly [P in keyof F as IsDerived<F[P]> extends true ? P : never]?: ValueOf<F[P]> }
  & { [P in Exclude<T, keyof F>]?: Date }
>;

type IsAutomatic<P, F, T> = P extends T ? true : IsFilled<F>;
/**
 * What creating an item of these fields takes.
 *
 * @internal
 */
type CreateOfFields<F, T extends string, I extends string> = Flat<
  & {
    -readonly [
      P in keyof F as IsComputed<F[P]> extends true ? never
        : IsAutomatic<P, F[P], T | I> extends true ? never
        : IsPresent<F[P]> extends true ? P
        : never
    ]: ValueOf<F[P]>;
  }
  & {
    -readonly [
      P in keyof F as IsComputed<F[P]> extends true ? never
        : IsAutomatic<P, F[P], T | I> extends true ? P
        : IsPresent<F[P]> extends true ? never
        : P
    ]?: ValueOf<F[P]> | null;
  }
  & { readonly [P in keyof F as IsComputed<F[P]> extends true ? P : never]?: ValueOf<F[P]> }
  & { [P in Exclude<T, keyof F>]?: Date }
>;

/**
 * What `create()` takes: required properties, without those that fill themselves (default, generate, timestamps,
 * deviceId, accountId, computed ones).
 */
export type CreateOf<S extends OneTableSchema, M extends ModelName<S>> = CreateOfFields<
  Fields<S, M>,
  TimestampField<S>,
  IdentityField<S>
>;

type Placeholder<T> = T extends `${infer N}:${string}` ? N : T;
type Placeholders<T> = T extends `${string}\${${infer N}}${infer R}` ? Placeholder<N> | Placeholders<R> : never;
type Template<P, F> = F extends { readonly value: infer V } ? Placeholders<V> : P;
type PrimaryAttribute<S extends OneTableSchema> = S["indexes"]["primary"]["hash"] | S["indexes"]["primary"]["sort"];
/**
 * Fields that a key's templates name.
 *
 * @internal
 */
type KeyNames<S extends OneTableSchema, F> = {
  [P in keyof F]: P extends PrimaryAttribute<S> ? Template<P, F[P]>
    : F[P] extends { readonly map: PrimaryAttribute<S> } ? Template<P, F[P]>
    : never;
}[keyof F];

/** The properties that name an item: those in the primary key's templates. deviceId and accountId may be left out. */
export type KeyOf<S extends OneTableSchema, M extends ModelName<S>> = KeyOfFields<
  Fields<S, M>,
  KeyNames<S, Fields<S, M>>,
  IdentityField<S>
>;
/**
 * A key of these fields.
 *
 * @internal
 */
type KeyOfFields<F, K, I extends string> = Flat<
  & { -readonly [P in keyof F as P extends K ? P extends I ? never : P : never]: ValueOf<F[P]> }
  & { -readonly [P in keyof F as P extends K ? P extends I ? P : never : never]?: ValueOf<F[P]> }
>;
