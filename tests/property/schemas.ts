/**
 * Random schemas: every type, parameter, scope, direction and policy of a model, in combinations that nobody writes by
 * hand. The names are SQL's own words where that may hurt.
 *
 * @module
 */
import fc from "fast-check";
import { compileSchema, type Schema } from "../../schema.ts";

type Raw = Record<string, unknown>;

const modelNames = ["Alpha", "Order", "group", "Select"];
const fieldNames = ["value", "select", "index", "a1", "from", "order", "Blob", "x_y", "rowid", "key", "type", "time"];

const uniqueTypes = ["string", "number"];

/** Defaults, as a schema gives them. */
const defaults: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  string: fc.constantFrom("", "it's", "é😀", "$n", "line\nbreak"),
  number: fc.constantFrom(0, -1, 7, 0.1, 1e20, 9007199254740991),
  boolean: fc.boolean(),
  date: fc.constantFrom("2031-02-03T04:05:06.789Z"),
  object: fc.constantFrom({}, { a: 1, b: { c: "it's" } }),
  array: fc.constantFrom([], [1, "two", null, { three: 3 }]),
  set: fc.constantFrom(["b", "a"]),
};

interface Shape {
  readonly type: string;
  readonly required: boolean;
  readonly mapped: boolean;
  readonly unsynced: boolean;
  readonly unique: boolean;
  readonly withDefault: boolean;
  readonly enumerated: boolean;
  readonly nulls: boolean | undefined;
  readonly isoDates: boolean;
  readonly hidden: boolean;
  readonly generate: string | undefined;
  readonly members: string | undefined;
  readonly nested: boolean;
  readonly ttl: boolean;
  readonly packed: boolean;
  readonly initial: unknown;
}

const shape: fc.Arbitrary<Shape> = fc.constantFrom(
  ...["string", "number", "number", "boolean", "date", "date", "object", "array", "set", "binary"],
).chain((type) => {
  const rarely = fc.integer({ min: 0, max: 4 }).map((n) => n === 0);
  return fc.record({
    type: fc.constant(type),
    required: rarely,
    mapped: rarely,
    unsynced: rarely,
    unique: fc.boolean(),
    withDefault: rarely,
    enumerated: rarely,
    nulls: fc.constantFrom(undefined, true, false),
    isoDates: fc.boolean(),
    hidden: rarely,
    generate: fc.constantFrom("ulid", "uuid", "uid(5)", undefined, undefined, undefined),
    members: fc.constantFrom("string", "number", "binary", undefined),
    nested: fc.boolean(),
    ttl: rarely,
    packed: rarely,
    initial: defaults[type] ?? fc.constant(undefined),
  });
});

/** One expiry attribute serves a whole table. */
const ttlAttribute = "expires";

function fieldOf(name: string, s: Shape, ttlTaken: boolean): Raw {
  const field: Raw = { type: s.type };
  const ttl = s.ttl && (s.type === "date" || s.type === "number") && !ttlTaken;
  if (s.required) field.required = true;
  if (ttl) Object.assign(field, { ttl: true, map: ttlAttribute });
  else if (s.packed) field.map = `pack.${name}`;
  else if (s.mapped) field.map = `m_${name}`;
  if (s.nulls !== undefined) field.nulls = s.nulls;
  if (s.type === "date" && s.isoDates) field.isoDates = true;
  if (s.hidden) field.hidden = true;
  if (s.type === "string" && s.enumerated && !s.unique) field.enum = ["", "on", "it's off", "é😀"];
  else if (s.unique && uniqueTypes.includes(s.type)) {
    Object.assign(field, { unique: true, ...(s.nested ? { scope: "${k1}" } : {}) });
  } else if (s.type === "string" && s.generate) field.generate = s.generate;
  else if (s.withDefault && s.initial !== undefined) field.default = s.initial;
  // The cloud can't make up what never reaches it: a required one that stays local needs a value of its own.
  if (s.unsynced && !(s.required && field.default === undefined)) field.sync = "none";
  if (s.type === "set" && s.members && (field.default === undefined || s.members === "string")) {
    field.items = { type: s.members };
  }
  if (s.type === "object" && s.nested && field.default === undefined) {
    field.schema = {
      n: { type: "number", ...(s.mapped ? { map: "nn" } : {}) },
      at: { type: "date", isoDates: true },
      on: { type: "boolean" },
      raw: { type: "binary" },
      deep: { type: "object", schema: { s: { type: "string" } } },
    };
  }
  if (s.type === "array" && s.nested && field.default === undefined) field.items = { type: "number" };
  return field;
}

