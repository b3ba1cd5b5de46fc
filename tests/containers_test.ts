/**
 * The Dockerfile without an engine: each stage has what its commands need, taken in a plain folder; the agent's image works as a
 * changed root, read-only, as its unprivileged user, and its health check tells.
 */
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { validate } from "dockerfile-utils";
import { chrootMissing, copyContext, copyPrograms, dockerfile, stages, wordsOf } from "./support/dockerfile.ts";
import { binary } from "./support/process.ts";
import { count, query } from "./support/sql.ts";
import { TempDir } from "./support/temp_dir.ts";
import { openTestCloud } from "./support/test_cloud.ts";
import { noted, unreachableIn } from "./support/tools.ts";
import { writeSchema } from "./support/schema.ts";
import { until } from "./support/until.ts";

/** Runs Deno in a folder that is an image's; with a package cache of its own, as an image has it. */
async function deno(cwd: string, env: Record<string, string>, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  assert.ok(success, `deno ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

Deno.test("containers: the stages are pinned, unprivileged, have a health check, and no tests in them", () => {
  assert.deepEqual([...stages.keys()], ["compile", "agent", "cloud"]);
  for (const [, image] of dockerfile.matchAll(/^ARG \w+_IMAGE=(\S+)$/gm)) {
    assert.match(image!, /:\d+\.\d+(\.\d+)?(-slim)?$/, "a version, not a moving tag");
  }
  for (const name of ["agent", "cloud"]) {
    const { steps } = stages.get(name)!;
    assert.ok(steps.includes("USER twintable"), name);
    assert.ok(steps.some((step) => step.includes("uid 1993")), name);
    assert.ok(steps.some((step) => step.startsWith("HEALTHCHECK ")), name);
    // What comes last is what runs, as the user.
    assert.ok(
      steps.findIndex((step) => step === "USER twintable") > steps.findLastIndex((step) => /^(RUN|COPY) /.test(step)),
    );
  }
  for (const { steps } of stages.values()) {
    for (const step of steps) assert.doesNotMatch(step, /COPY .*(tests|bench|docs|\. \.)(\s|$)/);
  }
});

Deno.test("containers: the Dockerfile is one, by a linter", () => {
  const lint = (text: string) => validate(text).map(({ range, message }) => `${range.start.line + 1}: ${message}`);
  assert.deepEqual(lint(dockerfile), []);
  assert.ok(lint(dockerfile.replace("\nUSER twintable", "\nUSR twintable")).length > 0, "it sees a mistake");
});

Deno.test("containers: the stage that compiles has all that the program is made of", async () => {
  using dir = new TempDir();
  await copyContext(stages.get("compile")!, dir.path);
  const bundle = ["bundle", "--quiet", "--platform", "deno"];
  await deno(dir.path, {}, ...bundle, "--output", "dist/agent.js", "agent_main.ts");
  await deno(dir.path, {}, "cache", "--quiet", "build/compile.ts");
  assert.match(await deno(dir.path, {}, "run", "-A", "dist/agent.js", "--help"), /Usage: twintable COMMAND/);
});

Deno.test("containers: the cloud's stage runs its commands and the handler from what it has, offline", async () => {
  using dir = new TempDir();
  const stage = stages.get("cloud")!;
  await copyContext(stage, dir.path);
  const cached = stage.steps.join("\n").match(/deno cache (--frozen [^&]+)/)![1]!.trim().split(" ");
  const own = { DENO_DIR: dir.file(".deno") };
  try {
    await deno(dir.path, own, "cache", "--quiet", ...cached);
  } catch (error) {
    if (noted(unreachableIn((error as Error).message))) return;
    throw error;
  }
  for (const command of ["cloud", "device", "status"]) {
    const help = await deno(dir.path, own, "run", "--cached-only", "-A", "mod.ts", command, "--help");
    assert.match(help, /Usage: mod\.ts/);
  }
  for (const lazy of ["handler.ts", "dynamodb/tables.ts", "embedded.ts", "broker/broker.ts"]) {
    await deno(dir.path, own, "eval", "--cached-only", `await import('./cloud/${lazy}')`);
  }
});

Deno.test({
  name: "containers: the agent's image works on a read-only root as uid 1993, and its health check tells",
  ignore: noted(binary ? chrootMissing() : "TWINTABLE_BINARY names no compiled program"),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const image = dir.file("root"), data = dir.file("data"), etc = dir.file("etc");
    const stage = stages.get("agent")!;
    const program = stage.steps.join("\n").match(/COPY --from=compile \S+ \S+ (\S+)/)![1]!;
    for (const folder of ["data", "etc/twintable", "dev", "proc", "tmp", dirname(program)]) {
      await mkdir(join(image, folder), { recursive: true });
    }
    await copyPrograms(image, { [binary!]: program });
    for (const folder of [data, etc]) await mkdir(folder);
    await Deno.chown(data, 1993, 1993);
    await Deno.chmod(dir.path, 0o755);
    await Deno.rename(writeSchema(etc), join(etc, "schema.json5"));
    await Deno.writeTextFile(join(etc, "token"), await cloud.token("d-1", "acme"));
    const config = { device: "d-1", account: "acme", schema: "/etc/twintable/schema.json5", db: "/data/device.db" };
    await Deno.writeTextFile(
      join(etc, "agent.json5"),
      JSON.stringify({ ...config, mqtt: cloud.mqttUrl, "password-file": "/etc/twintable/token" }),
    );
    const enter = `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && mount --bind "$1" "$0/data" &&
      mount --bind "$2" "$0/etc/twintable" && mount -o remount,bind,ro "$0/etc/twintable" && mount --bind /dev "$0/dev" &&
      mount -t proc proc "$0/proc" && root=$0 && shift 2 && exec chroot --userspec=1993:1993 "$root" "$@"`;
    const inside = (...args: string[]) =>
      new Deno.Command("unshare", {
        args: ["-m", "sh", "-c", enter, image, data, etc, ...args],
        clearEnv: true,
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      });
    const health = wordsOf(stage, "HEALTHCHECK").map((word) => word === "twintable" ? program : word);
    const path = join(data, "device.db");
    const isHealthy = async () => (await inside(...health).output()).success;
    const agent = inside(program, ...wordsOf(stage, "CMD")).spawn();
    const said = new Response(agent.stderr).text();
    void agent.stdout.cancel();
    await until("it is healthy", isHealthy, 20_000).catch(async (error) => {
      agent.kill("SIGKILL");
      const { stdout, stderr } = await inside(...health).output();
      throw new Error(
        `${error.message}: ${await said}; ${new TextDecoder().decode(stdout)}${new TextDecoder().decode(stderr)}`,
      );
    });
    const touched = await inside("/bin/true").output().then(({ success }) => success, () => false);
    assert.equal(touched, false, "nothing but the program is in the image");
    query(path, "INSERT INTO Setting(name, value) VALUES ('a', 1)");
    await Deno.chown(path, 1993, 1993);
    await until("the row is in the table", async () => (await cloud.items("Setting")).length === 1, 30_000);
    assert.equal(count(path, "SELECT count(*) FROM Setting"), 1);
    assert.equal((await Deno.stat(path)).uid, 1993);
    agent.kill("SIGTERM");
    const { code } = await agent.status;
    assert.equal(code, 0, await said);
    assert.equal(await isHealthy(), false, "an agent that has ended is not healthy");
  },
});
