/**
 * The price of capture: inserts into a synced table against the same table and indexes without triggers, in one
 * transaction. Both are measured in turn, several times, and the best of each is compared: noise only ever slows down.
 */
import assert from "node:assert/strict";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { triggersSql } from "../../../agent/store/triggers.ts";
import { compiled, identity, StoreFile } from "../store_fixture.ts";

const rowsPerRun = 20_000, runs = 7;

Deno.test("capture: a bulk insert with capture has at least 0.4 of the speed of one without", () => {
  using file = new StoreFile();
  file.open();
  const db = openDatabase(file.path, { synchronous: "normal" });
  const model = compiled.models.get("Telemetry")!;
  const number = Number(db.prepare("SELECT number FROM _sync_models WHERE name = 'Telemetry'").get()!.number);
  const triggers = triggersSql(model, number, identity);
  const insert = (ids: boolean) => {
    db.exec("DELETE FROM Telemetry; DELETE FROM _outbox");
    const statement = ids
      ? db.prepare("INSERT INTO Telemetry(cpu, mem, id) VALUES (?, ?, ?)")
      : db.prepare("INSERT INTO Telemetry(cpu, mem) VALUES (?, ?)");
    const start = performance.now();
    db.exec("BEGIN IMMEDIATE");
    for (let i = 0; i < rowsPerRun; i++) ids ? statement.run(i / 3, i, `row-${i}`) : statement.run(i / 3, i);
    db.exec("COMMIT");
    return performance.now() - start;
  };
  try {
    for (const ids of [false, true]) {
      let withMs = Infinity, withoutMs = Infinity;
      for (let run = 0; run < runs; run++) {
        withMs = Math.min(withMs, insert(ids));
        for (
          const { name } of db.prepare(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'Telemetry'",
          ).all()
        ) {
          db.exec(`DROP TRIGGER "${name}"`);
        }
        withoutMs = Math.min(withoutMs, insert(ids));
        for (const sql of triggers) db.exec(sql);
      }
      const rate = (ms: number) => Math.round(rowsPerRun / ms * 1000);
      const ratio = withoutMs / withMs;
      console.log(
        `capture, ids ${ids ? "given" : "generated"}: ${rate(withMs)}/s with, ${rate(withoutMs)}/s without, ratio ${
          ratio.toFixed(2)
        }`,
      );
      assert.ok(ratio >= 0.4, `ratio ${ratio.toFixed(2)}`);
    }
  } finally {
    db.close();
  }
});
