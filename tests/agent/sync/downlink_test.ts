/**
 * The downlink against pages that a test sends by hand: asking ahead, and messages of one moment in one transaction.
 */
import assert from "node:assert/strict";
import { Twin } from "../../../agent/twin.ts";
import type { Entry, FromCloud, FromDevice, Sync } from "../../../protocol.ts";
import { memoryStore } from "../store_fixture.ts";
import { twinCompiled } from "../twin_fixture.ts";

const channel = "device:dev-1", time = Date.UTC(2026, 0, 1);

/** A connected device, its cursor at 0 of the epoch `e`. */
function opened() {
  const identity = { deviceId: "dev-1", accountId: "acme" };
  const store = memoryStore({ schema: twinCompiled, identity, now: () => time });
  const sent: FromDevice[] = [], faults: unknown[] = [];
  /** The names in the table when each message was sent. */
  const rowsThen: string[] = [];
  const rows = () => store.db.sql("SELECT group_concat(name) AS names FROM (SELECT name FROM Slot ORDER BY _id)");
  const device = { refuses: false, now: 0, random: 0.5 };
  const twin = new Twin({
    store,
    transport: {
      send(message) {
        if (device.refuses) return false;
        sent.push(message);
        rowsThen.push(String(rows().get()!.names ?? ""));
        return true;
      },
    },
    clock: { wallMs: () => time + device.now, monotonicMs: () => device.now },
    random: () => device.random,
    onFault: (error) => faults.push(error),
  });
  twin.onConnected();
  const requestOf = (at = -1) => (sent.at(at) as { request: string }).request;
  twin.onMessage({ type: "snapshot", request: requestOf(), channel, epoch: "e", head: 0, entries: [], time });
  return Object.assign(device, {
    store,
    twin,
    sent,
    faults,
    rowsThen,
    requestOf,
    names: () => String(rows().get()!.names ?? ""),
    page: (request: string, from: number, more: boolean, ...names: string[]): FromCloud => ({
      type: "page",
      request,
      channel,
      epoch: "e",
      from,
      to: from + 1,
      more,
      entries: names.map((name): Entry => ({
        key: ["device#dev-1", `slot#${name}`],
        current: { model: "Slot", item: { name, slot: `of ${name}` }, version: ["other#1", 1] },
      })),
      time,
    }),
    [Symbol.dispose]: () => store.close(),
  });
}

Deno.test("downlink: what is behind a page is asked for before the page is applied, once", () => {
  using device = opened();
  const first = device.page(device.requestOf(), 0, true, "A");
  device.twin.onArrival(first);
  const asked = device.sent.at(-1)!;
  assert.deepEqual(asked.type === "sync" && asked.channels, [{ channel, epoch: "e", seq: 1 }]);
  assert.equal(device.rowsThen.at(-1), "", "the page was not applied yet");
  const count = device.sent.length;
  device.twin.onMessages([first]);
  assert.equal(device.sent.length, count, "it is not asked for again");
  assert.equal(device.names(), "A");
  device.twin.onMessage(device.page(device.requestOf(), 1, false, "B"));
  assert.equal(device.names(), "A,B");
  assert.ok(device.twin.downlink.caughtUp);
  assert.equal(device.sent.length, count);
});

Deno.test("downlink: a page and the one behind it that arrive together are applied in their order", () => {
  using device = opened();
  const first = device.page(device.requestOf(), 0, true, "A");
  device.twin.onArrival(first);
  const second = device.page(device.requestOf(), 1, true, "B");
  device.twin.onArrival(second);
  device.twin.onMessages([first, second]);
  assert.equal(device.names(), "A,B");
  assert.equal(device.twin.downlink.cursors()[channel]!.seq, 2);
  const asked = device.sent.at(-1)!;
  assert.deepEqual(asked.type === "sync" && asked.channels, [{ channel, epoch: "e", seq: 2 }]);
});

Deno.test("downlink: a page that was asked for ahead lay waiting while another was applied: it tells no time", () => {
  using device = opened();
  const first = device.page(device.requestOf(), 0, true, "A");
  device.twin.onArrival(first);
  const second = { ...device.page(device.requestOf(), 1, false, "B"), time: time - 4_000 } as FromCloud;
  device.twin.onMessages([first]);
  device.twin.onMessages([second]);
  assert.equal(device.names(), "A,B");
  assert.equal(device.twin.context.clock.offsetMs, 0);
});

