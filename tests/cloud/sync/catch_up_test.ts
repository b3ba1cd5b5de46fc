import assert from "node:assert/strict";
import { answerFetch, answerSync, type CatchUpContext, defaultPageLimits } from "../../../cloud/sync/catch_up.ts";
import { ChannelLog } from "../../../cloud/sync/channel_log.ts";
import { fanOut } from "../../../cloud/sync/fan_out.ts";
import type { PageLimits } from "../../../cloud/sync/snapshot.ts";
import type { CursorOf, Entry, FromCloud, Key, Page, SnapshotPage } from "../../../protocol.ts";
import type { Identity } from "../../../schema/model.ts";
import { dyingLog, Fixture, identity, other, schema } from "../fixture.ts";

function contextOf(fixture: Fixture, limits: PageLimits = defaultPageLimits): CatchUpContext {
  return { schema, data: fixture.tables.data, log: fixture.log, now: fixture.now, limits };
}

/** Passes on what the stream has, as one batch. */
async function pass(fixture: Fixture): Promise<void> {
  const context = { ...contextOf(fixture), log: fixture.log, identityOf: () => Promise.resolve(identity) };
  await fanOut(context, await fixture.records());
}

async function sync(context: CatchUpContext, cursor: CursorOf, who: Identity = identity): Promise<FromCloud> {
  const { messages } = await answerSync(context, who, { type: "sync", request: "i/1", channels: [cursor] });
  assert.equal(messages.length, 1);
  return messages[0]!;
}

async function page(context: CatchUpContext, cursor: CursorOf): Promise<Page> {
  const message = await sync(context, cursor);
  assert.equal(message.type, "page", JSON.stringify(message).slice(0, 200));
  return message as Page;
}

/** All pages of a snapshot, each asked for with the token of the one before. */
async function snapshot(context: CatchUpContext, channel: string, who: Identity = identity): Promise<SnapshotPage[]> {
  const pages: SnapshotPage[] = [];
  let cursor: CursorOf = { channel };
  while (true) {
    const message = await sync(context, cursor, who) as SnapshotPage;
    assert.equal(message.type, "snapshot");
    assert.equal(message.after, pages.at(-1)?.next, "a page says which one it follows");
    pages.push(message);
    const { epoch, head } = pages[0]!;
    if (message.next === undefined) return pages;
    cursor = { channel, snapshot: { epoch, head, after: message.next } };
  }
}

const sorts = (entries: readonly Entry[]) => entries.map(({ key }) => key[1]);

Deno.test("catch-up: without channels the time alone is answered", async () => {
  await using fixture = new Fixture();
  const answer = await answerSync(contextOf(fixture), identity, { type: "sync", request: "i/7", channels: [] });
  assert.deepEqual(answer, { messages: [{ type: "time", request: "i/7", time: fixture.time }], ignored: 0 });
});

Deno.test("catch-up: a device is answered for its own channels only", async () => {
  await using fixture = new Fixture();
  for (const who of [identity, other]) await fixture.put("Down", { id: "x" }, who);
  await fixture.put("Account", { id: "x" }, { deviceId: "d9", accountId: "rival" });
  const channels = ["device:d2", "account:rival", "device:d1", "device:d1", "nonsense"].map((channel) => ({ channel }));
  const { messages, ignored } = await answerSync(contextOf(fixture), identity, {
    type: "sync",
    request: "i/1",
    channels,
  });
  assert.deepEqual(messages.map((message) => (message as SnapshotPage).channel), ["device:d1"]);
  assert.equal(ignored, 4);
});

Deno.test("catch-up: a page is the run from the cursor, each key once, in the order of the last changes", async () => {
  await using fixture = new Fixture();
  const context = contextOf(fixture);
  for (const [id, value] of [["a", 1], ["b", 1], ["a", 2], ["c", 1]] as const) {
    await fixture.put("Down", { id, v: value });
    await pass(fixture);
  }
  const { epoch } = await fixture.log.state("device:d1");
  const all = await page(context, { channel: "device:d1", epoch, seq: 0 });
  assert.deepEqual([all.from, all.to, all.more], [0, 4, false]);
  assert.deepEqual(all.entries.map(({ key, current }) => [key[1], current?.item.v]), [
    ["Down#b", 1],
    ["Down#a", 2],
    ["Down#c", 1],
  ]);
  const some = await page(context, { channel: "device:d1", epoch, seq: 3 });
  assert.deepEqual([some.from, some.to, sorts(some.entries)], [3, 4, ["Down#c"]]);
  const none = await page(context, { channel: "device:d1", epoch, seq: 4 });
  assert.deepEqual([none.from, none.to, none.more, none.entries], [4, 4, false, []]);
});

