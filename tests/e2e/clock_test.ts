/**
 * Wrong clocks: a device whose clock starts in 1970, runs an hour ahead or behind, or jumps while it runs ends consistent,
 * and its changes carry sane times.
 *
 * With libfaketime the device's processes (agent and `sqlite3` shell) really have the wrong time. Where that is missing, and
 * for what needs finer control, it is the cloud whose clock is other than the device's, which comes to the same.
 */
import assert from "node:assert/strict";
import { chosenBroker } from "../support/chosen.ts";
import { assertTwinned } from "../support/compare.ts";
import { openDevice, startAgent, statusOf } from "../support/device.ts";
import { FakeTime } from "../support/faketime.ts";
import { count, query, shell } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { toolsMissing } from "../support/tools.ts";
import { until } from "../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };
const hourMs = 3_600_000;

/** The times that an item carries are those of when it was written, give or take what `marginMs` allows. */
function isSane(item: Record<string, unknown>, fromMs: number, toMs: number): void {
  for (const name of ["created", "updated"]) {
    const time = Date.parse(String(item[name]));
    assert.ok(
      time >= fromMs && time <= toMs,
      `${item.name}: ${name} ${item[name]} lies between ${new Date(fromMs).toISOString()} and ${
        new Date(toMs).toISOString()
      }`,
    );
  }
  const stamp = Number(item._stamp) / 1000;
  assert.ok(stamp >= fromMs && stamp <= toMs + 1, `the stamp is ${new Date(stamp).toISOString()}`);
}

/** Offsets are measured over the network: to a few hundred ms; below one second they are taken for zero (agent/sync/clock.ts). */
const marginMs = 1_500;

for (
  const [what, deviceAheadMs] of [
    ["an hour ahead", hourMs],
    ["an hour behind", -hourMs],
    ["in 1970", 1_000_000 - Date.now()],
  ] as const
) {
  Deno.test(`clock: what a device ${what} wrote before it ever met the cloud carries the time of when it was written`, async () => {
    using dir = new TempDir();
    // Seen from the device, whose clock the triggers use, the cloud is off by the opposite.
    const now = () => Date.now() - deviceAheadMs;
    const fromMs = now() - marginMs;
    {
      await using device = await openDevice(dir, undefined);
      device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 1)");
      device.exec("UPDATE Setting SET value = 2 WHERE name = 'a'");
    }
    await using cloud = await openTestCloud({ now });
    await using device = await openDevice(dir, cloud);
    await device.settle();
    device.exec("INSERT INTO Setting(name, value) VALUES ('c', 1)");
    await device.settle();
    // The cloud's application and the device write one item by turns: the later one wins, whatever the device's clock says.
    await cloud.put("Setting", { name: "b", value: 10 }, identity);
    await until("the cloud's write is there", () => device.count("SELECT value FROM Setting WHERE name = 'b'") === 10);
    device.exec("UPDATE Setting SET value = 11 WHERE name = 'b'");
    await device.settle();
    await cloud.streamed();
    await device.settle();
    const items = await cloud.items("Setting");
    assert.deepEqual(items.map(({ name, value }) => [name, value]), [["a", 2], ["b", 11], ["c", 1]]);
    for (const item of items) isSane(item, fromMs, now() + marginMs);
    await assertTwinned(cloud, device.path, "Setting");
    assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
    assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
  });
}

const unfaked = toolsMissing("faketime", "sqlite3");
/** In 1970 no certificate is valid yet: such a device gets in by TLS only when something has set its clock. */
const tooEarly = chosenBroker.tls === true;

Deno.test({
  name: "clock: a device that really starts in 1970 ends consistent, and its changes carry sane times",
  ignore: unfaked || tooEarly,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const fromMs = Date.now() - marginMs;
    const fake = new FakeTime(dir.path, String(-Math.round(Date.now() / 1000) + 100));
    await using agent = await startAgent(dir, {
      mqttUrl: cloud.mqttUrl,
      token: await cloud.token("dev-1", "acme"),
      env: fake.env,
    });
    const write = (sql: string) => shell(agent.path, sql, fake.env);
    await write("INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 1)");
    assert.match(await write("SELECT datetime('now')"), /^1970-/, "the device believes that it is 1970");
    await until("it was sent", () => statusOf(agent.path).outbox === 0);
    await write("UPDATE Setting SET value = 2 WHERE name = 'a'");
    await cloud.put("Setting", { name: "b", value: 3 }, identity);
    await until(
      "the cloud's write is there",
      () => count(agent.path, "SELECT value FROM Setting WHERE name = 'b'") === 3,
    );
    await until("all was sent", () => statusOf(agent.path).outbox === 0);
    const items = await cloud.items("Setting");
    assert.deepEqual(items.map(({ name, value }) => [name, value]), [["a", 2], ["b", 3]]);
    isSane(items[0]!, fromMs, Date.now() + marginMs);
    await until(
      "both sides are equal",
      () => assertTwinned(cloud, agent.path, "Setting").then(() => true, () => false),
    );
    await assertTwinned(cloud, agent.path, "Setting");
  },
});

Deno.test({
  name: `clock: a device whose clock jumps by hours while it runs ends consistent, and its changes carry sane times`,
  ignore: unfaked,
  async fn() {
    using dir = new TempDir();
    await using cloud = await openTestCloud();
    const fromMs = Date.now() - marginMs;
    const fake = new FakeTime(dir.path, "+0");
    await using agent = await startAgent(dir, {
      mqttUrl: cloud.mqttUrl,
      token: await cloud.token("dev-1", "acme"),
      env: fake.env,
    });
    const { path } = agent;
    const write = (sql: string) => shell(path, sql, fake.env);
    await write("INSERT INTO Setting(name, value) VALUES ('a', 0)");
    await until("it was sent", () => statusOf(path).outbox === 0);
    let value = 0;
    for (const offset of ["+3600", "-7200", "+0", String(-Math.round(Date.now() / 1000) + 50), "+86400", "+0"]) {
      fake.set(offset);
      // The first write is made before the agent can have noticed the jump.
      for (let n = 0; n < 2; n++) {
        value++;
        await write(
          `UPDATE Setting SET value = ${value} WHERE name = 'a'; INSERT INTO Setting(name) VALUES ('k${value}')`,
        );
        await until("the write is in the table", async () => {
          return (await cloud.items("Setting")).find(({ name }) => name === "a")?.value === value;
        });
      }
      // A write of the cloud between two of the device's is later than the one and earlier than the other.
      value++;
      await cloud.put("Setting", { name: "a", value }, identity);
      await until(
        "the cloud's write is there",
        () => count(path, "SELECT value FROM Setting WHERE name = 'a'") === value,
      );
    }
    await until("all was sent", () => statusOf(path).outbox === 0);
    for (const item of await cloud.items("Setting")) {
      if (item._stamp !== undefined) isSane(item, fromMs, Date.now() + marginMs);
    }
    await until("both sides are equal", () => assertTwinned(cloud, path, "Setting").then(() => true, () => false));
    await assertTwinned(cloud, path, "Setting");
    assert.deepEqual(query(path, "SELECT * FROM _rejected"), []);
  },
});
