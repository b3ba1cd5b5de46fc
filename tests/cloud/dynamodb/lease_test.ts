/** The lease of a stream's reader. */
import assert from "node:assert/strict";
import { acquireLease } from "../../../cloud/dynamodb/lease.ts";
import type { Table, Write, WriteResult } from "../../../cloud/table/port.ts";
import { MemoryTable, VirtualTime } from "./fixture.ts";

Deno.test("lease: it holds as long as its last beat that was written, whatever became of the beats since", async () => {
  const time = new VirtualTime(), memory = new MemoryTable(), abort = new AbortController();
  let throttled = false;
  const log: Table = Object.assign(Object.create(memory) as Table, {
    get: memory.get.bind(memory),
    write: (writes: readonly Write[]): Promise<WriteResult[]> =>
      throttled ? Promise.resolve([{ outcome: "throttled" }]) : memory.write(writes),
  });
  const options = { log, name: "stream#t", owner: "a", leaseMs: 6_000, now: time.now, sleep: time.sleep };
  const lease = (await acquireLease(options, abort.signal))!;
  await time.pass(20_000);
  assert.equal(lease.held, true, "each beat is written");
  throttled = true;
  await time.pass(8_000);
  assert.equal(lease.held, false, "no beat was written for longer than the lease: another one may have it");
  throttled = false;
  await lease.release();
});
