/**
 * The compiled schema, which the rest of the system reads. Only `schema.ts` makes one, from a OneTable schema. It is
 * plain data, frozen after compilation, and holds no function.
 *
 * @module
 */
import type { Annotation } from "./carried.ts";
import type { IdentityNames } from "./identity.ts";
import type { KeyIdentity } from "./key_identity.ts";
import type { Template } from "./template.ts";

/** The types of a OneTable attribute that Twintable carries. `buffer` and `arraybuffer` compile to `binary`. */
export type FieldType = "string" | "number" | "boolean" | "date" | "object" | "array" | "set" | "binary";
/** Which way a model's items travel: device to cloud, cloud to device, both, or nowhere. */
export type SyncDirection = "up" | "down" | "both" | "none";
/** Who must see an item: one device, all devices of an account, or all devices. */
export type Scope = "device" | "account" | "global";
/** What decides when both sides changed an item. */
export type ConflictPolicy = "newest" | "cloud" | "device" | "merge";

/** One attribute of a model. */
export interface Field {
  /** The property's name in the schema, and the column's name on the device. */
  readonly name: string;
  /** The attribute's name on the wire, and in the table's item unless it is packed or encoded: `map`, or the name itself. */
  readonly attribute: string;
  /** `map: "a.b"`: in the table's item the value is the entry `b` of the map `a`, and `attribute` is `a.b`. */
  readonly packed?: readonly [attribute: string, entry: string];
  /** `encode`: in the table's item the value is only inside a computed attribute. */
  readonly encoded?: Encoded;
  /** Its type. */
  readonly type: FieldType;
  /** For `set`: the type of its members. */
  readonly members?: "string" | "number" | "binary";
  /** It must have a value. */
  readonly required: boolean;
  /** The values that it may have. */
  readonly enum?: readonly (string | number)[];
  /** A regular expression's source and flags, from `validate`. */
  readonly validate?: { readonly source: string; readonly flags: string };
  /** The default as the schema gives it, a JSON value: a date always as ISO text, a set as a list, binary as base64. */
  readonly default?: unknown;
  /** The default is the time of writing (`default: () => new Date()`): a date, or milliseconds for a number. */
  readonly defaultNow?: boolean;
  /** `generate`: how a missing value is made. `uid` carries its length. */
  readonly generate?: { readonly kind: "ulid" | "uuid" | "uid"; readonly length: number };
  /** The value template of a computed attribute (`value: '…${name}…'`). A computed attribute never travels: each side derives it. */
  readonly template?: Template;
  /** The item's expiry time (`ttl: true`), seconds since 1970 in the item; in a field of type number everywhere. */
  readonly ttl: boolean;
  /** `isoDates` for this field: an ISO text in the item if true, otherwise a number of milliseconds. */
  readonly isoDates: boolean;
  /** Whether null is stored as NULL (true) or the attribute is left out (false). */
  readonly nulls: boolean;
  /** OneTable's; without effect here. */
  readonly hidden: boolean;
  /** Unique among the model's rows on the device. */
  readonly unique: boolean;
  /** `scope` beside `unique`: unique only among rows that render this alike. */
  readonly uniqueScope?: Template;
  /** False for `sync: 'none'`: the attribute never leaves the device. */
  readonly synced: boolean;
  /** `created` or `updated` where the schema's `timestamps` asks for it and the field is that timestamp. */
  readonly timestamp?: "created" | "updated";
  /** Fields of a nested schema, for `object` (or each member of an `array` by `items`): checked, not turned into columns. */
  readonly nested?: readonly Field[];
  /** For `array` with `items`: the field that describes a member. */
  readonly items?: Field;
}

/** Which piece of which computed attribute an encoded field is. */
export interface Encoded {
  /** The computed attribute, and the field that it is. */
  readonly attribute: string;
  /** The computed field. */
  readonly holder: string;
  /** OneTable's separator. */
  readonly separator: string;
  /** The piece's number, from 0. */
  readonly index: number;
  /** Fields of type string up to this piece, itself included: none may have the separator in its value. */
  readonly whole: readonly string[];
}

/** An index of the table, from `indexes`. */
export interface Index {
  /** Its name. */
  readonly name: string;
  /** The hash attribute, or its template. */
  readonly hash: string;
  /** The sort attribute. */
  readonly sort?: string;
}

/** How all items of a model in one scope are listed: one hash value, and a prefix of each sort value. */
export interface Enumeration {
  /** `primary`, or the name of a secondary index (which lags behind the table). */
  readonly index: string;
  /** Attribute names and templates; the hash template names only the identity. */
  readonly hashAttribute: string;
  /** The hash attribute, or its template. */
  readonly hash: Template;
  /** The sort attribute. */
  readonly sortAttribute?: string;
  /** The sort template's leading part that the scope resolves (may be empty: then items of other models are filtered out). */
  readonly sortPrefix?: Template;
}

/** The unit of a number that means a date. */
export type DateUnit = "s" | "ms" | "us" | "julianday";

/** How existing values are read as dates: `dates` in `process`. */
export interface DateRule {
  /** The zone of texts that name none: `UTC`, `local` (the device's own), an offset, or a name of the IANA database. */
  readonly zone?: string;
  /** What numbers count. */
  readonly unit?: DateUnit;
}

/** A dimension of a time series: its name, and the field whose values tell series apart. */
export interface Dimension {
  /** Its name. */
  readonly name: string;
  /** The field's name. */
  readonly field: string;
}

