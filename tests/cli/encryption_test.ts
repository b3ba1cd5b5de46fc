/**
 * Encryption at rest: an agent and every command on a file that SQLCipher encrypts. Nothing of what rows hold is in plaintext in
 * any file beside it, a wrong key is one line, and a key that is replaced opens nothing any more.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { linkFlags, statusOf } from "../support/device.ts";
import { ffiDriver } from "../../agent/sqlite/driver_ffi.ts";
import { openAgent } from "../../agent/open.ts";
import { sqlcipher, systemSqlite } from "../support/libraries.ts";
import { ffiBinary, Program } from "../support/process.ts";
import { e2eSchema, writeSchema } from "../support/schema.ts";
import { connect, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { noted } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { runIn } from "./run.ts";

const secret = "the text of a row";
/** In the binary that may load native code, where there is one: the plain one has no permission for it. */
const run = (...args: string[]) => runIn(ffiBinary, ...args);

/** Files of the folder that hold a text, or begin as a plain SQLite database does; the lease is one, with no data. */
function plain(dir: TempDir): string[] {
  return [...Deno.readDirSync(dir.path)].map(({ name }) => name).filter((name) => {
    const text = new TextDecoder("latin1").decode(Deno.readFileSync(dir.file(name)));
    const isDatabase = /\.(db|copy)(-wal|-journal|\.part)?$/.test(name);
    return text.includes(secret) || text.includes("Setting") && isDatabase ||
      text.startsWith("SQLite format 3") && isDatabase;
  });
}

Deno.test({
  name: "encryption: an agent and every command work on an encrypted file, and nothing of it is in plaintext",
  ignore: sqlcipher === undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const token = await cloud.token("dev-1", "acme");
    const keyFile = dir.file("key"), newKeyFile = dir.file("key.new");
    const key = `it's "a" key; \u00e9\n with two lines`;
    Deno.writeTextFileSync(keyFile, `${key}\n`);
    Deno.writeTextFileSync(newKeyFile, "another");
    const library = ["--sqlite-library", sqlcipher!];
    const own = ["--key-file", keyFile, ...library];
    const agentArgs = async () => {
      const flags = ["--schema", writeSchema(dir.path), "--mqtt", cloud.mqttUrl, ...linkFlags(dir, cloud.mqttUrl)];
      const identity = ["--device", "dev-1", "--account", "acme", "--db", dir.file("dev-1.db")];
      const program = new Program(["agent", ...identity, ...flags, "--password", token, ...own], {}, ffiBinary);
      await program.printed(/agent .*: /);
      return program;
    };
    const path = dir.file("dev-1.db"), db = ["--db", path], copy = dir.file("x.copy");
    const ok = async (...args: string[]) => {
      const { code, stdout, stderr } = await run(...args);
      assert.deepEqual([code, stderr], [0, ""], args.join(" "));
      return stdout;
    };
    const status = async () => JSON.parse(await ok("status", ...db, "--json", ...own));
    // An application opens it with the same library, in a process of its own; here, on the same driver.
    const sql = (text: string, openWith = key) => {
      const connection = ffiDriver({ library: sqlcipher!, key: new TextEncoder().encode(openWith) })(path);
      try {
        connection.exec(text);
      } finally {
        connection.close();
      }
    };
    {
      await using agent = await agentArgs();
      await until("it is connected", async () => (await status()).connected, 60_000);
      sql(`INSERT INTO Setting(name, value, text) VALUES ('a', 1, '${secret}')`);
      await until("it is sent", async () => (await status()).outbox === 0, 60_000);
      assert.deepEqual((await cloud.items("Setting")).map(({ text }) => text), [secret]);
      await cloud.put("Command", { name: "c", text: secret }, { deviceId: "dev-1" });
      assert.match(await ok("verify", ...db, ...own), /equal/);
      assert.match(await ok("backup", ...db, "--to", copy, ...own), /checked/);
      assert.deepEqual(plain(dir), [], "while it runs");
      sql(`UPDATE Setting SET text = '${secret}, again'`);
      await agent.kill();
    }
    assert.deepEqual(plain(dir), [], "after kill -9");
    {
      await using agent = await agentArgs();
      await until("what was written before the kill is sent", async () => {
        return (await cloud.items("Setting"))[0]!.text === `${secret}, again`;
      }, 60_000);
      assert.equal((await agent.stop()).code, 0);
    }
    sql(`INSERT INTO _conflicts(model, key, op, item, why, time)
      VALUES ('Setting', '{"name":"a"}', 'update', '{"name":"a","text":"${secret}"}', 'stale', 1);
      INSERT INTO _rejected(model, key, op, item, code, time)
      VALUES ('Setting', '{"name":"b"}', 'create', '{"name":"b","text":"${secret}"}', 'invalid', 1)`);
    assert.match(await ok("conflicts", "list", ...db, ...own), /stale/);
    assert.match(await ok("rejected", "retry", "1", ...db, ...own), /is written again/);

    for (const wrong of [["--key-file", newKeyFile, ...library], []]) {
      const { code, stderr } = await run("status", ...db, ...wrong);
      assert.equal(code, 1);
      assert.match(
        stderr,
        wrong.length
          ? /^twintable(-ffi)?: the key does not open ".*\n$/
          : /^twintable(-ffi)?: .* is not a device database\n$/,
      );
    }
    const refused = await run("restore", "--from", copy, ...db, "--force", "--key-file", newKeyFile, ...library);
    assert.match(refused.stderr, /^twintable(-ffi)?: the key does not open .*\n$/);
    assert.equal([...Deno.readDirSync(dir.path)].some(({ name }) => name.includes("damaged")), false);

    assert.match(await ok("restore", "--from", copy, ...db, "--force", ...own), /restored/);
    {
      // An application that has it open holds the rotation up.
      const open = ffiDriver({ library: sqlcipher!, key: new TextEncoder().encode(key) })(path);
      open.prepare("SELECT 1 FROM Setting").get();
      const { code, stderr } = await run("key", "rotate", ...db, ...own, "--new-key-file", newKeyFile);
      assert.deepEqual([code, /is in use by an application/.test(stderr)], [1, true], stderr);
      open.close();
    }
    assert.match(await ok("key", "rotate", ...db, ...own, "--new-key-file", newKeyFile), /encrypted with the key/);
    assert.match((await run("status", ...db, ...own)).stderr, /does not open/);
    const renewed = ["--key-file", newKeyFile, ...library];
    assert.match(await ok("status", ...db, ...renewed), /dev-1 of account acme/);
    assert.deepEqual(plain(dir), [], "after the key was rotated");
    assert.match(await ok("reset", ...db, "--rows", "--force", ...renewed), /is empty/);
    assert.deepEqual(plain(dir), []);
  },
});

