import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { pbkdf2Sync } from "node:crypto";
import { mosquittoIterations } from "../../../cloud/sync/device_token.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import type { Tables } from "../../../cloud/table/port.ts";
import { Fixture } from "../fixture.ts";

function registryOf(fixture: Fixture): Registry {
  return new Registry(fixture.tables.log, { now: fixture.now });
}

Deno.test("registry: a device is let in by its own token and by no other", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const one = await registry.add("d1", "acme"), two = await registry.add("d2", "acme");
  assert.match(one, /^[\w-]{43}$/);
  assert.notEqual(one, two);
  assert.deepEqual(await registry.authenticate("d1", one), { deviceId: "d1", accountId: "acme" });
  for (const [device, token] of [["d1", two], ["d2", one], ["d1", ""], ["d3", one], ["#", one], ["", ""]]) {
    assert.equal(await registry.authenticate(device!, token!), undefined);
  }
});

Deno.test("registry: the table holds no token", async () => {
  await using fixture = new Fixture();
  const token = await registryOf(fixture).add("d1", "acme");
  const { items } = await fixture.tables.log.scan({ limit: 100 });
  assert.deepEqual(items.map(({ sort }) => sort), ["d1"]);
  assert.equal(JSON.stringify(items).includes(token), false);
});

Deno.test("registry: a name is given once, unless it is to be replaced; odd names are refused", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const first = await registry.add("d1", "acme");
  await assert.rejects(registry.add("d1", "acme"), { code: "exists" });
  const second = await registry.add("d1", "other", { replace: true });
  assert.equal(await registry.authenticate("d1", first), undefined);
  assert.deepEqual(await registry.authenticate("d1", second), { deviceId: "d1", accountId: "other" });
  for (const name of ["", "a/b", "+", "a b", "x".repeat(129)]) {
    await assert.rejects(registry.add(name, "acme"), RangeError);
    await assert.rejects(registry.add("d9", name), RangeError);
  }
});

Deno.test("registry: a revoked device is out at once here, and within the cache's time elsewhere", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture), elsewhere = registryOf(fixture);
  const token = await registry.add("d1", "acme");
  assert.ok(await elsewhere.authenticate("d1", token));
  assert.equal(await registry.revoke("d1"), true);
  assert.equal(await registry.revoke("d1"), false);
  assert.equal(await registry.authenticate("d1", token), undefined);
  assert.equal(await registry.identityOf("d1"), undefined);
  fixture.time += 10_000;
  assert.equal(await elsewhere.authenticate("d1", token), undefined);
});

Deno.test("registry: devices are listed by name, page by page, with when they were seen", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  for (const name of ["c", "a", "b"]) await registry.add(name, "acme");
  await registry.touch("b", true);
  const first = await registry.list({ limit: 2 });
  const second = await registry.list({ limit: 2, after: first.next });
  assert.equal(second.next, undefined);
  const createdMs = fixture.time;
  assert.deepEqual([...first.devices, ...second.devices], [
    { deviceId: "a", accountId: "acme", createdMs },
    { deviceId: "b", accountId: "acme", createdMs, seenMs: fixture.time, connected: true },
    { deviceId: "c", accountId: "acme", createdMs },
  ]);
});

/** A registry's log table, with its writes counted. */
function countedWrites(fixture: Fixture): { registry: Registry; another: () => Registry; writes: () => number } {
  const { log } = fixture.tables;
  let writes = 0;
  const counted: Tables["log"] = {
    get: log.get.bind(log),
    write: (list, options) => {
      writes += list.length;
      return log.write(list, options);
    },
    query: log.query.bind(log),
    scan: log.scan.bind(log),
    close: log.close.bind(log),
  };
  const another = () => new Registry(counted, { now: fixture.now });
  return {
    registry: another(),
    another,
    writes: () => {
      const count = writes;
      writes = 0;
      return count;
    },
  };
}

