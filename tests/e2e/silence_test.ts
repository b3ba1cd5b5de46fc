/**
 * A real broker that swallows what a device publishes: by its size, which MQTT 3.1.1 has no way to say, or by an access rule
 * that was forgotten. What can get through does, and the rest is told; with MQTT 5 in the broker's own words. Made after
 * eclipse-paho/paho.mqtt.python#760 (messages above AWS IoT's quota, sent again every three seconds, for gigabytes a day).
 */
import assert from "node:assert/strict";
import { type DeviceOptions, openDevice } from "../support/device.ts";
import { mosquittoMissing, type MosquittoOptions, startMosquitto } from "../support/mosquitto.ts";
import { skipped } from "../support/tools.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";
import { until } from "../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };
const internal = { username: "worker", password: "worker-password" };

async function withBroker(
  options: Partial<MosquittoOptions>,
  link: DeviceOptions["link"],
  use: (cloud: TestCloud, device: Awaited<ReturnType<typeof openDevice>>) => Promise<void>,
): Promise<void> {
  using dir = new TempDir();
  const broker = await startMosquitto({ devices: [{ ...identity, token: "device-token" }], internal, ...options });
  try {
    await using cloud = await openTestCloud({
      mqtt: { url: `mqtt://127.0.0.1:${broker.workerPort}`, ...internal },
      deviceUrl: `mqtt://127.0.0.1:${broker.devicePort}`,
    });
    await cloud.token("dev-1", "acme");
    const known = { mqttUrl: cloud.mqttUrl, token: () => Promise.resolve("device-token") };
    // Seconds as milliseconds: nothing else of the waits matters here.
    await using device = await openDevice(dir, known, { link, limits: { retryMs: 300, retryMaxMs: 1_000 } });
    await use(cloud, device);
  } finally {
    await broker.stop();
  }
}

const ignore = skipped(mosquittoMissing);

Deno.test({
  name:
    "silence: Mosquitto swallows messages above its limit: batches are cut until they get through, an item too large is told",
  ignore,
  fn: () =>
    withBroker({ settings: ["message_size_limit 8192"] }, {}, async (cloud, device) => {
      device.exec(`INSERT INTO Setting(name, text) VALUES ('huge', hex(randomblob(15000)));
        WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < 400)
        INSERT INTO Setting(name, text) SELECT 's' || x, hex(randomblob(200)) FROM i`);
      await until("all that fits is in the table", async () => (await cloud.items("Setting")).length === 400, 60_000);
      await until(
        "the rest is told",
        () => /^1 change is not answered .*--payload-max/.test(device.agent.status().problem ?? ""),
        30_000,
      );
      device.exec("INSERT INTO Setting(name, text) VALUES ('after', 't')");
      await until("what is written later goes at once", async () => (await cloud.items("Setting")).length === 401);
    }),
});

Deno.test({
  name: "silence: parts of the size that is named (--payload-max) pass where Mosquitto swallows larger messages",
  ignore,
  fn: () =>
    withBroker({ settings: ["message_size_limit 8192"] }, { payloadBytesMax: 8_000 }, async (cloud, device) => {
      device.exec("INSERT INTO Setting(name, text) VALUES ('huge', hex(randomblob(15000)))");
      await until("it is in the table", async () => (await cloud.items("Setting")).length === 1);
      assert.equal(device.agent.status().problem, undefined);
    }),
});

Deno.test({
  name: "silence: a size that the broker names (MQTT 5) is kept to by itself",
  ignore,
  fn: () =>
    withBroker({ settings: ["max_packet_size 9000"] }, { protocolVersion: 5 }, async (cloud, device) => {
      device.exec("INSERT INTO Setting(name, text) VALUES ('huge', hex(randomblob(15000)))");
      await until("it is in the table", async () => (await cloud.items("Setting")).length === 1);
      assert.equal(device.agent.status().problem, undefined);
    }),
});

Deno.test({
  name: "silence: an access rule that was forgotten is told, by MQTT 5 in the broker's words",
  ignore,
  async fn() {
    await withBroker({ without: ["up"] }, { protocolVersion: 5 }, async (_cloud, device) => {
      device.exec("INSERT INTO Setting(name, text) VALUES ('a', 't')");
      await until("it is told", () => device.agent.status().problem !== undefined);
      assert.match(
        device.agent.status().problem!,
        /^the broker refuses what this device publishes on d\/dev-1\/up: Not authorized/,
      );
    });
    await withBroker({ without: ["up", "sync"] }, {}, async (_cloud, device) => {
      device.exec("INSERT INTO Setting(name, text) VALUES ('a', 't')");
      await until("it is told", () => device.agent.status().problem !== undefined, 30_000);
      assert.match(device.agent.status().problem!, /^nothing that this device sends is answered since /);
    });
  },
});
