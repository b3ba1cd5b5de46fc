/**
 * Why a device is offline, as another process reads it from `_status`: each reason by itself, told at the first attempt, and
 * gone when the device is back.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { faultsOf, readStatus } from "../../cli/status.ts";
import { openDatabase } from "../../agent/sqlite/driver.ts";
import { type Broker, startBroker } from "../../cloud/broker/broker.ts";
import { authorityCert, serverCert, serverKey, tlsMissing } from "../support/certificates.ts";
import { type Device, type DeviceOptions, openDevice } from "../support/device.ts";
import { freePort } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { noted } from "../support/tools.ts";
import { until } from "../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };
/** An attempt, and the tick after it; generous, for a busy machine. */
const oneRetryMs = 10_000;

const read = (path: string) => readStatus(path, openDatabase);

/** Waits until `_status` says why, in `problem` and in `last_error`; gives the problem's name. */
async function told(path: string, why: RegExp, timeoutMs = oneRetryMs): Promise<string> {
  await until(`_status says ${why}`, () => why.test(read(path).problem ?? ""), timeoutMs);
  const status = read(path);
  assert.match(String(status.lastError), why);
  assert.notEqual(status.lastErrorAt, null);
  return status.problems[0]!.name;
}

const open = (dir: TempDir, mqttUrl: string, token = "t", options?: DeviceOptions): Promise<Device> =>
  openDevice(dir, { mqttUrl, token: () => Promise.resolve(token) }, options);

function test(reason: string, fn: (dir: TempDir) => Promise<void>, missing?: string): void {
  Deno.test({
    name: `offline: ${reason}`,
    ignore: noted(missing),
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      using dir = new TempDir();
      await fn(dir);
    },
  });
}

function broker(options: Partial<Parameters<typeof startBroker>[0]> = {}): Promise<Broker> {
  return startBroker({
    port: 0,
    internal: { username: "cloud", password: "secret" },
    authenticate: (_device, token) => Promise.resolve(token === "t" ? identity : undefined),
    ...options,
  });
}

test("nobody answers there; it is over with the connection, and no fault for --check", async (dir) => {
  const port = await freePort();
  await using device = await open(dir, `mqtt://127.0.0.1:${port}`);
  const name = await told(
    device.path,
    new RegExp(`^the connection to the broker 127\\.0\\.0\\.1:${port} failed: .*refused`, "i"),
  );
  assert.equal(name, "offline");
  assert.deepEqual(faultsOf(read(device.path), undefined, Date.now()), []);
  await using _ = { [Symbol.asyncDispose]: () => server.close() };
  const server = await broker({ port });
  await until("it is over", () => read(device.path).problem === null && read(device.path).connected);
  assert.equal(read(device.path).lastError, null);
});

test("the name has no address", async (dir) => {
  await using device = await open(dir, "mqtt://broker.invalid:1883");
  assert.equal(await told(device.path, /the name "broker\.invalid" has no address: /), "offline");
});

const tlsCases = [
  [
    "the certificate's authority is not trusted",
    "127.0.0.1",
    undefined,
    /TLS: .*(issuer|authority|self.signed|verify)/i,
  ],
  ["the certificate is for another name", "127.0.0.2", authorityCert, /TLS: .*(name|altname|valid for)/i],
] as const;
for (const [what, host, ca, why] of tlsCases) {
  test(`TLS: ${what}`, async (dir) => {
    const server = await broker({ host: "0.0.0.0", tls: { cert: serverCert, key: serverKey } });
    await using _ = { [Symbol.asyncDispose]: () => server.close() };
    await using device = await open(dir, `mqtts://${host}:${server.port}`, "t", { link: ca ? { ca } : {} });
    assert.equal(await told(device.path, why), "credentials");
  }, tlsMissing);
}

test("TLS: the broker does not speak it there", async (dir) => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const connection of listener) {
      await connection.write(new TextEncoder().encode("no TLS here\r\n"));
      connection.close();
    }
  })();
  await using device = await open(dir, `mqtts://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`);
  await told(device.path, /TLS: /);
  listener.close();
  await serving;
});

test("the password is refused", async (dir) => {
  const server = await broker();
  await using _ = { [Symbol.asyncDispose]: () => server.close() };
  await using device = await open(dir, `mqtt://127.0.0.1:${server.port}`, "wrong");
  assert.equal(await told(device.path, /refused dev-1: (?!.*let it in)/), "credentials");
});

test("a subscription is refused", async (dir) => {
  const server = await broker();
  await using _ = { [Symbol.asyncDispose]: () => server.close() };
  await using device = await open(dir, `mqtt://127.0.0.1:${server.port}`, "t", { account: "other" });
  assert.equal(await told(device.path, /does not let the device "dev-1" into the account "other"/), "credentials");
});

test("the device was revoked", async (dir) => {
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await until("it is connected", () => read(device.path).connected);
  await cloud.cloud.registry.revoke("dev-1");
  assert.equal(await told(device.path, /refused dev-1: .*let it in before: the token was revoked/), "credentials");
});

for (
  const [what, url, why] of [
    [
      "an address",
      "mqtt://127.0.0.1:1883",
      /this program's permissions forbid it: it requires net access to "127\.0\.0\.1:1883"/,
    ],
    ["a name", "mqtt://broker.invalid:1883", /this program's permissions forbid it/],
  ] as const
) {
  test(`the program's permissions forbid ${what}`, async (dir) => {
    const path = dir.file("dev-1.db");
    const child = fileURLToPath(new URL("./offline_child.ts", import.meta.url));
    const rights = ["--allow-read", "--allow-write", "--allow-sys", "--allow-env", "--allow-net=127.0.0.1:5"];
    await using _ = new Program(["run", "--no-prompt", "--no-check", ...rights, child, path, url], {}, Deno.execPath());
    await until("the database is there", () => {
      try {
        return read(path).running;
      } catch {
        return false;
      }
    }, 30_000);
    assert.equal(await told(path, why), "offline");
  });
}

test("nothing is answered: no worker is running", async (dir) => {
  const server = await broker();
  await using _ = { [Symbol.asyncDispose]: () => server.close() };
  const limits = { retryMs: 300, unansweredMax: 2 };
  await using device = await open(dir, `mqtt://127.0.0.1:${server.port}`, "t", { limits });
  device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1)");
  const why = /^nothing that this device sends is answered since .*: no worker of the cloud is running/;
  await until("it is told", () => why.test(read(device.path).problem ?? ""), 60_000);
  assert.equal(read(device.path).problems[0]!.name, "unanswered");
});
