/**
 * Programs that share a device's file in the field: each probe is a script, which names the public report that it was made
 * after. It works on a file as the agent left it; then the agent's side is looked at: what was written is captured, nothing of
 * the agent's is harmed, and the next start has nothing to mend.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Twinned } from "../property/twinned.ts";
import { compiled } from "../agent/store_fixture.ts";
import { complaintsText } from "../../agent/store/damage.ts";
import { openStore } from "../../agent/store/store.ts";
import { identity } from "../property/twinned.ts";
import { missingTools, skipped } from "../support/tools.ts";

const python = "/usr/bin/python3";

/** Why a script can't run here. */
function missing(...modules: string[]): string | undefined {
  const tool = missingTools("python3");
  if (tool !== undefined) return tool;
  try {
    const { success } = new Deno.Command(python, { args: ["-c", `import ${modules.join(", ")}`], stderr: "null" })
      .outputSync();
    return success ? undefined : `this machine's ${python} has no ${modules.join(", ")}`;
  } catch {
    return `this machine has no ${python}`;
  }
}

function run(script: string, path: string): string {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const { success, stdout, stderr } = new Deno.Command(python, { args: [file, path], stdout: "piped", stderr: "piped" })
    .outputSync();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  assert.ok(success, `${script}: ${text(stderr)}`);
  return text(stdout);
}

/** Runs a script beside an open agent, and compares what the cloud has in the end. */
function probe(script: string, modules: string[], wanted: Record<string, string>): void {
  Deno.test({
    name: `field: ${script} writes what arrives in the cloud, and harms nothing of the agent's`,
    ignore: skipped(missing(...modules)),
    async fn() {
      await using twinned = new Twinned(compiled);
      await twinned.settle();
      assert.match(run(script, twinned.path), /^ok/m);
      await twinned.settle();
      const items = (await twinned.items()).filter((item) => item._type === "Setting");
      assert.deepEqual(Object.fromEntries(items.map(({ name, value }) => [name, value])), wanted);
      assert.deepEqual(twinned.store.altered(), []);
      twinned.closeDevice();
      twinned.openDevice(compiled);
      assert.deepEqual(twinned.store.migration, { created: [], rebuilt: [], restored: [], noticed: [] });
    },
  });
}

probe("django_orm.py", ["django"], { django: "4", other: "6" });
probe("sqlalchemy_orm.py", ["sqlalchemy"], { alchemy: "3" });
probe("peewee_orm.py", ["peewee"], { peewee: "3", other: "5" });
probe("django_migrate.py", ["django"], { migrated: "2" });
probe("alembic_autogenerate.py", ["alembic", "sqlalchemy"], { autogenerate: "1" });
probe("peewee_migrate.py", ["peewee"], { peewee: "1" });

Deno.test({
  name: "field: alembic_batch.py is refused before it can drop a table and its triggers; adding a column needs no copy",
  ignore: skipped(missing("alembic", "sqlalchemy")),
  async fn() {
    await using twinned = new Twinned(compiled);
    twinned.store.db.exec("INSERT INTO Setting(name, value) VALUES ('a', '1')");
    await twinned.settle();
    assert.match(run("alembic_batch.py", twinned.path), /^ok .*'Setting'\] True$|^ok .*'Setting'.* True$/);
    await twinned.settle();
    assert.deepEqual(twinned.store.altered(), []);
    twinned.store.db.exec("UPDATE Setting SET value = '2', mine = 'm' WHERE name = 'a'");
    await twinned.settle();
    assert.equal((await twinned.items()).find((item) => item.name === "a")!.value, "2");
  },
});

Deno.test({
  name: "field: collation.py leaves a file that is not damaged, and says so",
  ignore: skipped(missing("sqlite3")),
  async fn() {
    await using twinned = new Twinned(compiled);
    await twinned.settle();
    assert.equal(run("collation.py", twinned.path), "ok");
    await twinned.settle();
    const store = openStore({ path: twinned.path, schema: compiled, identity, now: Date.now, check: true });
    assert.match(complaintsText(store.complaints), /no such collation sequence: LOCALIZED/);
    store.close();
    assert.equal((await twinned.items()).filter((item) => item.name === "kept").length, 1);
  },
});
