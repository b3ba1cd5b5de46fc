/**
 * A random schema, by a seed: every direction, policy, scope, type and property comes up, with names that are odd in SQL or
 * in JavaScript. It comes with what the fuzzer must know to write by it and to judge what became of that.
 *
 * Each model has a text field `v`: each write of the fuzzer puts a token there that no other write has. By it a version is
 * known again wherever it turns up.
 *
 * @module
 */
import type { Random } from "../../sim/random.ts";

/** A field's type. */
export type FieldType = "string" | "number" | "boolean" | "date" | "object" | "array" | "set" | "binary";

/** A field beside the key's, `v` and the timestamps. */
export interface MadeField {
  readonly name: string;
  /** The attribute's name in the table. */
  readonly attribute: string;
  readonly type: FieldType;
  /** Of a set. */
  readonly members?: "string" | "number";
  /** Of a date: it rests as ISO text, not as ms. */
  readonly iso?: boolean;
  readonly enum?: readonly string[];
  /** `validate`, which SQLite can't say: the cloud alone judges. */
  readonly judged?: boolean;
  readonly unique?: boolean;
  /** Items expire by it. */
  readonly ttl?: boolean;
  /** It never leaves the device. */
  readonly local?: boolean;
  readonly required?: boolean;
  /** The canonical form of its default. */
  readonly fallback?: string;
  /** Its fields are declared: `{a: number, b: string}`. */
  readonly nested?: boolean;
  /** The type that it had in the version before. */
  readonly was?: FieldType;
}

/** A model. */
export interface MadeModel {
  readonly name: string;
  readonly scope: "device" | "account" | "global";
  readonly sync: "up" | "down" | "both" | "none";
  readonly enable: "both" | "device" | "cloud";
  readonly policy: "newest" | "cloud" | "device" | "merge";
  /** The fields that tell its items apart: `name`, `zone` and `n`, or an `id` that generates itself. */
  readonly key: readonly ("name" | "zone" | "n" | "id")[];
  readonly timestamps: boolean;
  /** `keep: "newest"`: at the cap its oldest unsent rows give way. */
  readonly keep: boolean;
  /** It is listed by a secondary index. */
  readonly indexed: boolean;
  readonly fields: readonly MadeField[];
}

/** A schema, and what it is made of. */
export interface MadeSchema {
  readonly models: readonly MadeModel[];
  /** As a file has it. */
  readonly json: Record<string, unknown>;
  readonly iso: boolean;
  /** Models whose policy was another one in the version before. */
  readonly changed?: readonly string[];
}

const modelNames = ["Setting", "Order", "Group", "Values", "Table", "T_1", "Index", "Probe", "Trigger", "Case", "Log"];
const fieldNames = [
  ...["order", "group", "select", "prototype", "size", "a_b", "rowid_", "item", "model", "stamp", "source", "type"],
  ...["when", "x1", "limit", "values", "default", "isNull", "length", "then", "key", "json", "op", "hash", "base"],
];
const types: Record<FieldType, number> = {
  ...{ string: 3, number: 4, boolean: 2, date: 2, object: 4, array: 2, set: 2, binary: 2 },
};

/** Makes a schema of `count` models; the first ones are of the most used kinds, so that every round has these. */
export function makeSchema(random: Random, count: number): MadeSchema {
  const iso = random.chance(0.7), timestamps = random.chance(0.7);
  const names = shuffled(random, modelNames).slice(0, count);
  const models = names.map((name, i) => makeModel(random, name, i, { iso, timestamps }));
  return { models, iso, json: schemaJson(models, { version: "1.0.0", iso, timestamps }) };
}