Deno.test("catch-up: a removed version is told even where the key came back later in the run", async () => {
  await using fixture = new Fixture();
  const item = await fixture.put("Plain", { id: "a", _source: "d1#i1", _stamp: 5 });
  await pass(fixture);
  await fixture.tables.data.write([{ op: "delete", key: [String(item.pk), String(item.sk)] }]);
  await pass(fixture);
  await fixture.put("Plain", { id: "a", v: 2 });
  await pass(fixture);
  const { epoch } = await fixture.log.state("device:d1");
  const { entries } = await page(contextOf(fixture), { channel: "device:d1", epoch, seq: 0 });
  assert.deepEqual(entries.map(({ was, current, mark }) => [was, current?.item.v, mark]), [[
    ["d1#i1", 5],
    2,
    undefined,
  ]]);
});

Deno.test("catch-up: an item that left the channel after it was logged does not exist there, before its record came", async () => {
  await using fixture = new Fixture();
  const item = await fixture.put("Account", { id: "x", v: 1 });
  await pass(fixture);
  await fixture.tables.data.write([{ op: "put", item: { ...item, accountId: "rival" } }]);
  const { epoch } = await fixture.log.state("account:acme");
  const { entries } = await page(contextOf(fixture), { channel: "account:acme", epoch, seq: 0 });
  assert.deepEqual(entries, [{ key: ["a#acme", "Account#x"] }]);
});

Deno.test("catch-up: pages are bounded by items and by bytes, end at an entry, and lose none", async () => {
  await using fixture = new Fixture();
  for (let i = 0; i < 600; i++) {
    await fixture.put("Down", { id: String(i).padStart(4, "0"), text: "x".repeat(i % 50 === 0 ? 3000 : 10) });
    if (i % 3 === 0) await pass(fixture);
  }
  await pass(fixture);
  const { epoch, head } = await fixture.log.state("device:d1");
  for (const limits of [{ pageItemsMax: 50, pageBytesMax: 1e6 }, { pageItemsMax: 500, pageBytesMax: 5000 }]) {
    const context = contextOf(fixture, limits);
    const seen: string[] = [];
    let seq = 0, pages = 0;
    while (true) {
      const { from, to, more, entries } = await page(context, { channel: "device:d1", epoch, seq });
      assert.equal(from, seq);
      assert.ok(entries.length <= limits.pageItemsMax);
      assert.ok(to > seq);
      const bytes = JSON.stringify(entries).length;
      assert.ok(bytes < limits.pageBytesMax * 4, `a page of ${bytes} bytes`);
      seen.push(...sorts(entries));
      seq = to;
      pages++;
      if (!more) break;
    }
    assert.equal(seq, head);
    assert.ok(pages > 5);
    assert.equal(new Set(seen).size, 600);
    assert.equal(seen.length, 600);
  }
});

Deno.test("catch-up: a cursor that the log can't serve gets a snapshot: none, another epoch, beyond the head, trimmed", async () => {
  await using fixture = new Fixture();
  const context = contextOf(fixture);
  for (let i = 0; i < 5; i++) {
    await fixture.put("Down", { id: String(i) });
    await pass(fixture);
  }
  const { epoch } = await fixture.log.state("device:d1");
  await fixture.tables.log.write([1, 2, 3].map((seq) => ({
    op: "delete",
    key: ["log#device:d1", String(seq).padStart(16, "0")],
  })));
  const cursors: [string, Omit<CursorOf, "channel">, string][] = [
    ["none", {}, "snapshot"],
    ["no epoch", { seq: 4 }, "snapshot"],
    ["another epoch", { epoch: "other", seq: 4 }, "snapshot"],
    ["beyond the head", { epoch, seq: 6 }, "snapshot"],
    ["trimmed", { epoch, seq: 2 }, "snapshot"],
    ["just not trimmed", { epoch, seq: 3 }, "page"],
    ["at the head", { epoch, seq: 5 }, "page"],
    ["a snapshot of another epoch", { snapshot: { epoch: "other", head: 1, after: "x" } }, "snapshot"],
  ];
  for (const [why, cursor, type] of cursors) {
    const message = await sync(context, { channel: "device:d1", ...cursor });
    assert.equal(message.type, type, why);
    if (type === "snapshot") {
      assert.deepEqual([(message as SnapshotPage).head, (message as SnapshotPage).after], [5, undefined]);
    }
  }
});