/** What the second part of a sort key is. */
const keyParts = ["none", "number", "padded", "paddedText", "boolean", "date"] as const;

const model = fc.record({
  scope: fc.constantFrom("device", "account", "global"),
  sync: fc.constantFrom("both", "both", "both", "up", "down", "none"),
  conflict: fc.constantFrom("newest", "newest", "cloud", "device", "merge"),
  keyPart: fc.constantFrom(...keyParts),
  generateKey: fc.boolean(),
  bystander: fc.boolean(),
  computed: fc.boolean(),
  encoded: fc.boolean(),
  shapes: fc.array(shape, { minLength: 1, maxLength: 6 }),
  names: fc.shuffledSubarray(fieldNames, { minLength: 6, maxLength: 6 }),
});

type ModelShape = typeof model extends fc.Arbitrary<infer T> ? T : never;

interface Names {
  readonly deviceId: string;
  readonly accountId: string;
}
const usual: Names = { deviceId: "deviceId", accountId: "accountId" };

function modelOf(at: number, m: ModelShape, ttlTaken: { is: boolean }, { deviceId, accountId }: Names): Raw {
  const owner = { device: `d#\${${deviceId}}`, account: `a#\${${accountId}}`, global: "g#" }[m.scope]!;
  const second = {
    none: "",
    number: "#${k2}",
    padded: "#${k2:6:0}",
    paddedText: "#${k2:5: }",
    boolean: "#${k2}",
    date: "#${k2}",
  }[m.keyPart]!;
  const fields: Raw = {
    pk: { type: "string", value: owner },
    sk: { type: "string", value: `m${at}#\${k1}${second}` },
    k1: { type: "string", ...(m.generateKey ? { generate: "ulid" } : { required: true }) },
  };
  if (m.keyPart !== "none") {
    const type = {
      number: "number",
      padded: "number",
      paddedText: "string",
      boolean: "boolean",
      date: "date",
    }[m.keyPart]!;
    fields.k2 = { type, required: true };
  }
  if (m.scope === "device") fields[deviceId] = { type: "string", required: true };
  if (m.scope === "account") fields[accountId] = { type: "string", required: true };
  // Another's id is mere data where the key does not name it.
  if (m.bystander && m.scope === "account") fields.deviceId = { type: "string" };
  m.shapes.forEach((shape, i) => {
    const name = m.names[i]!;
    const field = fieldOf(name, shape, ttlTaken.is);
    if (field.ttl) ttlTaken.is = true;
    fields[name] = field;
  });
  if (m.computed) fields.label = { type: "string", value: "<${k1}>", validate: "/^</", readonly: true };
  // It stands only between separators of a computed attribute.
  if (m.encoded) {
    fields.pair = { type: "string", value: "${code}|end" };
    fields.code = { type: "string", encode: ["pair", "|", 0] };
  }
  return fields;
}

/** A schema's source. */
export const schemaSource: fc.Arbitrary<Raw> = fc.record({
  isoDates: fc.boolean(),
  nulls: fc.boolean(),
  timestamps: fc.constantFrom(true, false, "create", "update"),
  renamed: fc.boolean(),
  identity: fc.constantFrom(usual, usual, { deviceId: "thing", accountId: "orgId" }),
  typeField: fc.constantFrom("_type", "kind", "__typename"),
  models: fc.array(model, { minLength: 1, maxLength: 3 }),
  names: fc.shuffledSubarray(modelNames, { minLength: 3, maxLength: 3 }),
}).map(({ isoDates, nulls, timestamps, renamed, identity, typeField, models, names }) => {
  const ttlTaken = { is: false };
  return {
    format: "onetable:1.1.0",
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: {
      isoDates,
      nulls,
      timestamps,
      typeField,
      ...(identity === usual ? {} : { identity }),
      ...(renamed ? { createdField: "madeAt", updatedField: "changedAt" } : {}),
    },
    models: Object.fromEntries(models.map((m, i) => [names[i]!, modelOf(i, m, ttlTaken, identity)])),
    process: Object.fromEntries(models.map(({ sync, conflict }, i) => [names[i]!, { sync, conflict }])),
  };
});

/** A compiled one. Only what the compiler takes: it must take every one of these. */
export const schema: fc.Arbitrary<Schema> = schemaSource.map((source) => compileSchema(source));
