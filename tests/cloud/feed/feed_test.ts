import assert from "node:assert/strict";
import { Hono } from "npm:hono@^4.13.19";
import { feedRoutes } from "../../../cloud/api/feed_routes.ts";
import { OpenStreams } from "../../../cloud/api/open_streams.ts";
import { type Bus, type BusMessage, decodeBus, encodeBus } from "../../../cloud/feed/bus.ts";
import { Feed, ratePerSecond, ringMax } from "../../../cloud/feed/feed.ts";
import type { FeedRow } from "../../../cloud/feed/rows.ts";

/** Workers on one bus, whose messages pass the wire's encoding. */
class Workers implements Disposable {
  nowMs = 1_800_000_000_000;
  readonly messages: BusMessage[] = [];
  readonly feeds: Feed[] = [];
  readonly #listeners = new Map<number, (message: BusMessage) => void>();

  constructor(count: number) {
    for (let i = 0; i < count; i++) this.feeds.push(this.#feed(i));
  }

  #feed(own: number): Feed {
    const bus: Bus = {
      publish: (message) => {
        this.messages.push(message);
        const payload = encodeBus(`w${own}`, message);
        assert.ok(payload.length < 128 * 1024, `${payload.length} bytes among workers`);
        for (const [other, listener] of this.#listeners) {
          const heard = decodeBus(`w${other}`, payload);
          if (heard) listener(heard);
        }
      },
      subscribe: (listener) => {
        this.#listeners.set(own, listener);
        return () => this.#listeners.delete(own);
      },
    };
    return new Feed({ now: () => this.nowMs, random: () => (own + 1) / 7, bus });
  }

  [Symbol.dispose](): void {
    for (const feed of this.feeds) feed.close();
  }
}

const access = { holderOf: () => ({ name: "loopback", stands: () => true }) };

const change = (n: number): FeedRow => ({
  type: "change",
  at: n,
  model: "Setting",
  key: ["device#d1", `setting#${n}`],
  op: "put",
  by: "d1",
  item: { n },
});
const gathered = () => new Promise((resolve) => setTimeout(resolve, 60));

Deno.test("feed: nothing is told while nobody watches, and any worker has what all handle while somebody does", async () => {
  using workers = new Workers(3);
  const [a, b, c] = workers.feeds as [Feed, Feed, Feed];
  a.tell([change(1)]);
  await gathered();
  assert.deepEqual(workers.messages, []);
  b.watch(10_000);
  const { next } = b.after(undefined);
  assert.deepEqual([a.wanted, b.wanted, c.wanted], [true, true, true]);
  a.tell([change(2), change(3)]);
  c.tell([change(4)]);
  b.tell([change(5)]);
  await gathered();
  const page = b.after(next);
  assert.deepEqual(page.rows.map(({ at }) => at).sort(), [2, 3, 4, 5]);
  assert.deepEqual([page.gap, b.after(page.next)], [0, { rows: [], next: page.next, gap: 0 }]);
  workers.nowMs += 10_001;
  const told = workers.messages.length;
  a.tell([change(6)]);
  await gathered();
  assert.deepEqual([a.wanted, workers.messages.length], [false, told]);
});

Deno.test("feed: a worker tells at most so many rows a second, and how many it does not", async () => {
  using workers = new Workers(2);
  const [a, b] = workers.feeds as [Feed, Feed];
  b.watch(10_000);
  const begin = b.last;
  a.tell(Array.from({ length: 1_000 }, (_, n) => change(n)));
  await gathered();
  const rows = b.after(begin).rows;
  assert.equal(rows.filter(({ type }) => type === "change").length, ratePerSecond);
  assert.deepEqual(rows.filter(({ type }) => type === "gap").map((row) => "n" in row && row.n), [
    1_000 - ratePerSecond,
  ]);
  workers.nowMs += 1_000;
  a.tell([change(1)]);
  for (let n = 0; n < 500; n++) b.tellHere({ type: "row", at: n, device: "d", connected: true });
  workers.nowMs += 1_000;
  b.tellHere({ type: "row", at: 500, device: "d", connected: true });
  await gathered();
  const later = b.after(rows.at(-1)!.id).rows;
  assert.deepEqual(later.filter(({ type }) => type === "row").length, ratePerSecond + 1);
  assert.deepEqual(later.filter(({ type }) => type === "gap").map((row) => "n" in row && row.n), [300]);
});

