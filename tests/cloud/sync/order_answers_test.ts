/** What a device answers to orders and questions: an invention of its own costs others nothing. */
import assert from "node:assert/strict";
import type { Ordered } from "../../../protocol.ts";
import type { Bus, BusMessage } from "../../../cloud/feed/bus.ts";
import { encodeBus } from "../../../cloud/feed/bus.ts";
import { Orders } from "../../../cloud/sync/orders.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import type { Attributes } from "../../../schema/values.ts";
import { Fixture, Outbox } from "../fixture.ts";

async function rig(fixture: Fixture, bus?: Bus) {
  const { tables: { log: table }, now, random } = fixture, registry = new Registry(table, { now });
  await registry.add("d1", "acme");
  const publisher = new Outbox();
  return {
    publisher,
    orders: () => new Orders({ table, registry, publisher, now, random, bus, sleep: () => Promise.resolve() }),
  };
}

const answer = (order: string, report: Attributes, state: Ordered["state"] = "done"): Ordered => ({
  ...{ type: "ordered", order, state, report },
});

async function stored(fixture: Fixture): Promise<number> {
  const { items } = await fixture.tables.log.scan({ limit: 1_000 });
  return items.filter(({ hash }) => String(hash).startsWith("answer#")).length;
}

Deno.test("order answers: without a bus, an answer to what nobody has asked is not stored, and one that was asked for once", async () => {
  await using fixture = new Fixture();
  const { orders, publisher } = await rig(fixture), here = orders(), elsewhere = orders();
  for (let n = 0; n < 50; n++) await here.answered("d1", answer(`k/${n}`, { rows: ["x".repeat(100_000)] }));
  assert.equal(await stored(fixture), 0);
  publisher.publish = async (_to, message) => {
    const { order } = message as { order: string };
    await elsewhere.answered("d2", answer(order, { rows: ["another device's"] }));
    await elsewhere.answered("d1", answer(order, { rows: ["its own"] }));
    await elsewhere.answered("d1", answer(order, { rows: ["its second"] }));
  };
  const got = await here.ask("d1", { do: "kept", table: "rejected" });
  assert.deepEqual([got?.report, await stored(fixture)], [{ rows: ["its own"] }, 1]);
  publisher.publish = async (_to, message) => {
    // Its bytes count, and not its letters: a table takes 400 KB.
    await elsewhere.answered("d1", answer((message as { order: string }).order, { rows: ["語".repeat(200_000)] }));
  };
  const large = await here.ask("d1", { do: "kept", table: "rejected" });
  assert.equal(large?.state, "failed");
  assert.match(String(large?.report.reason), /too large/);
});

Deno.test("order answers: what is passed on to other workers is bounded, each and all together, whatever a device invents", async () => {
  await using fixture = new Fixture();
  const messages: BusMessage[] = [];
  const bus: Bus = { publish: (message) => void messages.push(message), subscribe: () => () => {} };
  const { orders } = await rig(fixture, bus), here = orders();
  const sizes = () => messages.map((message) => encodeBus("w", message).length);
  for (const text of ["x".repeat(600_000), "語".repeat(200_000), "\u0001".repeat(100_000)]) {
    await here.answered("d1", answer("k/1", { rows: [text] }));
  }
  assert.equal(messages.length, 3);
  assert.ok(Math.max(...sizes()) < 1_000, `${sizes()}`);
  for (let n = 0; n < 200; n++) await here.answered("d1", answer(`k/${n}`, { rows: ["x".repeat(100_000)] }));
  const sum = sizes().reduce((all, one) => all + one);
  assert.ok(Math.max(...sizes()) < 256 * 1024 && sum < 1.3 * 1024 * 1024, `${sum} bytes`);
  const count = messages.length;
  await here.answered("d2", answer("k/1", {}));
  assert.equal(messages.length, count + 1, "another device's is passed on");
  fixture.time += 60_000;
  await here.answered("d1", answer("k/1", {}));
  assert.equal(messages.length, count + 2, "and its own again, after a while");
  // A report on an order that there is: no larger to other workers than it is stored.
  const order = await here.give("d1", { do: "verify" });
  await here.answered("d1", answer(order, { rows: ["x".repeat(100_000)] }));
  assert.ok(sizes().at(-1)! < 1_000);
});
