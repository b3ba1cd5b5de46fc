/** A device plants nothing in another's listings: names of others, and index keys that are the cloud's to set. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ingest } from "../../../cloud/sync/ingest.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import type { Ack, Change } from "../../../protocol.ts";
import { compileSchema, completeItem, renderKey } from "../../../schema.ts";
import type { Attributes, Item, Json } from "../../../schema/values.ts";

const key = (hash: string) => ({ pk: { type: "string", value: hash }, sk: { type: "string", value: "x#${id}" } });
const fields = (hash: string, more: object = {}) => ({
  ...key(hash),
  id: { type: "string", required: true },
  v: { type: "number" },
  ...more,
});
const id = { type: "string" };

const schema = compileSchema({
  version: "0.0.1",
  indexes: {
    primary: { hash: "pk", sort: "sk" },
    gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" },
    owners: { hash: "owner", project: "all" },
  },
  models: {
    /** Its key names the device alone; the account stands in an index. */
    Device: fields("d#${deviceId}", {
      deviceId: { ...id, required: true },
      accountId: id,
      gs1pk: { type: "string", value: "account#${accountId}" },
      gs1sk: { type: "string", value: "device#${id}" },
    }),
    /** Declares neither. */
    Bare: fields("b#${deviceId}", { deviceId: { ...id, required: true } }),
    /** Of an account, with a device as data. */
    Task: fields("a#${accountId}", { accountId: { ...id, required: true }, deviceId: id }),
    Global: fields("g", { accountId: id, deviceId: id }),
    Strict: fields("s#${deviceId}", { deviceId: { ...id, required: true } }),
    Firm: fields("f#${firm}", { firm: { ...id, required: true }, thing: id }),
  },
  process: {
    Device: { sync: "both" },
    Bare: { sync: "both" },
    Task: { sync: "both" },
    Global: { sync: "both" },
    Strict: { sync: "both", strict: true },
    Firm: { sync: "both", identity: { accountId: "firm", deviceId: "thing" } },
  },
});

const identity = { deviceId: "d1", accountId: "acme" };
const devices: Record<string, string> = { d1: "acme", d2: "acme", spy: "beta" };
const time = 1_800_000_000_000;

function rig() {
  const tables = openEmbedded(":memory:", { schema, now: () => time });
  let stamp = time * 1000 - 1_000_000;
  return {
    tables,
    async send(model: string, op: Change["op"], item: Attributes, base?: Change["base"]): Promise<string> {
      const change: Change = { model, op, stamp: stamp++, ...(op === "remove" ? { key: item } : { item }), base };
      const accountOf = (deviceId: string) => Promise.resolve(devices[deviceId]);
      const ack: Ack = await ingest({ schema, tables, now: () => time, accountOf }, identity, {
        type: "up",
        batch: "k/1",
        sent: time,
        changes: [change],
      });
      return ack.answers[0]?.code ?? "ok";
    },
    async put(model: string, attributes: Attributes): Promise<void> {
      await tables.data.write([{
        op: "put",
        item: {
          ...completeItem(schema, schema.models.get(model)!, attributes, identity),
          _source: "d2#k",
          _stamp: time * 1000 - 2_000_000,
        },
      }]);
    },
    async stored(model: string): Promise<Item | undefined> {
      return (await tables.data.get([renderKey(schema.models.get(model)!, { id: "x" }, identity)!]))[0];
    },
  };
}

