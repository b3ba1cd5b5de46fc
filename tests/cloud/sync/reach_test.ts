/** How far logs have grown, and how long what a device lacks has waited for it. */
import assert from "node:assert/strict";
import { Fleet } from "../../../cloud/sync/fleet.ts";
import { Reach } from "../../../cloud/sync/reach.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { decodePresence, encodeAt, encodePresence } from "../../../protocol.ts";
import { schema } from "../fixture.ts";

Deno.test("reach: the first entry that is lacked has waited since it was heard of; what is not known has no lag", () => {
  const reach = new Reach();
  assert.equal(reach.lagMs({ "device:d": 4 }, 100), undefined, "nothing was heard of the channel");
  reach.heard("device:d", 5, 1_000);
  reach.heard("device:d", 6, 2_000);
  assert.equal(reach.lagMs({ "device:d": 6 }, 9_000), 0);
  assert.equal(reach.lagMs({ "device:d": 5 }, 9_000), 7_000);
  assert.equal(reach.lagMs({ "device:d": 3 }, 9_000), 8_000);
  assert.equal(reach.lagMs({ "account:a": 1 }, 9_000), undefined);
  reach.heard("account:a", 2, 3_000);
  assert.equal(reach.lagMs({ "device:d": 6, "account:a": 1 }, 9_000), 6_000, "the channel that is worst");
  assert.equal(reach.lagMs({ "device:d": 5 }, 1_500), 0, "told before it was heard of");
});

Deno.test("reach: of many entries the oldest stays; one that is told twice, or late, changes nothing", () => {
  const reach = new Reach();
  for (let seq = 1; seq <= 50; seq++) reach.heard("global", seq, seq * 1_000);
  reach.heard("global", 50, 99_000);
  reach.heard("global", 30, 99_000);
  assert.equal(reach.lagMs({ global: 0 }, 60_000), 59_000);
  assert.equal(reach.lagMs({ global: 49 }, 60_000), 10_000);
  assert.equal(reach.lagMs({ global: 50 }, 60_000), 0);
});

Deno.test("reach: a log that begins anew, because its table was restored, is believed", () => {
  const reach = new Reach();
  reach.heard("device:d", 100, 1_000);
  reach.heard("device:d", 7, 2_000);
  assert.equal(reach.lagMs({ "device:d": 7 }, 9_000), 0);
});

Deno.test("reach: the fleet says it as of the device's last word, and of one that is away as of now", async () => {
  let time = 1_800_000_000_000;
  const now = () => time, tables = openEmbedded(":memory:", { schema, now });
  using _ = { [Symbol.dispose]: () => void tables.close() };
  const registry = new Registry(tables.log, { now }), fleet = new Fleet({ registry, now });
  await registry.add("d", "a");
  const down = async () => (await fleet.all()).devices[0]!.downMs;
  await fleet.all();
  fleet.heard("d", decodePresence(encodePresence(true, { at: { "device:d": 4 } })));
  assert.equal(await down(), undefined);
  fleet.appended("device:d", 4);
  assert.equal(await down(), 0);
  fleet.appended("device:d", 5);
  time += 70_000;
  assert.equal(await down(), 0, "it may have it by now");
  fleet.heard("d", decodePresence(encodePresence(true, { at: { "device:d": 4 } })));
  assert.equal(await down(), 70_000);
  // It goes on, and leaves without a word of how far it has come: only what comes later it lacks for certain.
  fleet.heard("d", decodePresence(encodePresence(true)));
  fleet.heard("d", decodePresence(encodePresence(false)));
  time += 10_000;
  assert.equal(await down(), 0);
  fleet.appended("device:d", 6);
  time += 30_000;
  assert.equal(await down(), 30_000);
  fleet.heard("d", decodePresence(encodePresence(true)));
  fleet.heard("d", decodePresence(encodeAt({ "device:d": 6 })));
  assert.equal(await down(), 0);
});
