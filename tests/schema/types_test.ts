import assert from "node:assert/strict";
import { compileSchema, type CreateOf, defineSchema, type ItemOf, type KeyOf } from "../../schema.ts";

const schema = defineSchema({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { timestamps: true, updatedField: "changed" },
  models: {
    Fault: {
      pk: { type: String, value: "fault#${deviceId}" },
      sk: { type: String, value: "fault#${id}#${n:8:0}" },
      deviceId: { type: String, required: true },
      id: { type: String, generate: "ulid" },
      n: { type: Number, required: true },
      severity: { type: "string", enum: ["info", "warn"], required: true, default: "info" },
      note: { type: "string" },
      at: { type: Date, required: true },
      tags: { type: Set, items: { type: "string" } },
      data: { type: "buffer" },
      place: { type: Object, schema: { x: { type: Number, required: true }, y: { type: "number" } } },
      list: { type: Array, items: { type: "object", schema: { z: { type: Boolean } } } },
      free: { type: "array" },
      _source: { type: String, hidden: true },
    },
  },
  process: { Fault: { sync: "up" } },
});

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;
function same<A, B>(equal: Equal<A, B>): void {
  assert.equal(equal, true);
}

Deno.test("types: an item's properties are inferred from the schema literal", () => {
  same<ItemOf<typeof schema, "Fault">, {
    deviceId: string;
    id: string;
    n: number;
    severity: "info" | "warn";
    at: Date;
    note?: string;
    tags?: Set<string>;
    data?: Uint8Array;
    place?: { x: number; y?: number };
    list?: { z?: boolean }[];
    free?: unknown[];
    readonly pk?: string;
    readonly sk?: string;
    created?: Date;
    changed?: Date;
  }>(true);
});

Deno.test("types: create takes what does not fill itself, and a key names what the templates name", () => {
  const create: CreateOf<typeof schema, "Fault"> = { n: 1, at: new Date() };
  const whole: CreateOf<typeof schema, "Fault"> = { ...create, severity: "warn", note: null, deviceId: "d", id: "1" };
  // @ts-expect-error n is required
  const missing: CreateOf<typeof schema, "Fault"> = { at: new Date() };
  // @ts-expect-error "bad" is no severity
  const wrong: CreateOf<typeof schema, "Fault"> = { ...create, severity: "bad" };
  same<KeyOf<typeof schema, "Fault">, { id: string; n: number; deviceId?: string }>(true);
  assert.ok(whole && missing && wrong);
});

Deno.test("types: the identity's fields fill themselves, whatever they are called", () => {
  const renamed = defineSchema({
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { identity: { deviceId: "thing", accountId: "orgId" } },
    models: {
      Fault: {
        pk: { type: String, value: "org#${orgId}" },
        sk: { type: String, value: "fault#${thing}#${id}" },
        thing: { type: String, required: true },
        orgId: { type: String, required: true },
        deviceId: { type: String, required: true },
        id: { type: String, generate: "ulid" },
      },
    },
  });
  const create: CreateOf<typeof renamed, "Fault"> = { deviceId: "mere data" };
  same<KeyOf<typeof renamed, "Fault">, { id: string; thing?: string; orgId?: string }>(true);
  assert.ok(create);
});

Deno.test("types: a typed schema compiles, and an untyped one is accepted by the types", () => {
  assert.equal(compileSchema(schema).models.get("Fault")?.updatedField, "changed");
  type Loose = ItemOf<import("../../schema.ts").OneTableSchema, string>;
  const loose: Loose = { anything: 1 };
  assert.ok(loose);
});
