/**
 * The trap of POSIX locks: when a process closes any descriptor on a file, it loses every lock that it holds on it. An agent
 * that opens, reads, copies or watches its database besides SQLite loses SQLite's own locks, and another process may then
 * delete the WAL under it: a committed row vanishes. No way of the agent does that, whatever it goes through. Made after
 * get-bb/bb#2190 (a plugin opened the database by another SQLite in one process: weeks of writes were gone).
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { linkFlags, startAgent, statusOf } from "../support/device.ts";
import { run } from "../cli/run.ts";
import { writeSchema } from "../support/schema.ts";
import { shell } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { skipped, toolsMissing } from "../support/tools.ts";
import { until } from "../support/until.ts";

const notLinux = Deno.build.os !== "linux";

/** Whether SQLite's lock of an open WAL database is held: bytes on the database file for as long as it is open. */
function holdsLock(pid: number, path: string): boolean {
  const inode = String(Deno.statSync(path).ino);
  return Deno.readTextFileSync("/proc/locks").split("\n").some((line) => {
    const [, , , kind, owner, file] = line.trim().split(/\s+/);
    return kind === "READ" && Number(owner) === pid && file?.split(":").at(-1) === inode;
  });
}

Deno.test({
  name: "locks: the guard sees a lock that is lost by closing another descriptor",
  ignore: notLinux,
  fn() {
    using dir = new TempDir();
    const path = dir.file("x.db");
    const db = new DatabaseSync(path);
    db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t(x)");
    assert.equal(holdsLock(Deno.pid, path), true);
    Deno.openSync(path).close();
    assert.equal(holdsLock(Deno.pid, path), false);
    db.close();
  },
});

Deno.test({
  name: "locks: an agent holds its lock on the database through starts, syncs, checkpoints, commands and lost links",
  ignore: notLinux || toolsMissing("sqlite3"),
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const options = { mqttUrl: cloud.mqttUrl, token: await cloud.token("dev-1", "acme") };
    await (await startAgent(dir, options)).kill();
    await using agent = await startAgent(dir, options);
    const { path } = agent;
    const held = (when: string) => assert.equal(holdsLock(agent.pid, path), true, when);
    held("after a start on a database that a killed agent left");
    await shell(path, "INSERT INTO Setting(name, value) VALUES ('a', 1)");
    await until("it was sent", () => statusOf(path).outbox === 0);
    held("after a change went up");
    await cloud.put("Setting", { name: "b", value: 1 }, { deviceId: "dev-1", accountId: "acme" });
    await until("it came down", async () => await shell(path, "SELECT 1 FROM Setting WHERE name = 'b'") === "1");
    held("after a change came down");
    await shell(path, "PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    const ended = async (code: number, ...args: string[]) => {
      const finished = await run(...args);
      assert.equal(finished.code, code, `${args.join(" ")}: ${finished.stderr}`);
    };
    await ended(0, "status", "--db", path);
    await ended(0, "backup", "--db", path, "--to", dir.file("copy.db"));
    await ended(1, "reset", "--db", path, "--rows", "--force");
    await shell(path, "INSERT INTO Setting(name, value) VALUES ('c', 1)");
    await until("it was sent", () => statusOf(path).outbox === 0);
    held("after checkpoints and commands of other processes");
  },
});

Deno.test({
  name: "locks: traced, an agent opens its database once, and watches nothing of it but the -wal file",
  ignore: notLinux || toolsMissing("strace", "sqlite3") || noTracing(),
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const token = await cloud.token("dev-1", "acme");
    await (await startAgent(dir, { mqttUrl: cloud.mqttUrl, token })).stop();
    const path = dir.file("dev-1.db"), log = dir.file("trace");
    const main = fileURLToPath(new URL("../../mod.ts", import.meta.url));
    // -D: the process that is started is the agent, so that signals reach it.
    const child = new Deno.Command("strace", {
      args: ["-D", "-f", "-qq", "-s", "300", "-e", "trace=open,openat,openat2,creat,inotify_add_watch", "-o", log]
        .concat(Deno.execPath(), "run", "-A", main, "agent", "--device", "dev-1", "--account", "acme", "--db", path)
        .concat("--schema", writeSchema(dir.path), "--mqtt", cloud.mqttUrl, "--password", token)
        .concat(linkFlags(dir, cloud.mqttUrl)),
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await until("it is connected", () => statusOf(path).connected === 1, 60_000);
      await shell(path, "INSERT INTO Setting(name, value) VALUES ('a', 1)");
      await until("it was sent", () => statusOf(path).outbox === 0, 30_000);
    } finally {
      child.kill("SIGTERM");
      await child.status;
    }
    const read = () => Deno.readTextFileSync(log).split("\n").filter((line) => line.includes(dir.path));
    // The tracer ends after what it traces.
    await until("the trace is written", () => read().some((line) => line.includes("inotify_add_watch")));
    const lines = read();
    const watched = lines.filter((line) => line.includes("inotify_add_watch")).map((line) =>
      line.match(/"([^"]*)"/)![1]
    );
    assert.deepEqual([...new Set(watched)], [`${path}-wal`]);
    const opened = lines.filter((line) => line.includes(`"${path}"`) && !line.includes("inotify"));
    assert.equal(opened.length, 1, opened.join("\n"));
    assert.equal(lines.filter((line) => line.includes(`"${dir.path}"`) && line.includes("inotify")).length, 0);
  },
});

/** Some containers forbid tracing: the test above guards the same by its effect. */
function noTracing(): boolean {
  const { success } = new Deno.Command("strace", { args: ["-o", "/dev/null", "true"], stderr: "null" }).outputSync();
  return skipped(success ? undefined : "strace can't trace here");
}
