/**
 * `metrics` and `notify` in `process`: what compiles to what, and what is refused in which words.
 */
import assert from "node:assert/strict";
import { compileSchema, SchemaError } from "../../schema.ts";

function source(entry: Record<string, unknown>) {
  return {
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      M: {
        pk: { type: "string", value: "d#${deviceId}" },
        sk: { type: "string", value: "m#${id}" },
        deviceId: { type: "string", required: true },
        id: { type: "string", required: true },
        celsius: { type: "number", map: "c" },
        secret: { type: "number", sync: "none" },
        label: { type: "string", value: "${id}!" },
        at: { type: "date", isoDates: true },
        tags: { type: "array" },
      },
    },
    process: { M: { sync: "up", ...entry } },
  };
}

const compiled = (entry: Record<string, unknown>) => compileSchema(source(entry));

function refuses(entry: Record<string, unknown>, reason: string): void {
  assert.throws(() => compiled(entry), (error) => {
    assert.ok(error instanceof SchemaError && error.message.includes(reason), (error as Error).message);
    return true;
  });
}

Deno.test("metrics: as the installed base's schemas say it", () => {
  const { models, warnings } = compiled({
    metrics: [{ namespace: "Acme/Pumps", fields: ["celsius"], dimensions: [{ Device: "deviceId" }], buffer: 5 }],
  });
  assert.deepEqual(models.get("M")!.metrics, [{
    namespace: "Acme/Pumps",
    fields: ["celsius"],
    dimensions: [[{ name: "Device", field: "deviceId" }]],
    periodMs: 300_000,
  }]);
  assert.deepEqual(warnings, ["carried without effect: buffer (process.M.metrics)"]);
  const { metrics } = compiled({ metrics: [{ fields: ["celsius"], period: 60 }] }).models.get("M")!;
  assert.deepEqual(metrics, [{ namespace: "M", fields: ["celsius"], dimensions: [[]], periodMs: 60_000 }]);
});

Deno.test("metrics: nothing arrives of a model that does not go up, and its schema loads all the same", () => {
  const { models, warnings } = compiled({ sync: "down", metrics: [{ fields: ["celsius"] }] });
  assert.equal(models.get("M")!.metrics, undefined);
  assert.match(warnings[0]!, /"metrics" has no effect: with "sync": "down"/);
});

Deno.test("metrics: what is wrong is refused by name", () => {
  const metric = (more: Record<string, unknown>) => ({ metrics: [{ fields: ["celsius"], ...more }] });
  refuses({ metrics: true }, '"metrics" in "process" must be a list');
  refuses({ metrics: ["celsius"] }, "number 1: it must be an object");
  refuses(metric({ fields: ["kelvin"] }), '"fields" names "kelvin", which is no field');
  refuses(metric({ fields: ["id"] }), 'the field "id" is of type string, not number');
  refuses(metric({ fields: ["secret"] }), "never leaves the device");
  refuses(metric({ fields: [] }), '"fields" must be a list of 1 to 32');
  refuses(metric({ namespace: "" }), '"namespace" must be a text');
  refuses(metric({ dimensions: { Device: "deviceId" } }), '"dimensions" must be a list');
  refuses(metric({ dimensions: [{ "a-b": "id" }] }), "a name is a letter");
  refuses(metric({ dimensions: [{ field: "id" }] }), "this name is taken");
  refuses(metric({ dimensions: [{ A: "nobody" }] }), '"nobody" is no field');
  refuses(metric({ dimensions: [{ A: "tags" }] }), "is of type array");
  refuses(metric({ dimensions: [{ A: "label" }] }), "is computed");
  refuses(metric({ period: 7 }), '"period" is one of 60,');
});

Deno.test("notify: true, a target, events and conditions", () => {
  const of = (notify: unknown) => compiled({ notify }).models.get("M")!.notify;
  assert.deepEqual(of(true), { to: { kind: "usual" }, on: ["create", "update", "remove"], where: [] });
  assert.equal(of(false), undefined);
  assert.deepEqual(
    of({
      url: "https://example.com/x",
      on: "create",
      where: { celsius: { above: 30, not: 99 }, id: ["a", "b"], label: "z" },
    }),
    {
      to: { kind: "url", name: "https://example.com/x" },
      on: ["create"],
      where: [
        { attribute: "c", op: "above", value: 30 },
        { attribute: "c", op: "not", value: 99 },
        { attribute: "id", op: "in", value: ["a", "b"] },
        { attribute: "label", op: "equals", value: "z" },
      ],
    },
  );
  assert.deepEqual(of({ topic: "plant/alarms", where: { at: { atLeast: "2026" } } })!.to, {
    kind: "topic",
    name: "plant/alarms",
  });
  assert.equal(of({ eventbridge: "default" })!.to.kind, "eventbridge");
});

Deno.test("notify: what is wrong is refused by name, and a password is not quoted", () => {
  const refused = (notify: unknown, reason: string) => refuses({ notify }, reason);
  refused("yes", "it is true, or an object");
  refused({ webhook: "x" }, '"webhook" is unknown');
  refused({ url: "https://a.example", topic: "b" }, "url and topic are one too many");
  refused({ url: "ftp://a.example" }, '"url" must be https://HOST');
  refused({ url: "https://a.example/#x" }, "has a fragment");
  refused({ topic: "a/#" }, '"topic" must be an MQTT topic');
  refused({ topic: "$aws/x" }, '"topic" must be an MQTT topic');
  refused({ eventbridge: "a b" }, '"eventbridge" must be the name');
  refused({ on: ["delete"] }, '"on" must be a list of create, update, remove');
  refused({ where: { kelvin: 1 } }, '"where", "kelvin": it is no field');
  refused({ where: { tags: "a" } }, "a field of type array can't be compared");
  refused({ where: { celsius: { over: 1 } } }, '"over" is unknown');
  refused({ where: { celsius: { above: "1" } } }, '"above" compares with a number');
  refused({ where: { id: [1] } }, "values of type string");
  assert.throws(() => compiled({ notify: { url: "https://u:hush@a.example" } }), (error) => {
    assert.match((error as Error).message, /holds a user name or password/);
    assert.doesNotMatch((error as Error).message, /hush/);
    return true;
  });
  const { models, warnings } = compiled({ enable: "device", sync: "none", notify: true });
  assert.equal(models.size, 0);
  assert.match(warnings[0]!, /the model is on devices alone/);
});
