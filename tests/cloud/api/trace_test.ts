import assert from "node:assert/strict";
import { historyOf, type TraceContext, whereIs } from "../../../cloud/api/trace.ts";
import { Fleet } from "../../../cloud/sync/fleet.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { CloudService } from "../../../cloud/sync/service.ts";
import { Fixture, identity, other, Outbox, schema } from "../fixture.ts";

/** A cloud whose stream is passed on when the test says so. */
class Traced implements AsyncDisposable {
  readonly fixture = new Fixture();
  readonly outbox = new Outbox();
  readonly registry = new Registry(this.fixture.tables.log, { now: this.fixture.now });
  readonly service = new CloudService({
    schema,
    tables: this.fixture.tables,
    registry: this.registry,
    publisher: this.outbox,
    now: this.fixture.now,
    random: this.fixture.random,
  });
  readonly fleet = new Fleet({ registry: this.registry, now: this.fixture.now });
  readonly context: TraceContext = {
    schema,
    data: this.fixture.tables.data,
    now: this.fixture.now,
    random: this.fixture.random,
    accountOf: () => Promise.resolve(undefined),
    log: this.service.log,
    fleet: this.fleet,
    askWhere: (channel) => this.service.askWhere(channel),
  };

  async pass(): Promise<void> {
    assert.ok(await this.service.fanOutRecords(await this.fixture.records(), new AbortController().signal));
  }

  model(name: string) {
    return schema.models.get(name)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fixture[Symbol.asyncDispose]();
  }
}

const key = { deviceId: "d1", id: "x" };

Deno.test("history: which entries name an item, by whom and since when, with what the reading costs", async () => {
  await using traced = new Traced();
  const { fixture, context } = traced;
  await fixture.put("Plain", { id: "x", v: 1 });
  await traced.pass();
  fixture.time += 1_000;
  await fixture.put("Plain", { id: "y", v: 1 });
  await traced.pass();
  await fixture.put("Plain", { id: "x", v: 2, _source: "d1#a", _stamp: fixture.time * 1000 });
  await traced.pass();
  fixture.time += 1_000;
  await fixture.tables.data.write([{ op: "delete", key: ["d#d1", "Plain#x"] }]);
  await traced.pass();
  const history = await historyOf(context, traced.model("Plain"), key);
  assert.equal(history.channel, "device:d1");
  assert.deepEqual(history.versions.map(({ by, removed }) => [by, removed]), [
    // Who removes an item leaves no mark.
    [undefined, true],
    ["d1", undefined],
    ["cloud", undefined],
  ]);
  assert.deepEqual(
    history.versions.map(({ seq }) => seq),
    history.versions.map(({ seq }) => seq).sort((a, b) => b - a),
  );
  assert.deepEqual([history.read, history.next], [1, undefined]);
  assert.deepEqual(await historyOf(context, traced.model("Up"), key), { versions: [], entries: 0, read: 0 });
  await assert.rejects(historyOf(context, traced.model("Plain"), { deviceId: "d1" }), /id/);
});

Deno.test("history: one request reads a bounded part of the log, and says where to go on", async () => {
  await using traced = new Traced();
  const { fixture, context, service } = traced;
  for (let i = 0; i < 1_800; i++) {
    const name = i === 3 ? "x" : `y${i}`;
    await service.log.append("device:d1", [{
      key: ["d#d1", `Plain#${name}`],
      bytes: 0,
      mark: { model: "Plain", version: ["d1#" + "i".repeat(900), i] },
    }]);
  }
  fixture.time += 1;
  const first = await historyOf(context, traced.model("Plain"), key);
  assert.deepEqual(first.versions, []);
  assert.ok(first.next !== undefined && first.read <= 300, `${first.read} units`);
  const second = await historyOf(context, traced.model("Plain"), key, { after: first.next });
  assert.deepEqual([second.versions.length, second.next], [1, undefined]);
  // Of a device's own write its version's stamp, by which the feed's rows are known.
  assert.deepEqual([second.versions[0]!.by, second.versions[0]!.stamp], ["d1", 3]);
  assert.equal(first.entries + second.entries, 1_800);
  const few = await historyOf(context, traced.model("Plain"), key, { entriesMax: 25 });
  assert.deepEqual([few.entries, few.versions], [25, []]);
  assert.ok(few.next !== undefined && few.read <= 7, `${few.read} units`);
});

Deno.test("where: saved, then logged, then on the device when it says so; it is asked", async () => {
  await using traced = new Traced();
  const { fixture, context, registry, fleet, outbox } = traced;
  await registry.add("d1", "acme");
  await registry.add("d2", "acme");
  const model = traced.model("Plain");
  assert.deepEqual([(await whereIs(context, model, key)).item, (await whereIs(context, model, key)).logged], [
    null,
    undefined,
  ]);
  await registry.touch("d1", true, { agent: "0.1.0", at: { "device:d1": 0 } });
  await fixture.put("Plain", { id: "x", v: 1 });
  const saved = await whereIs(context, model, key);
  assert.deepEqual([saved.item?.v, saved.logged], [1, undefined]);
  await traced.pass();
  outbox.take();
  fixture.time += 10;
  const logged = await whereIs(context, model, key);
  assert.deepEqual([logged.devices, typeof logged.logged?.seq], [{ total: 1, online: 1, have: 0 }, "number"]);
  const { seq } = logged.logged!;
  let looks = 0;
  const sleep = () => {
    fixture.time += 20;
    if (++looks === 3) fleet.heard("d1", { online: true, at: { "device:d1": seq } });
    return Promise.resolve();
  };
  const there = await whereIs(context, model, key, { waitMs: 2_000, sleep });
  assert.deepEqual([there.devices?.have, looks], [1, 3]);
  assert.deepEqual(outbox.take().map((message) => message.type === "changes" && [message.seq, message.tell]), [[0, 1]]);
  // A change of after that is not in the log yet is not the one of before.
  const since = fixture.time;
  await fixture.put("Plain", { id: "x", v: 2 });
  const late = await whereIs(context, model, key, { waitMs: 500, sinceMs: since, sleep });
  assert.deepEqual([late.item?.v, late.logged, late.devices?.have], [2, undefined, 0]);
});

Deno.test("where: of a shared channel how many of those that are connected have it", async () => {
  await using traced = new Traced();
  const { fixture, context, registry, fleet } = traced;
  for (
    const [id, account, connected] of [["d1", "acme", true], ["d2", "acme", true], ["d3", "acme", false], [
      "d4",
      "bolt",
      true,
    ]] as const
  ) {
    await registry.add(id, account);
    await registry.touch(id, connected, { at: { "account:acme": 0 } });
  }
  await fixture.put("Account", { id: "x", v: 1 }, other);
  await traced.pass();
  const plain = { accountId: identity.accountId, id: "x" };
  const { logged } = await whereIs(context, traced.model("Account"), plain);
  fleet.heard("d2", { online: true, at: { "account:acme": logged!.seq } });
  const { devices } = await whereIs(context, traced.model("Account"), plain);
  assert.deepEqual(devices, { total: 3, online: 2, have: 1 });
});