const cases: [what: string, model: string, item: Attributes, code: string][] = [
  ["its own account", "Device", { accountId: "acme" }, "ok"],
  ["no account", "Device", {}, "ok"],
  ["another's account where only the device is in the key", "Device", { accountId: "beta" }, "invalid"],
  ["an account that is not text", "Device", { accountId: 5 }, "invalid"],
  ["a derived index key", "Device", { accountId: "acme", gs1pk: "account#beta" }, "ok"],
  ["an index key that the model does not declare", "Bare", { gs1pk: "account#beta" }, "invalid"],
  ["its sort key", "Bare", { gs1sk: "x" }, "invalid"],
  ["the key of an index without a sort key", "Bare", { owner: "beta" }, "invalid"],
  ["other undeclared attributes", "Bare", { color: "red", accountId: "beta" }, "ok"],
  ["a device of the same account", "Task", { deviceId: "d2" }, "ok"],
  ["a device that there is not", "Task", { deviceId: "d9" }, "ok"],
  ["a device of another account", "Task", { deviceId: "spy" }, "invalid"],
  ["others in what is everybody's", "Global", { deviceId: "spy", accountId: "beta" }, "ok"],
  ["what a strict model declares", "Strict", { v: 1 }, "ok"],
  ["what a strict model does not declare", "Strict", { color: "red" }, "invalid"],
  ["a name of Object in a strict model", "Strict", { constructor: "x" }, "invalid"],
  ["another's account under its own name", "Firm", { firm: "beta" }, "invalid"],
  ["another's device under its own name", "Firm", { thing: "spy" }, "invalid"],
];

for (const [what, model, item, code] of cases) {
  Deno.test(`foreign: a change with ${what} is ${code === "ok" ? "taken" : "refused"}`, async () => {
    const { send, stored, tables } = rig();
    assert.equal(await send(model, "create", { id: "x", ...item }), code);
    const there = await stored(model);
    assert.equal(there !== undefined, code === "ok");
    if (model === "Device" && there) assert.notEqual(there.gs1pk, "account#beta");
    await tables.close();
  });
}

Deno.test("foreign: an index key that the cloud has set comes back as it was, and is never altered, added or planted anew", async () => {
  const { send, put, stored, tables } = rig();
  const set = { gs1pk: "account#acme", gs1sk: "x" };
  await put("Bare", { id: "x", v: 1, ...set });
  assert.equal(await send("Bare", "update", { id: "x", v: 2, ...set }), "ok");
  assert.equal((await stored("Bare"))?.v, 2);
  assert.equal(await send("Bare", "update", { id: "x", v: 3, ...set, gs1pk: "account#beta" }), "stale");
  assert.equal(await send("Bare", "update", { id: "x", v: 3, ...set, owner: "beta" }), "stale");
  assert.equal((await stored("Bare"))?.v, 2);
  assert.equal(await send("Bare", "remove", { id: "x" }), "ok");
  assert.equal(await send("Bare", "update", { id: "x", v: 4, ...set }), "gone");
  assert.equal(await send("Bare", "create", { id: "x", v: 4, ...set }), "invalid");
  assert.equal(await stored("Bare"), undefined);
  await tables.close();
});

Deno.test("foreign: whatever attributes a device sends, nothing of it is listed for another", async () => {
  const planted = fc.constantFrom<Json>("account#beta", "beta", "spy", "d#spy", "acme", "x");
  const names = fc.constantFrom(
    "gs1pk",
    "gs1sk",
    "owner",
    "accountId",
    "deviceId",
    "firm",
    "thing",
    "pk",
    "sk",
    "_type",
    "__proto__",
  );
  const items = fc.dictionary(names, planted, { maxKeys: 5 });
  const models = fc.constantFrom("Device", "Bare", "Task", "Strict", "Firm");
  const ops = fc.constantFrom<Change["op"]>("create", "update");
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(models, ops, items), { maxLength: 4 }), async (changes) => {
      const { send, tables } = rig();
      for (const [model, op, item] of changes) await send(model, op, { ...item, id: "x" });
      for (const item of (await tables.data.scan({ limit: 100 })).items) {
        const { _source, ...rest } = item;
        assert.ok(String(item.pk).endsWith("#d1") || String(item.pk).endsWith("#acme"), JSON.stringify(item));
        for (const name of ["gs1pk", "owner", "accountId", "deviceId", "firm", "thing"]) {
          // Undeclared and no key of an index: carried, and listed for nobody.
          const model = schema.models.get(String(item._type))!;
          const isDeclared = model.fields.some((field) => field.attribute === name);
          if (!isDeclared && name !== "gs1pk" && name !== "owner") continue;
          const foreign = name === "deviceId" || name === "thing" ? ["spy"] : ["account#beta", "beta", "spy"];
          assert.ok(!foreign.includes(String(rest[name])), JSON.stringify(item));
        }
      }
      await tables.close();
    }),
    { numRuns: 200 },
  );
});
