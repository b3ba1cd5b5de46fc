/**
 * `backup`, `restore` and `reset` as commands: what they print, and what they refuse in one line.
 */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import { schema } from "../../examples/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { Program } from "../support/process.ts";
import { shell } from "../support/sql.ts";
import { example, run } from "./run.ts";
import { testWith } from "../support/tools.ts";

const withShell = testWith("sqlite3");

Deno.test("cli: backup, restore and reset do what they say, and refuse what would lose changes", async () => {
  using dir = new TempDir();
  const db = dir.file("device.db"), copy = dir.file("copy.db");
  const options = { schema, device: "d-1", account: "a-1", path: db };
  {
    await using agent = await openAgent(options);
    agent.model("Setting").create({ name: "a", value: 1 });
    const running = await run("reset", "--db", db, "--force");
    assert.deepEqual([running.code, running.stderr.match(/another agent is running/)?.length], [1, 1], running.stderr);
    const made = await run("backup", "--db", db, "--to", copy);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /copy\.db: \d+ bytes, checked/);
  }
  const refused: [args: string[], line: RegExp][] = [
    [["backup", "--db", db, "--to", copy], /copy\.db exists/],
    [["backup", "--db", db, "--to", dir.path], /is a folder: name a file in it/],
    [["backup", "--db", dir.file("none.db"), "--to", dir.file("x.db")], /none\.db does not exist/],
    [["restore", "--from", copy, "--db", db], /device\.db exists: --force overwrites it/],
    [["restore", "--from", dir.file("none.db"), "--db", db, "--force"], /none\.db does not exist/],
    [["reset", "--db", db], /1 changes that the cloud does not have/],
    [["reset", "--db", `${db}.lease`], /is not a device database/],
  ];
  for (const [args, line] of refused) {
    const { code, stderr } = await run(...args);
    assert.equal(code, 1, `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, line);
    assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  }
  assert.deepEqual([...Deno.readDirSync(dir.path)].filter((entry) => entry.name.includes(".part")), []);

  const over = await run("restore", "--from", copy, "--db", db, "--force");
  assert.match(over.stdout, /takes a snapshot; unsent changes in the overwritten file: 1$/m, over.stderr);
  Deno.writeTextFileSync(db, "no database\n".repeat(1000));
  const repaired = await run("restore", "--from", copy, "--db", db, "--force");
  assert.match(
    repaired.stdout,
    /takes a snapshot; the damaged file is now .*device\.db\.damaged-\S+$/m,
    repaired.stderr,
  );

  assert.match((await run("reset", "--db", db, "--rows", "--force")).stdout, /is empty, for any device/);
  const restored = await run("restore", "--from", copy, "--db", db, "--force");
  assert.match(restored.stdout, /restored for the device d-1 of account a-1/, restored.stderr);
  await using agent = await openAgent(options);
  assert.equal(agent.restored, true);
  assert.equal(agent.model("Setting").get({ name: "a" })!.value, 1);
});

withShell("cli: an agent says at its start what somebody had dropped from the file", async () => {
  using dir = new TempDir();
  const path = dir.file("device.db");
  await (await openAgent({ schema, device: "d-1", account: "a-1", path })).close();
  await shell(path, 'DROP TRIGGER "_sync_Setting.insert"');
  const args = ["--device", "d-1", "--account", "a-1", "--schema", example, "--db", path];
  // Nobody listens on port 1 of the loopback interface.
  await using agent = new Program(["agent", ...args, "--mqtt", "mqtt://127.0.0.1:1"]);
  await agent.printed(
    /agent d-1: recreated what somebody had dropped or altered: _sync_Setting\.insert$/m,
  );
  await shell(path, "INSERT INTO Setting(name, value) VALUES ('a', 1)");
  assert.equal(await shell(path, "SELECT count(*) FROM _outbox"), "1");
});
