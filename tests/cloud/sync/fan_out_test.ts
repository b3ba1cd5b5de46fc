import assert from "node:assert/strict";
import { answerSync, type CatchUpContext, defaultPageLimits } from "../../../cloud/sync/catch_up.ts";
import { mergeKeys } from "../../../cloud/sync/entries.ts";
import { fanOut, type FanOutContext, groupRecords, splitKeys } from "../../../cloud/sync/fan_out.ts";
import type { Changes, Page } from "../../../protocol.ts";
import type { Attributes } from "../../../schema/values.ts";
import { Fixture, identity, schema } from "../fixture.ts";

function contextOf(fixture: Fixture): FanOutContext & CatchUpContext {
  return {
    schema,
    data: fixture.tables.data,
    log: fixture.log,
    now: fixture.now,
    limits: defaultPageLimits,
    identityOf: () => Promise.resolve(identity),
  };
}

async function groupsOf(fixture: Fixture): Promise<Record<string, unknown[]>> {
  const groups = await fixture.groups();
  return Object.fromEntries([...groups].map(([channel, keys]) => [
    channel,
    keys.map(({ key, bytes, ...rest }) => ({ sort: key[1], sized: bytes > 0, ...rest })),
  ]));
}

const v = (source: string, stamp: number): Attributes => ({ _source: source, _stamp: stamp });

Deno.test("fan-out: items enter their scope's channel; models that don't come down enter none", async () => {
  await using fixture = new Fixture();
  for (const model of ["Plain", "Down", "Account", "Global", "Up", "UpAccount", "Local"]) {
    await fixture.put(model, { id: "x" });
  }
  await fixture.tables.data.write([{ op: "put", item: { pk: "raw", sk: "raw", anything: 1 } }]);
  assert.deepEqual(await groupsOf(fixture), {
    "device:d1": [{ sort: "Plain#x", sized: true }, { sort: "Down#x", sized: true }],
    "account:acme": [{ sort: "Account#x", sized: true }],
    "global": [{ sort: "Global#x", sized: true }],
  });
});

Deno.test("fan-out: a device's own write is a mark on its own channel, and an item on a shared one", async () => {
  await using fixture = new Fixture();
  await fixture.put("Plain", { id: "own", ...v("d1#i1", 5) });
  await fixture.put("Plain", { id: "foreign", ...v("d2#i1", 5) });
  await fixture.put("Account", { id: "shared", ...v("d1#i1", 5) });
  assert.deepEqual(await groupsOf(fixture), {
    "device:d1": [
      { sort: "Plain#own", sized: false, mark: { model: "Plain", version: ["d1#i1", 5] } },
      { sort: "Plain#foreign", sized: true },
    ],
    "account:acme": [{ sort: "Account#shared", sized: true }],
  });
});

Deno.test("fan-out: a raw write that leaves the version as it was is no mark", async () => {
  await using fixture = new Fixture();
  await fixture.put("Plain", { id: "x", v: 1, ...v("d1#i1", 5) });
  await fixture.records();
  await fixture.put("Plain", { id: "x", v: 2, ...v("d1#i1", 5) });
  assert.deepEqual(await groupsOf(fixture), { "device:d1": [{ sort: "Plain#x", sized: true }] });
  await fixture.put("Plain", { id: "x", v: 3, ...v("d1#i1", 6) });
  assert.deepEqual(await groupsOf(fixture), {
    "device:d1": [{ sort: "Plain#x", sized: false, mark: { model: "Plain", version: ["d1#i1", 6] } }],
  });
});

