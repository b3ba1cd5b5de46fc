/**
 * Who gets what: each device the items of its own, of its account and of all, and nothing else; and its own changes come
 * back as marks, or are recognised, and are never taken for changes of its applications.
 */
import assert from "node:assert/strict";
import type { Entry, FromCloud } from "../../protocol.ts";
import { type Device, openDevice } from "../support/device.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud, type TestCloud } from "../support/test_cloud.ts";
import { patience } from "../support/until.ts";

const a1 = { deviceId: "a1", accountId: "acme" };
const a2 = { deviceId: "a2", accountId: "acme" };
const b1 = { deviceId: "b1", accountId: "bolt" };

function open(dir: TempDir, cloud: TestCloud, { deviceId, accountId }: typeof a1): Promise<Device> {
  return openDevice(dir, cloud, { device: deviceId, account: accountId });
}

/** What a device holds, and whether it got anything about it: names by model. */
function held(device: Device): Record<string, unknown[]> {
  const models = ["Setting", "Command", "Site", "Board", "Notice"];
  return Object.fromEntries(
    models.map((model) => [model, device.query(`SELECT name FROM ${model} ORDER BY name`).map((row) => row.name)]),
  );
}

function entriesOf(message: FromCloud): readonly Entry[] {
  return "entries" in message ? message.entries : [];
}

/** Settles all devices, until what one of them sent has reached the others. */
async function settled(cloud: TestCloud, devices: readonly Device[]): Promise<void> {
  for (let round = 0; round < 2; round++) {
    for (const device of devices) await device.settle();
    await cloud.streamed();
  }
  for (const device of devices) await device.settle();
}

Deno.test("scopes: two devices of one account and one of another each get what is theirs, and nothing else", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using first = await open(dir, cloud, a1);
  await using second = await open(dir, cloud, a2);
  const wrote = (device: Device, name: string) => {
    for (const model of ["Setting", "Site", "Board"]) {
      device.exec(`INSERT INTO ${model}(name, value) VALUES ('${name}-${model}', 1)`);
    }
    device.exec(`INSERT INTO Sample(n) VALUES (1)`);
    device.exec(`INSERT INTO Scratch(name) VALUES ('${name}')`);
  };
  wrote(first, "a1");
  wrote(second, "a2");
  for (const identity of [a1, a2, b1]) {
    await cloud.put("Command", { name: `to-${identity.deviceId}` }, identity);
    await cloud.put("Site", { name: `cloud-${identity.accountId}` }, identity);
  }
  await cloud.put("Notice", { name: "hear" });
  // The third comes late: it begins with a snapshot.
  await settled(cloud, [first, second]);
  await using third = await open(dir, cloud, b1);
  wrote(third, "b1");
  await settled(cloud, [third, first, second]);

  const everywhere = { Board: ["a1-Board", "a2-Board", "b1-Board"], Notice: ["hear"] };
  const acme = { ...everywhere, Site: ["a1-Site", "a2-Site", "cloud-acme"] };
  assert.deepEqual(held(first), { Setting: ["a1-Setting"], Command: ["to-a1"], ...acme });
  assert.deepEqual(held(second), { Setting: ["a2-Setting"], Command: ["to-a2"], ...acme });
  assert.deepEqual(held(third), {
    ...everywhere,
    Setting: ["b1-Setting"],
    Command: ["to-b1"],
    Site: ["b1-Site", "cloud-bolt"],
  });

  // Not only are others' items not held: nothing about them came over the link.
  for (const [device, { deviceId, accountId }] of [[first, a1], [second, a2], [third, b1]] as const) {
    const hashes = new Set(device.tap.received.flatMap(entriesOf).map(({ key }) => key[0]));
    const allowed = [`device#${deviceId}`, `account#${accountId}`, "global#"];
    assert.deepEqual([...hashes].filter((hash) => !allowed.includes(hash)), []);
    assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
  }
  assert.deepEqual((await cloud.items()).filter(({ _type }) => _type === "Scratch"), [], "sync 'none' stays local");
});