Deno.test("downlink: what could not be asked for when a page arrived is asked for when it is applied", () => {
  using device = opened();
  const first = device.page(device.requestOf(), 0, true, "A");
  device.refuses = true;
  device.twin.onArrival(first);
  device.refuses = false;
  device.twin.onMessages([first]);
  const asked = device.sent.at(-1)!;
  assert.deepEqual(asked.type === "sync" && asked.channels, [{ channel, epoch: "e", seq: 1 }]);
});

Deno.test("downlink: where a page can't be applied, the answer to what was asked ahead moves nothing", () => {
  using device = opened();
  const first = device.page(device.requestOf(), 0, true, "A");
  device.twin.onArrival(first);
  const ahead = device.requestOf();
  device.store.db.exec(
    "CREATE TRIGGER broken BEFORE INSERT ON Slot BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
  );
  device.twin.onMessages([first]);
  assert.equal(device.faults.length, 1);
  device.store.db.exec("DROP TRIGGER broken");
  device.twin.onMessage(device.page(ahead, 1, false, "B"));
  assert.equal(device.names(), "");
  assert.equal(device.twin.downlink.cursors()[channel]!.seq, 0);
});

Deno.test("downlink: messages of one moment share a transaction; a fault leaves the state before all of them", () => {
  using device = opened();
  const live = (seq: number, name: string): FromCloud => ({
    ...device.page("", seq, false, name) as Extract<FromCloud, { type: "page" }>,
    type: "changes",
    seq,
  } as unknown as FromCloud);
  device.twin.onMessage(device.page(device.requestOf(), 0, false));
  const before = device.store.transaction;
  device.twin.onMessages([live(2, "A"), live(3, "B")]);
  assert.equal(device.store.transaction, before + 1);
  assert.equal(device.names(), "A,B");
  assert.deepEqual(
    device.store.db.sql("SELECT key ->> 'name' AS name, op FROM _changes ORDER BY sequence").all().map((row) => ({
      ...row,
    })),
    [{ name: "A", op: "put" }, { name: "B", op: "put" }],
  );
  device.store.db.exec(
    "CREATE TRIGGER broken BEFORE INSERT ON Slot WHEN new.name = 'D' BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
  );
  device.twin.onMessages([live(4, "C"), live(5, "D")]);
  assert.equal(device.names(), "A,B");
  assert.equal(device.twin.downlink.cursors()[channel]!.seq, 3);
  assert.equal(device.store.db.sql("SELECT count(*) AS n FROM _changes").get()!.n, 2);
});

Deno.test("downlink: a live message held for reordering is not applied in another epoch (rule 0)", () => {
  using device = opened();
  const { twin, requestOf } = device;
  const item = (name: string, n = 1): Entry => ({
    key: ["device#dev-1", `slot#${name}`],
    current: { model: "Slot", item: { name, slot: `of ${name}` }, version: ["other#1", n] },
  });
  const snapshot = (epoch: string, entry: Entry): FromCloud => ({
    ...{ type: "snapshot", request: requestOf(), channel, epoch, head: 4, entries: [entry], time },
  });
  const end = (epoch: string): FromCloud => ({
    ...{ type: "page", request: requestOf(), channel, epoch, from: 4, to: 4, more: false, entries: [], time },
  });
  const live = (epoch: string, seq: number, entry: Entry): FromCloud => ({
    ...{ type: "changes", channel, epoch, seq, entries: [entry], time },
  });
  // The first question is for what is behind the empty snapshot of `opened`: the log was lost since.
  twin.onMessage(snapshot("e1", item("A")));
  twin.onMessage(end("e1"));
  // Entry 6 of the old epoch (A was removed there) comes before entry 5: held.
  twin.onMessage(live("e1", 6, { key: ["device#dev-1", "slot#A"] }));
  // The question for the gap is answered by the new epoch: the log was lost. A exists (it was written again).
  twin.onMessage(snapshot("e2", item("A", 2)));
  twin.onMessage(end("e2"));
  assert.equal(device.names(), "A");
  twin.onMessage(live("e2", 5, item("B")));
  assert.equal(device.names(), "A,B");
  assert.equal(device.store.db.sql("SELECT seq FROM _sync_channels").get()!.seq, 5);
});

/** The syncs of channels that were sent since the last call; without those for a sign of life. */
function syncs(device: ReturnType<typeof opened>): Sync[] {
  return device.sent.splice(0).filter((message): message is Sync =>
    message.type === "sync" && message.channels.length > 0
  );
}