Deno.test("registry: that a device was heard of is written each five minutes, and at each coming and going", async () => {
  await using fixture = new Fixture();
  const { registry, writes } = countedWrites(fixture);
  await registry.add("d1", "acme");
  const start = fixture.time;
  const seen = async () => {
    const [device] = (await registry.list()).devices;
    return [device?.seenMs! - start, device?.connected];
  };
  await registry.touch("d1", true);
  writes();
  fixture.time = start + 200_000;
  await registry.touch("d1");
  await registry.touch("d1", true);
  assert.deepEqual([await seen(), writes()], [[0, true], 0]);
  fixture.time = start + 300_000;
  await registry.touch("d1");
  assert.deepEqual([await seen(), writes()], [[300_000, true], 1]);
  fixture.time = start + 301_000;
  await registry.touch("d1", false);
  assert.deepEqual([await seen(), writes()], [[301_000, false], 1]);
  // A message from before it went may be handled late; one that comes long after says that it is back.
  fixture.time = start + 601_000;
  await registry.touch("d1");
  assert.deepEqual(await seen(), [601_000, true]);
});

Deno.test("registry: that a device was heard of is written as often with four workers as with one", async () => {
  await using fixture = new Fixture();
  const { registry, another, writes } = countedWrites(fixture);
  await registry.add("d1", "acme");
  writes();
  const workers = [registry, another(), another(), another()];
  let count = 0;
  for (let minute = 0; minute < 60; minute++) {
    for (let i = 0; i < 12; i++) {
      fixture.time += 5_000;
      await workers[i % workers.length]!.touch("d1");
    }
    count += writes();
  }
  assert.ok(count >= 12 && count <= 15, `${count} writes in an hour`);
});

Deno.test("registry: a worker does not take another's word for its own: who came back elsewhere is connected", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture), elsewhere = registryOf(fixture);
  await registry.add("d1", "acme");
  await registry.touch("d1", true);
  await elsewhere.touch("d1", false);
  await registry.touch("d1", true);
  assert.equal((await registry.list()).devices[0]?.connected, true);
});

Deno.test("registry: rows as they stood before, under one hash value, are read, listed, replaced and revoked", async () => {
  await using fixture = new Fixture();
  const { log } = fixture.tables, registry = registryOf(fixture);
  const tokens = new Map<string, string>();
  for (const name of ["a", "c", "e"]) {
    tokens.set(name, await registry.add(name, "acme"));
    const [row] = (await log.scan({ limit: 100 })).items.filter(({ sort }) => sort === name);
    await log.write([
      { op: "put", item: { ...row!, hash: "devices" } },
      { op: "put", item: { hash: "seen", sort: name, seen: 7, connected: true } },
      { op: "delete", key: [String(row!.hash), name] },
    ]);
  }
  for (const name of ["b", "d"]) await registry.add(name, "acme");
  const fresh = registryOf(fixture);
  assert.ok(await fresh.authenticate("c", tokens.get("c")!));
  const list = async () => (await fresh.list()).devices.map(({ deviceId, seenMs }) => [deviceId, seenMs]);
  assert.deepEqual(await list(), [["a", 7], ["b", undefined], ["c", 7], ["d", undefined], ["e", 7]]);
  await assert.rejects(fresh.add("a", "acme"), { code: "exists" });
  const token = await fresh.add("a", "acme", { replace: true });
  assert.equal(await fresh.authenticate("a", tokens.get("a")!), undefined);
  assert.ok(await fresh.authenticate("a", token));
  await fresh.touch("c");
  assert.equal(await fresh.revoke("c"), true);
  assert.equal(await fresh.revoke("c"), false);
  assert.deepEqual((await list()).map(([deviceId]) => deviceId), ["a", "b", "d", "e"]);
  const left = (await log.scan({ limit: 100 })).items.filter(({ sort }) => sort === "c");
  assert.deepEqual(left, []);
});

Deno.test("registry: any number of devices is listed by name, each once, whatever the pages", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const names = Array.from({ length: 300 }, (_, i) => `device-${(i * 7919) % 1000}`).sort();
  for (const name of names) await registry.add(name, "acme");
  for (const limit of [1, 7, 100, 1000]) {
    const found: string[] = [];
    let after: string | undefined;
    do {
      const page = await registry.list({ limit, after });
      assert.ok(page.devices.length <= limit);
      found.push(...page.devices.map(({ deviceId }) => deviceId));
      after = page.next;
    } while (after !== undefined);
    assert.deepEqual(found, names);
    if (limit === 1) assert.equal(found.length, 300);
  }
});

Deno.test("registry: a token that was known lets nobody in once the device has another, and its listeners are told", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture), told: string[] = [];
  const end = registry.onRevoked((deviceId) => told.push(deviceId));
  const first = await registry.add("d1", "acme");
  assert.ok(await registry.authenticate("d1", first), "it is remembered now");
  const second = await registry.add("d1", "acme", { replace: true });
  assert.equal(await registry.authenticate("d1", first), undefined);
  assert.ok(await registry.authenticate("d1", second));
  await registry.revoke("d1");
  assert.deepEqual(told, ["d1", "d1"]);
  end();
  await registry.add("d1", "acme", { replace: true });
  await registry.revoke("d1");
  assert.equal(told.length, 2);
});

