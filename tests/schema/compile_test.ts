import assert from "node:assert/strict";
import fc from "fast-check";
import { compileSchema, type Schema, SchemaError, SyncError } from "../../schema.ts";
import { type Loose, schemaOf } from "./fixture.ts";

function problemsOf(source: unknown): readonly string[] {
  try {
    compileSchema(source);
  } catch (error) {
    assert.ok(error instanceof SchemaError, String(error));
    assert.equal(error.code, "schema");
    assert.ok(error.problems.length > 0);
    return error.problems;
  }
  return [];
}

/** Asserts that exactly one problem is found, and that its sentence says this. */
function refused(source: unknown, says: RegExp): void {
  const problems = problemsOf(source);
  assert.equal(problems.length, 1, problems.join("\n") || "the schema was accepted");
  assert.match(problems[0]!, says);
}

function model(schema: Schema, name = "M") {
  const found = schema.models.get(name);
  assert.ok(found);
  return found;
}

Deno.test("compile: a model's key, scope and listing follow from its key templates", () => {
  const m = model(compileSchema(schemaOf()));
  assert.deepEqual([m.scope, m.keyFields, m.identityFields], ["device", ["id"], ["deviceId"]]);
  assert.deepEqual([m.onDevice, m.inCloud, m.sync, m.conflict], [true, true, "both", "newest"]);
  assert.equal(m.hashKey.template.text, "m#${deviceId}");
  assert.equal(m.enumeration?.index, "primary");
  assert.equal(m.enumeration?.sortPrefix?.text, "m#");
  assert.ok(m.fields.find((f) => f.name === "id")?.required, "a key field is required");
  assert.equal(model(compileSchema(schemaOf({}, { sync: "up" }))).enumeration, undefined);
});

Deno.test("compile: keep: 'newest' is for models that only sync up", () => {
  assert.equal(model(compileSchema(schemaOf({}, { sync: "up", keep: "newest" }))).keep, "newest");
  assert.equal(model(compileSchema(schemaOf({}, { sync: "up" }))).keep, undefined);
  for (const sync of ["both", "down", "none"]) {
    refused(schemaOf({}, { sync, keep: "newest" }), new RegExp(`"keep": "newest" drops rows .* "sync" is "${sync}"`));
  }
  refused(schemaOf({}, { sync: "up", keep: "oldest" }), /"keep" in "process" must be one of newest/);
});

Deno.test("compile: the scope is device, account or global by what the key names", () => {
  const scope = (pk: string, sk: string) =>
    model(compileSchema(schemaOf({
      accountId: { type: "string" },
      pk: { type: String, value: pk },
      sk: { type: String, value: sk },
    }))).scope;
  assert.equal(scope("m#${accountId}", "m#${deviceId}#${id}"), "device");
  assert.equal(scope("m#${accountId}", "m#${id}"), "account");
  assert.equal(scope("m#", "m#${id}"), "global");
});

