/**
 * Expiry in the cloud: what has expired stands in nobody's way (rule A1), and a sweep is nobody's removal (rule A4).
 */
import assert from "node:assert/strict";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { recordsFromLambda } from "../../../cloud/dynamodb/records.ts";
import { groupRecords } from "../../../cloud/sync/fan_out.ts";
import { ingest } from "../../../cloud/sync/ingest.ts";
import type { StreamBatch, StreamRecord } from "../../../cloud/table/port.ts";
import type { Change } from "../../../protocol.ts";
import { compileSchema, completeItem, isExpired } from "../../../schema.ts";
import type { Attributes, Item } from "../../../schema/values.ts";

const policies = ["newest", "cloud", "device", "merge", "up", "upAccount"] as const;
const schema = compileSchema({
  version: "1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: Object.fromEntries(policies.map((name) => [name, {
    pk: { type: "string", value: name === "upAccount" ? "a#${accountId}" : "d#${deviceId}" },
    sk: { type: "string", value: "${_type}#${id}" },
    id: { type: "string", required: true },
    ...(name === "upAccount" ? { accountId: { type: "string" } } : { deviceId: { type: "string" } }),
    v: { type: "number" },
    expires: { type: "date", ttl: true },
  }])),
  process: Object.fromEntries(
    policies.map((name) => [name, name.startsWith("up") ? { sync: "up" } : { sync: "both", conflict: name }]),
  ),
});
const identity = { deviceId: "d1", accountId: "acme" };
const nowMs = 1_800_000_000_000, nowS = nowMs / 1000;

/** A table with one item of a model, and the answer to one change of it. */
async function answer(model: string, there: Attributes, op: Change["op"], stampMs = 0) {
  const tables = openEmbedded(":memory:", { schema, now: () => nowMs });
  const { _source, _stamp, ...attributes } = there;
  const item: Item = {
    ...completeItem(schema, schema.models.get(model)!, { id: "x", ...attributes }, identity),
    ...(_source === undefined ? {} : { _source, _stamp: _stamp! }),
  };
  await tables.data.write([{ op: "put", item }]);
  const change = op === "remove" ? { key: { id: "x" } } : { item: { id: "x", v: 9 } };
  const ack = await ingest({ schema, tables, now: () => nowMs }, identity, {
    type: "up",
    batch: "i1/1",
    sent: nowMs,
    changes: [{ model, op, stamp: (nowMs + stampMs) * 1000, ...change } as Change],
  });
  const [stored] = await tables.data.get([[String(item.pk), String(item.sk)]]);
  await tables.close();
  const { code = "ok", over } = ack.answers[0] ?? {};
  return { code, over, v: stored?.v };
}

const old = (ms: number) => ({ _source: "d2#i9", _stamp: (nowMs + ms) * 1000 });
const expired = { v: 1, expires: nowS - 10 };

for (const model of policies) {
  Deno.test(`expiry: a dead copy stands in nobody's way, under ${model}`, async () => {
    for (const there of [{ ...expired, ...old(-1000) }, expired, { ...expired, ...old(500_000) }]) {
      assert.deepEqual(await answer(model, there, "create"), { code: "ok", over: undefined, v: 9 });
      assert.deepEqual(await answer(model, there, "update"), { code: "ok", over: undefined, v: 9 });
      assert.equal((await answer(model, there, "remove")).code, "ok");
    }
    const newer = { ...expired, _source: "d1#i0", _stamp: (nowMs + 5) * 1000 };
    assert.equal((await answer(model, newer, "create")).code, "stale", "a late duplicate of an older create");
    assert.equal((await answer(model, newer, "remove")).code, "ok");
  });
}

Deno.test("expiry: what is alive by DynamoDB's rule stands where it stood", async () => {
  for (const expires of [nowS + 10, nowMs, 0, nowS - 6 * 366 * 86_400, "2020-01-01T00:00:00.000Z"]) {
    assert.equal((await answer("cloud", { v: 1, expires, ...old(-1000) }, "create")).code, "stale", String(expires));
    assert.equal(isExpired(schema.models.get("cloud")!, { expires }, nowMs), false);
  }
});