Deno.test("fan-out: a removal tells the version that it took, also where the key came back in the same batch", async () => {
  await using fixture = new Fixture();
  const stamped = await fixture.put("Plain", { id: "a", ...v("d1#i1", 5) });
  const bare = await fixture.put("Plain", { id: "b" });
  await fixture.records();
  const remove = (item: Attributes) =>
    fixture.tables.data.write([{ op: "delete", key: [String(item.pk), String(item.sk)] }]);
  await remove(stamped);
  await remove(bare);
  assert.deepEqual(await groupsOf(fixture), {
    "device:d1": [
      { sort: "Plain#a", sized: false, was: ["d1#i1", 5] },
      { sort: "Plain#b", sized: false, removed: true },
    ],
  });
  await fixture.put("Plain", { id: "a", ...v("d1#i1", 6) });
  await fixture.put("Plain", { id: "b" });
  await fixture.records();
  await remove(stamped);
  await remove(bare);
  await fixture.put("Plain", { id: "a", ...v("d1#i1", 7) });
  await fixture.put("Plain", { id: "b" });
  assert.deepEqual(await groupsOf(fixture), {
    "device:d1": [
      { sort: "Plain#a", sized: false, mark: { model: "Plain", version: ["d1#i1", 7] }, was: ["d1#i1", 6] },
      { sort: "Plain#b", sized: true, removed: true },
    ],
  });
});

Deno.test("fan-out: what is overwritten without a version, or with an earlier one, is told", async () => {
  await using fixture = new Fixture();
  const put = (values: Attributes) => fixture.put("Plain", { id: "x", ...values });
  await put(v("d1#i1", 5));
  await fixture.records();
  const told = async (values: Attributes) => {
    await put(values);
    const groups = await groupsOf(fixture) as Record<string, { over?: unknown }[]>;
    return groups["device:d1"]![0]!.over;
  };
  assert.deepEqual(await told({}), ["d1#i1", 5]);
  assert.equal(await told({ n: 1 }), undefined);
  assert.equal(await told(v("d1#i1", 6)), undefined);
  assert.deepEqual(await told(v("other#1", 3)), ["d1#i1", 6]);
  assert.equal(await told(v("d1#i1", 7)), undefined);
  // A raw write that leaves the version takes none away.
  assert.equal(await told({ n: 2, ...v("d1#i1", 7) }), undefined);
});

Deno.test("fan-out: what was overwritten went with what was removed after it, in one batch or in one run of the log", async () => {
  await using fixture = new Fixture();
  const item = await fixture.put("Plain", { id: "x", ...v("d1#i1", 5) });
  const key = [String(item.pk), String(item.sk)] as const;
  await fixture.records();
  await fixture.put("Plain", { id: "x" });
  await fixture.tables.data.write([{ op: "delete", key }]);
  assert.deepEqual(await groupsOf(fixture), { "device:d1": [{ sort: "Plain#x", sized: false, was: ["d1#i1", 5] }] });
  const over = { key, bytes: 9, over: ["d1#i1", 5] as const }, was = ["d1#i1", 5];
  assert.deepEqual(mergeKeys([[over], [{ key, bytes: 0, removed: true }]]), [{ key, bytes: 0, was }]);
  assert.deepEqual(mergeKeys([[over], [{ key, bytes: 0 }]]), [{ key, bytes: 0, was }]);
  // Removed before: what was overwritten after it may be there again.
  assert.deepEqual(mergeKeys([[{ key, bytes: 0, removed: true }], [over]]), [{ ...over, removed: true }]);
  assert.deepEqual(mergeKeys([[over], [{ key, bytes: 7 }]]), [{ key, bytes: 7, over: was }]);
});

Deno.test("log: a repeated mark does not hide an item that was changed raw after it", () => {
  const key = ["h", "s"] as const, mark = { model: "Plain", version: ["d1#i1", 5] as const };
  const item = { key, bytes: 110 }, own = { key, bytes: 0, mark };
  assert.deepEqual(mergeKeys([[own], [item], [own]]), [item]);
  assert.deepEqual(mergeKeys([[own], [own]]), [own]);
  assert.deepEqual(mergeKeys([[item], [{ key, bytes: 0, removed: true }], [own]]), [{ ...own, removed: true }]);
});

Deno.test("fan-out: an item whose scope changed is a removal on the old channel and an item on the new one", () => {
  const images = (accountId: string) => ({ pk: "a#x", sk: "Account#x", _type: "Account", id: "x", accountId });
  const record = { key: ["a#x", "Account#x"] as const, old: images("one"), new: images("two") };
  const groups = groupRecords(schema, [record]);
  assert.deepEqual([...groups].map(([channel, keys]) => [channel, keys[0]!.removed ?? false]), [
    ["account:one", true],
    ["account:two", false],
  ]);
});

