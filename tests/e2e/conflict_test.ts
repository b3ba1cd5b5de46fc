/**
 * Both sides write one key: they converge, and what lost is kept in the open. Messages late, twice and out of order change
 * nothing about that.
 */
import assert from "node:assert/strict";
import { assertTwinned } from "../support/compare.ts";
import { type Device, openDevice } from "../support/device.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";
import { SkippingClock } from "../support/clock.ts";
import { patience, until } from "../support/until.ts";

const identity = { deviceId: "dev-1", accountId: "acme" };

/** Settles, and compares the rows of a model with the table's items. */
async function converged(cloud: TestCloud, device: Device, model: string): Promise<Record<string, unknown>[]> {
  await device.settle();
  await cloud.streamed();
  await device.settle();
  const rows = await assertTwinned(cloud, device.path, model);
  assert.deepEqual(device.query("SELECT * FROM _outbox"), []);
  return rows;
}

function conflicts(device: Device): { model: unknown; why: unknown; item: Record<string, unknown> | null }[] {
  return device.query("SELECT model, why, item FROM _conflicts ORDER BY id").map(({ model, why, item }) => ({
    model,
    why,
    item: item === null ? null : JSON.parse(item as string),
  }));
}

/** A device and a cloud that agree on one item, then are cut apart while both write it: the cloud last, or the device last. */
async function concurrently(
  model: string,
  later: "cloud" | "device",
  run: (cloud: TestCloud, device: Device, rows: Record<string, unknown>[]) => void | Promise<void>,
): Promise<void> {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  device.exec(`INSERT INTO ${model}(name, value, text) VALUES ('k', 0, 'base')`);
  await converged(cloud, device, model);
  device.tap.cut();
  const steps = [
    () => cloud.put(model, { name: "k", value: 1, text: "base" }, identity),
    () => device.exec(`UPDATE ${model} SET text = 'device' WHERE name = 'k'`),
  ];
  for (const step of later === "cloud" ? steps.toReversed() : steps) {
    await step();
    // Times are compared in ms.
    await until("the clock has moved on", waitMs(5));
  }
  device.tap.mend();
  await run(cloud, device, await converged(cloud, device, model));
}

function waitMs(ms: number): () => boolean {
  const end = Date.now() + ms;
  return () => Date.now() > end;
}

Deno.test("conflict: newest, the device wrote later: its version wins, the cloud's is in _conflicts", async () => {
  await concurrently("Setting", "device", (_cloud, device, [row]) => {
    assert.deepEqual([row!.value, row!.text], [0, "device"]);
    const [lost, ...more] = conflicts(device);
    assert.deepEqual([more.length, lost!.why, lost!.item!.value, lost!.item!.text], [0, "overwritten", 1, "base"]);
  });
});

Deno.test("conflict: newest, the cloud wrote later: its version wins, the device's is in _conflicts", async () => {
  await concurrently("Setting", "cloud", (_cloud, device, [row]) => {
    assert.deepEqual([row!.value, row!.text], [1, "base"]);
    const [lost, ...more] = conflicts(device);
    assert.deepEqual([more.length, lost!.why, lost!.item!.value, lost!.item!.text], [0, "stale", 0, "device"]);
  });
});

for (const later of ["cloud", "device"] as const) {
  Deno.test(`conflict: cloud, the ${later} wrote later: the cloud's version stays, the device's is in _conflicts`, async () => {
    await concurrently("Cloudy", later, (_cloud, device, [row]) => {
      assert.deepEqual([row!.value, row!.text], [1, "base"]);
      assert.deepEqual(conflicts(device).map(({ why, item }) => [why, item!.text]), [["stale", "device"]]);
    });
  });

  Deno.test(`conflict: device, the ${later} wrote later: the device's version stays, the cloud's is in _conflicts`, async () => {
    await concurrently("Devicey", later, (_cloud, device, [row]) => {
      assert.deepEqual([row!.value, row!.text], [0, "device"]);
      assert.deepEqual(conflicts(device).map(({ why, item }) => [why, item!.value]), [["overwritten", 1]]);
    });
  });

  Deno.test(`conflict: merge, the ${later} wrote later: both attributes arrive`, async () => {
    await concurrently("Merged", later, (_cloud, _device, [row]) => {
      assert.deepEqual([row!.value, row!.text], [1, "device"]);
    });
  });
}

