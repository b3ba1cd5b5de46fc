/**
 * `key rotate`, killed at each step that it makes on the disk: the file opens with the old key or with the new one, whole, whichever
 * is tried first, and rotating it again ends well.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ffiDriver } from "../../agent/sqlite/driver_ffi.ts";
import { sqlcipher } from "../support/libraries.ts";
import { ffiBinary } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { toolsMissing } from "../support/tools.ts";

const program = fileURLToPath(new URL("../../agent_main.ts", import.meta.url));
const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
const rows = 40;
/** Besides every flush, cut and removal: so many of the writes between them. */
const writesTried = 4;
/** Calls of the kernel that change a file. */
const changing = ["pwrite64", "fsync", "fdatasync", "ftruncate", "unlink"];
const ends = ["", "-wal", "-journal"];

const driverOf = (key: string) => ffiDriver({ library: sqlcipher!, key: new TextEncoder().encode(key) });

/** When to kill, as strace wants it, and the key that opens what is left. */
interface Moment {
  readonly call: string;
  readonly left: "old" | "new";
}

/** Before each call of a whole run that changes a file; and behind the last one, which commits: before the lock that follows it. */
function momentsOf(trace: string): Moment[] {
  const calls = trace.split("\n").map((line) => /^\d+ +(\w+)\(/.exec(line)?.[1]);
  const at = (call: string, n: number) => `${call}:signal=KILL:when=${n}`;
  const moments = changing.flatMap((call): Moment[] => {
    const count = calls.filter((one) => one === call).length;
    const every = call === "pwrite64" ? Math.ceil(count / writesTried) : 1;
    return Array.from({ length: count }, (_, i) => i + 1).filter((n) => n === 1 || n % every === 0)
      .map((n) => ({ call: at(call, n), left: "old" }));
  });
  const locksBefore = calls.slice(0, calls.lastIndexOf("unlink")).filter((call) => call === "fcntl").length;
  return [...moments, { call: at("fcntl", locksBefore + 1), left: "new" }];
}

/** A device's file as a killed agent leaves it: with commits that are in the WAL alone. */
async function makeKilled(path: string): Promise<void> {
  const script = `
    import { openAgent } from ${JSON.stringify(new URL("../../agent/open.ts", import.meta.url).href)};
    import { e2eSchema } from ${JSON.stringify(new URL("../support/schema.ts", import.meta.url).href)};
    const file = { path: Deno.args[0], driver: "ffi", sqliteLibrary: Deno.args[1], databaseKey: "old" };
    const agent = await openAgent({ schema: e2eSchema, device: "d", account: "a", ...file });
    const text = "x".repeat(200);
    for (let n = 0; n < ${rows}; n++) agent.model("Setting").create({ name: "n" + n, value: n, text });
    Deno.kill(Deno.pid, "SIGKILL");`;
  const file = `${path}.ts`;
  Deno.writeTextFileSync(file, script);
  const { stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--config", config, file, path, sqlcipher!],
  }).output();
  assert.ok(isThere(`${path}-wal`), new TextDecoder().decode(stderr));
}

function copyFiles(from: string, to: string): void {
  for (const end of [...ends, "-shm", ".lease"]) rmSync(to + end, { force: true });
  for (const end of ends) if (isThere(from + end)) Deno.copyFileSync(from + end, to + end);
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The keys that open the file, tried in this order; what is in it is whole. */
function openedBy(path: string, keys: readonly string[]): string[] {
  return keys.filter((key) => {
    let db;
    try {
      db = driverOf(key)(path);
    } catch (error) {
      assert.match((error as Error).message, /the key does not open/);
      return false;
    }
    try {
      assert.equal(db.prepare("SELECT count(*) AS n FROM Setting").get()!.n, rows);
      assert.equal(db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n, rows);
      assert.equal(db.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
      assert.deepEqual(db.prepare("PRAGMA cipher_integrity_check").all(), []);
      return true;
    } finally {
      db.close();
    }
  });
}

Deno.test({
  name: "key rotate: killed at any step, the file opens with the old key or the new one, and can be rotated again",
  ignore: sqlcipher === undefined || toolsMissing("strace") || Deno.build.os !== "linux",
  async fn() {
    using dir = new TempDir();
    const base = dir.file("base.db"), path = dir.file("d.db"), copy = dir.file("copy.db"), trace = dir.file("trace");
    const keys = { old: dir.file("old"), new: dir.file("new") };
    for (const [key, file] of Object.entries(keys)) Deno.writeTextFileSync(file, key);
    await makeKilled(base);
    /** Rotates under strace, which sees the file's calls alone, and kills where it is told to. */
    const rotate = async (from: "old" | "new", ...flags: string[]) => {
      const files = [
        "--db",
        path,
        "--key-file",
        keys[from],
        "--new-key-file",
        keys.new,
        "--sqlite-library",
        sqlcipher!,
      ];
      const own = ends.flatMap((end) => ["-P", path + end]);
      const { code, stderr } = await new Deno.Command("strace", {
        args: [
          ...["-f", "-q", "-o", trace, "-e", `trace=${[...changing, "fcntl"].join()}`, ...own, ...flags],
          ...(ffiBinary ? [ffiBinary] : [Deno.execPath(), "run", "-A", "--no-check", program]),
          ...["key", "rotate", ...files],
        ],
      }).output();
      return { code, said: new TextDecoder().decode(stderr) };
    };

    copyFiles(base, path);
    const whole = await rotate("old");
    assert.equal(whole.code, 0, whole.said);
    assert.deepEqual(openedBy(path, ["old", "new"]), ["new"]);
    const moments = momentsOf(Deno.readTextFileSync(trace));
    assert.ok(moments.length > 8);
    for (const { call, left } of moments) {
      copyFiles(base, path);
      const { code } = await rotate("old", "-e", `inject=${call}`);
      assert.notEqual(code, 0, `${call}: it was not killed`);
      copyFiles(path, copy);
      assert.deepEqual(openedBy(path, ["old", "new"]), [left], call);
      assert.deepEqual(openedBy(copy, ["new", "old"]), [left], `${call}, the new key first`);
      const again = await rotate(left);
      assert.equal(again.code, 0, `${call}: ${again.said}`);
      assert.deepEqual(openedBy(path, ["old", "new"]), ["new"], `${call}, rotated again`);
    }
  },
});
