import assert from "node:assert/strict";
import { ConditionTooLargeError } from "../../../cloud/table/condition_limit.ts";
import { Api } from "./fixture.ts";

const path = "/api/items";

async function putIf(api: Api, item: unknown, headers: Record<string, string>, more: object = {}) {
  return await api.call("PUT", path, { model: "Setting", item, ...more }, headers);
}

const key = { deviceId: "d1", name: "interval" };

Deno.test("items API: a put answers what it replaced, and is undone on the condition that nobody wrote since", async () => {
  await using api = new Api();
  const first = await api.put("Setting", { ...key, value: 1 });
  assert.equal(first.json.old, undefined);
  const second = await api.put("Setting", { ...key, value: 2 });
  assert.deepEqual([second.json.old, second.json.oldDigest], [first.json.item, first.json.digest]);
  // Another writes; the undo is refused, and says what there is.
  const third = await api.put("Setting", { ...key, value: 3 });
  const refused = await putIf(api, second.json.old, { "if-match": second.json.digest });
  assert.deepEqual([refused.status, refused.json.error.code], [412, "changed"]);
  assert.deepEqual([refused.json.now, refused.json.digest], [third.json.item, third.json.digest]);
  const undone = await putIf(api, third.json.old, { "if-match": `"${third.json.digest}"` });
  assert.deepEqual([undone.status, undone.json.item.value, undone.json.old.value], [200, 2, 3]);
  const gone = await api.call("DELETE", path, { model: "Setting", item: key }, { "if-match": third.json.digest });
  assert.deepEqual([gone.status, gone.json.now.value], [412, 2]);
  const deleted = await api.call("DELETE", path, { model: "Setting", item: key }, { "if-match": undone.json.digest });
  assert.deepEqual([deleted.status, deleted.json.item.value], [200, 2]);
  // A deletion is undone where nobody has made it anew.
  const none = { "if-none-match": "*" };
  assert.equal((await putIf(api, deleted.json.item, none)).status, 200);
  assert.deepEqual((await putIf(api, deleted.json.item, none)).json.now.value, 2);
  assert.equal((await putIf(api, { ...key, name: "other" }, { "if-match": "*" })).json.now, null);
});

Deno.test("items API: whatever is written between the reading and the writing refuses a conditional put", async () => {
  await using api = new Api();
  const { data } = api.tables;
  const { json } = await api.put("Setting", { ...key, value: 1 });
  const [stored] = await data.get([["device#d1", "setting#interval"]]);
  const others = [
    { ...stored!, value: 9 },
    { ...stored!, _source: "d1#x", _stamp: 1 },
    { ...stored!, tags: { $ss: ["a"] } },
    undefined,
  ];
  for (const other of others) {
    await data.write([{ op: "put", item: stored! }]);
    const get = data.get.bind(data);
    data.get = async (keys) => {
      const items = await get(keys);
      await data.write([
        other ? { op: "put", item: other } : { op: "delete", key: ["device#d1", "setting#interval"] },
      ]);
      return items;
    };
    const { status } = await putIf(api, { ...key, value: 2 }, { "if-match": json.digest });
    data.get = get;
    assert.equal(status, 412, JSON.stringify(other));
    assert.deepEqual((await data.get([["device#d1", "setting#interval"]]))[0], other);
  }
});

Deno.test("items API: where a table can't take so wide a condition it narrows, and still sees a change", async () => {
  await using api = new Api();
  const { data } = api.tables;
  const write = data.write.bind(data);
  let narrowed = 0;
  data.write = (writes, options) => {
    const { condition } = writes[0]!;
    if (condition?.kind !== "all") return write(writes, options);
    if (condition.of.length > 300) throw new ConditionTooLargeError([0]);
    narrowed++;
    return write(writes, options);
  };
  const wide = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`attribute${i}`, "x".repeat(20)]));
  const { json } = await putIf(api, { ...key, ...wide }, {}, { unknown: "keep" });
  const get = data.get.bind(data);
  data.get = async (keys) => {
    const items = await get(keys);
    await write([{ op: "put", item: { ...items[0]!, updated: "2027-02-01T00:00:00.000Z" } }]);
    return items;
  };
  assert.equal((await putIf(api, { ...key, value: 4 }, { "if-match": json.digest })).status, 412);
  data.get = get;
  const { json: { digests } } = await api.call("GET", `${path}?model=Setting&device=d1`);
  assert.equal((await putIf(api, { ...key, value: 4 }, { "if-match": digests[0] })).status, 200);
  assert.equal(narrowed, 2);
});