/** The next version of a schema: some models are changed in a way that keeps their rows, and there is a model more. */
export function upgraded(random: Random, { models, iso }: MadeSchema, apart: Random): MadeSchema {
  const timestamps = models[0]!.timestamps;
  const changed = models.map((model, i) => i > 0 && random.chance(0.4) ? model : changedModel(random, model))
    .map((model) => apart.chance(0.5) ? withoutOrRetyped(apart, model) : model);
  const next = [...changed, makeModel(random, "Later", 9, { iso, timestamps })];
  const policies = new Map(models.map(({ name, policy }) => [name, policy]));
  const moved = changed.filter(({ name, policy }) => policy !== policies.get(name)).map(({ name }) => name);
  return { models: next, iso, changed: moved, json: schemaJson(next, { version: "1.1.0", iso, timestamps }) };
}

function changedModel(random: Random, model: MadeModel): MadeModel {
  const withField = (field: MadeField): MadeModel => ({ ...model, fields: [...model.fields, field] });
  const kind = random.pick(["required", "field", "enum", "policy", "direction"] as const);
  switch (kind) {
    case "required":
      return withField({ name: "later", attribute: "later", type: "number", required: true, fallback: "n:5e0" });
    case "enum": {
      const widened = (field: MadeField) => field.enum ? { ...field, enum: [...field.enum, "dimmed"] } : field;
      return { ...model, fields: model.fields.map(widened) };
    }
    case "policy":
      return { ...model, policy: random.pick(["newest", "cloud", "device", "merge"] as const) };
    case "direction":
      // What stayed on the device so far is sent.
      return model.sync === "none" && model.enable !== "cloud" ? { ...model, sync: "both", enable: "both" } : model;
    default:
      return withField({ name: "later", attribute: "later", type: "object" });
  }
}

/** A field goes, or has another type, in which its former values have a meaning. */
function withoutOrRetyped(random: Random, model: MadeModel): MadeModel {
  const free = model.fields.filter(({ required, unique, ttl, name }) =>
    !required && !unique && !ttl && name !== "later"
  );
  if (free.length === 0) return model;
  const field = random.pick(free);
  const { name, attribute, type, local } = field;
  const isCast = (type === "boolean" || type === "number") && random.chance(0.6);
  const retyped: MadeField = { name, attribute, type: "string", was: type, ...(local ? { local } : {}) };
  return { ...model, fields: model.fields.flatMap((one) => one !== field ? [one] : isCast ? [retyped] : []) };
}

export function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const left = [...list], out: T[] = [];
  while (left.length > 0) out.push(...left.splice(random.below(left.length), 1));
  return out;
}

function makeModel(
  random: Random,
  name: string,
  at: number,
  { iso, timestamps }: { iso: boolean; timestamps: boolean },
): MadeModel {
  const sync = at === 0 ? "both" : at === 1 ? "up" : random.weighted({ both: 5, up: 2, down: 2, none: 1 });
  const enable = sync === "none" ? random.pick(["device", "cloud", "both"] as const) : "both";
  const scope = random.weighted({ device: 4, account: 4, global: 2 });
  const policy = random.weighted({ newest: 4, cloud: 2, device: 2, merge: 2 });
  const key = random.pick([["name"], ["name"], ["zone", "n"], ["id"]] as const);
  const picked = shuffled(random, fieldNames).slice(0, random.between(1, 5));
  const fields = picked.map((field) => makeField(random, field, iso));
  if (random.chance(0.25) && sync !== "down") {
    fields.push({ name: "slot", attribute: "slot", type: "number", unique: true });
  }
  if (random.chance(0.25)) fields.push({ name: "expires", attribute: "expires", type: "date", ttl: true, iso });
  const indexed = random.chance(0.2), keep = sync === "up" && random.chance(0.5);
  return { name, scope, sync, enable, policy, key, timestamps, keep, indexed, fields };
}

function makeField(random: Random, name: string, iso: boolean): MadeField {
  const type = random.weighted(types);
  const attribute = random.chance(0.15) ? `${name.replace(/\W/g, "")}m` : name;
  const base = { name, attribute, type };
  const local = random.chance(0.08) ? { local: true } : {};
  switch (type) {
    case "string":
      if (random.chance(0.2)) return { ...base, enum: ["off", "on", "it's"] };
      if (random.chance(0.2)) return { ...base, judged: true };
      return random.chance(0.2) ? { ...base, required: true, fallback: "s:it's" } : { ...base, ...local };
    case "date":
      return { ...base, iso: random.chance(0.2) ? !iso : iso };
    case "object":
      return random.chance(0.3) ? { ...base, nested: true } : { ...base, ...local };
    case "set":
      return { ...base, members: random.pick(["string", "number"] as const) };
    default:
      return { ...base, ...local };
  }
}

