/**
 * The downlink against pages that a test sends by hand: asking ahead, and messages of one moment in one transaction.
 */
import assert from "node:assert/strict";
import { Twin } from "../../../agent/twin.ts";
import type { Entry, FromCloud, FromDevice } from "../../../protocol.ts";
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
  const device = { refuses: false };
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
    clock: { wallMs: () => time, monotonicMs: () => 0 },
    random: Math.random,
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