Deno.test("registry: a device that takes a revoked one's name has nothing of it", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  await registry.add("d1", "acme");
  await registry.touch("d1", true);
  await registry.keepReport("d1", "v/1", { rows: 1 });
  assert.deepEqual((await registry.report("d1"))?.report, { rows: 1 });
  await registry.revoke("d1");
  await registry.add("d1", "other");
  assert.equal(await registry.report("d1"), undefined);
  assert.deepEqual((await registry.list()).devices, [{ deviceId: "d1", accountId: "other", createdMs: fixture.time }]);
});

Deno.test("registry: a token is rotated without a gap: two are valid, of three the oldest is not, and the old one ends", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const one = await registry.add("d1", "acme");
  const two = await registry.rotate("d1", { graceMs: 60_000 });
  assert.ok(await registry.authenticate("d1", one));
  assert.ok(await registry.authenticate("d1", two));
  const three = await registry.rotate("d1", { graceMs: 60_000 });
  const valid = async () =>
    (await Promise.all([one, two, three].map((token) => registry.authenticate("d1", token)))).map(Boolean);
  assert.deepEqual(await valid(), [false, true, true]);
  const held = (await registry.admit("d1", two))!;
  assert.ok(await registry.identityOf("d1", held.credential));
  fixture.time += 60_000;
  assert.deepEqual(await valid(), [false, false, true]);
  assert.equal(await registry.identityOf("d1", held.credential), undefined);
  assert.ok(await registry.identityOf("d1"));
  await assert.rejects(registry.rotate("d9"), { code: "not-found" });
});

Deno.test("registry: a token expires to the millisecond, and the one before never outlives its own end", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const short = await registry.add("d1", "acme", { validMs: 1_000 });
  const long = await registry.rotate("d1", { graceMs: 3600_000, validMs: 5_000 });
  const valid = async () =>
    (await Promise.all([short, long].map((token) => registry.authenticate("d1", token)))).map(Boolean);
  fixture.time += 999;
  assert.deepEqual(await valid(), [true, true]);
  fixture.time += 1;
  assert.deepEqual(await valid(), [false, true]);
  const [device] = (await registry.list()).devices;
  assert.equal(device?.untilMs, fixture.time + 4_000);
  fixture.time += 4_000;
  assert.deepEqual(await valid(), [false, false]);
});

Deno.test("registry: what brokers get lets them check a token, and nobody learn it", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const token = await registry.add("d1", "acme");
  const { devices } = await registry.brokerCredentials();
  const { salt, hash } = devices[0]!.password!;
  const made = pbkdf2Sync(token, Buffer.from(salt, "base64"), mosquittoIterations, 64, "sha512").toString("base64");
  assert.equal(made, hash);
  assert.equal(JSON.stringify(devices).includes(token), false);
});

Deno.test("registry: an offered token is valid beside the one in use until it is used; then that one is void", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  const old = await registry.add("d1", "acme", { validMs: 1_000_000 });
  const unused = await registry.offer("d1"), next = await registry.offer("d1");
  assert.equal(await registry.authenticate("d1", unused), undefined, "one that was offered before is void");
  const isIn = async (token: string) => await registry.authenticate("d1", token) !== undefined;
  assert.ok(await isIn(old));
  fixture.time += 600_000;
  assert.ok(await isIn(next));
  assert.ok(!await isIn(old));
  // It is valid for as long as the one before was given for.
  fixture.time += 900_000;
  assert.ok(await isIn(next));
  fixture.time += 200_000;
  assert.ok(!await isIn(next));
  await assert.rejects(registry.offer("d2"), { code: "not-found" });
});

Deno.test("registry: an offer that is taken back, or overtaken by a rotation, lets nobody in", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture), old = await registry.add("d1", "acme");
  const first = await registry.offer("d1");
  await registry.withdraw("d1");
  const second = await registry.offer("d1"), newest = await registry.rotate("d1");
  for (const [token, isValid] of [[first, false], [second, false], [old, true], [newest, true]] as const) {
    assert.equal(await registry.authenticate("d1", token) !== undefined, isValid);
  }
});
