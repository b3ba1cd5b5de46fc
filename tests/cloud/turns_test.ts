import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { openEmbedded } from "../../cloud/embedded.ts";
import { Turns } from "../../cloud/embedded/turns.ts";
import { compileSchema } from "../../schema.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

Deno.test("turns: whoever asks after the slice goes on in the next turn, in order", async () => {
  let nowMs = 0;
  const turns = new Turns(10, () => nowMs);
  assert.equal(turns.pause(), undefined);
  nowMs = 9;
  assert.equal(turns.pause(), undefined);
  nowMs = 10;
  const order: number[] = [];
  const waits = [1, 2, 3].map((n) => turns.pause()!.then(() => order.push(n)));
  let others = false;
  setTimeout(() => others = true, 0);
  await Promise.all(waits);
  assert.deepEqual(order, [1, 2, 3]);
  // The next turn has a slice of its own.
  assert.equal(turns.pause(), undefined);
  await turn();
  await turn();
  nowMs = 1_000;
  assert.equal(turns.pause(), undefined, "a turn in which nobody asked before begins a slice");
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(others);
});

Deno.test("embedded: two hundred reads in a row leave the event loop to others every few milliseconds", async () => {
  const schema = compileSchema({
    version: "0.0.1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Doc: { pk: { type: "string", value: "d" }, sk: { type: "string", value: "${id}" }, id: { type: "string" } },
    },
  });
  const tables = openEmbedded(":memory:", { schema, now: Date.now });
  const text = "x".repeat(100_000);
  for (let at = 0; at < 20; at++) {
    await tables.data.write([{ op: "put", item: { _type: "Doc", pk: "d", sk: `${at}`, id: `${at}`, text } }]);
  }
  let turns = 0, reading = true;
  const others = (async () => {
    for (; reading; turns++) await turn();
  })();
  const begun = performance.now();
  for (let at = 0; at < 200; at++) await tables.data.query({ index: "primary", hash: "d", limit: 20 });
  const tookMs = performance.now() - begun;
  reading = false;
  await others;
  await tables.close();
  assert.ok(turns >= 10, `${turns} turns in ${tookMs} ms`);
});
