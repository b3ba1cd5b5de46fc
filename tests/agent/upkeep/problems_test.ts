/**
 * What is wrong now, by name: several at once, the most important first, stored with the facts, once in the journal.
 */
import assert from "node:assert/strict";
import { configure, reset } from "@logtape/logtape";
import { Facts } from "../../../agent/upkeep/facts.ts";
import { problemNames, Problems } from "../../../agent/upkeep/problems.ts";
import { memoryStore } from "../store_fixture.ts";

function rig() {
  const store = memoryStore();
  let now = 1_000_000;
  const facts = new Facts(store);
  const problems = new Problems(facts, () => now);
  return {
    problems,
    pass: (ms: number) => now += ms,
    told: () => {
      facts.write();
      return store.db.prepare("SELECT problem FROM _status").get()!.problem;
    },
    stored: () => JSON.parse(String(store.getMeta("problems") ?? "[]")),
    [Symbol.dispose]: () => store.close(),
  };
}

Deno.test("problems: several stand in _status at once, the most important first, and leave one by one", () => {
  using r = rig();
  assert.equal(r.told(), null);
  r.problems.raise("wal", "the WAL has grown");
  r.pass(5);
  r.problems.raise("storage", "the disk is full");
  assert.equal(r.told(), "the disk is full; the WAL has grown");
  r.pass(5);
  r.problems.raise("wal", "the WAL has grown further");
  assert.equal(r.told(), "the disk is full; the WAL has grown further");
  assert.deepEqual(r.stored(), [
    { name: "storage", sentence: "the disk is full", since: 1_000_005 },
    { name: "wal", sentence: "the WAL has grown further", since: 1_000_000 },
  ]);
  r.problems.clear("storage");
  r.problems.clear("outbox");
  assert.equal(r.told(), "the WAL has grown further");
  r.problems.clear("wal");
  assert.equal(r.told(), null);
  assert.deepEqual(r.stored(), []);
});

Deno.test("problems: names are told apart", () => {
  assert.equal(new Set(problemNames).size, problemNames.length);
});

Deno.test("problems: each is journaled once, not at every change of its count nor when it flaps", async () => {
  const lines: string[] = [];
  await configure({
    reset: true,
    sinks: { lines: (record) => record.level === "warning" && lines.push(record.message.join("")) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: [] },
      { category: ["twintable"], lowestLevel: "debug", sinks: ["lines"] },
    ],
  });
  try {
    using r = rig();
    r.problems.raise("aside", "1 item is set aside");
    r.problems.raise("aside", "2 items are set aside");
    r.problems.clear("aside");
    r.problems.raise("aside", "1 item is set aside again");
    assert.deepEqual(lines, ["1 item is set aside"]);
    r.problems.clear("aside");
    r.pass(601_000);
    r.problems.raise("aside", "3 items are set aside");
    assert.deepEqual(lines, ["1 item is set aside", "3 items are set aside"]);
  } finally {
    await reset();
  }
});
