/**
 * Items of every size up to 350 KB travel both ways at once, through the embedded broker and through Mosquitto: no message
 * is too large for a link, and no link stalls while it sends and receives.
 */
import assert from "node:assert/strict";
import { assertTwinned } from "../support/compare.ts";
import { type Device, openDevice } from "../support/device.ts";
import { mosquittoMissing, startMosquitto } from "../support/mosquitto.ts";
import { connect } from "../support/sql.ts";
import { skipped } from "../support/tools.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };

/**
 * Of an item's text: from nothing to the largest item, which takes parts of 128 KB. What lies around the boundaries of MQTT
 * itself is tried to the byte by `tests/cloud/broker/broker_contract.ts`.
 */
const sizes = [
  ...[0, 1, 100, 127, 128, 129, 1_000, 16_000, 16_383, 16_384, 16_385, 40_000, 65_535, 65_536, 100_000, 127_000],
  ...[131_071, 131_072, 131_073, 180_000, 262_144, 300_000, 349_999, 350_000],
];

/** A text of so many bytes whose parts are all different, so that none can be exchanged for another. Some of it is not ASCII. */
function textOf(bytes: number): string {
  let text = bytes > 200 ? "naïve 🌡 ".repeat(3) : "";
  for (let n = 0; text.length < bytes; n++) text += `${n.toString(36)}-`;
  const encoded = new TextEncoder().encode(text).subarray(0, bytes);
  // A character that was cut in two is replaced: the sizes below are not exact to the byte where that happens.
  return new TextDecoder().decode(encoded);
}

/** Writes every size on both sides, all at once, three times over, and compares. */
async function exchange(cloud: TestCloud, device: Device): Promise<void> {
  await device.settle();
  for (let round = 0; round < 3; round++) {
    using db = connect(device.path);
    const insert = db.prepare(
      "INSERT INTO Setting(name, value, text) VALUES (?, ?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value, text = excluded.text",
    );
    const sample = db.prepare("INSERT INTO Sample(text) VALUES (?)");
    const arriving = cloud.putAll(
      "Command",
      sizes.map((bytes, n) => ({ name: `c${n}`, value: round, text: textOf(bytes) })),
      identity,
    );
    for (const [n, bytes] of sizes.entries()) {
      insert.run(`s${n}`, round, textOf(bytes));
      sample.run(textOf(bytes));
    }
    await arriving;
    await device.settle(120_000);
    await cloud.streamed();
    await device.settle(120_000);
  }
  for (const model of ["Setting", "Command"]) {
    const rows = await assertTwinned(cloud, device.path, model);
    assert.equal(rows.length, sizes.length);
    assert.ok(rows.every(({ value }) => value === 2));
  }
  await assertTwinned(cloud, device.path, "Sample", ["id", "text"]);
  assert.equal(device.count("SELECT count(*) FROM Sample"), 3 * sizes.length);
  const longest = device.count("SELECT max(length(CAST(text AS BLOB))) FROM Command");
  assert.ok(longest >= 350_000 - 3, `the longest text has ${longest} bytes`);
  assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
  assert.equal(device.tap.link.counters.connects, 1, "the link held");
  assert.equal(device.tap.link.counters.malformed, 0);
}

Deno.test("size: items of every size up to 350 KB travel both ways at once through the embedded broker", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await exchange(cloud, device);
});

Deno.test({
  name: `size: items of every size up to 350 KB travel both ways at once through Mosquitto${
    mosquittoMissing ? `: skipped, ${mosquittoMissing}` : ""
  }`,
  ignore: skipped(mosquittoMissing),
  async fn() {
    using dir = new TempDir();
    const internal = { username: "worker", password: "worker-password" };
    const broker = await startMosquitto({ devices: [{ ...identity, token: "device-token" }], internal });
    try {
      await using cloud = await openTestCloud({
        mqtt: { url: `mqtt://127.0.0.1:${broker.workerPort}`, ...internal },
        deviceUrl: `mqtt://127.0.0.1:${broker.devicePort}`,
      });
      // The service knows the device; the broker has a token of its own for it.
      await cloud.token("dev-1", "acme");
      await using device = await openDevice(dir, {
        mqttUrl: cloud.mqttUrl,
        token: () => Promise.resolve("device-token"),
      });
      await exchange(cloud, device);
    } finally {
      await broker.stop();
    }
  },
});