Deno.test("conflict: the cloud removed what the device updates: the removal wins, the update is in _conflicts", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  device.exec("INSERT INTO Setting(name, value) VALUES ('k', 0)");
  await converged(cloud, device, "Setting");
  device.tap.cut();
  await cloud.remove("Setting", { name: "k" }, identity);
  device.exec("UPDATE Setting SET value = 1 WHERE name = 'k'");
  device.tap.mend();
  assert.deepEqual(await converged(cloud, device, "Setting"), []);
  assert.deepEqual(conflicts(device).map(({ why, item }) => [why, item!.value]), [["gone", 1]]);
});

Deno.test("conflict: the device removed what the cloud updates later: the update wins", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const clock = new SkippingClock();
  await using device = await openDevice(dir, cloud, { clock });
  device.exec("INSERT INTO Setting(name, value) VALUES ('k', 0), ('quiet', 0)");
  await converged(cloud, device, "Setting");
  device.tap.cut();
  device.exec("DELETE FROM Setting");
  await until("the clock has moved on", waitMs(5));
  await cloud.put("Setting", { name: "k", value: 1 }, identity);
  device.tap.mend();
  clock.skip();
  assert.deepEqual((await converged(cloud, device, "Setting")).map(({ name, value }) => [name, value]), [["k", 1]]);
  assert.deepEqual(conflicts(device).map(({ why, item }) => [why, item]), [["stale", null]]);
});

Deno.test("conflict: an item that the cloud made is removed on the device and created again before the removal comes back", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await cloud.put("Setting", { name: "k", value: 1 }, identity);
  await until("the item is there", () => device.count("SELECT count(*) FROM Setting") === 1);
  // A stream is slower than an answer: DynamoDB's by a few hundred ms.
  device.tap.onReceive = (message) => message.type === "changes" ? "hold" : "pass";
  device.exec("DELETE FROM Setting WHERE name = 'k'");
  await device.agent.flush({ timeoutMs: 5_000 * patience });
  device.exec("INSERT INTO Setting(name, value) VALUES ('k', 2)");
  await device.agent.flush({ timeoutMs: 5_000 * patience });
  device.tap.onReceive = () => "pass";
  device.tap.release();
  assert.deepEqual((await converged(cloud, device, "Setting")).map(({ name, value }) => [name, value]), [["k", 2]]);
  assert.deepEqual(conflicts(device), []);
});

Deno.test("conflict: a key is removed and created again, by turns on either side, with messages late and twice", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const clock = new SkippingClock();
  await using device = await openDevice(dir, cloud, { clock, limits: { retryMs: 300 } });
  const { tap } = device;
  // Everything goes twice from here on; on request it is held back, and comes late in the reverse order, twice again.
  tap.onSend = tap.onReceive = () => 2;
  for (let round = 1; round <= 3; round++) {
    device.exec(
      `INSERT INTO Setting(name, value) VALUES ('mine', ${round}) ON CONFLICT(name) DO UPDATE SET value = ${round}`,
    );
    await cloud.put("Setting", { name: "theirs", value: round }, identity);
    assert.deepEqual(
      (await converged(cloud, device, "Setting")).map(({ name, value }) => [name, value]),
      [["mine", round], ["theirs", round]],
    );
    // What tells the time passes: without it nothing is stamped.
    tap.onSend = (message) => message.type === "sync" ? 1 : "hold";
    tap.onReceive = (message) => message.type === "page" ? 1 : "hold";
    device.exec("DELETE FROM Setting WHERE name = 'theirs'");
    await cloud.remove("Setting", { name: "mine" }, identity);
    clock.skip();
    await until("messages are held back", () => tap.held >= 2);
    device.exec(`INSERT INTO Setting(name, value) VALUES ('theirs', ${-round})`);
    await cloud.put("Setting", { name: "mine", value: -round }, identity);
    await cloud.streamed();
    tap.onSend = tap.onReceive = () => 2;
    tap.release(2, (list) => list.toReversed());
    assert.deepEqual(
      (await converged(cloud, device, "Setting")).map(({ name, value }) => [name, value]),
      [["mine", -round], ["theirs", -round]],
    );
    // What the network kept for long arrives once more: nothing comes back, nothing goes.
    for (const message of tap.received.slice(-40)) tap.replay(message);
    for (const message of tap.sent.slice(-40)) tap.resend(message);
    device.exec("DELETE FROM Setting");
    clock.skip();
    assert.deepEqual(await converged(cloud, device, "Setting"), []);
    for (const message of tap.received.slice(-40)) tap.replay(message);
    for (const message of tap.sent.slice(-40)) tap.resend(message);
    assert.deepEqual(await converged(cloud, device, "Setting"), []);
  }
});

