/**
 * `doctor`, `tail`, `status --watch` and `completions`: what an operator sees, as the commands print it.
 */
import assert from "node:assert/strict";
import { Program } from "../support/process.ts";
import { openDevice } from "../support/device.ts";
import { writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { toolsMissing } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { example, run } from "./run.ts";

Deno.test("doctor: on a healthy device nothing is wrong; each fault is named with what to do", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const path = await (async () => {
    await using device = await openDevice(dir, cloud);
    device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1)");
    await device.settle();
    const beside = await run("doctor", "--db", device.path);
    assert.equal(beside.code, 0, beside.stdout);
    assert.match(beside.stdout, /^ok +agent +it is running and connected/m);
    return device.path;
  })();
  const token = dir.file("token"), schema = writeSchema(dir.path);
  await Deno.writeTextFile(token, await cloud.token("dev-1", "acme"));
  const doctor = (...args: string[]) => run("doctor", "--db", path, ...args);
  const well = await doctor("--schema", schema, "--mqtt", cloud.mqttUrl, "--password-file", token);
  assert.match(well.stdout, /^ok +broker +127\.0\.0\.1:\d+ lets the device in/m);
  assert.match(well.stdout, /^ok +cloud +a worker answers/m);
  assert.match(well.stdout, /^ok +schema .*as in the file/m);
  // The agent is not running now, which is all that is wrong.
  assert.deepEqual(well.stdout.match(/^WRONG.*/gm)?.map((line) => line.split(/\s+/)[1]), ["agent"]);

  await Deno.writeTextFile(token, "nonsense");
  const refused = await doctor("--mqtt", cloud.mqttUrl, "--password-file", token);
  assert.match(refused.stdout, /^WRONG +broker .*\n +→ check the device's id, its account and its token/m);
  const closed = await doctor("--mqtt", "mqtt://127.0.0.1:1", "--json");
  const findings = JSON.parse(closed.stdout) as { what: string; state: string; advice?: string }[];
  assert.match(findings.find(({ what }) => what === "broker")!.advice!, /nothing listens there/);
  assert.match(
    (await doctor("--mqtt", "mqtt://no-such-host.invalid")).stdout,
    /^WRONG +name +no-such-host\.invalid is not known/m,
  );
  assert.match((await doctor("--schema", example)).stdout, /^WRONG +schema .*another than the file/m);
  assert.match((await run("doctor", "--db", dir.file("none.db"))).stdout, /^WRONG +database .*does not exist/m);
  assert.equal((await run("doctor")).code, 2);
});

