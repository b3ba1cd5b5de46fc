/**
 * The single binary, as `deno task compile` makes it: with exactly an agent's permissions (network, files; no environment,
 * no processes, no native code) it does all that an agent has to. The end-to-end tests run their agents with it, too.
 */
import assert from "node:assert/strict";
import { compileArguments, compileOptions, targets } from "../../build/compile.ts";
import { packagesOf } from "../../build/notices.ts";
import { binary, complaintsOf, procMissing, Program } from "../support/process.ts";
import { count, query } from "../support/sql.ts";
import { noted } from "../support/tools.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { example, run } from "./run.ts";

const ignore = noted(binary ? undefined : "TWINTABLE_BINARY names no compiled program; .ci/run makes one");

interface Status {
  readonly connected: boolean;
  readonly outbox: number;
}

async function statusOf(path: string): Promise<Status | undefined> {
  const { stdout } = await new Deno.Command(binary!, { args: ["status", "--db", path, "--json"] }).output();
  return stdout.length > 0 ? JSON.parse(new TextDecoder().decode(stdout)) : undefined;
}

Deno.test({
  name:
    "binary: with an agent's permissions alone it keeps a device in step, survives kill -9, and needs no environment",
  ignore,
  async fn() {
    using folder = new TempDir();
    const schema = folder.file("schema.json");
    const table = `embedded:${folder.file("cloud.db")}`;
    await Deno.writeTextFile(schema, (await run("schema", "json", example)).stdout);
    await using cloud = new Program([
      ...["cloud", "--schema", schema, "--table", table, "--broker", "--mqtt-port", "0", "--port", "0"],
    ]);
    const [, mqtt, url] = await cloud.printed(/broker (127\.0\.0\.1:\d+), (http:\/\/\S+)/);
    const token = (await run("device", "add", "d-1", "--account", "a-1", "--table", table)).stdout.trim();
    const path = folder.file("d-1.db");
    const start = () =>
      new Deno.Command(binary!, {
        args: [
          ...["agent", "--device", "d-1", "--account", "a-1", "--schema", schema, "--db", path],
          ...["--mqtt", `mqtt://${mqtt}`, "--password", token],
        ],
        clearEnv: true,
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
    const connected = () => until("the agent is connected", async () => (await statusOf(path))?.connected, 30_000);
    const arrived = (wanted: number) =>
      until(`${wanted} events are in the table`, async () => {
        const { items } = await (await fetch(`${url}/api/items?model=Event`)).json();
        return items.length === wanted;
      }, 30_000);
    const command = async (value: number) => {
      const item = { deviceId: "d-1", name: "interval", value };
      const body = JSON.stringify({ model: "Command", item });
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${url}/api/items`, { method: "PUT", headers, body });
      assert.equal(response.status, 200);
      await response.body?.cancel();
      await until("the command is on the device", () => {
        return count(path, `SELECT count(*) FROM Command WHERE value = ${value}`) === 1;
      }, 30_000);
    };

    const began = performance.now();
    const first = start();
    const firstComplaint = new Response(first.stderr).text();
    await until("the tables are made", () => {
      try {
        return count(path, "SELECT count(*) FROM sqlite_master WHERE name = 'Event'") === 1;
      } catch {
        // Not there yet, or being made.
        return false;
      }
    }, 30_000);
    const startMs = performance.now() - began;
    await connected();
    query(path, "INSERT INTO Event(message) VALUES ('from the binary')");
    await arrived(1);
    await command(2);
    // The binary carries the whole runtime: what it takes on a device is worth knowing.
    if (!procMissing) {
      const resident = Deno.readTextFileSync(`/proc/${first.pid}/status`).match(/VmRSS:\s+(\d+) kB/)![1];
      const bytes = Deno.statSync(binary!).size;
      console.log(
        `binary: ${Math.round(bytes / 2 ** 20)} MiB; tables ready ${Math.round(startMs)} ms after its start; ` +
          `${Math.round(Number(resident) / 1024)} MiB resident`,
      );
      assert.ok(Number(resident) < 120 * 1024, `${resident} kB resident`);
    }

    first.kill("SIGKILL");
    await first.status;
    assert.equal(complaintsOf(await firstComplaint), "");
    query(path, "INSERT INTO Event(message) VALUES ('while it was dead'), ('and another')");
    const second = start();
    const complaint = new Response(second.stderr).text();
    await arrived(3);
    await command(3);
    await until("nothing waits", async () => (await statusOf(path))?.outbox === 0);
    second.kill("SIGTERM");
    assert.equal((await second.status).code, 0);
    assert.equal(complaintsOf(await complaint), "");
    assert.equal((await statusOf(path))?.connected, false);
  },
});

Deno.test({
  name: "binary: what needs more than an agent's permissions ends in one line that says so",
  ignore,
  async fn() {
    const { code, stderr } = await new Deno.Command(binary!, { args: ["schema", "check", example] }).output();
    assert.equal(code, 1);
    assert.match(new TextDecoder().decode(stderr), /^twintable: this binary can't load .* prints it as JSON\n$/);
  },
});

/** What the task compiles with, for these flags. */
const compileFlags = (...args: string[]) => compileArguments(compileOptions(args), "dist/agent.js").slice(1);
const permissionsOf = (flags: string[]) => flags.filter((flag) => /^(--(allow|deny|no-prompt|ignore)|-A)/.test(flag));

Deno.test("binary: the task that makes it gives it no more than an agent needs, and less where it is told", () => {
  const always = ["--no-prompt", "--ignore-env"];
  assert.deepEqual(permissionsOf(compileFlags()), [...always, "--allow-net", "--allow-read", "--allow-write"]);
  const narrow = compileFlags(
    "--broker",
    "b.example:8883",
    "--broker=[::1]:1883",
    "--state",
    "/var/lib/tw",
    "--etc=/etc/tw",
  );
  assert.deepEqual(permissionsOf(narrow), [
    ...always,
    "--allow-net=b.example:8883,[::1]:1883",
    "--allow-read=/var/lib/tw,/etc/tw",
    "--allow-write=/var/lib/tw",
  ]);
});

Deno.test("binary: the task passes the target on, and refuses what it can't do", () => {
  for (const target of targets) {
    assert.match(
      compileFlags("--target", target, "--output", "x").join(" "),
      new RegExp(`--target ${target} --output x`),
    );
  }
  const refused: [string[], RegExp][] = [
    [["--target", "riscv64"], /one of x86_64-unknown-linux-gnu/],
    [["--broker", "mqtt://x:1"], /HOST:PORT/],
    [["--broker", "x"], /HOST:PORT/],
    [["--broker", "x:1,y:2"], /HOST:PORT/],
    [["--state", "data"], /no absolute path/],
    [["--etc", "/etc/x"], /without --state/],
    [["--output"], /wants a value/],
    [["--output", "a", "--output", "b"], /stands twice/],
    [["--allow-run"], /is required/],
  ];
  for (const [args, reason] of refused) assert.throws(() => compileOptions(args), reason, args.join(" "));
});

Deno.test({
  name: "binary: deno task compile hands its flags and its end to the Deno that compiles",
  ignore: Deno.build.os === "windows",
  async fn() {
    using dir = new TempDir();
    // In place of the Deno that compiles: it writes down what it is given. That its runtime for ARM64 can be downloaded is for a release.
    const standIn = dir.file("deno"), noted = dir.file("args");
    Deno.writeTextFileSync(standIn, `#!/bin/sh\nprintf '%s\\n' "$@" >'${noted}'\nexit 7\n`, { mode: 0o755 });
    for (const target of targets) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["task", "--quiet", "compile", "--target", target, "--small", "--output", dir.file(`out/${target}`)],
        cwd: new URL("../..", import.meta.url),
        env: { DENO_COMPILE: standIn },
      }).output();
      assert.equal(code, 7, new TextDecoder().decode(stderr));
      const args = Deno.readTextFileSync(noted).trimEnd().split("\n");
      const options = compileOptions(["--target", target, "--small", "--output", dir.file(`out/${target}`)]);
      assert.deepEqual(args, compileArguments(options, dir.file("out/agent.js")));
      assert.equal(args[args.indexOf("--target") + 1], target);
      assert.match(args.find((one) => one.startsWith("--v8-flags="))!, /--lite-mode/);
      assert.ok(Deno.statSync(args.at(-1)!).size > 100_000, "the program is there to be compiled");
    }
  },
});

Deno.test("binary: it carries an agent's packages alone", async () => {
  const names = (await packagesOf("agent_main.ts")).map(({ name }) => name);
  assert.ok(names.includes("mqtt") && names.includes("json5") && names.includes("@logtape/logtape"), names.join());
  assert.ok(names.length < 50, `${names.length} packages`);
  for (const name of names) {
    assert.ok(!/aws|smithy|aedes|hono|fast-check|sql\.js|onetable|prom-client/.test(name), `${name} is no agent's`);
  }
});
