import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openAgent } from "../../mod.ts";
import { schema } from "../../examples/schema.ts";
import { connect } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { everything, tooOld } from "../../cli/all_commands.ts";
import { describeFault } from "../../cli/command.ts";
import { deviceCommands } from "../../cli/device_commands.ts";
import { cloudCommands } from "../../cli/device_program.ts";
import { example, type Finished, run, runHere } from "./run.ts";

/** One line on stderr, nothing that looks like a stack trace. */
function assertOneLine({ stderr }: Finished, pattern: RegExp): void {
  assert.match(stderr, pattern);
  assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
  assert.doesNotMatch(stderr, /\n +at |file:\/\/\/.*\.ts:\d/);
}

Deno.test("cli: too many open files is said with what to do, in each runtime's words", () => {
  for (
    const text of ["listen EMFILE: too many open files 127.0.0.1:1883", "Too many open files (os error 24): open 'f'"]
  ) {
    assert.equal(describeFault(new Error(text)).split(" (raise the limit of open files: ulimit -n 1024;")[0], text);
  }
  assert.equal(describeFault(new Error("No such file or directory")), "No such file or directory");
});

Deno.test("cli: help is there for all and for each command, and names the flags", async () => {
  const all = await run("--help");
  assert.equal(all.code, 0);
  for (const command of ["dev", "agent", "cloud", "status", "backup", "restore", "reset", "schema", "device"]) {
    assert.match(all.stdout, new RegExp(`^ +${command} `, "m"));
    const one = await runHere(command, "--help");
    assert.equal(one.code, 0, one.stderr);
    assert.match(one.stdout, new RegExp(`^Usage: mod.ts ${command}`));
    assert.match(one.stdout, /--config FILE/);
  }
});