Deno.test("doctor: the cloud's API and tables", async () => {
  using dir = new TempDir();
  const table = `embedded:${dir.file("cloud.db")}`;
  await using cloud = new Program([
    ...[
      "cloud",
      "--schema",
      example,
      "--table",
      table,
      "--broker",
      "--mqtt-port",
      "0",
      "--port",
      "0",
      "--token",
      "secret",
    ],
  ]);
  const [, url] = await cloud.printed(/(http:\/\/\S+)/);
  const well = await run("doctor", "--cloud", url!, "--token", "secret", "--table", table, "--schema", example);
  assert.equal(well.code, 0, well.stdout + well.stderr);
  assert.deepEqual(well.stdout.match(/^ok +\S+/gm)?.map((line) => line.split(/\s+/)[1]), [
    "cloud",
    "clock",
    "token",
    "schema",
    "console",
    "table",
  ]);
  assert.match(well.stdout, /^ok +schema +version \S+, in the cloud as here/m);
  const other = await run("doctor", "--cloud", url!, "--token", "secret", "--schema", writeSchema(dir.path));
  assert.equal(other.code, 1);
  assert.match(other.stdout, /^WRONG +schema +the cloud has version \S+, another than the one here/m);
  assert.match((await run("doctor", "--cloud", url!)).stdout, /^WRONG +token +the API refuses it \(401\)/m);
  assert.match((await run("doctor", "--cloud", "http://127.0.0.1:1")).stdout, /^WRONG +cloud .*can't be reached/m);
  const none = await run("doctor", "--table", `embedded:${dir.file("none.db")}`, "--schema", example);
  assert.match(none.stdout, /^WRONG +table .*does not exist/m);
});

Deno.test("tail: what comes, what is sent and what is refused, as it happens; status --watch follows the state", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await device.settle();
  await using tail = new Program(["tail", "--db", device.path, "--json"]);
  await using watch = new Program(["status", "--db", device.path, "--watch"]);
  await tail.printed(/connected/);
  await watch.printed(/outbox +0/);
  await cloud.put("Setting", { name: "down", value: 5 }, { deviceId: "dev-1", accountId: "acme" });
  await tail.printed(/"kind":"in","text":"put Setting \{\\"name\\":\\"down\\"\}"/);
  device.exec("INSERT INTO Setting(name, text) VALUES ('big', hex(zeroblob(300000)))");
  await tail.printed(/"kind":"rejected","text":"create Setting \{\\"name\\":\\"big\\"\}: too-large: /);
  await watch.printed(/rejected +1/);
  device.tap.cut();
  device.exec("INSERT INTO Setting(name, value) VALUES ('waits', 1)");
  await tail.printed(/"kind":"waiting","text":"1 changes wait"/);
  device.tap.mend();
  await tail.printed(/"kind":"sent"/);
  for (const line of tail.stdout.trim().split("\n")) assert.ok(JSON.parse(line).at);
});

Deno.test("tail: of the cloud, who writes what, which devices come and go, and what is missing while it was away", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const port = await cloud.cloud.serveHttp({ token: "secret" }), url = `http://127.0.0.1:${port}`;
  const token = dir.file("token");
  await Deno.writeTextFile(token, "secret\n");
  await using tail = new Program(["tail", "--cloud", url, "--token-file", token, "--model", "Setting"]);
  await using json = new Program(["tail", "--cloud", url, "--token-file", token, "--device", "dev-1", "--json"]);
  await tail.printed(/· connected/);
  await json.printed(/"type":"link"/);
  await using device = await openDevice(dir, cloud);
  await tail.printed(/· dev-1 is connected/);
  device.exec("INSERT INTO Setting(name, value) VALUES ('up', 1)");
  await tail.printed(/dev-1 → table {2}put Setting \S*up/);
  await cloud.put("Setting", { name: "down", value: 5 }, { deviceId: "dev-1", accountId: "acme" });
  await tail.printed(/cloud → table {2}put Setting \S*down/);
  await json.printed(/"model":"Setting".*"by":"dev-1"/);
  for (const line of json.stdout.trim().split("\n")) assert.ok(JSON.parse(line).at);
  await device.agent.close();
  await tail.printed(/· dev-1 is gone/);
  assert.equal((await tail.stop("SIGINT")).code, 0, tail.stderr);
  assert.match((await run("tail", "--cloud", url, "--token", "wrong")).stderr, /bearer token/);
  assert.match((await run("tail", "--cloud", url, "--db", "x")).stderr, /either --db or --cloud/);
});

Deno.test("completions: bash completes commands, actions and flags; zsh and fish get a script, too", {
  ignore: toolsMissing("bash"),
}, async () => {
  using dir = new TempDir();
  const file = dir.file("completions");
  const { stdout, code } = await run("completions", "bash");
  assert.equal(code, 0);
  await Deno.writeTextFile(file, stdout);
  const complete = async (...words: string[]) => {
    const script =
      `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _twintable; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const args = ["-c", script, "bash", file, "twintable", ...words];
    const { stdout } = await new Deno.Command("bash", { args, cwd: dir.path }).output();
    return new TextDecoder().decode(stdout).trim().split("\n");
  };
  assert.deepEqual(await complete("exp"), ["export"]);
  assert.deepEqual(await complete("data", "up"), ["update"]);
  assert.ok((await complete("agent", "--pass")).includes("--password-file"));
  assert.deepEqual(await complete("status", "--db", "comp"), ["completions"]);
  assert.match((await run("completions", "zsh")).stdout, /^autoload .*bashcompinit/);
  assert.match((await run("completions", "fish")).stdout, /complete -c twintable .* -a data/);
  assert.match((await run("completions", "csh")).stderr, /completions csh\? bash, zsh, fish/);
  await until("nothing is left running", () => true);
});
