/**
 * What schemas of the installed base say, one feature each: written here, after what kept public schemas out. Each comes
 * with properties to write.
 *
 * @module
 */
import type { Version } from "./library.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

/** A feature, and what is tried with it. */
export interface Feature {
  readonly name: string;
  readonly fields: Any;
  readonly params?: Any;
  readonly process?: Any;
  /** What our schema says and the library's does not. */
  readonly ours?: Any;
  /** Properties of items; `deviceId` is put in. */
  readonly things: readonly Any[];
  /** Library versions that know it. Default: all. */
  readonly versions?: readonly Version[];
  /** What the library's item has beside ours, or ours beside its: made up at writing. */
  readonly madeUp?: readonly string[];
}

const day = new Date("2026-03-01T12:00:00.000Z");

/** The features. */
export const features: readonly Feature[] = [
  {
    name: "encode: pieces of the sort key, by [attribute, separator, number]",
    fields: {
      sk: { type: String, value: "m#${kind}#${n}#${id}" },
      kind: { type: String, required: true, encode: ["sk", "#", 1] },
      n: { type: String, required: true, encode: ["sk", "#", 2] },
    },
    things: [{ kind: "a", n: "7", id: "x" }, { kind: "é b", n: "", id: "x#y" }],
    versions: ["2.7"],
  },
  {
    name: "encode: by the name of the field and params.separator, in another index",
    params: { separator: "|" },
    fields: {
      gs1pk: { type: String, value: "g|${region}|${city}" },
      region: { type: String, encode: "gs1pk" },
      city: { type: String, encode: "gs1pk" },
    },
    things: [{ id: "1", region: "eu", city: "bern" }, { id: "2" }],
    versions: ["2.7"],
  },
  {
    name: "packed map: several fields share an attribute",
    fields: {
      one: { type: String, map: "data.one" },
      two: { type: Number, map: "data.t" },
      at: { type: Date, map: "data.at" },
    },
    params: { isoDates: true },
    things: [{ id: "1", one: "x", two: 2.5, at: day }, { id: "2", one: "", two: 0, at: day }],
  },
  {
    name: "map in a nested schema, and in the members of a list",
    fields: {
      place: { type: Object, schema: { street: { type: String, map: "st" }, zip: { type: Number } } },
      rows: { type: Array, items: { type: Object, schema: { label: { type: String, map: "l" } } } },
    },
    things: [{ id: "1", place: { street: "s", zip: 5 }, rows: [{ label: "a" }, { label: "b" }] }],
    versions: ["2.7"],
  },
  {
    name: "validate beside value",
    fields: {
      email: { type: String, required: true },
      gs1pk: { type: String, value: "user#${email}", validate: /^user#[^@]+@/ },
    },
    things: [{ id: "1", email: "a@b.c" }],
  },
  {
    name: "ttl of type Number: seconds as they are",
    fields: { expires: { type: Number, ttl: true } },
    things: [{ id: "1", expires: 4_102_444_800 }, { id: "2" }],
  },
  {
    name: "defaults of another type",
    fields: {
      n: { type: Number, default: "7" },
      b: { type: Boolean, default: "false" },
      s: { type: String, default: 5 },
    },
    things: [{ id: "1" }, { id: "2", n: 1, b: true, s: "x" }],
    // 1.4 writes a default as it stands.
    versions: ["2.3", "2.7"],
  },
  {
    name: "annotations: readonly, drop, fixed, reference, partial, notes, show",
    fields: {
      a: { type: String, readonly: true, notes: "x", show: "list" },
      b: { type: String, fixed: true, drop: true },
      c: { type: String, reference: "M:primary:id=c", partial: true },
    },
    process: { actions: ["edit"], mem: 5, notify: false },
    things: [{ id: "1", a: "x", b: "y", c: "z" }],
  },
  ...(["update", "create"] as const).map((timestamps): Feature => ({
    name: `timestamps: '${timestamps}', with names of their own`,
    params: { timestamps, createdField: "born", updatedField: "changed", isoDates: true },
    fields: { v: { type: Number } },
    things: [{ id: "1", v: 1 }],
    madeUp: ["born", "changed"],
  })),
  {
    name: "types in any case",
    fields: { a: { type: "String" }, n: { type: "NUMBER" }, d: { type: "Date", isoDates: true }, s: { type: "Set" } },
    things: [{ id: "1", a: "x", n: 1, d: day, s: new Set(["p", "q"]) }],
    versions: ["2.3", "2.7"],
  },
  {
    name: "another typeField",
    params: { typeField: "__typename" },
    fields: { v: { type: Number } },
    things: [{ id: "1", v: 1 }],
  },
  {
    name: "the identity is named otherwise",
    params: { identity: { deviceId: "thing", accountId: "orgId" } },
    fields: {
      pk: { type: String, value: "org#${orgId}" },
      sk: { type: String, value: "thing#${thing}#m#${id}" },
      thing: { type: String, required: true },
      orgId: { type: String, required: true },
      deviceId: { type: String },
    },
    things: [{ id: "1", thing: "d1", orgId: "a1", deviceId: "data" }],
  },
  {
    name: "the identity stands in the key alone",
    fields: { deviceId: { type: String, required: true, encode: ["pk", "#", 1] } },
    things: [{ id: "1" }],
    versions: ["2.7"],
  },
  {
    name: "a hash key that the process section gives",
    fields: { sk: { type: String, value: "m#${id}" } },
    ours: { pk: undefined },
    process: { pk: "m#${deviceId}" },
    things: [{ id: "1" }],
  },
  {
    name: "a template that names no field is never rendered",
    fields: { gs1pk: { type: String, value: "r#${region}" }, v: { type: Number } },
    things: [{ id: "1", v: 1 }],
  },
  {
    name: "a nested value is generated and filled in by the library alone",
    fields: {
      o: { type: Object, schema: { id: { type: String, generate: "ulid" }, u: { type: String, default: "m" } } },
    },
    things: [{ id: "1", o: { id: "x", u: "km" } }],
  },
];