Deno.test("compile: a model that syncs down and can't be listed is refused with that sentence", () => {
  const fields = {
    pk: { type: String, value: "m#${id}" },
    sk: { type: String, value: "m#${deviceId}" },
  };
  refused(schemaOf(fields), /can't be listed for a snapshot/);
  assert.deepEqual(problemsOf(schemaOf(fields, { sync: "up" })), []);
  const listed = { gs1pk: { type: String, value: "d#${deviceId}" }, gs1sk: { type: String, value: "${id}" } };
  assert.equal(model(compileSchema(schemaOf({ ...fields, ...listed }))).enumeration?.index, "gs1");
  // An index that items without an optional attribute are missing from lists less than all.
  const sparse = {
    ...listed,
    when: { type: String },
    gs1sk: { type: String, value: "${when}" },
  };
  refused(schemaOf({ ...fields, ...sparse }), /can't be listed/);
});

Deno.test("compile: an index that leads to the scope's own items is preferred to one that lists everybody's", () => {
  const m = model(compileSchema(schemaOf({
    pk: { type: String, value: "m#" },
    sk: { type: String, value: "${id}#${deviceId}" },
    gs1pk: { type: String, value: "${_type}#${deviceId}" },
    gs1sk: { type: String, value: "${id}" },
  })));
  assert.equal(m.enumeration?.index, "gs1");
  assert.equal(m.enumeration?.hash.text, "M#${deviceId}");
});

Deno.test("compile: computed fields and the typeField are resolved inside other templates", () => {
  const m = model(compileSchema(schemaOf({
    part: { type: String, value: "${_type}:${id}" },
    sk: { type: String, value: "x#${part}" },
  })));
  assert.equal(m.sortKey?.template.text, "x#M:${id}");
  assert.deepEqual(m.keyFields, ["id"]);
  refused(schemaOf({ a: { type: String, value: "${a}" } }), /round in a circle/);
});

Deno.test("compile: every unsupported feature is refused by name, with the reason", () => {
  const field = (properties: Loose, says: RegExp) => refused(schemaOf({ x: { type: String, ...properties } }), says);
  field({ crypt: true }, /"crypt" is not supported: the attribute is encrypted .* "sync": "none"/);
  field({ map: "a.b.c" }, /"map" must be an attribute name, or two with a dot/);
  field({ type: "float" }, /type "float" is unknown/);
  field({ type: undefined }, /type is missing/);
  field({ encode: ["sk", "#", 1] }, /"encode" : piece 1 of "m#\$\{id\}" by "#" is not \$\{x\} alone/);
  field({ encode: "deviceId" }, /"encode" names "deviceId", which is not a field with a "value" template/);
  field({ scope: "${a.b}", unique: true }, /a path in the placeholder/);
  field({ value: true }, /"value" must be a template text/);
  field({ value: () => "" }, /values computed by a function are not supported/);
  field({ default: (x: unknown) => x }, /is a function that is not understood/);
  field({ generate: true }, /"generate" "true" is not supported/);
  field({ generate: "uid(0)" }, /uid\(n\)/);
  field({ value: "${a.b}" }, /a path in the placeholder/);
  field({ value: "${id:4:ab}" }, /more than one character/);
  field({ required: "yes" }, /"required" must be true or false/);
  field({ ttl: true }, /"ttl" needs the type date/);
  field({ enum: [] }, /"enum" must be a list/);
  field({ validate: "/(/" }, /not a regular expression/);
  field({ type: Number, default: "seven" }, /default "seven" can't be made a number/);
  field({ default: "c", enum: ["a"] }, /none of a/);
  field({ type: "date", default: "soon" }, /not a date/);
  field({ sync: "up" }, /can only be "none"/);
  field({ type: Array, schema: {} }, /for the members of an array/);
  field({ type: Object, schema: { y: { type: String, value: "${a}" } } }, /"value" is not supported inside/);
  field({ type: Object, schema: { y: { type: "what" } } }, /M", field "x"\.y: the type "what" is unknown/);
  field({ type: Set, items: { type: Boolean } }, /members of a set/);
  field({ type: Object, unique: true }, /"unique" is not supported for the type object/);
});

Deno.test("compile: what can't stand in a key is refused", () => {
  const key = (properties: Loose, says: RegExp) =>
    refused(schemaOf({ x: properties, sk: { type: String, value: "m#${x}" } }), says);
  key({ type: Object }, /of type object/);
  key({ type: Set }, /of type set/);
  key({ type: "date", ttl: true }, /expiry time/);
  key({ type: "date", isoDates: true }, /"isoDates" differs/);
  key({ type: String, sync: "none" }, /"sync": "none"/);
  refused(schemaOf({ sk: { type: Number } }), /must be of type string/);
  refused(schemaOf({ pk: undefined }), /hash attribute "pk" has neither a field nor a value template/);
  refused(
    schemaOf({ deviceId: { type: String, generate: "ulid" } }),
    /"generate" is not supported where the key names/,
  );
});

Deno.test("compile: names that SQLite or the agent could not tell apart are refused", () => {
  refused(schemaOf({ Id: { type: String } }), /differ only in case/);
  refused(schemaOf({ _x: { type: String } }), /begin with "_" are reserved/);
  refused(schemaOf({ _id: { type: String } }), /reserved/);
  refused(schemaOf({ "a-b": { type: String } }), /letters, digits or _/);
  refused(
    schemaOf({ pk: undefined, PK: { type: String }, p: { type: String, map: "pk" } }),
    /named as the key attribute/,
  );
  refused(schemaOf({ x: { type: String, map: "id" } }), /both the attribute "id"/);
  const named = (...names: string[]) => {
    const fields = (schemaOf().models as Loose).M;
    const process = Object.fromEntries(
      names.map((name) => [name, { sync: name[0] === "_" && name !== "_M" ? "none" : "up" }]),
    );
    return { ...schemaOf(), process, models: Object.fromEntries(names.map((name) => [name, fields])) };
  };
  refused(schemaOf({ constructor: { type: String } }), /no property of every object/);
  refused(named("_M"), /reserved/);
  refused(named("sqlite_x"), /SQLite reserves/);
  refused(named("Log", "LOG"), /differ only in case/);
  refused(named("a b"), /letters, digits or _/);
  assert.deepEqual([...compileSchema(named("A", "_Schema", "_Migration")).models.keys()], ["A"]);
});

Deno.test("compile: _source, _stamp and the typeField may be declared and are no fields", () => {
  const m = model(compileSchema(schemaOf({
    _source: { type: String, hidden: true },
    _stamp: { type: Number },
    _type: { type: String },
  })));
  assert.deepEqual(m.fields.map((f) => f.name), ["pk", "sk", "deviceId", "id"]);
});

Deno.test("compile: wrong parts outside the fields are refused", () => {
  const rest = (part: Loose, says: RegExp) => refused(schemaOf({}, undefined, part), says);
  rest({ version: 1 }, /"version" must be a text/);
  rest({ format: "onetable:2.0.0" }, /format "onetable:2\.0\.0" is not supported/);
  rest({ blend: ["a.json"] }, /"blend" names files/);
  rest({ params: { identity: { deviceId: "a b" } } }, /param "identity" must name fields/);
  rest({ params: { identity: { deviceId: "a", accountId: "a" } } }, /one field for the device and the account/);
  rest({ params: { legacyEmpties: true } }, /"legacyEmpties" is not supported/);
  rest({ params: { timestamps: "both" } }, /"timestamps" must be/);
  rest({ process: { N: {} } }, /names the model "N", which does not exist/);
  rest({ process: { M: { sync: "sideways" } } }, /"sync" in "process" must be one of/);
  rest({ process: { M: { enable: "cloud", sync: "down" } } }, /needs the model on both sides/);
  rest({ control: {} }, /both "process" and "control"/);
  rest({ models: undefined, process: {} }, /needs "models"/);
  assert.ok(problemsOf(7).length === 1 && problemsOf(null).length === 1 && problemsOf([]).length === 1);
});

Deno.test("compile: control is taken for process, and its other keys are carried", () => {
  const { process: _, ...source } = schemaOf();
  const schema = compileSchema({
    ...source,
    control: { M: { sync: "up", enable: "both", show: true, actions: true } },
  });
  assert.equal(model(schema).sync, "up");
  assert.deepEqual(schema.source.process, { M: { sync: "up", enable: "both", show: true, actions: true } });
});

Deno.test("compile: timestamps are added where the params ask for them", () => {
  const names = (timestamps: unknown) => {
    const m = model(compileSchema(schemaOf({}, undefined, { params: { timestamps, updatedField: "changed" } })));
    return [m.createdField, m.updatedField];
  };
  assert.deepEqual(names(true), ["created", "changed"]);
  assert.deepEqual(names("create"), ["created", undefined]);
  assert.deepEqual(names("update"), [undefined, "changed"]);
  assert.deepEqual(names(false), [undefined, undefined]);
});

Deno.test("compile: two expiry attributes in one table are refused, for DynamoDB has one", () => {
  const source = schemaOf({ a: { type: Date, ttl: true } });
  const other = schemaOf({ b: { type: Date, ttl: true } });
  const models = { A: (source.models as Loose).M, B: (other.models as Loose).M };
  refused({ ...source, models, process: {} }, /one expiry attribute, and "ttl" is on a and b/);
});

Deno.test("compile: the normalised source compiles to the same schema and has the same fingerprint", () => {
  const source = schemaOf({
    r: { type: String, validate: /^a\/b/i },
    d: { type: Date, default: new Date(0) },
    b: { type: "Buffer" },
    o: { type: Object, schema: { s: { type: Set } } },
  });
  const schema = compileSchema(source);
  const again = compileSchema(JSON.parse(JSON.stringify(schema.source)));
  assert.equal(again.fingerprint, schema.fingerprint);
  assert.match(schema.fingerprint, /^[0-9a-f]{16}$/);
  assert.deepEqual(again.models, schema.models);
  assert.notEqual(compileSchema(schemaOf()).fingerprint, schema.fingerprint);
  assert.throws(() => {
    (schema.models.get("M")!.fields as unknown[]).push(1);
  }, TypeError);
});

Deno.test("compile: all problems are found at once and the message stays one line", () => {
  const error = (() => {
    try {
      compileSchema(schemaOf({ a: { type: "x" }, b: { type: "y" }, c: { type: "z" }, d: { crypt: true, type: "w" } }));
    } catch (caught) {
      return caught;
    }
  })();
  assert.ok(error instanceof SchemaError && error instanceof SyncError);
  assert.equal(error.problems.length, 5);
  assert.ok(!error.message.includes("\n") && error.message.endsWith("and 2 more"));
});

Deno.test("compile: any JSON at all gives a schema or a SchemaError", () => {
  const word = fc.constantFrom(
    ..."version indexes primary models params process control blend type value default enum validate generate ttl map"
      .split(" "),
    ..."nulls schema items unique sync hash sort M pk sk id deviceId __proto__ constructor string number date object array"
      .split(" "),
    ..."set ${id} ${deviceId}#${id} /x/ uid(3) 0.0.1 both up down true".split(" "),
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      word,
      fc.jsonValue({ maxDepth: 1 }),
      fc.dictionary(word, tie("tree"), { maxKeys: 6 }),
      fc.array(tie("tree"), { maxLength: 3 }),
    ),
  }));
  const inside = fc.record({ fields: fc.dictionary(word, tree), process: tree, rest: fc.dictionary(word, tree) });
  const check = (source: unknown) => {
    try {
      const schema = compileSchema(source);
      assert.ok(schema.models instanceof Map);
    } catch (error) {
      assert.ok(error instanceof SchemaError, String((error as Error).stack));
    }
  };
  fc.assert(fc.property(tree, check), { numRuns: 500 });
  fc.assert(
    fc.property(inside, ({ fields, process, rest }) => check(schemaOf(fields, process as Loose, rest))),
    { numRuns: 1000 },
  );
});