function fieldJson(field: MadeField): Record<string, unknown> {
  const { type, attribute, name } = field;
  return {
    type,
    ...(attribute === name ? {} : { map: attribute }),
    ...(field.members ? { items: { type: field.members } } : {}),
    ...(type === "date" && field.iso !== undefined && !field.ttl ? { isoDates: field.iso } : {}),
    ...(field.enum ? { enum: field.enum } : {}),
    ...(field.judged ? { validate: "/^[^@]+@[^@]+$/" } : {}),
    ...(field.unique ? { unique: true } : {}),
    ...(field.ttl ? { ttl: true } : {}),
    ...(field.local ? { sync: "none" } : {}),
    ...(field.required ? { required: true, default: type === "number" ? 5 : "it's" } : {}),
    ...(field.nested ? { schema: { a: { type: "number" }, b: { type: "string" } } } : {}),
  };
}

/** The primary key's templates of a model. */
export function keyTemplates(model: MadeModel): { hash: string; sort: string } {
  const tag = model.name.toLowerCase().replace(/[^a-z0-9_]/g, "");
  const scoped = { device: "device#${deviceId}", account: "account#${accountId}", global: `all#${tag}` }[model.scope];
  const parts = model.key.map((name) => name === "n" ? "${n:4:0}" : `\${${name}}`);
  // Listed by the secondary index, so that its own key need not be.
  return { hash: scoped, sort: [tag, ...parts].join("#") };
}

/** A key as the templates make it of these values. */
export function renderKey(model: MadeModel, values: Readonly<Record<string, unknown>>): { hash: string; sort: string } {
  const rendered = (template: string) =>
    template.replace(
      /\$\{(\w+)(?::(\d+):(.))?\}/g,
      (_, name: string, width, pad) => String(values[name]).padStart(Number(width ?? 0), pad ?? " "),
    );
  const { hash, sort } = keyTemplates(model);
  return { hash: rendered(hash), sort: rendered(sort) };
}

function schemaJson(
  models: readonly MadeModel[],
  { version, iso, timestamps }: { version: string; iso: boolean; timestamps: boolean },
): Record<string, unknown> {
  const needed = { type: "string", required: true };
  const entries = models.map((model) => {
    const { hash, sort } = keyTemplates(model);
    return [model.name, {
      pk: { type: "string", value: hash },
      sk: { type: "string", value: sort },
      ...(model.indexed
        ? { gs1pk: { type: "string", value: `gs1#${hash}` }, gs1sk: { type: "string", value: sort } }
        : {}),
      ...(model.scope === "device" ? { deviceId: needed } : model.scope === "account" ? { accountId: needed } : {}),
      ...Object.fromEntries(model.key.map((name) => [
        name,
        name === "id"
          ? { type: "string", generate: "ulid" }
          : name === "n"
          ? { type: "number", required: true }
          : needed,
      ])),
      v: { type: "string" },
      ...Object.fromEntries(model.fields.map((field) => [field.name, fieldJson(field)])),
    }];
  });
  return {
    format: "onetable:1.1.0",
    version,
    indexes: {
      primary: { hash: "pk", sort: "sk" },
      ...(models.some(({ indexed }) => indexed) ? { gs1: { hash: "gs1pk", sort: "gs1sk" } } : {}),
    },
    params: { isoDates: iso, timestamps },
    models: Object.fromEntries(entries),
    process: Object.fromEntries(
      models.map(({ name, sync, enable, policy, keep }) => [
        name,
        { sync, enable, conflict: policy, ...(keep ? { keep: "newest" } : {}) },
      ]),
    ),
  };
}