Deno.test("fan-out: an id that no topic can have reaches nobody", () => {
  const item = { pk: "d#+", sk: "Plain#x", _type: "Plain", id: "x", deviceId: "+/#" };
  assert.equal(groupRecords(schema, [{ key: ["d#+", "Plain#x"], new: item }]).size, 0);
});

Deno.test("fan-out: a group is split by keys and by bytes, a large item standing alone", () => {
  const key = (bytes: number) => ({ key: ["h", "s"] as const, bytes });
  const parts = (sizes: number[]) => splitKeys(sizes.map(key)).map((part) => part.length);
  assert.deepEqual(parts([]), []);
  assert.deepEqual(parts(Array(1250).fill(10)), [500, 500, 250]);
  assert.deepEqual(parts([10, 300_000, 10, 10]), [1, 1, 2]);
  assert.deepEqual(parts(Array(5).fill(40_000)), [2, 2, 1]);
});

Deno.test("fan-out: a live message is exactly the catch-up page of its entry", async () => {
  await using fixture = new Fixture();
  const context = contextOf(fixture);
  await fixture.put("Plain", { id: "own", ...v("d1#i1", 5) });
  await fixture.put("Down", { id: "down", v: 1 });
  const gone = await fixture.put("Plain", { id: "gone" });
  await fixture.tables.data.write([{ op: "delete", key: [String(gone.pk), String(gone.sk)] }]);
  await fixture.put("Account", { id: "shared", ...v("d1#i1", 5) });
  const messages = await fanOut(context, await fixture.records());
  assert.deepEqual(messages.map(({ channel }) => channel).sort(), ["account:acme", "device:d1"]);
  for (const live of messages) {
    const cursor = { channel: live.channel, epoch: live.epoch, seq: live.seq - 1 };
    const { messages: [page] } = await answerSync(context, identity, {
      type: "sync",
      request: "i/1",
      channels: [cursor],
    });
    assert.equal(page?.type, "page");
    const { epoch, from, to, entries } = page as Page;
    assert.deepEqual({ epoch, from, to, entries }, {
      epoch: live.epoch,
      from: live.seq - 1,
      to: live.seq,
      entries: live.entries,
    });
  }
  const device = messages.find(({ channel }) => channel === "device:d1")!;
  assert.deepEqual(device.entries, [
    { key: ["d#d1", "Plain#own"], mark: { model: "Plain", version: ["d1#i1", 5] } },
    { key: ["d#d1", "Down#down"], current: { model: "Down", item: { id: "down", v: 1 }, version: undefined } },
    { key: ["d#d1", "Plain#gone"], removed: true },
  ]);
});

Deno.test("fan-out: the item is read after the entry is appended, never taken from the record", async () => {
  await using fixture = new Fixture();
  await fixture.put("Down", { id: "x", v: 1 });
  const records = await fixture.records();
  const context = contextOf(fixture);
  const log = {
    append: async (...parameters: Parameters<typeof fixture.log.append>) => {
      const appended = await fixture.log.append(...parameters);
      // Somebody writes between the append and the read, and its own record is still to come.
      await fixture.put("Down", { id: "x", v: 2 });
      return appended;
    },
  };
  const [message] = await fanOut({ ...context, log }, records) as [Changes];
  assert.equal(message.entries[0]?.current?.item.v, 2);
});

Deno.test("fan-out: a batch that is delivered twice is appended twice, and read twice as the same", async () => {
  await using fixture = new Fixture();
  await fixture.put("Down", { id: "x", v: 1 });
  const records = await fixture.records();
  const context = contextOf(fixture);
  const [first] = await fanOut(context, records) as [Changes];
  const [second] = await fanOut(context, records) as [Changes];
  assert.deepEqual([first.seq, second.seq], [1, 2]);
  assert.deepEqual(first.entries, second.entries);
});