Deno.test("downlink: an answer to any transmission of a question is taken, however late; a second one moves nothing", () => {
  using device = opened();
  const [, first] = syncs(device);
  for (const now of [11_000, 40_000, 120_000]) {
    device.now = now;
    device.twin.tick();
  }
  const again = syncs(device);
  assert.deepEqual(again.map(({ request }) => request), [first!.request, first!.request, first!.request]);
  const answer = device.page(first!.request, 0, false, "A");
  device.twin.onMessage(answer);
  assert.equal(device.names(), "A");
  assert.ok(device.twin.downlink.caughtUp);
  const { ignored } = device.twin.context.counters;
  device.twin.onMessage(answer);
  assert.equal(device.twin.context.counters.ignored, ignored + 1);
  assert.deepEqual(syncs(device), [], "and nothing is asked because of it");
});

Deno.test("downlink: a question from another cursor than before has another id", () => {
  using device = opened();
  const [, first] = syncs(device);
  // A live entry moves the cursor while the answer is out.
  device.twin.onMessage({ ...device.page("", 0, false, "A"), type: "changes", seq: 1 } as unknown as FromCloud);
  device.now = 11_000;
  device.twin.tick();
  const [second] = syncs(device);
  assert.notEqual(second!.request, first!.request);
  assert.equal(second!.channels[0]!.seq, 1);
  device.twin.onMessage(device.page(first!.request, 0, false, "B"));
  assert.equal(device.names(), "A");
});

Deno.test("downlink: a page that live entries have overtaken says that the channel is caught up", () => {
  using device = opened();
  const [, asked] = syncs(device);
  device.twin.onMessage({ ...device.page("", 0, false, "A"), type: "changes", seq: 1 } as unknown as FromCloud);
  assert.ok(!device.twin.downlink.caughtUp);
  device.twin.onMessage(device.page(asked!.request, 0, false, "A"));
  assert.ok(device.twin.downlink.caughtUp);
  assert.equal(device.twin.downlink.cursors()[channel]!.seq, 1);
  assert.deepEqual(syncs(device), []);
});

Deno.test("downlink: the wait doubles up to a minute, with full jitter above the first", () => {
  for (const [random, waits] of [[0, [5, 5, 5, 5, 5, 5]], [0.999, [10, 20, 40, 60, 60, 60]]] as const) {
    using device = opened();
    device.random = random;
    device.twin.resync();
    syncs(device);
    let last = 0;
    const found: number[] = [];
    while (found.length < waits.length) {
      device.now += 250;
      device.twin.tick();
      if (syncs(device).length === 0) continue;
      found.push(Math.round((device.now - last) / 1000));
      last = device.now;
    }
    assert.deepEqual(found, waits);
  }
});

Deno.test("downlink: who is told that the answer takes a while asks again only then", () => {
  using device = opened();
  const [, { request, later }] = syncs(device) as [Sync, Sync];
  assert.equal(later, 1);
  device.twin.onMessage({ type: "later", request, afterMs: 100_000, time });
  device.now = 99_000;
  device.twin.tick();
  assert.deepEqual(syncs(device), []);
  device.now = 100_001;
  device.twin.tick();
  assert.equal(syncs(device)[0]!.request, request);
});

Deno.test("downlink: what is missing on a channel of many is asked for after a part of the window, if it is missing still", () => {
  using device = opened();
  device.twin.onMessage(device.page(device.requestOf(), 0, false, "A"));
  syncs(device);
  const live = (seq: number, name: string) =>
    ({ ...device.page("", 0, false, name), type: "changes", seq, spreadMs: 8_000 }) as unknown as FromCloud;
  device.twin.onMessage(live(3, "C"));
  assert.deepEqual(syncs(device), []);
  device.twin.onMessage(live(2, "B"));
  assert.equal(device.names(), "A,B,C");
  device.now = 5_000;
  device.twin.tick();
  assert.deepEqual(syncs(device), [], "it was a matter of order");
  device.twin.onMessage(live(5, "E"));
  device.now = 8_900;
  device.twin.tick();
  assert.deepEqual(syncs(device), []);
  device.now = 9_100;
  device.twin.tick();
  assert.deepEqual(syncs(device).map(({ channels }) => channels[0]!.seq), [3]);
});

Deno.test("downlink: after the last page what is held goes on, and what is missing still is asked for", () => {
  using device = opened();
  const live = (seq: number, name: string) =>
    ({ ...device.page("", 0, false, name), type: "changes", seq }) as unknown as FromCloud;
  const asked = device.requestOf();
  for (const message of [live(2, "B"), live(4, "D")]) device.twin.onMessage(message);
  syncs(device);
  device.twin.onMessage(device.page(asked, 0, false, "A"));
  assert.equal(device.names(), "A,B");
  assert.deepEqual(syncs(device).map(({ channels }) => channels[0]!.seq), [2]);
});