Deno.test("scopes: a device that asks for another's items gets none, whatever it names", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await cloud.put("Command", { name: "secret", value: 1 }, b1);
  await cloud.put("Site", { name: "secret", value: 1 }, b1);
  await using device = await open(dir, cloud, a1);
  await device.settle();
  const seen = device.tap.received.length;
  device.tap.resend({
    type: "fetch",
    request: "spy/1",
    keys: [["device#b1", "command#secret"], ["account#bolt", "site#secret"]],
  });
  device.tap.resend({
    type: "sync",
    request: "spy/2",
    channels: [{ channel: "device:b1" }, { channel: "account:bolt" }],
  });
  // An item that names another device becomes its own, or is refused; it never touches the other's.
  device.tap.resend({
    type: "up",
    batch: "spy/3",
    sent: Date.now(),
    changes: [
      { model: "Setting", op: "create", item: { name: "planted", deviceId: "b1" }, stamp: Date.now() * 1000 },
      { model: "Site", op: "create", item: { name: "planted", accountId: "bolt" }, stamp: Date.now() * 1000 + 1 },
    ],
  });
  await device.settle();
  const answers = device.tap.received.slice(seen);
  assert.ok(answers.some((m) => m.type === "items" && m.request === "spy/1"), "the fetch was answered");
  const leaked = answers.flatMap(entriesOf).filter(({ key, current }) => current && !key[0].includes("a1"));
  assert.deepEqual(leaked, []);
  const planted = (await cloud.items()).filter(({ name }) => name === "planted");
  assert.deepEqual(planted.filter(({ pk }) => pk === "device#b1" || pk === "account#bolt"), []);
});

Deno.test("scopes: a device's own change comes back as a mark without the item, and is never captured again", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using first = await open(dir, cloud, a1);
  await using second = await open(dir, cloud, a2);
  await settled(cloud, [first, second]);
  first.tap.sent.length =
    first.tap.received.length =
    second.tap.sent.length =
    second.tap.received.length =
      0;

  const many = 50;
  for (let n = 0; n < many; n++) {
    first.exec(
      `INSERT INTO Setting(name, value) VALUES ('s${n}', ${n}); INSERT INTO Site(name, value) VALUES ('s${n}', ${n})`,
    );
    await first.agent.flush({ timeoutMs: 5_000 * patience });
  }
  await cloud.streamed();
  await first.settle();
  await second.settle();

  const ups = first.tap.sent.flatMap((message) => message.type === "up" ? message.changes : []);
  assert.equal(ups.length, 2 * many, "each change was sent once");
  const marks = first.tap.received.flatMap(entriesOf).filter(({ key }) => key[0] === "device#a1");
  assert.ok(marks.length >= many);
  assert.ok(marks.every(({ mark, current }) => mark && !current), "its own channel brings marks alone");
  assert.deepEqual(second.tap.sent.filter(({ type }) => type === "up"), [], "what was received is not sent back");
  assert.deepEqual(first.tap.sent.filter(({ type }) => type === "fetch"), [], "every echo was recognised");
  assert.deepEqual([...cloud.writes.values()].filter((times) => times !== 1), [], "the table took each once");
  assert.equal(second.count("SELECT count(*) FROM Site"), many);
  for (const device of [first, second]) {
    assert.equal(device.count("SELECT count(*) FROM _outbox"), 0);
    assert.equal(device.agent.status().conflicts, 0);
  }
  assert.equal(first.count("SELECT count(*) FROM _changes"), 0, "applications are not told of their own changes");
  // Up and acknowledged, marked, and an entry for each device: no more for a change than a constant, syncs included.
  const messages = [first, second].reduce((sum, { tap }) => sum + tap.sent.length + tap.received.length, 0);
  assert.ok(messages <= 5 * 2 * many + 40, `${messages} messages for ${2 * many} changes`);
});

Deno.test("scopes: what one device of an account writes, another changes and a third removes is one item", async () => {
  using dir = new TempDir();
  await using cloud = await openTestCloud();
  await using first = await open(dir, cloud, a1);
  await using second = await open(dir, cloud, a2);
  first.exec("INSERT INTO Site(name, value) VALUES ('x', 1), ('y', 1)");
  await settled(cloud, [first, second]);
  second.exec("UPDATE Site SET value = 2");
  await settled(cloud, [second, first]);
  assert.deepEqual(first.query("SELECT name, value FROM Site ORDER BY name"), [{ name: "x", value: 2 }, {
    name: "y",
    value: 2,
  }]);
  // It did not create the item, so nothing has to be waited for.
  second.exec("DELETE FROM Site WHERE name = 'x'");
  await settled(cloud, [second, first]);
  assert.deepEqual(first.query("SELECT name FROM Site"), [{ name: "y" }]);
  assert.deepEqual((await cloud.items("Site")).map(({ name }) => name), ["y"]);
});
