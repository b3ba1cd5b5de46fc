/** What is asked for in few bytes is read within a budget, not before it: the memory of a worker is nobody's to fill. */
import assert from "node:assert/strict";
import { answerFetch, defaultPageLimits } from "../../../cloud/sync/catch_up.ts";
import { answerCompare, answerProbe } from "../../../cloud/sync/compare.ts";
import { buildEntries } from "../../../cloud/sync/entries.ts";
import { Replies, type ReplyContext } from "../../../cloud/sync/replies.ts";
import type { Registered } from "../../../cloud/sync/registry.ts";
import type { Work } from "../../../cloud/sync/work.ts";
import { Budget } from "../../../cloud/budget.ts";
import { ingest } from "../../../cloud/sync/ingest.ts";
import { itemSizeBytes } from "../../../cloud/table/item_size.ts";
import type { Table } from "../../../cloud/table/port.ts";
import type { Change, Key } from "../../../protocol.ts";
import { keyOf } from "../../../schema.ts";
import type { Item } from "../../../schema/values.ts";
import { Fixture, identity, schema } from "../fixture.ts";

const kb = 1024, mb = 1024 * kb;
const big = "x".repeat(390 * kb);
const count = 100;

/** The table, and how many bytes of items it gave at most in a single read, and in all. */
function counted(table: Table): { table: Table; most: () => number; all: () => number } {
  let most = 0, all = 0;
  const note = (items: readonly (Item | undefined)[]) => {
    const bytes = items.reduce((sum, item) => sum + (item ? itemSizeBytes(item) : 0), 0);
    most = Math.max(most, bytes);
    all += bytes;
  };
  const get: Table["get"] = async (keys) => {
    const items = await table.get(keys);
    note(items);
    return items;
  };
  const query: Table["query"] = async (query) => {
    const page = await table.query(query);
    note(page.items);
    return page;
  };
  return { table: Object.assign(Object.create(table), { get, query }) as Table, most: () => most, all: () => all };
}

async function filled(fixture: Fixture, model: string): Promise<Key[]> {
  const keys: Key[] = [];
  for (let n = 0; n < count; n++) {
    const item = await fixture.put(model, {
      id: `x${n}`,
      v: 1,
      text: big,
      _source: "d2#k",
      _stamp: (fixture.time - 5) * 1000,
    });
    keys.push(keyOf(schema, item));
  }
  return keys;
}

function contextOf(fixture: Fixture, data: Table) {
  const { log, now } = fixture;
  return { schema, data, log, now, limits: defaultPageLimits };
}

Deno.test("read budget: a fetch of 100 large items reads what the answer holds and one step more", async () => {
  await using fixture = new Fixture();
  const keys = await filled(fixture, "Plain");
  const { table, all } = counted(fixture.tables.data);
  const { entries } = await answerFetch(contextOf(fixture, table), identity, { type: "fetch", request: "k/1", keys });
  assert.ok(entries.length >= 1 && entries.length < 10);
  assert.ok(all() < 8 * mb, `${all()} bytes were read`);
});

Deno.test("read budget: a probe of 100 large items has few of them at a time", async () => {
  await using fixture = new Fixture();
  const keys = await filled(fixture, "Up");
  const { table, most } = counted(fixture.tables.data);
  const probe = { type: "probe" as const, request: "k/1", model: "Up", attributes: ["v"], keys };
  const { items } = await answerProbe(contextOf(fixture, table), identity, probe);
  assert.equal(items!.filter(({ digest }) => digest).length, count);
  assert.ok(most() < 13 * mb, `${most()} bytes were read at once`);
});

Deno.test("read budget: a device that has used it up has rests between the reads for one question", async () => {
  await using fixture = new Fixture();
  const keys = await filled(fixture, "Up");
  const { table, most } = counted(fixture.tables.data);
  let rests = 0;
  const context = { ...contextOf(fixture, table), pause: () => Promise.resolve(void rests++) };
  const replies = new Replies(context as unknown as ReplyContext, new Budget({ perSecond: mb, burst: 100 * mb }));
  const ask = (asked: readonly Key[]) => {
    const message = { type: "probe" as const, request: "k/1", model: "Up", attributes: ["v"], keys: asked };
    return replies.to({ ...identity, registration: "r" } as unknown as Registered, { message } as unknown as Work);
  };
  await ask(keys.slice(0, 30));
  assert.equal(rests, 0, "30 items of 390 KB, each counted eight times, are within 100 MB");
  await ask(keys);
  assert.ok(rests >= 10, `${rests} rests`);
  assert.ok(most() < 13 * mb);
});

Deno.test("read budget: a comparison keeps digests, not items", async () => {
  await using fixture = new Fixture();
  await filled(fixture, "Plain");
  const { table, most } = counted(fixture.tables.data);
  const compare = { type: "compare" as const, request: "k/1", channel: "device:d1", each: true };
  const { items } = (await answerCompare(contextOf(fixture, table), identity, compare))!;
  assert.ok(items!.length >= 5);
  assert.ok(most() < 2 * mb, `${most()} bytes were read at once`);
});

Deno.test("read budget: items that grew after they were logged are not all read for a page", async () => {
  await using fixture = new Fixture();
  const keys = (await filled(fixture, "Plain")).map((key) => ({ key, bytes: 50 }));
  const { table, all } = counted(fixture.tables.data);
  assert.equal(await buildEntries({ schema, data: table }, "device:d1", identity, keys), undefined);
  assert.ok(all() < 20 * mb, `${all()} bytes were read`);
});

Deno.test("read budget: refusals bring so many items, the rest is asked for again, and all is answered in the end", async () => {
  await using fixture = new Fixture();
  await filled(fixture, "Plain");
  const { tables, now } = fixture;
  for (const kind of ["stale", "invalid"] as const) {
    let left: Change[] = Array.from({ length: count }, (_, n): Change => ({
      model: "Plain",
      op: "update",
      item: { id: `x${n}`, v: kind === "invalid" ? "no number" : 2 },
      stamp: (fixture.time - 10) * 1000,
    }));
    for (let rounds = 0; left.length > 0; rounds++) {
      assert.ok(rounds < 60);
      const { answers } = await ingest({ schema, tables, now }, identity, {
        type: "up",
        batch: `k/${rounds + 1}`,
        sent: fixture.time,
        changes: left,
      });
      assert.equal(answers.length, left.length);
      const bytes = answers.reduce((sum, { current }) => sum + (current ? JSON.stringify(current).length : 0), 0);
      assert.ok(bytes < 2 * mb, `${bytes} bytes in one answer`);
      const again = new Set(answers.filter(({ code }) => code === "throttled").map(({ at }) => at));
      assert.ok(answers.every(({ code }) => code === kind || code === "throttled"));
      assert.ok(again.size < left.length);
      left = left.filter((_, at) => again.has(at));
    }
  }
});