Deno.test({
  name: "encryption: a library that can't encrypt, one that is none, and a key without a library are one clear line",
  ignore: !systemSqlite,
  async fn() {
    using dir = new TempDir();
    const keyFile = dir.file("key"), empty = dir.file("empty");
    Deno.writeTextFileSync(keyFile, "k");
    Deno.writeTextFileSync(empty, "\n");
    const agent = ["agent", "--device", "d", "--account", "a", "--db", dir.file("x.db"), "--mqtt", "mqtt://127.0.0.1:1"]
      .concat("--schema", writeSchema(dir.path));
    const failures: [string[], number, RegExp][] = [
      [["--key-file", keyFile], 1, /the SQLite library of the system can't encrypt/],
      [["--key-file", empty], 1, /empty is empty/],
      [["--key-file", dir.file("none")], 1, /--key-file: .*none can't be read/],
      [["--driver", "ffi", "--sqlite-library", dir.file("none.so")], 1, /none\.so can't be loaded/],
      [["--driver", "ffi", "--sqlite-library", keyFile], 1, /can't be loaded/],
      [["--driver", "builtin", "--key-file", keyFile], 2, /go with --driver ffi/],
    ];
    for (const [flags, code, reason] of failures) {
      const { code: found, stderr } = await run(...agent, ...flags);
      assert.deepEqual([found, stderr.trim().split("\n").length], [code, 1], stderr);
      assert.match(stderr, reason);
    }
    const options = { schema: e2eSchema, device: "d", account: "a", path: dir.file("x.db") };
    await assert.rejects(openAgent({ ...options, databaseKey: "k" }), TypeError);
    assert.equal(Deno.statSync(dir.file("x.db")).size, 0, "nothing was written in plaintext");
  },
});

const oldLibrary = ["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu/libsqlcipher.so.0`)
  .find((path) => existsSync(path));

Deno.test({
  name: "encryption: a library older than 3.38 is refused by its version",
  ignore: noted(oldLibrary ? undefined : "no libsqlcipher0 of Debian, which is SQLite 3.15"),
  fn() {
    assert.throws(
      () => ffiDriver({ library: oldLibrary }),
      /libsqlcipher\.so\.0 is 3\.15\.2: 3\.38\.0 or later is needed/,
    );
  },
});

Deno.test({
  name: "encryption: a file that this process has open by the runtime's SQLite is refused to the FFI driver",
  ignore: !systemSqlite || Deno.build.os !== "linux",
  async fn() {
    using dir = new TempDir();
    const path = dir.file("dev-1.db");
    const options = { schema: e2eSchema, device: "dev-1", account: "acme", path, driver: "ffi" } as const;
    {
      using application = connect(path);
      application.exec("CREATE TABLE own(x)");
      await assert.rejects(openAgent(options), /is open in this process by another SQLite library/);
    }
    await using agent = await openAgent(options);
    agent.model("Setting").create({ name: "big", value: 1e19 });
    agent.model("Setting").create({ name: "huge", value: 1e100 });
    assert.deepEqual(agent.model("Setting").find().items.map(({ value }) => value), [1e19, 1e100]);
    await agent.close();
    assert.deepEqual(query(path, "SELECT value FROM Setting ORDER BY name").map(({ value }) => value), [1e19, 1e100]);
    assert.equal(statusOf(path).outbox, 2);
  },
});