Deno.test("items API: what a reader can't see or tell apart stays as it is stored", async () => {
  await using api = new Api();
  const { data } = api.tables;
  await api.put("Setting", { ...key, value: 1, secret: "hush" });
  const [stored] = await data.get([["device#d1", "setting#interval"]]);
  const odd = { ...stored!, set: { $ss: ["a", "b"] }, exact: { $n: "1".repeat(38) }, blob: { $b: "AAEC" } };
  await data.write([{ op: "put", item: odd }]);
  const { json: { items: [seen], digests: [digest] } } = await api.call("GET", `${path}?model=Setting&device=d1`);
  const edited = await putIf(api, { ...seen, value: 2 }, { "if-match": digest }, { unknown: "keep" });
  assert.equal(edited.status, 200, edited.text);
  const [now] = await data.get([["device#d1", "setting#interval"]]);
  assert.deepEqual(now, { ...odd, value: 2 });
});

Deno.test("items API: an unknown property is refused by name, nested ones too, unless it is to be kept", async () => {
  await using api = new Api();
  for (
    const [model, item, named] of [
      ["Setting", { ...key, colour: "red" }, `"colour"`],
      ["Shape", { deviceId: "d1", size: { width: 1, depth: 2 } }, `"size.depth"`],
      ["Shape", { deviceId: "d1", parts: [{ id: 1 }, { id: 2, x: 3 }] }, `"parts[1].x"`],
      ["Shape", { deviceId: "d1", free: { any: { thing: 1 } } }, undefined],
      // What an application reads it may write: computed and type attributes.
      ["Setting", { ...key, pk: "x", sk: "y", _type: "Setting" }, undefined],
    ] as const
  ) {
    const { status, json } = await api.put(model, item);
    assert.equal(status, named ? 400 : 200, JSON.stringify(json));
    if (!named) continue;
    assert.equal(json.error.code, "unknown");
    assert.ok(json.error.message.includes(named), json.error.message);
    const kept = await api.call("PUT", path, { model, item, unknown: "keep" });
    assert.equal(kept.status, 200, kept.text);
  }
  assert.equal((await api.call("PUT", path, { model: "Setting", item: key, unknown: "maybe" })).status, 400);
});

Deno.test("items API: many are put at once, and each that is refused is told by itself", async () => {
  await using api = new Api();
  await api.put("Setting", { ...key, name: "n1", value: 0 });
  const items: object[] = Array.from({ length: 300 }, (_, i) => ({ ...key, name: `n${i}`, value: i }));
  items[7] = { ...key, name: "n7", value: "seven" };
  items[9] = { ...key, name: "n8" };
  items[11] = { ...key, name: "n11", colour: "red" };
  const { status, json } = await api.call("PUT", path, { model: "Setting", items });
  assert.deepEqual([status, json.failed, json.results.length], [200, 3, 300]);
  assert.deepEqual(json.results[7].error.code, "invalid");
  assert.match(json.results[9].error.message, /the key of the item at 8/);
  assert.match(json.results[11].error.message, /colour/);
  assert.deepEqual([json.results[1].replaced, json.results[2].replaced], [true, false]);
  const listed = await api.call("GET", `${path}?model=Setting&device=d1&limit=1000`);
  assert.deepEqual([listed.json.items.length, new Set(listed.json.digests).size], [297, 297]);
  const digests = new Set(json.results.flatMap((one: { digest?: string }) => one.digest ?? []));
  assert.deepEqual(new Set(listed.json.digests), digests);
  for (const header of ["if-match", "if-none-match"]) {
    assert.equal((await api.call("PUT", path, { model: "Setting", items: [] }, { [header]: "*" })).status, 400);
  }
});

Deno.test("items API: many are written in as many goes as the items that come back take", async () => {
  await using api = new Api();
  const { data } = api.tables;
  const write = data.write.bind(data), goes: number[] = [];
  data.write = async (writes, options) => {
    goes.push(writes.length);
    const results = await write(writes, options);
    // As a table does whose answer is full.
    if (writes.length <= 3) return results;
    return [...results.slice(0, 3), ...writes.slice(3).map(() => ({ outcome: "throttled" as const }))];
  };
  const items = Array.from({ length: 8 }, (_, i) => ({ ...key, name: `n${i}` }));
  const { json } = await api.call("PUT", path, { model: "Setting", items });
  assert.deepEqual([json.failed, goes], [0, [8, 5, 2]]);
  data.write = (writes) => Promise.resolve(writes.map(() => ({ outcome: "throttled" as const })));
  const away = await api.call("PUT", path, { model: "Setting", items });
  assert.deepEqual([away.json.failed, away.json.results[0].error.code], [8, "unavailable"]);
});