Deno.test("catch-up: a snapshot has every item of the channel once, and none of others, page by page", async () => {
  await using fixture = new Fixture();
  for (let i = 0; i < 250; i++) await fixture.put(i % 2 ? "Down" : "Plain", { id: String(i) });
  for (const model of ["Up", "Account", "Global"]) await fixture.put(model, { id: "elsewhere" });
  await fixture.put("Down", { id: "other" }, other);
  await pass(fixture);
  for (
    const limits of [defaultPageLimits, { pageItemsMax: 7, pageBytesMax: 1e6 }, {
      pageItemsMax: 500,
      pageBytesMax: 2000,
    }]
  ) {
    const pages = await snapshot(contextOf(fixture, limits), "device:d1");
    const seen = pages.flatMap(({ entries }) => sorts(entries));
    assert.equal(seen.length, 250);
    assert.equal(new Set(seen).size, 250);
    const { head } = await fixture.log.state("device:d1");
    for (const one of pages) assert.equal(one.head, head);
  }
  const account = await snapshot(contextOf(fixture), "account:acme");
  assert.deepEqual(account.flatMap(({ entries }) => sorts(entries)), ["Account#elsewhere"]);
});

Deno.test("catch-up: what changes during a snapshot is in the log behind its head", async () => {
  await using fixture = new Fixture();
  for (let i = 0; i < 20; i++) await fixture.put("Down", { id: String(i).padStart(2, "0") });
  await pass(fixture);
  const context = contextOf(fixture, { pageItemsMax: 5, pageBytesMax: 1e6 });
  const first = await sync(context, { channel: "device:d1" }) as SnapshotPage;
  await fixture.put("Down", { id: "00", v: 9 });
  await pass(fixture);
  const { epoch, head } = first;
  const next = await sync(context, {
    channel: "device:d1",
    snapshot: { epoch, head, after: first.next! },
  }) as SnapshotPage;
  assert.equal(next.head, head, "the head stays that of the beginning");
  const run = await page(context, { channel: "device:d1", epoch, seq: head });
  assert.deepEqual(run.entries.map(({ key, current }) => [key[1], current?.item.v]), [["Down#00", 9]]);
});

Deno.test("catch-up: a snapshot from a secondary index goes on from a minute before the head, with the base table's items", async () => {
  await using fixture = new Fixture();
  for (let i = 0; i < 3; i++) {
    await fixture.put("Indexed", { id: String(i), v: 1 });
    await pass(fixture);
    fixture.time += 40_000;
  }
  const data: CatchUpContext["data"] = {
    get: (keys) => fixture.tables.data.get(keys),
    // An index that lags: its copies are old, and one of them is of an item that is gone.
    query: async (query) => {
      const found = await fixture.tables.data.query(query);
      if (query.index !== "gs1") return found;
      const ghost = { ...found.items[0]!, pk: "indexed#acme#ghost", id: "ghost" };
      return { ...found, items: [...found.items.map((item) => ({ ...item, v: 0 })), ghost] };
    },
  };
  const pages = await snapshot({ ...contextOf(fixture), data }, "account:acme");
  const entries = pages.flatMap((one) => one.entries);
  assert.deepEqual(entries.map(({ current }) => current?.item.v), [1, 1, 1]);
  assert.equal((await fixture.log.state("account:acme")).head, 3);
  assert.equal(pages[0]!.head, 2);
});

Deno.test("catch-up: of a secondary index, a number whose entry is not put yet is behind the snapshot's head", async () => {
  await using fixture = new Fixture();
  await fixture.put("Indexed", { id: "a" });
  await pass(fixture);
  // The log is empty by age: the next appender raises the floor first.
  fixture.time += 8 * 86_400_000;
  await fixture.tables.sweepExpired();
  // An appender that has raised the floor and not put its entry: the index may not have the item.
  const appender = new ChannelLog(dyingLog(fixture.tables.log).table, { now: fixture.now, random: fixture.random });
  await assert.rejects(
    appender.append("account:acme", [{ key: ["indexed#acme#a", "x"], bytes: 1 }]),
    /the process is gone/,
  );
  const state = await fixture.log.state("account:acme");
  assert.equal(state.opening, true);
  const [first] = await snapshot(contextOf(fixture), "account:acme");
  assert.equal(first!.head, state.head - 1);
});

