import assert from "node:assert/strict";
import { noObserver, observedTables } from "../../../cloud/sync/observer.ts";
import { SyncError } from "../../../schema/errors.ts";
import type { Tables } from "../../../cloud/table/port.ts";

Deno.test("observer: writes that a table over capacity turned away are counted, results and errors", async () => {
  const answers: (() => unknown)[] = [
    () => [{ outcome: "written" }, { outcome: "throttled" }, { outcome: "throttled" }],
    () => {
      throw new SyncError("throttled", "too much");
    },
    () => {
      throw new SyncError("unavailable", "away");
    },
  ];
  const log = { write: () => Promise.try(answers.shift()!) } as unknown as Tables["log"];
  const seen: unknown[] = [];
  const observer = {
    ...noObserver,
    request: (...[table, op, , failed, throttled]: Parameters<typeof noObserver.request>) =>
      void seen.push([table, op, failed, throttled]),
  };
  const tables = observedTables({ data: log as Tables["data"], log }, { observer, monotonicMs: () => 0 });
  await tables.log.write([]);
  for (let i = 0; i < 2; i++) await assert.rejects(() => tables.log.write([]));
  assert.deepEqual(seen, [["log", "write", false, 2], ["log", "write", true, 1], ["log", "write", true, 0]]);
});