async function streamed(tables: ReturnType<typeof openEmbedded>, count: number): Promise<StreamRecord[]> {
  const abort = new AbortController(), records: StreamRecord[] = [];
  for await (const batch of tables.data.stream().batches(abort.signal)) {
    records.push(...(batch as StreamBatch).records);
    if (records.length >= count) abort.abort();
  }
  return records;
}

Deno.test("expiry: a sweep tells the version that went, and of an item without one nothing", async () => {
  let time = nowMs;
  const tables = openEmbedded(":memory:", { schema, now: () => time });
  const model = schema.models.get("newest")!;
  const put = (id: string, more: Attributes) =>
    tables.data.write([{
      op: "put",
      item: { ...completeItem(schema, model, { id, expires: nowS + 10 }, identity), ...more },
    }]);
  await put("plain", {});
  await put("own", { _source: "d1#i1", _stamp: 7 });
  await put("removed", {});
  await tables.data.write([{ op: "delete", key: ["d#d1", "newest#removed"] }]);
  time += 20_000;
  assert.equal(await tables.sweepExpired(), 2);
  const keys = [...groupRecords(schema, await streamed(tables, 6)).values()].flat();
  assert.deepEqual(keys.map(({ key, was, removed }) => [key[1], was, removed]), [
    ["newest#removed", undefined, true],
    ["newest#plain", undefined, undefined],
    ["newest#own", ["d1#i1", 7], undefined],
  ]);
  await tables.close();
});

Deno.test("expiry: DynamoDB's own removals are told by who made them, in both forms of a record", () => {
  const images = {
    Keys: { pk: { S: "d#d1" }, sk: { S: "newest#x" } },
    OldImage: { pk: { S: "d#d1" }, sk: { S: "newest#x" } },
    SequenceNumber: "1",
  };
  const expiredOf = (userIdentity: unknown, more: object = {}) =>
    recordsFromLambda(schema, {
      Records: [{ eventID: "e", dynamodb: { ...images, ...more }, userIdentity }],
    })[0]!.record!.expired;
  assert.equal(expiredOf({ type: "Service", principalId: "dynamodb.amazonaws.com" }), true);
  assert.equal(expiredOf({ Type: "Service", PrincipalId: "dynamodb.amazonaws.com" }), true);
  assert.equal(expiredOf({ type: "Service", principalId: "someone.else" }), undefined);
  assert.equal(expiredOf(undefined), undefined);
  assert.equal(expiredOf(null), undefined);
  const replicated = { NewImage: images.OldImage };
  assert.equal(expiredOf({ type: "Service", principalId: "dynamodb.amazonaws.com" }, replicated), undefined);
});

Deno.test("expiry: the embedded sweep keeps up with 2,000 a second", async () => {
  let time = nowMs;
  const folder = await Deno.makeTempDir();
  const tables = openEmbedded(`${folder}/cloud.db`, { schema, now: () => time });
  try {
    const model = schema.models.get("newest")!;
    const item = (n: number) => completeItem(schema, model, { id: String(n), v: n, expires: nowS + 1 }, identity);
    for (let n = 0; n < 20_000; n += 1000) {
      await tables.data.write(Array.from({ length: 1000 }, (_, i) => ({ op: "put", item: item(n + i) })));
    }
    time += 10_000;
    const began = performance.now();
    let count = 0;
    for (let swept = 1000; swept >= 1000;) count += swept = await tables.sweepExpired(1000);
    const perSecond = count / (performance.now() - began) * 1000;
    assert.equal(count, 20_000);
    // With as long a pause behind each sweep, half of it: and a loaded machine is several times slower.
    assert.ok(perSecond > 4_000, `${Math.round(perSecond)} a second`);
    console.log(`sweep: ${Math.round(perSecond)} items a second`);
  } finally {
    await tables.close();
    await Deno.remove(folder, { recursive: true });
  }
});