/** How many entries of logs have come live. A message without any only asks where the device stands. */
function entriesAt({ tap }: Device): number {
  const live = tap.received.flatMap((one) => one.type === "changes" && one.entries.length > 0 ? [one] : []);
  return new Set(live.map(({ channel, seq }) => `${channel} ${seq}`)).size;
}

Deno.test("conflict: sync waits for an item that it has to ask for by name", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  device.exec("INSERT INTO Setting(name, value) VALUES ('k', 1)");
  await converged(cloud, device, "Setting");
  // The cloud's change arrives while the device's own one is unanswered: it is asked for once that is answered.
  device.tap.onReceive = ({ type }) => type === "ack" || type === "items" ? "hold" : "pass";
  device.exec("UPDATE Setting SET value = 2");
  await until("the acknowledgement is held back", () => device.tap.held === 1);
  await cloud.put("Setting", { name: "k", value: 3 }, identity);
  await until("its entries are here", () => entriesAt(device) >= 3);
  device.tap.onReceive = ({ type }) => type === "items" ? "hold" : "pass";
  // The item may have been asked for, and be held back, already.
  device.tap.releaseFirst();
  await device.agent.flush({ timeoutMs: 5_000 * patience });
  await until("the item is held back", () => device.tap.held === 1);
  let isBack = false;
  const sync = device.agent.sync({ timeoutMs: 20_000 * patience }).then(() => isBack = true);
  await until("the cloud has answered", () => device.agent.status().caughtUp && device.tap.held >= 1);
  await until("a moment passes", waitMs(100));
  assert.equal(isBack, false);
  device.tap.onReceive = () => "pass";
  device.tap.release();
  await sync;
  assert.deepEqual(device.query("SELECT value FROM Setting"), [{ value: 3 }]);
});

Deno.test("conflict: sync waits for an item that an answer left out, until it is asked for again", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  const clock = new SkippingClock();
  await using device = await openDevice(dir, cloud, { clock });
  device.exec("INSERT INTO Setting(name, value) VALUES ('k', 1)");
  await converged(cloud, device, "Setting");
  // As of a table that could not read it, twice: it is asked for again at once with the sync, and then after some seconds.
  let left = 0;
  device.tap.onReceive = (message) => {
    if (message.type === "items" && left++ < 2) Object.assign(message, { entries: [] });
    return message.type === "ack" ? "hold" : "pass";
  };
  device.exec("UPDATE Setting SET value = 2");
  await until("the acknowledgement is held back", () => device.tap.held === 1);
  await cloud.put("Setting", { name: "k", value: 3 }, identity);
  await until("its entries are here", () => entriesAt(device) >= 3);
  device.tap.release();
  await until("it is left out", () => left >= 1);
  let atItsEnd: unknown;
  const sync = device.agent.sync({ timeoutMs: 20_000 * patience })
    .then(() => atItsEnd = device.query("SELECT value FROM Setting"));
  await until("it is left out again", () => left >= 2);
  clock.skip();
  await sync;
  assert.deepEqual(atItsEnd, [{ value: 3 }]);
});

Deno.test("conflict: a row that came and went before it was sent hides the cloud's item no longer than that", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using device = await openDevice(dir, cloud);
  await converged(cloud, device, "Setting");
  device.tap.cut();
  device.exec("INSERT INTO Setting(name, value) VALUES ('k', 1)");
  device.exec("DELETE FROM Setting WHERE name = 'k'");
  await cloud.put("Setting", { name: "k", value: 2 }, identity);
  await cloud.streamed();
  device.tap.mend();
  await until("the cloud's item is here", () => device.count("SELECT count(*) FROM Setting WHERE value = 2") === 1);
  assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
});
