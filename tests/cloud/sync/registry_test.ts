import assert from "node:assert/strict";
import { Registry } from "../../../cloud/sync/registry.ts";
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
  const [item] = await fixture.tables.log.get([["devices", "d1"]]);
  assert.equal(JSON.stringify(item).includes(token), false);
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

Deno.test("registry: that a device was heard of is written once a minute, and at each coming and going", async () => {
  await using fixture = new Fixture();
  const registry = registryOf(fixture);
  await registry.add("d1", "acme");
  const start = fixture.time;
  const seen = async () => (await registry.list()).devices[0];
  await registry.touch("d1", true);
  fixture.time = start + 30_000;
  await registry.touch("d1");
  await registry.touch("d1", true);
  assert.equal((await seen())?.seenMs, start);
  fixture.time = start + 60_000;
  await registry.touch("d1");
  assert.deepEqual([(await seen())?.seenMs, (await seen())?.connected], [start + 60_000, true]);
  fixture.time = start + 61_000;
  await registry.touch("d1", false);
  assert.deepEqual([(await seen())?.seenMs, (await seen())?.connected], [start + 61_000, false]);
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
