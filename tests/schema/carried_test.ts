/**
 * Schemas as people have them: what has no effect here is carried and listed, what has to be understood is refused by
 * name, and what can be understood works.
 *
 * @module
 */
import assert from "node:assert/strict";
import { compileSchema, fromPlain, type Schema, SchemaError } from "../../schema.ts";
import { type Loose, schemaOf } from "./fixture.ts";

function fieldOf(schema: Schema, name: string, model = "M") {
  const found = schema.models.get(model)?.fields.find((field) => field.name === name);
  assert.ok(found, `no field ${name}`);
  return found;
}

/** The schema's own model `M`, which syncs, and another one that is what a test says. */
function withModel(fields: Loose, process?: Loose): Loose {
  const source = schemaOf();
  return {
    ...source,
    models: { ...source.models as Loose, Other: fields },
    process: { M: { sync: "both" }, ...(process ? { Other: process } : {}) },
  };
}

Deno.test("carried: a model that does not sync is carried, whatever it says, and the others work", () => {
  const odd: Loose = {
    sk: { type: String, value: () => "x" },
    secret: { type: String, crypt: true },
    gone: { type: "float" },
    "a-b": { type: String },
  };
  for (const process of [undefined, { enable: "cloud" }, { enable: "both", sync: "none" }, { enable: "device" }]) {
    const schema = compileSchema(withModel(odd, process));
    assert.deepEqual([...schema.models.keys()], ["M"]);
    assert.ok(schema.carried.get("Other")!.length > 0);
    assert.match(schema.warnings.join("\n"), /the model "Other" is carried as it is/);
  }
  assert.throws(() => compileSchema(withModel(odd, { sync: "up" })), (error) => {
    assert.ok(error instanceof SchemaError);
    assert.match(error.problems.join("\n"), /model "Other", field "secret": "crypt" is not supported/);
    return true;
  });
  assert.throws(() => compileSchema(withModel(odd), { strict: true }), SchemaError);
});

Deno.test("carried: annotations and unknown settings are listed once, and a typing error shows", () => {
  const schema = compileSchema(schemaOf(
    { x: { type: String, readonly: true, drop: true, notes: "for people", requird: true, show: "list" } },
    { sync: "both", actions: ["edit"], period: 5 },
    { params: { crypto: { primary: {} }, isodates: true } },
  ));
  assert.equal(schema.warnings.length, 1);
  const [warning] = schema.warnings;
  for (const part of [/readonly \(M\.x\)/, /drop \(M\.x\)/, /requird \(did you mean required\?\) \(M\.x\)/, /show/]) {
    assert.match(warning!, part);
  }
  assert.match(warning!, /actions \(process\.M\); period \(process\.M\)/);
  assert.match(warning!, /isodates \(did you mean isoDates\?\) \(params\)/);
  assert.doesNotMatch(warning!, /notes/);
  assert.throws(
    () => compileSchema(schemaOf({ x: { type: String, readonly: true } }), { strict: true }),
    /carried without effect: readonly/,
  );
});

Deno.test("carried: a default of another type is converted as OneTable converts a property", () => {
  const schema = compileSchema(schemaOf({
    n: { type: Number, default: "7" },
    b: { type: Boolean, default: "false" },
    s: { type: String, default: 5 },
    a: { type: Array, default: "" },
    d: { type: Date, default: "2026-01-02" },
  }));
  const value = (name: string) => fieldOf(schema, name).default;
  assert.deepEqual([value("n"), value("b"), value("s"), value("a")], [7, false, "5", []]);
  assert.equal(value("d"), "2026-01-02T00:00:00.000Z");
});

Deno.test("carried: functions that SQL can say are understood by their text, and none is run", () => {
  const schema = compileSchema(schemaOf({
    at: { type: Date, default: () => new Date() },
    ms: { type: Number, default: () => Date.now() },
    u: { type: String, default: () => crypto.randomUUID() },
    list: { type: Array, default: () => [] },
    map: { type: Object, default: () => ({}) },
    seven: { type: Number, default: () => 7 },
    word: {
      type: String,
      default: function () {
        return "hello";
      },
    },
  }));
  assert.ok(fieldOf(schema, "at").defaultNow && fieldOf(schema, "ms").defaultNow);
  assert.equal(fieldOf(schema, "u").generate?.kind, "uuid");
  assert.deepEqual(["list", "map", "seven", "word"].map((n) => fieldOf(schema, n).default), [[], {}, 7, "hello"]);
  const context = { now: 1_700_000_000_000, random: () => 0.5, identity: { deviceId: "d1", accountId: "a1" } };
  const made = fromPlain(schema, schema.models.get("M")!, {}, context);
  assert.deepEqual([made.at, made.ms], [context.now, context.now]);
  // What is written once as text says the same again.
  assert.equal(compileSchema(JSON.parse(JSON.stringify(schema.source))).fingerprint, schema.fingerprint);
});

Deno.test("carried: uuid, ttl of type Number, another typeField, a template of no field", () => {
  const schema = compileSchema(schemaOf(
    {
      old: { type: String, uuid: "ulid" },
      older: { type: String, uuid: true },
      expires: { type: Number, ttl: true },
      never: { type: String, value: "x#${region}" },
    },
    undefined,
    { params: { typeField: "__typename" } },
  ));
  assert.equal(fieldOf(schema, "old").generate?.kind, "ulid");
  assert.equal(fieldOf(schema, "older").generate?.kind, "uuid");
  assert.equal(schema.models.get("M")!.ttlField, "expires");
  assert.equal(schema.typeField, "__typename");
  assert.match(schema.warnings.join(), /never is never computed: its template names \$\{region\}/);
});

Deno.test("carried: a device's own model needs no hash key, and process can give one", () => {
  const fields = { sk: { type: String, value: "${id}" }, id: { type: String }, deviceId: { type: String } };
  const local = compileSchema(withModel(fields, { enable: "device" })).models.get("Other")!;
  assert.equal(local.hashKey.template.text, "Other");
  const synced = compileSchema(withModel(fields, { sync: "both", pk: "other#${deviceId}" })).models.get("Other")!;
  assert.equal(synced.hashKey.template.text, "other#${deviceId}");
  assert.equal(synced.scope, "device");
});