Deno.test("feed: who was away goes on where it was; what is beyond the ring, or another worker's, is a gap", () => {
  using workers = new Workers(2);
  const [a, b] = workers.feeds as [Feed, Feed];
  a.watch(1e9);
  const from = a.last;
  for (let n = 0; n < 10; n++) {
    workers.nowMs += 1_000;
    a.tellHere(change(n));
  }
  const page = a.after(from, 4);
  assert.deepEqual([page.rows.map(({ at }) => at), page.gap], [[0, 1, 2, 3], 0]);
  assert.deepEqual(a.after(page.next).rows.map(({ at }) => at), [4, 5, 6, 7, 8, 9]);
  for (let n = 0; n < ringMax; n++) {
    workers.nowMs += 1_000;
    a.tellHere(change(n));
  }
  const late = a.after(from);
  assert.deepEqual([late.gap, late.rows.length], [10, ringMax]);
  assert.deepEqual([b.after(from).gap, a.after("x.1").gap, a.after(`${from}9999`).gap], [null, null, null]);
  // Nobody watched for a while: what happened then nobody knows.
  const before = a.last;
  workers.nowMs += 2e9;
  a.tellHere(change(1));
  a.watch(10_000);
  assert.equal(a.after(before).gap, null);
});

Deno.test("feed: what others send that is no worker's message changes nothing", () => {
  const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const bad = [
    encode(1),
    encode([]),
    encode({ v: 1, from: "x" }),
    encode({ v: 2, from: "x", kind: "interest", ttlMs: 1 }),
    encode({ v: 1, from: "x", kind: "answer", device: 1 }),
    new Uint8Array([255, 0]),
  ];
  for (const payload of bad) assert.equal(decodeBus("me", payload), undefined);
  assert.deepEqual(decodeBus("me", encode({ v: 1, from: "x", kind: "interest", ttlMs: 1e12 })), {
    kind: "interest",
    ttlMs: 60_000,
  });
  assert.deepEqual(decodeBus("me", encode({ v: 1, from: "x", kind: "rows", rows: [1, { type: "row" }, null] })), {
    kind: "rows",
    rows: [{ type: "row" }],
  });
});

/** Reads events of a response until `done`. */
async function events(response: Response, done: (all: { event: string; data: unknown; id?: string }[]) => boolean) {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const all: { event: string; data: unknown; id?: string }[] = [];
  let text = "";
  while (!done(all)) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s)));
      text = text.slice(end + 2);
      if (fields.event) all.push({ event: fields.event, data: JSON.parse(fields.data), id: fields.id });
    }
  }
  return { all, reader };
}

Deno.test("events: hello, then rows; a reader resumes by its last id, filters, and is told bye at the end", async () => {
  using workers = new Workers(1);
  const feed = workers.feeds[0]!, app = new Hono();
  feedRoutes(app, { feed, now: () => workers.nowMs, name: "1.0", access, streams: new OpenStreams() });
  const open = (query: string, headers: Record<string, string> = {}) =>
    Promise.resolve(app.fetch(new Request(`http://cloud/api/events${query}`, { headers })));
  const first = await open("?on=change,item,stage");
  assert.match(first.headers.get("content-type")!, /^text\/event-stream/);
  assert.ok(feed.wanted);
  feed.tellHere(change(1));
  feed.tellHere({ type: "row", at: 1, device: "d1", connected: true });
  const read = await events(first, (all) => all.length === 3);
  assert.deepEqual(read.all.map(({ event }) => event), ["hello", "change", "item"]);
  assert.deepEqual(read.all[1]!.data, {
    at: 1,
    model: "Setting",
    key: ["device#d1", "setting#1"],
    op: "put",
    by: "d1",
  });
  assert.deepEqual((read.all[2]!.data as { item: unknown }).item, { n: 1 });
  await read.reader.cancel();
  feed.tellHere(change(2));
  feed.tellHere({ type: "stage", at: 3, stage: "device", device: "d2", reached: { global: 4 } });
  const again = await events(
    await open("?on=change,stage&device=d2", { "last-event-id": read.all[1]!.id! }),
    (all) => all.length === 2,
  );
  assert.deepEqual(again.all.map(({ event }) => event), ["hello", "stage"]);
  const foreign = await open("", { "last-event-id": "other.7" });
  const { all: [, gap] } = await events(foreign, (all) => all.length === 2);
  assert.deepEqual([gap!.event, (gap!.data as { n: unknown }).n], ["gap", null]);
  const last = await open("?on=kept");
  feed.close();
  const { all } = await events(last, () => false);
  assert.deepEqual(all.map(({ event }) => event), ["hello", "bye"]);
  const refused = await open("?on=colour");
  assert.ok(refused.status >= 400);
  await refused.body?.cancel();
});

Deno.test("events: a reader that does not read holds no more than so much, and is told what it lost", async () => {
  using workers = new Workers(1);
  const feed = workers.feeds[0]!, app = new Hono();
  feedRoutes(app, { feed, now: () => workers.nowMs, name: "1.0", access, streams: new OpenStreams() });
  const response = await app.fetch(new Request("http://cloud/api/events?on=change"));
  for (let n = 0; n < 5_000; n++) {
    if (n % 100 === 0) workers.nowMs += 1_000;
    feed.watch(10_000);
    feed.tellHere(change(n));
  }
  const { all, reader } = await events(response, (all) => all.at(-1)?.event === "gap");
  await reader.cancel();
  const { n } = all.at(-1)!.data as { n: number };
  assert.equal(all.filter(({ event }) => event === "change").length + n, 5_000);
  assert.ok(n >= 3_900, `${n} are a gap`);
});