Deno.test("cli: wrong usage is one line and exit code 2", async () => {
  const cases: [args: string[], line: RegExp][] = [
    [["bogus"], /^twintable: unknown command "bogus"; see mod.ts --help$/m],
    [["--bogus"], /^twintable: unknown flag --bogus; see mod.ts dev --help$/m],
    [["dev", "--devices", "0"], /--devices is a whole number from 1 to 100/],
    [["dev", "operand"], /unexpected "operand"/],
    [["dev", "--config", "/does/not/exist.json5"], /can't be read/],
    [["status"], /--db FILE is missing/],
    [["schema", "show", example], /init or onboard/],
    [["device", "add", "d-1"], /needs --account/],
    [
      ["cloud", "--schema", example, "--table", "nonsense", "--broker"],
      /--table: a table is embedded:PATH or dynamodb:/,
    ],
    [["cloud", "--schema", example, "--table", "dynamodb://t1?zone=x", "--broker"], /unknown parameter "zone"/],
    [["cloud", "--schema", example, "--table", "embedded::memory:"], /either --mqtt URL or --broker/],
    [
      ["cloud", "--schema", example, "--table", "embedded::memory:", "--mqtt", "mqtt://h", "--mqtt-port", "1884"],
      /--mqtt-port is the embedded broker's/,
    ],
    [
      ["cloud", "--schema", example, "--table", "embedded::memory:", "--broker", "--port", "0", "--host", "0.0.0.0"],
      /needs a --token/,
    ],
    [
      ["agent", "--device", "d", "--account", "a", "--schema", example, "--db", "x", "--mqtt", "http://h"],
      /--mqtt is mqtt:\/\/HOST/,
    ],
  ];
  for (const [args, line] of cases) {
    const finished = await runHere(...args);
    assert.equal(finished.code, 2, `${args.join(" ")}: ${finished.stderr}`);
    assertOneLine(finished, line);
  }
});

Deno.test("cli: a failure is one line and exit code 1", async () => {
  using folder = new TempDir();
  const notSchema = folder.file("schema.json5");
  await Deno.writeTextFile(notSchema, "{ models: { _Bad: {} } }");
  const notDatabase = folder.file("text.db");
  await Deno.writeTextFile(notDatabase, "this is no database, and long enough to be taken for one ".repeat(20));
  const agent = (...args: string[]) => ["agent", "--account", "a", "--mqtt", "mqtt://127.0.0.1:9", ...args];
  const cases: [args: string[], line: RegExp][] = [
    [["status", "--db", folder.file("none.db")], /does not exist/],
    [["status", "--db", notDatabase], /is not a device database/],
    [["schema", "sql", notSchema], /the schema .* can't be used/],
    [["schema", "check", fileURLToPath(new URL("../../examples/app.ts", import.meta.url))], /exports neither/],
    [["dev", "--dir", folder.path, "--schema", folder.file("none.json5")], /can't read the schema/],
    [["device", "list", "--table", `embedded:${notDatabase}`], /is not an SQLite database/],
    [["device", "list", "--table", `embedded:${folder.file("typo.db")}`], /typo\.db does not exist/],
    [["device", "add", "a b", "--account", "a", "--table", `embedded:${folder.file("c.db")}`], /"a b" is refused/],
    [agent("--device", "a b", "--schema", example, "--db", folder.file("a.db")), /device id "a b" is refused/],
    [agent("--device", "d", "--schema", example, "--db", folder.file("no/where.db")), /there is no folder/],
    [agent("--device", "d", "--schema", example, "--db", notDatabase), /not a database/],
    [
      agent(
        "--device",
        "d",
        "--schema",
        example,
        "--db",
        folder.file("b.db"),
        "--ca",
        folder.file("no.pem"),
      ),
      /--ca: .* can't be read/,
    ],
  ];
  for (const [args, line] of cases) {
    const finished = args[0] === "agent" ? await run(...args) : await runHere(...args);
    assert.equal(finished.code, 1, `${args.join(" ")}: ${finished.stderr}`);
    assertOneLine(finished, line);
  }
  const left = [...Deno.readDirSync(folder.path)].map(({ name }) => name).sort();
  assert.ok(!left.some((name) => /typo|^c\.db|^schema\.db/.test(name)), left.join(" "));
});

Deno.test("cli: a database of another device is refused with the way out", async () => {
  using folder = new TempDir();
  const path = folder.file("d.db");
  await (await openAgent({ schema, device: "d-1", account: "a-1", path })).close();
  const finished = await run(
    ...["agent", "--device", "d-2", "--account", "a-1", "--schema", example],
    ...["--db", path, "--mqtt", "mqtt://127.0.0.1:9"],
  );
  assert.equal(finished.code, 1);
  assertOneLine(finished, /d-1/);
});

Deno.test("cli schema: check names every problem, sql prints what SQLite takes, json is the same schema", async () => {
  using folder = new TempDir();
  const good = await runHere("schema", "check", example);
  assert.equal(good.code, 0, good.stderr);
  assert.match(good.stdout, /Setting[^]*?sync +both ways[^]*?newest: the later change wins/);
  assert.match(good.stdout, /Notice[^]*?scope +global: all devices/);

  const json = await runHere("schema", "json", example);
  const copy = folder.file("schema.json");
  await Deno.writeTextFile(copy, json.stdout);
  const fingerprint = (text: string) => /fingerprint (\w+)/.exec(text)?.[1];
  const again = await runHere("schema", "check", copy);
  assert.equal(fingerprint(again.stdout), fingerprint(good.stdout));
  assert.notEqual(fingerprint(good.stdout), undefined);

  const sql = await runHere("schema", "sql", copy, "--device", "d-7");
  using db = connect(":memory:");
  db.exec(`${sql.stdout}\nINSERT INTO Event(message) VALUES ('x')`);
  assert.equal(db.prepare("SELECT pk FROM Event").get()!.pk, "device#d-7");

  const bad = folder.file("bad.json5");
  await Deno.writeTextFile(
    bad,
    `{ version: "1", indexes: { primary: { hash: "pk", sort: "sk" } },
       models: { A: { pk: { type: "nonsense" }, sk: { type: "string" } }, "9": {} },
       process: { A: { sync: "up" }, "9": { sync: "up" } } }`,
  );
  const checked = await runHere("schema", "check", bad);
  assert.equal(checked.code, 1);
  assert.ok(checked.stderr.trimEnd().split("\n").length >= 2, checked.stderr);
  assert.doesNotMatch(checked.stderr, /\n +at /);
});

Deno.test("cli schema: a schema file may import the package's own module", async () => {
  using folder = new TempDir();
  const own = folder.file("own.ts"), module = new URL("../../mod.ts", import.meta.url).href;
  const text = await Deno.readTextFile(example);
  assert.ok(text.includes('from "../schema.ts"'));
  await Deno.writeTextFile(own, text.replace('from "../schema.ts"', `from ${JSON.stringify(module)}`));
  const checked = await runHere("schema", "check", own);
  assert.equal(checked.code, 0, checked.stderr);
});

Deno.test("cli status: tells from another process where a database stands", async () => {
  using folder = new TempDir();
  const path = folder.file("d.db");
  const agent = await openAgent({ schema, device: "d-1", account: "a-1", path });
  agent.model("Setting").create({ name: "load", value: 3 });
  const read = async () => JSON.parse((await run("status", "--db", path, "--json")).stdout);
  const open = await read();
  assert.deepEqual(
    [
      open.device,
      open.account,
      open.running,
      open.connected,
      open.outbox,
      open.inflight,
      open.rejected,
      open.conflicts,
    ],
    ["d-1", "a-1", true, false, 1, 0, 0, 0],
  );
  assert.equal(open.lastAck, null);
  assert.equal(typeof open.cursors, "object");
  await agent.close();
  assert.equal((await read()).running, false);
  assert.match((await run("status", "--db", path)).stdout, /^outbox +1, in flight 0$/m);
});

Deno.test("cli: the cloud's commands are refused to a Deno that is too old, by its version", () => {
  for (const version of ["2.8.0", "2.8.0-rc.1", "2.9.6", "2.10.0", "3.0.0"]) assert.equal(tooOld(version), undefined);
  for (const version of ["1.46.3", "2.0.0", "2.6.8", "2.7.14"]) {
    assert.match(tooOld(version)!, new RegExp(`2\\.8 .* ${version}`));
  }
});

Deno.test("cli: a device's program says of each command that it lacks where that is", () => {
  const lacking = Object.keys(everything.commands).filter((name) => !(name in deviceCommands));
  assert.deepEqual(lacking, cloudCommands);
});
