/**
 * A reader that stays open keeps SQLite from taking over the WAL: the agent says so, and takes it back when it is over.
 */
import assert from "node:assert/strict";
import { openDatabase } from "../../../agent/sqlite/driver.ts";
import { StoreFile } from "../store_fixture.ts";
import { Scripted, twinCompiled } from "../twin_fixture.ts";

Deno.test("wal: a reader that stays open is told in _status, and the file shrinks when it ends", () => {
  using file = new StoreFile();
  const device = new Scripted({ store: file.open({ schema: twinCompiled }), limits: { walWarnBytes: 4_000_000 } });
  const status = () => device.rows("SELECT problem, wal_bytes FROM _status")[0]!;
  const write = () => {
    for (let i = 0; i < 30; i++) {
      device.store.db.exec(`INSERT INTO Slot(name, slot) VALUES (hex(randomblob(9)), hex(zeroblob(99000)) || ${i})
      ON CONFLICT DO NOTHING; DELETE FROM Slot`);
    }
  };
  write();
  device.pass(61_000);
  assert.equal(status().problem, null);

  const reader = openDatabase(file.path);
  reader.exec("BEGIN");
  reader.prepare("SELECT count(*) FROM Slot").get();
  write();
  device.pass(61_000);
  assert.equal(status().problem, null, "it may be about to end");
  device.pass(61_000);
  assert.match(
    String(status().problem),
    /the WAL has grown to .* cannot be checkpointed since .* keeps a read transaction open/,
  );
  assert.ok(Number(status().wal_bytes) > 4_000_000);
  reader.exec("COMMIT");
  reader.close();
  device.pass(61_000);
  assert.equal(status().problem, null);
  write();
  device.pass(61_000);
  assert.ok(Deno.statSync(`${file.path}-wal`).size <= 17_000_000);
});
