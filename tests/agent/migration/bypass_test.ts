/**
 * Tables that a migration tool makes anew behind the triggers, and agent's tables that somebody drops: what was written is
 * sent, what waited still goes, and nothing is taken back before the rows were compared with what is known of them. Made after
 * knex/knex#6142 and cakephp/phinx#988 (all triggers are lost, without a word) and sequelize/sequelize#8001.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Twinned } from "../../property/twinned.ts";
import { compiled } from "../store_fixture.ts";

type Rows = Record<string, unknown>[];
const rowsOf = (twinned: Twinned, sql: string): Rows => twinned.store.db.prepare(sql).all().map((row) => ({ ...row }));
const settings = "SELECT name, value FROM Setting ORDER BY name";

async function itemsOf(twinned: Twinned, model: string): Promise<Rows> {
  const items = (await twinned.items()).filter((item) => item._type === model);
  return items.map(({ name, value }) => ({ name, value: value ?? null }));
}

/** Three settings and two measurements, in step with the cloud. */
async function inStep(): Promise<Twinned> {
  const twinned = new Twinned(compiled);
  twinned.store.db.exec(`INSERT INTO Setting(name, value, slot) VALUES ('a', '1', 1), ('b', '2', 2), ('c', '3', 3);
    INSERT INTO Telemetry(id, cpu) VALUES ('t1', 1), ('t2', 2)`);
  await twinned.settle();
  await twinned.settle();
  return twinned;
}

async function restart(twinned: Twinned): Promise<void> {
  twinned.closeDevice();
  twinned.openDevice(compiled);
  await twinned.settle();
  await twinned.settle();
}

/** As Sequelize's `sync({ alter: true })` and others do it: a copy, the table dropped and made anew by their own idea of it. */
const remade = `CREATE TABLE Setting_backup AS SELECT name, slot, value, note, created, updated FROM Setting;
  DROP TABLE Setting;
  CREATE TABLE Setting(id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(255) NOT NULL UNIQUE, slot NUMBER, value TEXT,
    note TEXT, created DATETIME, updated DATETIME);
  INSERT INTO Setting(name, slot, value, note, created, updated) SELECT * FROM Setting_backup ORDER BY name DESC;
  DROP TABLE Setting_backup`;
const dropped =
  `DROP TRIGGER "_sync_Setting.insert"; DROP TRIGGER "_sync_Setting.update"; DROP TRIGGER "_sync_Setting.delete"`;

for (const [what, sql] of [["a table made anew", remade], ["dropped triggers", dropped]] as const) {
  Deno.test(`bypass: ${what}: what was written meanwhile is sent, what the cloud wrote comes, and deletions come back, counted`, async () => {
    await using twinned = await inStep();
    twinned.disconnect();
    twinned.store.db.exec("UPDATE Setting SET value = 'pending' WHERE name = 'a'");
    twinned.closeDevice();
    const { DatabaseSync } = await import("node:sqlite");
    const other = new DatabaseSync(twinned.path);
    other.exec(`${sql}; INSERT INTO Setting(name, value) VALUES ('d', 'new');
      UPDATE Setting SET value = 'changed' WHERE name = 'b'; DELETE FROM Setting WHERE name = 'c'`);
    other.close();
    twinned.online = true;
    twinned.openDevice(compiled);
    assert.deepEqual(twinned.store.migration.noticed, [{ model: "Setting", sent: 3, missing: 1 }]);
    await twinned.settle();
    await twinned.settle();
    const wanted = [
      { name: "a", value: "pending" },
      { name: "b", value: "changed" },
      { name: "c", value: "3" },
      { name: "d", value: "new" },
    ];
    assert.deepEqual(rowsOf(twinned, settings), wanted);
    assert.deepEqual(await itemsOf(twinned, "Setting"), wanted);
    assert.deepEqual(rowsOf(twinned, "SELECT model FROM _conflicts"), []);
    twinned.store.db.exec("UPDATE Setting SET value = 'captured' WHERE name = 'd'");
    await twinned.settle();
    assert.equal((await itemsOf(twinned, "Setting")).at(-1)!.value, "captured");
  });
}

Deno.test("bypass: a new schema in the same start hides nothing of what was dropped", async () => {
  await using twinned = await inStep();
  twinned.closeDevice();
  const { DatabaseSync } = await import("node:sqlite");
  const other = new DatabaseSync(twinned.path);
  other.exec(`${dropped}; UPDATE Setting SET value = 'changed' WHERE name = 'b'`);
  other.close();
  const { compileSchema } = await import("../../../schema.ts");
  const { exampleSchema } = await import("../store_fixture.ts");
  const next = structuredClone(JSON.parse(JSON.stringify(compiled.source)));
  next.version = "0.0.2";
  next.models.Scratch.more = { type: "string" };
  void exampleSchema;
  twinned.rollOut(compileSchema(next));
  twinned.openDevice(compileSchema(next));
  assert.ok(twinned.store.migration.noticed.some(({ model, sent }) => model === "Setting" && sent === 1));
  await twinned.settle();
  await twinned.settle();
  assert.equal((await itemsOf(twinned, "Setting"))[1]!.value, "changed");
});

const stateTables = [
  "_outbox",
  "_inflight",
  "_sync_items",
  "_sync_channels",
  "_sync_aside",
  "_sync_flag",
  "_sync_models",
  "_sync_kept",
  "_sync_clock",
  "_sync_seen",
  "_changes",
  "_rejected",
  "_conflicts",
  "_sync_verify",
  "_verify",
];

Deno.test("bypass: whichever of the agent's tables are dropped, what waited arrives and both sides agree", async () => {
  await fc.assert(
    fc.asyncProperty(fc.subarray(stateTables, { minLength: 1 }), async (tables) => {
      await using twinned = await inStep();
      // In flight, and lost on its way.
      for (let i = 0; i < 30; i++) twinned.store.db.exec(`UPDATE Setting SET value = ${i} WHERE name = 'c'`);
      twinned.store.db.exec(`UPDATE Setting SET value = 'flying' WHERE name = 'c';
        INSERT INTO Telemetry(id, cpu) VALUES ('t4', 4), ('t5', 5)`);
      twinned.twin.onCommit();
      assert.ok(twinned.twin.context.inFlight.batches.size > 0);
      twinned.disconnect();
      twinned.store.db.exec(
        `UPDATE Setting SET value = 'changed' WHERE name = 'a'; DELETE FROM Setting WHERE name = 'b';
        INSERT INTO Setting(name, value) VALUES ('d', 'new'); INSERT INTO Telemetry(id, cpu) VALUES ('t3', 3)`,
      );
      for (const table of tables) twinned.store.db.exec(`DROP TABLE ${table}`);
      twinned.online = true;
      await restart(twinned);
      // Where nothing is known of keys any more, nobody can tell a removal from what was never there.
      const isForgotten = tables.includes("_outbox") && tables.includes("_sync_items");
      const wanted = [
        { name: "a", value: "changed" },
        ...(isForgotten ? [{ name: "b", value: "2" }] : []),
        { name: "c", value: "flying" },
        { name: "d", value: "new" },
      ];
      assert.deepEqual(await itemsOf(twinned, "Setting"), wanted, String(tables));
      assert.deepEqual(rowsOf(twinned, settings), wanted, String(tables));
      assert.equal((await twinned.items()).filter((item) => item._type === "Telemetry").length, 5, String(tables));
    }),
    {
      numRuns: 25,
      examples: [...stateTables.map((table): [string[]] => [[table]]), [stateTables], [["_outbox", "_sync_models"]]],
    },
  );
});
