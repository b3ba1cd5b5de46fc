/**
 * An application of another user: with `--group`, and a folder whose files belong to its group, it opens the database, writes,
 * and is captured; whoever of the two makes SQLite's files. Without it, the database is its owner's alone.
 */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import { missingTools, noted } from "../support/tools.ts";
import { e2eSchema } from "../support/schema.ts";

const uid = 65_534, group = 54_321;
const missing = missingTools("python3") ??
  (Deno.build.os !== "linux" || Deno.uid() !== 0 ? "only root can run a program as another user" : undefined);

/** Runs SQL as the other user. */
function asOther(path: string, sql: string): { success: boolean; text: string } {
  const code = "import os, sqlite3, sys\nos.umask(0o077)\n" +
    "db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)\nprint(db.execute(sys.argv[2]).fetchall())";
  const { success, stdout, stderr } = new Deno.Command("/usr/bin/python3", {
    args: ["-c", code, path, sql],
    uid,
    gid: group,
  })
    .outputSync();
  return { success, text: new TextDecoder().decode(success ? stdout : stderr).trim() };
}

Deno.test({
  name: "group: another user's application writes a database that is shared, in whatever order they come, and no other",
  ignore: noted(missing),
  async fn() {
    const folder = Deno.makeTempDirSync({ prefix: "twintable-group-" });
    try {
      Deno.chownSync(folder, 0, group);
      Deno.chmodSync(folder, 0o2770);
      const path = `${folder}/dev.db`;
      const open = (shared: boolean) =>
        openAgent({ schema: e2eSchema, device: "dev-1", account: "acme", path, group: shared });
      const first = await open(false);
      assert.match(asOther(path, "SELECT 1 FROM _status").text, /unable to open/);
      await first.close();
      // Made anew below, by an agent that shares it from the start.
      Deno.removeSync(`${path}.lease`);
      {
        await using agent = await open(true);
        agent.model("Setting").create({ name: "a" });
        // After a kill, whoever reads the lease has its journal to roll back.
        for (const end of ["", "-wal", "-shm", ".lease", ".lease-journal"]) {
          const { mode, gid } = Deno.statSync(path + end);
          assert.deepEqual([mode! & 0o777, gid], [0o660, group], `dev.db${end}`);
        }
        const wrote = asOther(path, "INSERT INTO Setting(name) VALUES ('b') RETURNING name");
        assert.equal(wrote.text, "[('b',)]");
        assert.equal(agent.status().outbox, 2);
      }
      // The application is the first to open it: SQLite's files are made by the other user.
      assert.equal(asOther(path, "INSERT INTO Setting(name) VALUES ('c') RETURNING name").text, "[('c',)]");
      await using agent = await open(true);
      agent.model("Setting").create({ name: "d" });
      assert.equal(asOther(path, "SELECT count(*) FROM Setting").text, "[(4,)]");
      assert.equal(agent.status().outbox, 4);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  },
});
