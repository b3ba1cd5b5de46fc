/**
 * Identity as an operator and a device have it, in processes: a claim at the first start, a certificate that is renewed while the
 * agent is killed at each step, and the same at Mosquitto.
 */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { MqttLink } from "../../agent/link.ts";
import { publicOf } from "../../agent/credentials/request.ts";
import { startCloud } from "../../cloud/worker.ts";
import { tlsMissing } from "../support/certificates.ts";
import { runMod } from "../support/mod.ts";
import { freePort } from "../support/mosquitto.ts";
import { accepts, dynsecMissing, dynsecPlugin } from "../support/mosquitto_dynsec.ts";
import { Program } from "../support/process.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { connect, query } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";

const test = (name: string, missing: string | undefined, fn: () => Promise<void>) =>
  Deno.test({ name: `identity: ${name}`, ignore: skipped(missing), fn, sanitizeOps: false, sanitizeResources: false });

async function must(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runMod(...args);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

/** An authority and a broker's certificate in a folder. */
async function authorityIn(dir: TempDir): Promise<string[]> {
  await must("device", "ca", "init", "--ca-dir", dir.file("ca"));
  await must("device", "ca", "server", "localhost", "127.0.0.1", "--ca-dir", dir.file("ca"), "--out", dir.path);
  return ["--cert", dir.file("server.pem"), "--key", dir.file("server-key.pem")];
}

/** A cloud with the embedded broker over TLS, the authority and the API, in a process of its own. */
async function cloudIn(dir: TempDir) {
  const tls = await authorityIn(dir), mqttPort = await freePort(), port = await freePort();
  const table = ["--table", `embedded:${dir.file("cloud.db")}`];
  const schema = ["--schema", writeSchema(dir.path)];
  const cloud = new Program([
    ...["cloud", ...schema, ...table, "--broker", "--mqtt-port", String(mqttPort), ...tls],
    ...["--device-ca", dir.file("ca"), "--port", String(port)],
  ]);
  await cloud.printed(/cloud: embedded/);
  const url = `mqtts://localhost:${mqttPort}`;
  const agent = (...more: string[]) =>
    new Program([
      ...["agent", "--device", "dev-1", "--account", "acme", ...schema, "--db", dir.file("d.db")],
      ...["--mqtt", url, "--ca", dir.file("ca/ca.pem"), "--cert", dir.file("dev-1.pem")],
      ...["--key", dir.file("dev-1-key.pem"), ...more],
    ]);
  return { cloud, table, agent, api: `http://127.0.0.1:${port}` };
}

const isConnected = (path: string) =>
  existsSync(path) && query(path, "SELECT connected FROM _status")[0]?.connected === 1;

/** A row of the device reaches the cloud. */
async function syncs(path: string, id: string): Promise<void> {
  {
    using db = connect(path);
    db.prepare("INSERT INTO Sample(id, n) VALUES (?, 1)").run(id);
  }
  await until("it is acknowledged", () => query(path, "SELECT outbox FROM _status")[0]?.outbox === 0, 30_000);
}

test("a device claims its certificate at its first start, and syncs", tlsMissing, async () => {
  using dir = new TempDir();
  const { cloud, table, agent, api } = await cloudIn(dir);
  const code = await must("device", "claim-code", "dev-1", "--account", "acme", ...table);
  const first = agent("--claim", code, "--cloud", api);
  await first.printed(/agent dev-1 of account acme/);
  await until("it is connected", () => isConnected(dir.file("d.db")), 30_000);
  await syncs(dir.file("d.db"), "s1");
  await first.stop();
  // With the same flags it starts again, though the code is used.
  const second = agent("--claim", code, "--cloud", api);
  await second.printed(/agent dev-1 of account acme/);
  await until("it is connected", () => isConnected(dir.file("d.db")), 30_000);
  await second.stop();
  // Another device has nothing of it.
  const thief = await runMod("claim", code, "--device", "dev-1", "--cloud", api, "--password-file", dir.file("stolen"));
  assert.equal(thief.code, 1);
  assert.match(thief.stderr, /this code is not valid/);
  assert.equal(existsSync(dir.file("stolen")), false);
  assert.match(await must("audit", ...table), /device\.claim {2}dev-1/);
  await cloud.stop();
});

test("a certificate is renewed though the agent is killed at each step, and outlives its end", tlsMissing, async () => {
  using dir = new TempDir();
  const { cloud, table, agent } = await cloudIn(dir);
  const ca = ["--ca-dir", dir.file("ca"), "--out", dir.path, "--expires", "20s"];
  await must("device", "add", "dev-1", "--account", "acme", "--cert", ...ca, ...table);
  const cert = dir.file("dev-1.pem"), key = dir.file("dev-1-key.pem"), first = readFileSync(cert, "utf8");
  const isNew = () => readFileSync(cert, "utf8") !== first;
  const steps: [string, () => boolean][] = [
    ["a key was made", () => existsSync(`${key}.next`) || isNew()],
    ["a certificate came", () => existsSync(`${cert}.next`) || isNew()],
    ["it was let in by it", isNew],
  ];
  for (const [what, reached] of steps) {
    const running = agent();
    const deadline = performance.now() + 40_000;
    // Closely: the step after is a moment later.
    while (!reached()) {
      assert.ok(performance.now() < deadline, `in vain until ${what}: ${running.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await running.kill();
  }
  const last = agent();
  await until(
    "the first one's time is over",
    () => Date.now() > Date.parse(new X509Certificate(first).validTo),
    40_000,
  );
  await until("it is connected", () => isConnected(dir.file("d.db")), 30_000);
  await syncs(dir.file("d.db"), "s2");
  assert.equal(publicOf(readFileSync(cert, "utf8")), publicOf(readFileSync(key, "utf8")));
  await last.stop();
  await cloud.stop();
});

test(
  "at Mosquitto a certificate is the identity, is renewed, and of a revoked device worth nothing",
  dynsecMissing,
  async () => {
    using dir = new TempDir();
    const tls = await authorityIn(dir), port = await freePort(), workerPort = await freePort();
    const table = ["--table", `embedded:${dir.file("cloud.db")}`], ca = ["--ca-dir", dir.file("ca"), "--out", dir.path];
    await must("device", "add", "dev-1", "--account", "acme", "--cert", ...ca, "--expires", "20s", ...table);
    await must("device", "add", "dev-2", "--account", "acme", "--cert", ...ca, ...table);
    await must(
      ...["broker", "config", "mosquitto", ...table, ...tls, "--ca", dir.file("ca/ca.pem"), "--require-certificate"],
      ...["--out", dir.file("mosquitto"), "--port", String(port), "--worker-port", String(workerPort)],
      ...["--plugin", dynsecPlugin!],
    );
    const conf = dir.file("mosquitto/mosquitto.conf");
    const text = readFileSync(conf, "utf8").replace(`listener ${port}\n`, `listener ${port} 127.0.0.1\n`);
    Deno.writeTextFileSync(conf, `${Deno.uid() === 0 ? "user root\n" : ""}log_type error\n${text}`);
    const mosquitto = new Deno.Command("mosquitto", { args: ["-c", conf], stdout: "null", stderr: "null" }).spawn();
    await until("Mosquitto listens", async () => await accepts(port) && await accepts(workerPort));
    const password = readFileSync(dir.file("mosquitto/worker-password"), "utf8").trim();
    const cloud = await startCloud({
      schema: e2eCompiled,
      table: `embedded:${dir.file("cloud.db")}`,
      ...{ mqtt: `mqtt://127.0.0.1:${workerPort}`, username: "twintable-cloud", password },
      deviceAuthority: {
        cert: readFileSync(dir.file("ca/ca.pem"), "utf8"),
        key: readFileSync(dir.file("ca/ca-key.pem"), "utf8"),
      },
    });
    const link = (device: string, as = device) => {
      const made = new MqttLink({
        url: `mqtts://localhost:${port}`,
        identity: { deviceId: as, accountId: "acme" },
        ca: readFileSync(dir.file("ca/ca.pem"), "utf8"),
        certificateFiles: { cert: dir.file(`${device}.pem`), key: dir.file(`${device}-key.pem`) },
        retryMinMs: 50,
      });
      const heard: unknown[] = [];
      const hello = () =>
        made.send({ type: "sync", request: "hello/1", channels: [{ channel: "global", epoch: "x", seq: 0 }] });
      made.start({ connected: hello, disconnected() {}, message: (message) => heard.push(message) });
      return Object.assign(made, { heard });
    };
    const first = readFileSync(dir.file("dev-1.pem"), "utf8"), one = link("dev-1");
    await until("it is answered", () => one.heard.length > 0, 20_000);
    await until("it has another certificate", () => readFileSync(dir.file("dev-1.pem"), "utf8") !== first, 30_000);
    await until("it is back", () => one.connected, 20_000);
    // Another's name over its own certificate: its subscriptions are refused.
    const liar = link("dev-2", "dev-1");
    await until("it is refused", () => liar.lastError !== undefined, 20_000);
    assert.equal(liar.connected, false);
    await liar.close();
    const none = new MqttLink({
      url: `mqtts://localhost:${port}`,
      identity: { deviceId: "dev-2", accountId: "acme" },
      ca: readFileSync(dir.file("ca/ca.pem"), "utf8"),
      password: "guess",
    });
    none.start({ connected() {}, disconnected() {}, message() {} });
    await until("without a certificate TLS fails", () => none.lastError !== undefined, 20_000);
    assert.equal(none.connected, false);
    await none.close();
    const broker = ["--broker", `mqtt://127.0.0.1:${workerPort}`, "--broker-password-file"];
    await must("device", "revoke", "dev-1", ...table, ...broker, dir.file("mosquitto/admin-password"));
    await until("it is cut, and kept out", () => !one.connected && one.refused, 20_000);
    await one.close();
    // Its certificate is valid for long yet, and Mosquitto would take it for the next one of its name.
    await must("device", "revoke", "dev-2", ...table, ...broker, dir.file("mosquitto/admin-password"));
    const again = [...table, ...broker, dir.file("mosquitto/admin-password")];
    const reused = await runMod("device", "add", "dev-2", "--account", "beta", ...again);
    assert.deepEqual([reused.code, /a former device "dev-2" has a certificate until/.test(reused.stderr)], [1, true]);
    await must("device", "add", "dev-3", "--account", "beta", ...again);
    await cloud.close();
    mosquitto.kill("SIGTERM");
    await mosquitto.status;
  },
);