Deno.test("downlink: when a worker is back, who waits for an answer asks again within its window, nobody else", () => {
  using device = opened();
  const back: FromCloud = {
    type: "changes",
    channel: "global",
    epoch: "e",
    seq: 0,
    entries: [],
    time,
    spreadMs: 2_000,
  };
  const [, { request }] = syncs(device) as [Sync, Sync];
  device.twin.onMessage(back);
  device.now = 1_100;
  device.twin.tick();
  assert.deepEqual(syncs(device).map((sync) => sync.request), [request]);
  device.twin.onMessage(device.page(request, 0, false, "A"));
  device.twin.onMessage(back);
  device.now = 4_000;
  device.twin.tick();
  assert.deepEqual(syncs(device), []);
});

Deno.test("downlink: of an epoch that it has heard of and not met, a device asks again when no worker can have the former one", () => {
  using device = opened();
  const [, { request }] = syncs(device) as [Sync, Sync];
  device.twin.onMessage(device.page(request, 0, false, "A"));
  const heard = device.now;
  device.twin.onMessage({ type: "changes", channel, epoch: "other", seq: 1, entries: [], time } as FromCloud);
  const [early] = syncs(device);
  // This worker has not heard of the new epoch yet.
  device.twin.onMessage(device.page(early!.request, 1, false));
  device.now = heard + 5_000;
  device.twin.tick();
  assert.deepEqual(syncs(device), []);
  device.now = heard + 6_000;
  device.twin.tick();
  assert.equal(syncs(device).length, 1);
});

Deno.test("downlink: a worker that does not know the present epoch yet sends no device back to the former one", () => {
  using device = opened();
  const { twin } = device;
  const answer = (epoch: string) => {
    const { request } = syncs(device).at(-1)!;
    twin.onMessage({ ...{ type: "snapshot", request, channel, epoch, head: 1, entries: [], time } });
    return twin.context.restores.epoch;
  };
  twin.resync();
  assert.equal(answer("e1-c"), "e1");
  device.now += 60_000;
  twin.resync();
  assert.equal(answer("e2-c"), "e2");
  const met = device.now;
  device.now += 1_000;
  twin.resync();
  assert.equal(answer("e1-c"), "e2");
  // It asks again when every worker knows the present epoch. If that is the former one after all (a file was put back),
  // it takes that.
  device.now = met + 6_000;
  twin.tick();
  assert.equal(answer("e1-c"), "e1");
});

Deno.test("downlink: what an abandoned snapshot had shown does not count for the one that is begun anew (rule C5)", () => {
  using device = opened();
  const { twin, requestOf } = device;
  const item = (name: string): Entry => ({
    key: ["device#dev-1", `slot#${name}`],
    current: { model: "Slot", item: { name, slot: `of ${name}` }, version: ["other#1", 1] },
  });
  const page = (names: string[], more: { after?: string; next?: string }): FromCloud => ({
    ...{
      type: "snapshot",
      request: requestOf(),
      channel,
      epoch: "e",
      head: 1,
      entries: names.map(item),
      ...more,
      time,
    },
  });
  twin.onMessage(page(["A", "B"], { next: "t1" }));
  assert.equal(device.names(), "A,B");
  // The cloud begins anew (its schema changed, say): A was removed meanwhile.
  twin.onMessage(page(["B"], {}));
  const fetch = device.sent.findLast((m) => m.type === "fetch");
  assert.deepEqual(fetch?.keys, [["device#dev-1", "slot#A"]]);
  twin.onMessage({ type: "items", request: fetch!.request, entries: [{ key: fetch!.keys[0]! }], time });
  assert.equal(device.names(), "B");
});

Deno.test("downlink: a page that continues another snapshot is not applied, and begins it anew (rule C3)", () => {
  using device = opened();
  const { twin, requestOf } = device;
  const page = (name: string, more: { after?: string; next?: string }): FromCloud => ({
    ...{ type: "snapshot", request: requestOf(), channel, epoch: "e", head: 1, ...more, time },
    entries: [{
      key: ["device#dev-1", `slot#${name}`],
      current: { model: "Slot", item: { name, slot: `of ${name}` }, version: ["other#1", 1] },
    }],
  });
  twin.onMessage(page("A", { next: "t1" }));
  twin.onMessage(page("B", { after: "t2" }));
  assert.equal(device.names(), "A");
  const [cursor] = device.sent.findLast((m) => m.type === "sync")!.channels;
  assert.deepEqual([cursor!.seq, cursor!.snapshot], [undefined, undefined], "from the start");
  twin.onMessage(page("A", { next: "t1" }));
  twin.onMessage(page("B", { after: "t1" }));
  assert.equal(device.names(), "A,B");
});
