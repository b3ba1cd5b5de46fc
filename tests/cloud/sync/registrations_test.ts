/** What a device sent before it was revoked is not the next one's of its name, however long it waits. */
import assert from "node:assert/strict";
import { Registry } from "../../../cloud/sync/registry.ts";
import { CloudService } from "../../../cloud/sync/service.ts";
import type { Tables } from "../../../cloud/table/port.ts";
import type { FromDevice } from "../../../protocol.ts";
import { Fixture, Outbox, schema, withWrite } from "../fixture.ts";

/** A service whose data table takes no write before {@link Rig.open} is called. */
class Rig implements AsyncDisposable {
  readonly fixture = new Fixture();
  readonly publisher = new Outbox();
  readonly renewed: string[] = [];
  readonly #gate = Promise.withResolvers<void>();
  readonly open = this.#gate.resolve;
  readonly service: CloudService;

  constructor() {
    const { tables, now, random } = this.fixture;
    const data = Object.assign(withWrite(tables.data, async (...args) => {
      await this.#gate.promise;
      return await tables.data.write(...args);
    }));
    this.service = new CloudService({
      ...{ schema, now, random, publisher: this.publisher },
      tables: Object.assign(Object.create(tables) as Tables, { data }),
      answering: { upsAtOnce: 1, asksAtOnce: 1 },
      renewals: {
        answer: ({ deviceId, accountId }) => {
          this.renewed.push(`${deviceId} of ${accountId}`);
          return Promise.resolve({ cert: "PEM" });
        },
      },
    });
  }

  get registry(): Registry {
    return this.service.registry;
  }

  up(id: string): FromDevice {
    const changes = [{
      model: "UpAccount",
      op: "create" as const,
      item: { id, v: 1 },
      stamp: this.fixture.time * 1000,
    }];
    return { type: "up", batch: `i1/${id}`, sent: this.fixture.time, changes };
  }

  async pass(ms = 5): Promise<void> {
    this.fixture.time += ms;
    await Promise.resolve();
  }

  /** The accounts' items. */
  async written(): Promise<string[]> {
    const { items } = await this.fixture.tables.data.scan({ limit: 100 });
    return items.map(({ pk, sk }) => `${pk} ${sk}`).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fixture[Symbol.asyncDispose]();
  }
}

const again: Record<string, (registry: Registry) => Promise<unknown>> = {
  "revoked and added": async (registry) => {
    await registry.revoke("d1");
    await registry.add("d1", "beta");
  },
  "added in its place": (registry) => registry.add("d1", "beta", { replace: true }),
};

for (const [how, give] of Object.entries(again)) {
  Deno.test(`registrations: a batch that waits while its device is ${how} under another account is not written there`, async () => {
    await using rig = new Rig();
    await rig.registry.add("d0", "acme");
    await rig.registry.add("d1", "acme");
    // The only slot is taken; d1's first message of all waits behind it, and so does one that d1 sends later.
    const first = rig.service.receive("d0", rig.up("busy")), waiting = [rig.service.receive("d1", rig.up("old"))];
    await rig.pass();
    assert.ok(await rig.registry.identityOf("d1"));
    waiting.push(
      rig.service.receive("d1", rig.up("later")),
      rig.service.receive("d1", { type: "renew", request: "r", csr: "c" }),
    );
    await rig.pass();
    await give(rig.registry);
    const between = rig.service.receive("d1", rig.up("between"));
    await rig.pass();
    assert.equal((await rig.registry.identityOf("d1"))?.accountId, "beta");
    const own = rig.service.receive("d1", rig.up("new"));
    rig.open();
    await Promise.all([first, ...waiting, between, own]);
    assert.deepEqual(await rig.written(), ["a#acme UpAccount#busy", "a#beta UpAccount#new"]);
    assert.ok(!rig.renewed.includes("d1 of beta"), "nor does its key become the next one's");
    assert.deepEqual(rig.service.metrics().messagesUnknown >= 3, true);
  });
}

Deno.test("registrations: what waited before it could be read belongs to whoever sent it", async () => {
  await using rig = new Rig();
  rig.open();
  const unknown = rig.registry.arrival("d1");
  await rig.pass();
  await rig.registry.add("d1", "acme");
  await rig.service.receive("d1", rig.up("before"), 100, unknown);
  const known = rig.registry.arrival("d1");
  await rig.pass();
  await rig.registry.revoke("d1");
  await rig.registry.add("d1", "beta");
  await rig.service.receive("d1", rig.up("old"), 100, known);
  await rig.service.receive("d1", rig.up("new"));
  assert.deepEqual(await rig.written(), ["a#beta UpAccount#new"]);
  await rig.service.presence("d1", { online: true, report: { outbox: 7 } }, known);
  assert.equal((await rig.registry.info("d1"))?.report, undefined, "nor is its report the next one's");
});

Deno.test("registrations: where another process gives a name again, the new device is heard from its second message on", async () => {
  await using rig = new Rig();
  rig.open();
  await rig.registry.add("d1", "acme");
  await rig.service.receive("d1", rig.up("one"));
  await rig.pass(20_000);
  const elsewhere = new Registry(rig.fixture.tables.log, { now: rig.fixture.now });
  await elsewhere.revoke("d1");
  await elsewhere.add("d1", "beta");
  for (const id of ["two", "three"]) await rig.service.receive("d1", rig.up(id));
  assert.deepEqual(await rig.written(), ["a#acme UpAccount#one", "a#beta UpAccount#three"]);
  // A rotation, a renewal and a look make no other registration.
  const before = rig.registry.arrival("d1");
  await rig.registry.rotate("d1");
  await rig.registry.certify("d1", { key: "ab".repeat(32), until: 9e15, valid: 1e9 });
  await rig.pass(20_000);
  assert.equal((await rig.registry.identityAt("d1", before))?.accountId, "beta");
});

Deno.test("registrations: a certificate that a former device asked for is not issued to its name", async () => {
  await using rig = new Rig();
  await rig.registry.add("d1", "acme");
  const { registration } = (await rig.registry.identityAt("d1", rig.registry.arrival("d1")))!;
  const key = { key: "ab".repeat(32), until: 9e15, valid: 1e9 };
  await rig.pass();
  await rig.registry.add("d1", "beta", { replace: true });
  await assert.rejects(rig.registry.certify("d1", key, registration), /another device by now/);
  assert.deepEqual(await rig.registry.certificates("d1"), []);
});