/** Fields of what devices send that become time series: `metrics` in `process`. */
export interface Metric {
  /** The namespace of the series. */
  readonly namespace: string;
  /** The fields, of type number. */
  readonly fields: readonly string[];
  /** Sets of dimensions: each field has a series for each value of each set. An empty set: one for all. */
  readonly dimensions: readonly (readonly Dimension[])[];
  /** How long one point is, ms. */
  readonly periodMs: number;
}

/** What happened to an item, as `notify` names it. */
export type NotifyEvent = "create" | "update" | "remove";

/**
 * Where notifications of changes go: a webhook, an MQTT topic, an event bus of EventBridge, or `usual`: the MQTT topic
 * of the model.
 */
export type NotifyTarget =
  | { readonly kind: "usual" }
  | { readonly kind: "url" | "topic" | "eventbridge"; readonly name: string };

/** One comparison of `where`: an attribute of the item with a value. */
export interface NotifyTest {
  /** The attribute's name, as in {@link Field.attribute}. */
  readonly attribute: string;
  /** How it is compared. An attribute that is not there, or of another type, compares false but with `not`. */
  readonly op: "equals" | "not" | "above" | "atLeast" | "below" | "atMost" | "begins" | "exists" | "in";
  /** With what; for `in` a list. */
  readonly value: string | number | boolean | readonly (string | number | boolean)[];
}

/** Which changes the cloud tells, and where: `notify` in `process`. */
export interface Notify {
  /** Where. */
  readonly to: NotifyTarget;
  /** What has to have happened. */
  readonly on: readonly NotifyEvent[];
  /** What has to hold of the item, all of it; of a removed one, as it was. */
  readonly where: readonly NotifyTest[];
}

/** One model of the compiled schema. */
export interface Model {
  /** Its name. */
  readonly name: string;
  /** Its number in this schema: stable for the life of a compiled schema, not across schemas. */
  readonly number: number;
  /** It has a table on devices. */
  readonly onDevice: boolean;
  /** It has items in the cloud. */
  readonly inCloud: boolean;
  /** Which way its items travel. */
  readonly sync: SyncDirection;
  /** Who wins. */
  readonly conflict: ConflictPolicy;
  /**
   * What happens on the device when the outbox is full. `newest`: the agent drops the oldest unsent rows (only in
   * models that only sync up); undefined: writes are refused.
   */
  readonly keep?: "newest";
  /** Whether a device's undeclared attributes are refused: by `strict` of the model's process, or of `params`. */
  readonly strict?: true;
  /** How values that were there before are read as dates, by field. */
  readonly dates?: ReadonlyMap<string, DateRule>;
  /** Time series of what arrives. */
  readonly metrics?: readonly Metric[];
  /** Changes of which others are notified. */
  readonly notify?: Notify;
  /** Who sees its items. */
  readonly scope: Scope;
  /** Every declared attribute in the schema's order, computed and hidden ones too; never the typeField, `_source`, `_stamp`. */
  readonly fields: readonly Field[];
  /** The primary key: the attribute's name and its template. A plain attribute used as key has the template `${name}`. */
  readonly hashKey: { readonly attribute: string; readonly template: Template };
  /** The sort key, if the table has one. */
  readonly sortKey?: { readonly attribute: string; readonly template: Template };
  /** Names of the fields that the primary key's templates name, without the identity, in order of appearance. */
  readonly keyFields: readonly string[];
  /** The fields that hold the device's and the account's id, declared or not: `params.identity`. */
  readonly identityNames: IdentityNames;
  /** Those of them that the primary key's templates name: forced to the agent's own ids. */
  readonly identityFields: readonly string[];
  /** Which of them the key's text alone identifies. */
  readonly keyIdentity: KeyIdentity;
  /** How a snapshot lists the items; absent if the model does not sync down. */
  readonly enumeration?: Enumeration;
  /** The field that says when an item expires. */
  readonly ttlField?: string;
  /** The timestamp of creation. */
  readonly createdField?: string;
  /** The timestamp of the last change. */
  readonly updatedField?: string;
}

/** A schema that was parsed, validated and compiled. */
export interface Schema {
  /** The schema's own `version`. */
  readonly version: string;
  /** 16 hex digits of a hash over the normalised schema: equal schemas have equal fingerprints. */
  readonly fingerprint: string;
  /** The normalised schema as plain JSON: what a file would hold after `blend`. */
  readonly source: Readonly<Record<string, unknown>>;
  /** The primary index. */
  readonly primary: Index;
  /** The secondary indexes, in the schema's order. */
  readonly indexes: readonly Index[];
  /** The attribute that names an item's model. */
  readonly typeField: string;
  /** OneTable's separator. */
  readonly separator: string;
  /** By name, in the schema's order. */
  readonly models: ReadonlyMap<string, Model>;
  /** Models that are carried as they are, since they are not synced and not understood: by name, why. */
  readonly carried: ReadonlyMap<string, readonly string[]>;
  /** Properties that have no effect, and where they stand. */
  readonly annotations: readonly Annotation[];
  /** Settings without effect, a sentence each. */
  readonly warnings: readonly string[];
}

/** Who an agent is. The cloud takes it from the topic and the registry, the device from its configuration. */
export interface Identity {
  /** The device's id. */
  readonly deviceId: string;
  /** The account's id. */
  readonly accountId: string;
}
