/**
 * `kill -9` during a migration: whatever the moment, the file is the old one or the new one, whole, and the next start
 * brings it to the new schema.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Database, openDatabase } from "../../../agent/sqlite/driver.ts";
import { compileSchema } from "../../../schema.ts";
import { openStore } from "../../../agent/store/store.ts";
import { identity, StoreFile } from "../store_fixture.ts";
import { contents } from "../store/file_contents.ts";

const kills = 8;
/** With 300 bytes each, more than SQLite keeps in memory: the WAL is written long before the commit. */
const rowCount = 10_000;

const fields = {
  pk: { type: "string", value: "d#${deviceId}" },
  sk: { type: "string", value: "reading#${n:8:0}" },
  deviceId: { type: "string", required: true },
  n: { type: "number", required: true },
  value: { type: "string" },
  extra: { type: "string" },
};

function source(model: Record<string, unknown>) {
  return {
    format: "onetable:1.1.0",
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: { Reading: model },
    process: { Reading: { sync: "both" } },
  };
}

/** Every step of a migration: a type that changes, a column that is kept aside, one that is new, a new unique index. */
const { extra: _, ...rest } = fields;
const next = source({
  ...rest,
  value: { type: "number", unique: true },
  unit: { type: "string", required: true, default: "C" },
});

function read<T>(path: string, look: (db: Database) => T): T {
  const db = openDatabase(path, { synchronous: "normal" });
  try {
    return look(db);
  } finally {
    db.close();
  }
}

/** When to kill: so long after it began, or as soon as the WAL has so many bytes. */
type Moment = { readonly afterMs: number } | { readonly walBytes: number };

function walBytes(path: string): number {
  try {
    // By its path: nothing is opened.
    return Deno.statSync(`${path}-wal`).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** Migrates in a process of its own, and kills it; how long it took where it was left alone. */
async function migrate(path: string, schemaPath: string, moment?: Moment): Promise<number> {
  const program = fileURLToPath(new URL("migration_child.ts", import.meta.url));
  const child = spawn(Deno.execPath(), ["run", "-A", "--no-check", program, path, schemaPath], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let began = 0, tookMs = 0;
  const watch = setInterval(() => {
    const due = !moment || began === 0
      ? false
      : "afterMs" in moment
      ? performance.now() - began >= moment.afterMs
      : walBytes(path) >= moment.walBytes;
    if (due) child.kill("SIGKILL");
  }, 1);
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === "begin") began = performance.now();
    else tookMs = performance.now() - began;
  }
  clearInterval(watch);
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once("exit", resolve));
  return tookMs;
}

Deno.test(`migration: kill -9 at ${kills} moments leaves the old file or the new one, nothing between`, async () => {
  using file = new StoreFile();
  const schemaPath = `${file.folder}/next.json`;
  Deno.writeTextFileSync(schemaPath, JSON.stringify(next));
  const store = file.open({ schema: compileSchema(source(fields)) });
  store.db.exec(`WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${rowCount})
    INSERT INTO Reading(n, value, extra) SELECT n, n || '.5', printf('%300d', n) FROM c`);
  store.close();
  const copy = (name: string) => {
    // Nobody has the file open: a descriptor on it takes no lock away.
    const path = `${file.folder}/${name}.db`;
    Deno.copyFileSync(file.path, path);
    return path;
  };
  const whole = copy("whole");
  const oldContents = read(copy("old"), contents);
  const tookMs = await migrate(whole, schemaPath);
  const newContents = read(whole, contents);
  const fileBytes = Deno.statSync(file.path).size;
  const nextSchema = compileSchema(next);
  assert.notEqual(newContents, oldContents);

  const found = { old: 0, new: 0, inTheMiddle: 0 };
  for (let i = 0; i < kills; i++) {
    const path = copy(`killed-${i}`);
    // Half of them evenly over its time and a little beyond; half while pages are written, up to the commit's.
    const walFor = i - kills / 2;
    await migrate(
      path,
      schemaPath,
      walFor < 0
        ? { afterMs: tookMs * 1.2 * (i + Math.random()) / (kills / 2) }
        : { walBytes: 1 + fileBytes * walFor / (kills / 2) },
    );
    const written = walBytes(path);
    const [check, state] = read(
      path,
      (db) => [db.prepare("PRAGMA integrity_check").get()!.integrity_check, contents(db)],
    );
    assert.equal(check, "ok");
    assert.ok(state === oldContents || state === newContents, `kill ${i} left neither the old file nor the new one`);
    if (state === newContents) found.new++;
    else {
      found.old++;
      if (written > 0) found.inTheMiddle++;
    }
    openStore({ path, schema: nextSchema, identity, now: Date.now, synchronous: "normal" }).close();
    assert.equal(read(path, contents), newContents, "the next start did not bring it to the new schema");
    Deno.removeSync(path);
  }
  console.log(`migration: ${rowCount} rows in ${Math.round(tookMs)} ms; killed ${JSON.stringify(found)}`);
  assert.ok(found.inTheMiddle > 0, "no kill came in the middle");
});
