/**
 * Every command of a device, as it is shipped: in the single binary (`TWINTABLE_BINARY`) as an unprivileged user where this
 * process may change it, elsewhere from source with the binary's exact permissions. A command that is new fails here until it
 * is tried here.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { compileArguments, compileOptions } from "../../build/compile.ts";
import { deviceCommands } from "../../cli/device_commands.ts";
import { binary, complaintsOf, Program } from "../support/process.ts";
import { count, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { example, run } from "./run.ts";

const decoder = new TextDecoder();
const someoneElse = 1993;

/** The device's program for one test. */
class DeviceProgram {
  readonly tried = new Set<string>();
  readonly #command: string;
  readonly #args: readonly string[];
  readonly #user: { uid?: number; gid?: number } = {};

  constructor(folder: TempDir) {
    if (binary === undefined) {
      const flags = compileArguments(compileOptions([]), "").filter((flag) =>
        /^--(allow|no-prompt|ignore|v8)/.test(flag)
      );
      this.#command = Deno.execPath();
      this.#args = ["run", "--no-check", ...flags, fileURLToPath(new URL("../../agent_main.ts", import.meta.url))];
      return;
    }
    this.#command = binary;
    this.#args = [];
    if (Deno.uid() !== 0) return;
    // Where it is kept another user may have no way in.
    this.#command = folder.file("twintable");
    Deno.copyFileSync(binary, this.#command);
    this.#user = { uid: someoneElse, gid: someoneElse };
    for (const { name } of Deno.readDirSync(folder.path)) Deno.chownSync(folder.file(name), someoneElse, someoneElse);
    Deno.chownSync(folder.path, someoneElse, someoneElse);
  }

  /** File modes hold for it. */
  get isUnprivileged(): boolean {
    return this.#user.uid !== undefined || Deno.uid() !== 0;
  }

  /** Files that the test made become the device's. */
  own(path: string): void {
    if (this.#user.uid !== undefined) Deno.chownSync(path, someoneElse, someoneElse);
  }

  #options(args: readonly string[]): Deno.CommandOptions {
    this.tried.add(args[0]!);
    return { args: [...this.#args, ...args], env: { NO_COLOR: "1" }, stdin: "null", ...this.#user };
  }

  /** Runs a command to its end. */
  async run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const { code, stdout, stderr } = await new Deno.Command(this.#command, this.#options(args)).output();
    return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
  }

  /** Runs a command that must succeed, silently on stderr; gives what it prints. */
  async ok(...args: string[]): Promise<string> {
    const { code, out, err } = await this.run(...args);
    assert.equal(err, "", args.join(" "));
    assert.equal(code, 0, `${args.join(" ")}: ${out}`);
    return out;
  }

  /** Starts a command that goes on. */
  start(...args: string[]): { stop(): Promise<void> } {
    const child = new Deno.Command(this.#command, { ...this.#options(args), stdout: "null", stderr: "piped" }).spawn();
    const said = new Response(child.stderr).text();
    return {
      async stop() {
        child.kill("SIGTERM");
        const { code } = await child.status;
        assert.equal(complaintsOf(await said), "");
        assert.equal(code, 0);
      },
    };
  }
}

/** Bytes in the file and in what stands beside it. */
function holds(path: string, text: string): boolean {
  return ["", "-wal", "-shm", ".lease"].some((end) => {
    try {
      return new TextDecoder("latin1").decode(Deno.readFileSync(path + end)).includes(text);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw error;
    }
  });
}

Deno.test("device commands: each works with the binary's permissions, as an unprivileged user", async () => {
  using folder = new TempDir();
  const schema = folder.file("schema.json"), path = folder.file("d-1.db"), copy = folder.file("copy.db");
  const table = `embedded:${folder.file("cloud.db")}`;
  await Deno.writeTextFile(schema, (await run("schema", "json", example)).stdout);
  const device = new DeviceProgram(folder);
  await using cloud = new Program([
    ...["cloud", "--schema", schema, "--table", table, "--broker", "--mqtt-port", "0", "--port", "0"],
  ]);
  const [, mqtt, url] = await cloud.printed(/broker (127\.0\.0\.1:\d+), (http:\/\/\S+)/);
  const token = (await run("device", "add", "d-1", "--account", "a-1", "--table", table)).stdout.trim();
  const db = ["--db", path], link = ["--schema", schema, "--mqtt", `mqtt://${mqtt}`, "--password", token];
  const start = () => device.start("agent", "--device", "d-1", "--account", "a-1", ...db, ...link);
  const status = async () => JSON.parse(await device.ok("status", ...db, "--json"));
  const connected = () =>
    until("the agent is connected", async () => {
      const { code, out } = await device.run("status", ...db, "--json");
      return code === 0 && JSON.parse(out).connected;
    }, 60_000);

  assert.match(await device.ok("schema", "check", schema), /is a valid schema/);
  assert.match(await device.ok("schema", "sql", schema), /CREATE TABLE/);
  assert.deepEqual(JSON.parse(await device.ok("schema", "json", schema)).format, "onetable:1.1.0");

  let agent = start();
  await connected();
  query(path, "INSERT INTO Event(message) VALUES ('one'), ('two')");
  query(path, "INSERT INTO Site(name, address) VALUES ('harbour', 'Pier 3')");
  // Free pages keep what was deleted long before.
  query(
    path,
    "INSERT INTO Site(name, address) VALUES ('gone', hex(zeroblob(9000)) || 'deleted long ago' || hex(zeroblob(9000)))",
  );
  query(path, "DELETE FROM Site WHERE name = 'gone'");
  await until("all is acknowledged", async () => (await status()).outbox === 0, 60_000);
  assert.match(await device.ok("status", ...db), /connected/);
  assert.equal(await device.ok("status", ...db, "--check"), "");
  assert.match(await device.ok("aside", "list", ...db), /^none/);
  assert.match(await device.ok("verify", ...db), /equal/);
  assert.match(await device.ok("verify", "--cloud", url!, "--all"), /d-1: equal/);
  assert.match(await device.ok("backup", ...db, "--to", copy), /checked/);
  assert.equal(count(copy, "SELECT count(*) FROM Event"), 2);
  if (device.isUnprivileged) {
    Deno.chmodSync(copy, 0o400);
    assert.match((await device.run("doctor", "--db", copy)).out, /WRONG +permissions +the file can't be written/);
    Deno.chmodSync(copy, 0o000);
    assert.match((await device.run("status", "--db", copy)).err, /can't be opened: this user may not read it/);
    Deno.chmodSync(copy, 0o600);
  }
  const followed = device.start("tail", ...db);
  assert.match(await device.ok("doctor", ...db, "--schema", schema), /nothing is wrong/);
  assert.match(await device.ok("data", "update", "Site", "name=harbour", "address=Pier 5", ...db), /"Pier 5"/);
  assert.match(await device.ok("data", "update", "Site", "name=harbour", "address=Pier 3", ...db), /"Pier 3"/);
  const out = folder.file("out");
  assert.match(await device.ok("export", "--to", out, "--model", "Site", ...db), /Site\.jsonl: 1 items/);
  assert.match(await device.ok("import", `${out}/Site.jsonl`, ...db), /1 items/);
  await until("what was imported is acknowledged", async () => (await status()).outbox === 0, 60_000);
  await followed.stop();
  await agent.stop();
  assert.match(await device.ok("verify", ...db, ...link), /equal/);

  // What is kept for people: one of each, as the agent writes them.
  keep(path);
  for (const [command, back] of [["rejected", "retry"], ["conflicts", "restore"]] as const) {
    assert.match(await device.ok(command, "list", ...db), /^1 .*harbour/);
    assert.match(await device.ok(command, "show", "1", ...db), /row now/);
    assert.match(await device.ok(command, back, "1", ...db, "--force"), /is written again/);
    assert.match(await device.ok(command, "drop", "--all", ...db), /^dropped \d/);
  }

  agent = start();
  await until("what was put back is acknowledged", async () => (await status()).outbox === 0, 60_000);
  await agent.stop();
  assert.match(await device.ok("restore", "--from", copy, ...db, "--force"), /restored/);
  assert.match(await device.ok("reset", ...db, "--force"), /its rows stay/);
  assert.match(await device.ok("restore", "--from", copy, ...db, "--force"), /restored/);
  assert.ok(holds(path, "Pier 3") && holds(path, "deleted long ago"));
  assert.match(await device.ok("reset", ...db, "--rows", "--force"), /is empty/);
  for (const text of ["Pier 3", "deleted long ago"]) {
    assert.equal(holds(path, text), false, `"${text}" is left in the file`);
  }
  const password = folder.file("password"), key = folder.file("d-2-key.pem");
  const code = (await run("device", "claim-code", "d-2", "--account", "a-1", "--table", table)).stdout.trim();
  const claim = ["claim", code, "--device", "d-2", "--cloud", url!, "--password-file", password];
  assert.match(await device.ok(...claim), /password: the credentials of d-2/);
  assert.match(await device.ok(...claim), /nothing is claimed/);
  assert.match(await device.ok("csr", "d-2", "--key", key), /^-----BEGIN CERTIFICATE REQUEST-----/);
  for (const file of [password, key]) assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
  // Encryption needs native code, which these permissions forbid: tests/cli/encryption_test.ts has it with them.
  const native = await device.run("key", "rotate", ...db, "--key-file", schema, "--new-key-file", schema);
  assert.equal(native.code, 1);
  assert.match(native.err, /^twintable: the SQLite library .* may not be loaded: .*no permission for native code.*\n$/);
  const licences = await device.run("licenses");
  if (binary === undefined) assert.match(licences.err, /^twintable: run from source,.*\n$/);
  else assert.match(licences.out, /^Twintable: MIT[^]*mqtt 5[^]*MIT[^]*Permission is hereby granted/);
  const refused = await device.run("schema", "check", example);
  if (binary !== undefined) {
    assert.equal(refused.code, 1);
    assert.match(refused.err, /^twintable: this binary can't load .* prints it as JSON\n$/);
  }
  assert.deepEqual([...device.tried].sort(), Object.keys(deviceCommands).sort());
});

function keep(path: string): void {
  const item = JSON.stringify({ deviceId: "d-1", name: "harbour", address: "Pier 4" });
  for (const [table, code] of [["_rejected", "code"], ["_conflicts", "why"]]) {
    const sql =
      `INSERT INTO ${table}(model, key, op, item, ${code}, time) VALUES ('Site', '{"name":"harbour"}', 'update', ?, ?, ?)`;
    query(path, sql, item, "invalid", 1);
  }
}
