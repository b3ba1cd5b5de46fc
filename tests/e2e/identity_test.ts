/**
 * A schema whose identity fields have other names: two accounts, three devices, the real broker and worker. Each device has
 * what is its own and its account's, in whatever way it was written, and nothing else.
 */
import assert from "node:assert/strict";
import { type Agent, openAgent } from "../../agent/open.ts";
import { startCloud } from "../../cloud/mod.ts";
import { compileSchema, defineSchema } from "../../schema.ts";
import { patience, until } from "../support/until.ts";

const schema = defineSchema({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk" } },
  params: { identity: { deviceId: "thing", accountId: "orgId" }, timestamps: true, isoDates: true },
  models: {
    Reading: {
      pk: { type: String, value: "org#${orgId}#thing#${thing}" },
      sk: { type: String, value: "reading#${id}" },
      // Neither stands in the item: the key tells them.
      orgId: { type: String, required: true, encode: ["pk", "#", 1] },
      thing: { type: String, required: true, encode: ["pk", "#", 3] },
      id: { type: String, required: true },
      kind: { type: String, map: "data.kind" },
      value: { type: Number, map: "data.v" },
    },
    Site: {
      pk: { type: String, value: "site#${id}" },
      sk: { type: String, value: "of#${orgId}" },
      gs1pk: { type: String, value: "sites#${orgId}" },
      gs1sk: { type: String, value: "${id}" },
      orgId: { type: String, required: true },
      id: { type: String, required: true },
      name: { type: String },
    },
  },
  process: { Reading: { sync: "both" }, Site: { sync: "both", conflict: "cloud" } },
});

const people = [["a1", "acme"], ["a2", "acme"], ["b1", "bolt"]] as const;

Deno.test("identity: devices of two accounts, whose ids the schema calls otherwise, see their own and nothing else", async () => {
  await using cloud = await startCloud({
    schema: compileSchema(schema),
    table: "embedded::memory:",
    broker: { host: "127.0.0.1", port: 0 },
    http: { host: "127.0.0.1", port: 0 },
  });
  const agents = new Map<string, Agent<typeof schema>>();
  try {
    for (const [device, account] of people) {
      const password = await cloud.registry.add(device, account);
      agents.set(
        device,
        await openAgent({
          schema,
          device,
          account,
          path: ":memory:",
          mqtt: `mqtt://127.0.0.1:${cloud.mqttPort}`,
          password,
        }),
      );
    }
    const of = (device: string) => agents.get(device)!;
    for (const [device, account] of people) {
      of(device).model("Reading").create({ id: `own-${device}`, kind: "k", value: 1.5 });
      of(device).model("Site").create({ id: `site-${device}`, name: account });
    }
    await Promise.all([...agents.values()].map((agent) => agent.flush({ timeoutMs: 20_000 * patience })));
    const put = async (model: string, item: Record<string, unknown>) => {
      const response = await fetch(`http://127.0.0.1:${cloud.httpPort}/api/items`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model, item }),
      });
      assert.equal(response.status, 200, await response.text());
    };
    await put("Reading", { orgId: "acme", thing: "a1", id: "from-api", kind: "x", value: 2 });
    await put("Site", { orgId: "bolt", id: "site-api", name: "b" });
    const readings = (device: string) => of(device).model("Reading").find().items.map((item) => item.id).sort();
    const sites = (device: string) => of(device).model("Site").find().items.map((item) => item.id).sort();
    await until("each device has its own", () => readings("a1").length === 2 && sites("a1").length === 2, 20_000);
    await until("the account's come to both", () => sites("a2").length === 2 && sites("b1").length === 2, 20_000);
    assert.deepEqual(readings("a1"), ["from-api", "own-a1"]);
    assert.deepEqual([readings("a2"), readings("b1")], [["own-a2"], ["own-b1"]]);
    assert.deepEqual([sites("a2"), sites("b1")], [["site-a1", "site-a2"], ["site-api", "site-b1"]]);
    const [item] = await cloud.tables.data.get([["org#acme#thing#a1", "reading#own-a1"]]);
    assert.deepEqual([item?.thing, item?.orgId, item?.data], [undefined, undefined, { kind: "k", v: 1.5 }]);
    const listed = await (await fetch(`http://127.0.0.1:${cloud.httpPort}/api/items?model=Reading&device=a1`)).json();
    assert.deepEqual(listed.items.map((one: { id: string; thing: string }) => [one.id, one.thing]).sort(), [
      ["from-api", "a1"],
      ["own-a1", "a1"],
    ]);
  } finally {
    for (const agent of agents.values()) await agent.close();
  }
});
