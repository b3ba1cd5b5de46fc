import assert from "node:assert/strict";
import { EventHub } from "../../../cloud/console/event_hub.ts";
import { eventStream } from "../../../cloud/console/event_stream.ts";

function open(hub: EventHub, lastEventId?: string) {
  const end = new AbortController();
  let ended = 0;
  const stream = eventStream({
    hub,
    topics: ["change"],
    lastEventId,
    signal: end.signal,
    ended: () => void ended++,
  });
  const reader = stream.getReader(), decoder = new TextDecoder();
  const read = async () => {
    const { value, done } = await reader.read();
    return done ? undefined : decoder.decode(value);
  };
  return { read, end, cancel: () => reader.cancel(), ended: () => ended };
}

const publish = (hub: EventHub, from: number, count: number) => {
  for (let n = from; n < from + count; n++) hub.publish({ name: "change", topic: "change", data: { n } });
};
const numbers = (text = "") => [...text.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n));

Deno.test("events: what happens in one turn is one piece, in its order, and the same for every page", async () => {
  const hub = new EventHub(), one = open(hub), two = open(hub);
  assert.match((await one.read())!, /event: tt:hello/);
  await two.read();
  publish(hub, 1, 5);
  hub.publish({ name: "row", topic: "device:d-1", data: { n: 99 } });
  const [first, second] = [await one.read(), await two.read()];
  assert.deepEqual(numbers(first), [1, 2, 3, 4, 5]);
  assert.equal(first, second);
  assert.match(first!, new RegExp(`^id: ${hub.life}-1\nevent: tt:change\ndata: {"n":1}\n\n`));
  await one.cancel();
  await two.cancel();
  assert.deepEqual([one.ended(), two.ended(), hub.isHeard], [1, 1, false]);
});

Deno.test("events: a page that does not keep up loses some, hears how many, and holds a bounded number", async () => {
  const hub = new EventHub(), page = open(hub);
  await page.read();
  for (let turn = 0; turn < 40; turn++) {
    publish(hub, turn * 20, 20);
    await Promise.resolve();
  }
  const seen: number[] = [];
  while (seen.length < 500) seen.push(...numbers(await page.read()));
  assert.deepEqual(seen, Array.from({ length: 500 }, (_, n) => n));
  publish(hub, 900, 1);
  const last = await page.read();
  assert.match(last!, /event: tt:gap\ndata: {"n":300}/);
  assert.deepEqual(numbers(last), [300, 900]);
  await page.cancel();
});

Deno.test("events: whoever comes again has what was missed; at the session's end all is written, then bye", async () => {
  const hub = new EventHub();
  const first = open(hub);
  await first.read();
  publish(hub, 1, 3);
  await first.cancel();
  const again = open(hub, `${hub.life}-1`);
  assert.deepEqual(numbers(await again.read()), [2, 3]);
  publish(hub, 4, 1);
  again.end.abort();
  const last = await again.read();
  assert.deepEqual(numbers(last), [4]);
  assert.match(last!, /event: tt:bye/);
  assert.equal(await again.read(), undefined);
  const late = open(hub, "another-1");
  assert.match((await late.read())!, /event: tt:gap/);
  await late.cancel();
});
