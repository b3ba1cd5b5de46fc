/**
 * Files that were made anew by the shell: dumped and loaded, or recovered, with rows missing. An application's is taken in as any
 * other; a device's goes on, and what the agent's own tables lost costs nothing that can be known from what is left.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openDatabase } from "../../agent/sqlite/driver.ts";
import { Twinned } from "../property/twinned.ts";
import { compiled, StoreFile } from "../agent/store_fixture.ts";
import { testWith } from "../support/tools.ts";

const withTools = testWith("sqlite3", "python3");
const script = fileURLToPath(new URL("recover.py", import.meta.url));

function ran(command: string, args: string[]): void {
  const { success, stderr } = new Deno.Command(command, { args, stdout: "null", stderr: "piped" }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
}

/** Ways to write a file anew. */
const ways: Record<string, (from: string, to: string) => void> = {
  dumped: (from, to) => ran("sh", ["-c", 'sqlite3 "$1" .dump | sqlite3 -bail "$2"', "sh", from, to]),
  recovered: (from, to) => ran("python3", [script, from, to]),
};

for (const [what, write] of Object.entries(ways)) {
  withTools(`field: an application's file that was ${what} is onboarded like any other`, () => {
    using file = new StoreFile();
    const from = `${file.folder}/app.db`, db = openDatabase(from);
    db.exec(`PRAGMA user_version = 12; CREATE TABLE Setting(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
      INSERT INTO Setting VALUES ('a', 'it''s on'), ('b', char(10));
      CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO log(x) VALUES (1)`);
    db.close();
    write(from, file.path);
    const store = file.open();
    const rows = store.db.prepare("SELECT name, value FROM Setting ORDER BY name").all();
    assert.deepEqual(rows.map(({ name, value }) => [name, value]), [["a", "it's on"], ["b", "\n"]]);
    assert.equal(store.db.prepare("SELECT count(DISTINCT row) AS n FROM _outbox").get()!.n, 2);
  });

  withTools(`field: a device's file that was ${what} is the device's, and goes on where it was`, async () => {
    await using twinned = await worked();
    rewrite(twinned, (from, to) => write(from, to));
    twinned.openDevice();
    assert.deepEqual(twinned.store.migration, { created: [], rebuilt: [], restored: [], noticed: [] });
    assert.deepEqual(await ended(twinned), "a=2 after=1 b=1 new=1 t1=1 t2=1 while=1");
  });
}

/** A device that has changes of every kind to send. */
async function worked(): Promise<Twinned> {
  const twinned = new Twinned(compiled), run = (sql: string) => twinned.store.db.exec(sql);
  run("INSERT INTO Setting(name, value) VALUES ('a', '1'), ('b', '1'), ('gone', '1')");
  run("INSERT INTO Telemetry(id, cpu) VALUES ('t1', 1)");
  await twinned.settle();
  twinned.disconnect();
  run("UPDATE Setting SET value = '2' WHERE name = 'a'; INSERT INTO Setting(name, value) VALUES ('new', '1')");
  run("INSERT INTO Telemetry(id, cpu) VALUES ('t2', 1); DELETE FROM Setting WHERE name = 'gone'");
  twinned.twin.onCommit();
  return twinned;
}

/** Puts what `write` makes of the device's file in its place, with no agent on it. */
function rewrite(twinned: Twinned, write: (from: string, to: string) => void): void {
  twinned.closeDevice();
  twinned.online = true;
  const old = `${twinned.path}.old`;
  Deno.renameSync(twinned.path, old);
  write(old, twinned.path);
  // The application goes on before the agent does.
  const db = openDatabase(twinned.path);
  db.exec("INSERT INTO Setting(name, value) VALUES ('while', '1')");
  db.close();
}

/** Writes once more, and gives what the cloud has when all has settled. The device must have the same. */
async function ended(twinned: Twinned): Promise<string> {
  twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('after', '1')");
  await twinned.settle();
  const rows = twinned.store.db.prepare(
    "SELECT name || '=' || value AS x FROM Setting UNION ALL SELECT id || '=' || cpu FROM Telemetry",
  ).all().map(({ x }) => x);
  const items = (await twinned.items()).map((item) => `${item.name ?? item.id}=${item.value ?? item.cpu}`);
  // What the cloud has besides is known of no longer: `verify` shows it.
  assert.deepEqual(rows.filter((row) => !items.includes(String(row))), [], "each row is in the cloud");
  return items.sort().join(" ");
}

/** What is lost with a table's rows, where anything is. The row of a lost outbox's entry is found by comparing: `verify`. */
const costs: Record<string, string> = {
  // Nobody knows any more that the removed item was this device's.
  _sync_items: "a=2 after=1 b=1 gone=1 new=1 t1=1 t2=1 while=1",
};
const tables = ["_sync", "_sync_flag", "_sync_models", "_sync_kept", "_inflight", "_sync_items", "_sync_channels"]
  .concat(["_sync_seen", "_sync_aside", "_sync_waits", "_sync_lacks", "_sync_clock", "_rejected", "_changes"]);

for (const table of tables) {
  withTools(`field: a device's file that was recovered without the rows of ${table} goes on`, async () => {
    await using twinned = await worked();
    rewrite(twinned, (from, to) => ran("python3", [script, from, to, table]));
    twinned.openDevice();
    assert.equal(await ended(twinned), costs[table] ?? "a=2 after=1 b=1 new=1 t1=1 t2=1 while=1");
  });
}
