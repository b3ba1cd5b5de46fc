/**
 * A worker and an agent that were given secrets, and log each step: whatever they print, serve or write, none of the secrets is
 * in it, in any usual form. Only the files that hold the secrets by the operator's wish have them.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { runMod } from "../support/mod.ts";
import { freePort } from "../support/mosquitto.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";
import { source } from "./rig.ts";

const mod = fileURLToPath(new URL("../../mod.ts", import.meta.url));

/** A program that runs until it is stopped, and everything that it says. */
function start(...args: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", mod, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = [child.stdout, child.stderr].map(async (stream) => {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) said += chunk;
  });
  return {
    said: () => said,
    async stop() {
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended by itself.
      }
      await child.status;
      await Promise.all(reading);
    },
  };
}

/** The forms in which a secret may be told. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  // Within a longer text, base64 has other ends.
  return [secret, encodeURIComponent(secret), bytes.toString("base64").slice(0, -4), bytes.toString("hex")];
}

/** Every route that is only read, without what it needs a name for. */
const pages = [
  ...["/healthz", "/readyz", "/metrics", "/api/openapi.json", "/api/size", "/api/metrics", "/api/metrics/series"],
  ...["/api/devices", "/api/devices/dev-1", "/api/devices/dev-1/orders", "/api/unidentified", "/api/audit"],
  ...["/api/items?model=Own&device=dev-1", "/fleet", "/fleet/rows?id=dev-1", "/fleet.csv", "/data/Own?device=dev-1"],
  ...["/live", "/conflicts", "/rejected", "/metrics-view", "/devices/dev-1", "/console/troubles", "/fleet/add"],
];

Deno.test({
  name: "secrets: none is in what a worker and an agent print, serve or write",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    const said: Record<string, string> = {};
    const file = (name: string, text: string) => {
      Deno.writeTextFileSync(dir.file(name), text, { mode: 0o600 });
      return dir.file(name);
    };
    const schema = file("schema.json", JSON.stringify(source));
    const table = ["--table", `embedded:${dir.file("cloud.db")}`];
    const run = async (...args: string[]) => {
      const { stdout, stderr, code } = await runMod(...args);
      said[args.slice(0, 2).join(" ")] = stdout + stderr;
      return { stdout, code };
    };
    const added = (await runMod("device", "add", "dev-1", "--account", "acme", ...table)).stdout.trim();
    const rotated = (await runMod("device", "rotate", "dev-1", "--grace", "1h", ...table)).stdout.trim();
    const secrets = {
      added,
      rotated,
      api: `marked-api-${crypto.randomUUID()}`,
      guess: `marked-guess-${crypto.randomUUID()}`,
    };
    for (const [name, value] of Object.entries(secrets)) assert.ok(value.length > 40, name);
    const port = await freePort(), mqttPort = await freePort(), base = `http://127.0.0.1:${port}`;
    const worker = start(
      ...["cloud", "-v", ...table, "--schema", schema, "--broker", "--mqtt-port", `${mqttPort}`, "--port", `${port}`],
      ...["--token-file", file("api-token", secrets.api)],
    );
    const agentArgs = (db: string, password: string) => [
      ...["agent", "-v", "--device", "dev-1", "--account", "acme", "--schema", schema, "--db", dir.file(db)],
      ...["--mqtt", `mqtt://127.0.0.1:${mqttPort}`, "--password-file", password],
    ];
    const right = file("password", secrets.rotated), wrong = file("wrong", secrets.guess);
    const authorization = `Bearer ${secrets.api}`;
    let agent: ReturnType<typeof start> | undefined, stranger: ReturnType<typeof start> | undefined;
    try {
      await until("the worker answers", () => fetch(`${base}/healthz`).then((r) => r.text(), () => false), 60_000);
      agent = start(...agentArgs("device.db", right));
      stranger = start(...agentArgs("stranger.db", wrong));
      await until("the agent is seen", async () => {
        const response = await fetch(`${base}/api/devices/dev-1`, { headers: { authorization } });
        return /"state":\s*"online"/.test(await response.text());
      }, 60_000);
      await until("the stranger is refused", () => /refuse/.test(stranger!.said()), 60_000);
      // Tries whose secret is wrong, or stands where it is logged elsewhere.
      for (const path of [`/api/devices?token=${secrets.guess}`, `/${secrets.guess}`, `/console/${secrets.guess}`]) {
        await (await fetch(`${base}${path}`, { headers: { authorization: `Bearer ${secrets.guess}` } })).body?.cancel();
      }
      const login = await fetch(`${base}/login`, {
        method: "POST",
        redirect: "manual",
        headers: { origin: base, "sec-fetch-site": "same-origin" },
        body: new URLSearchParams({ token: secrets.api }),
      });
      assert.equal(login.status, 303, await login.text());
      const cookie = login.headers.get("set-cookie")!;
      said.cookie = cookie;
      for (const path of pages) {
        const isPage = !/^\/(api|healthz|readyz|metrics$)/.test(path);
        const headers: Record<string, string> = isPage ? { cookie: cookie.split(";")[0]! } : { authorization };
        const response = await fetch(`${base}${path}`, { headers });
        const text = await response.text();
        assert.equal(response.status, 200, `${path}: ${text.slice(0, 200)}`);
        said[path] = `${JSON.stringify([...response.headers])}${text}`;
      }
      await run("doctor", "--json", "--db", dir.file("device.db"), "--schema", schema);
      await run("status", "--db", dir.file("device.db"));
      await run("device", "list", ...table);
    } finally {
      await Promise.all([agent, stranger, worker].map((one) => one?.stop()));
    }
    Object.assign(said, { worker: worker.said(), agent: agent!.said(), stranger: stranger!.said() });
    for (const who of ["worker", "agent"]) assert.match(said[who]!, / info .* connected to /, `the ${who} logs`);
    const own = ["password", "wrong", "api-token"];
    for (const { name } of Deno.readDirSync(dir.path)) {
      if (!own.includes(name)) said[name] = Buffer.from(Deno.readFileSync(dir.file(name))).toString("latin1");
    }
    assert.ok(said["cloud.db"] && said["device.db"], Object.keys(said).join(" "));
    const told = Object.entries(secrets).flatMap(([secret, value]) =>
      Object.entries(said).filter(([, text]) => formsOf(value).some((form) => text.includes(form)))
        .map(([where]) => `${secret} in ${where}`)
    );
    assert.deepEqual(told, []);
  },
});