Deno.test("catch-up: a snapshot's token that makes no sense, or of a source that is no more, begins it anew", async () => {
  await using fixture = new Fixture();
  await fixture.put("Down", { id: "x" });
  await pass(fixture);
  const context = contextOf(fixture);
  const { epoch, head } = await sync(context, { channel: "device:d1" }) as SnapshotPage;
  const tokens = [
    "",
    "x",
    "[]",
    "null",
    '["primary","d#d2","",""]',
    '["primary","d#d1","Plain#","forged"]',
    '["primary","d#d1","Plain#",5]',
  ];
  for (const after of tokens) {
    const message = await sync(context, { channel: "device:d1", snapshot: { epoch, head, after } }) as SnapshotPage;
    assert.deepEqual([message.type, message.after, sorts(message.entries)], ["snapshot", undefined, ["Down#x"]], after);
  }
});

Deno.test("catch-up: a run whose items grew beyond a message is answered with a snapshot, whose pages are bounded", async () => {
  await using fixture = new Fixture();
  for (let i = 0; i < 40; i++) await fixture.put("Down", { id: String(i) });
  await pass(fixture);
  for (let i = 0; i < 40; i++) await fixture.put("Down", { id: String(i), text: "x".repeat(390_000) });
  const { epoch } = await fixture.log.state("device:d1");
  const message = await sync(contextOf(fixture), { channel: "device:d1", epoch, seq: 0 });
  assert.equal(message.type, "snapshot");
  assert.ok(JSON.stringify(message).length < 3_000_000);
});

Deno.test("catch-up: a fetch gives each asked item of the device's channels, and of others that it does not exist", async () => {
  await using fixture = new Fixture();
  const keysOf = async (model: string, who?: Identity): Promise<Key> => {
    const item = await fixture.put(model, { id: "x", v: 1, _source: "d1#i1", _stamp: 5 }, who);
    return [String(item.pk), String(item.sk)];
  };
  const mine = await keysOf("Plain"), shared = await keysOf("Account"), all = await keysOf("Global");
  const foreign = [await keysOf("Plain", other), await keysOf("Up"), await keysOf("Local")];
  const rival = await keysOf("Account", { deviceId: "d9", accountId: "rival" });
  const keys: Key[] = [mine, ...foreign, rival, ["no", "such"], shared, mine, all];
  const answer = await answerFetch(contextOf(fixture), identity, { type: "fetch", request: "i/2", keys });
  assert.equal(answer.request, "i/2");
  assert.deepEqual(answer.entries.map(({ key }) => key), [mine, ...foreign, rival, ["no", "such"], shared, all]);
  assert.deepEqual(answer.entries.filter(({ current }) => current).map(({ key }) => key), [mine, shared, all]);
  assert.deepEqual(answer.entries[0], {
    key: mine,
    current: { model: "Plain", item: { id: "x", v: 1 }, version: ["d1#i1", 5] },
  });
});

Deno.test("catch-up: a fetch of large items is answered in part, at least one of them", async () => {
  await using fixture = new Fixture();
  const keys: Key[] = [];
  for (let i = 0; i < 20; i++) {
    const item = await fixture.put("Down", { id: String(i), text: "x".repeat(390_000) });
    keys.push([String(item.pk), String(item.sk)]);
  }
  const { entries } = await answerFetch(contextOf(fixture), identity, { type: "fetch", request: "i/2", keys });
  assert.ok(entries.length >= 1 && entries.length < 10, String(entries.length));
  assert.ok(entries.every(({ current }) => current));
});

Deno.test("catch-up: the last page of a snapshot from an index that lags says so, that of the table itself does not", async () => {
  await using fixture = new Fixture();
  await fixture.put("Indexed", { id: "i" });
  await fixture.put("Plain", { id: "p" });
  const context = { schema, data: fixture.tables.data, log: fixture.log, now: fixture.now, limits: defaultPageLimits };
  for (const [channel, lags] of [["account:acme", true], ["device:d1", undefined]] as const) {
    const { messages } = await answerSync(context, identity, { type: "sync", request: "r/1", channels: [{ channel }] });
    const [page] = messages as SnapshotPage[];
    assert.deepEqual([page!.type, page!.next, page!.lags], ["snapshot", undefined, lags]);
  }
});
