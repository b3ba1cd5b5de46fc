/**
 * npm's ORMs and migration tools on a device's file, each a script that runs on Node: what they write arrives in the cloud, a
 * migration tool that is kept off the agent's tables leaves them alone, and one that is not is noticed, with what it costs.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Twinned } from "../property/twinned.ts";
import { compiled } from "../agent/store_fixture.ts";
import { noted } from "../support/tools.ts";
import { missingPackage, ormsFolder } from "./npm/folder.ts";

function run(script: string, path: string, ...more: string[]): string {
  const file = fileURLToPath(new URL(`npm/${script}`, import.meta.url));
  const { success, stdout, stderr } = new Deno.Command("node", {
    args: [file, path, ormsFolder, ...more],
    stdout: "piped",
    stderr: "piped",
  }).outputSync();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  assert.ok(success, `${script}: ${text(stderr)}`);
  return text(stdout);
}

async function settings(twinned: Twinned): Promise<Record<string, unknown>> {
  const items = (await twinned.items()).filter((item) => item._type === "Setting");
  return Object.fromEntries(items.map(({ name, value }) => [name, value]));
}

/** Runs a script beside an open agent, and compares what the cloud has in the end. */
function probe(script: string, needs: string[], wanted: Record<string, string>): void {
  Deno.test({
    name: `field: ${script} writes what arrives in the cloud, and harms nothing of the agent's`,
    ignore: noted(missingPackage(...needs)),
    async fn() {
      await using twinned = new Twinned(compiled);
      await twinned.settle();
      assert.match(run(script, twinned.path), /^ok/m);
      await twinned.settle();
      assert.deepEqual(await settings(twinned), wanted);
      assert.deepEqual(twinned.store.altered(), []);
      twinned.closeDevice();
      twinned.openDevice(compiled);
      assert.deepEqual(twinned.store.migration, { created: [], rebuilt: [], restored: [], noticed: [] });
    },
  });
}

probe("better_sqlite3.mjs", ["better-sqlite3"], { better: "4", large: "5" });
probe("drizzle.mjs", ["better-sqlite3", "drizzle-orm"], { drizzle: "3", other: "5" });
probe("drizzle_kit.mjs", ["better-sqlite3", "drizzle-orm", "drizzle-kit"], {});
probe("kysely.mjs", ["better-sqlite3", "kysely"], { kysely: "3", other: "3" });
probe("knex.mjs", ["better-sqlite3", "knex"], { knex: "3", other: "4" });
probe("typeorm.mjs", ["better-sqlite3", "typeorm"], { typeorm: "3", other: "4" });
probe("prisma.mjs", ["better-sqlite3", "prisma", "@prisma/client", "@prisma/adapter-better-sqlite3"], {
  prisma: "3",
  other: "4",
});

// Without their ignore lists: they stop before they have changed anything.
for (const [script, name] of [["knex.mjs", "knex"], ["typeorm.mjs", "typeorm"]] as const) {
  Deno.test({
    name: `field: ${script} that alters a model's table ends with an error, and nothing is altered`,
    ignore: noted(missingPackage("better-sqlite3", name)),
    async fn() {
      await using twinned = new Twinned(compiled);
      twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('a', '1')");
      await twinned.settle();
      assert.match(run(script, twinned.path, "careless"), /"refused":"/);
      assert.deepEqual(twinned.store.altered(), []);
      twinned.store.db.exec("UPDATE Setting SET value = '2'");
      await twinned.settle();
      assert.deepEqual(await settings(twinned), { a: "2" });
    },
  });
}

Deno.test({
  name:
    "field: drizzle_kit.mjs that knows of no filter drops everything: the agent stops, and its next start has the cloud's rows",
  ignore: noted(missingPackage("better-sqlite3", "drizzle-orm", "drizzle-kit")),
  async fn() {
    await using twinned = new Twinned(compiled);
    twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('a', '1')");
    twinned.store.db.exec("CREATE TABLE mine(id INTEGER PRIMARY KEY NOT NULL, note TEXT)");
    await twinned.settle();
    run("drizzle_kit.mjs", twinned.path, "careless");
    assert.notDeepEqual(twinned.store.altered(), []);
    assert.throws(() => twinned.store.tx(() => undefined), { code: "altered" });
    twinned.closeDevice();
    twinned.openDevice(compiled);
    assert.ok(twinned.store.migration.created.includes("Setting"));
    await twinned.settle();
    assert.deepEqual(await settings(twinned), { a: "1" });
    assert.equal(twinned.store.db.prepare("SELECT value FROM Setting WHERE name = 'a'").get()?.value, "1");
  },
});
