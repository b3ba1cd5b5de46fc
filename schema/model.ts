/**
 * The compiled schema: what the rest of the system reads. `schema.ts` makes it from a OneTable schema; nothing else
 * builds one by hand. It is plain data, frozen after compilation, and holds no function.
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
  /** `encode`: in the table's item the value stands only inside a computed attribute. */
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
  /** `isoDates` for this field: an ISO text in the item; otherwise a number of milliseconds. */
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

/** How all items of a model in one scope are listed: one hash value, and what each sort value begins with. */
export interface Enumeration {
  /** `primary`, or the name of a secondary index (which lags behind the table). */
  readonly index: string;
  /** Attribute names and templates; the hash template names nothing but the identity. */
  readonly hashAttribute: string;
  /** The hash attribute, or its template. */
  readonly hash: Template;
  /** The sort attribute. */
  readonly sortAttribute?: string;
  /** The sort template's leading part that the scope resolves (may be empty: then items of other models are filtered out). */
  readonly sortPrefix?: Template;
}

/** What a number that stands for a date counts. */
export type DateUnit = "s" | "ms" | "us" | "julianday";

/** How values from before are read as dates: `dates` in `process`. */
export interface DateRule {
  /** The zone of texts that name none: `UTC`, `local` (the device's own), an offset, or a name of the IANA database. */
  readonly zone?: string;
  /** What numbers count. */
  readonly unit?: DateUnit;
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
   * What gives way on the device when the outbox is full: `newest` keeps the newest rows and drops the oldest that were
   * never sent (models that only sync up); undefined refuses writes.
   */
  readonly keep?: "newest";
  /** Whether a device's undeclared attributes are refused: by `strict` of the model's process, or of `params`. */
  readonly strict?: true;
  /** How values that were there before are read as dates, by field. */
  readonly dates?: ReadonlyMap<string, DateRule>;
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
  /** What the key tells of them by itself. */
  readonly keyIdentity: KeyIdentity;
  /** How a snapshot lists the items; absent where the model does not sync down. */
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
  /** What the schema says without effect, a sentence each. */
  readonly warnings: readonly string[];
}

/** Who an agent is: taken from the topic and the registry in the cloud, from its configuration on the device. */
export interface Identity {
  /** The device's id. */
  readonly deviceId: string;
  /** The account's id. */
  readonly accountId: string;
}
