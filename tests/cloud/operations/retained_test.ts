/** Of an erased device the broker retains nothing, whoever erased it; of others it does. */
import assert from "node:assert/strict";
import { MqttLink } from "../../../agent/link.ts";
import { startBroker } from "../../../cloud/broker/broker.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { MqttPublisher } from "../../../cloud/publishers/mqtt.ts";
import { Erasure } from "../../../cloud/operations/erasure.ts";
import { clearRetained } from "../../../cloud/operations/retained.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { publishPacket, RawConnection, subscribePacket } from "../../hostile/raw_mqtt.ts";
import { e2eCompiled as schema } from "../../support/schema.ts";
import { until } from "../../support/until.ts";

const internal = { username: "twintable-cloud", password: "secret" };

/** A broker with two devices that have come and gone. */
async function rig() {
  let nowMs = Date.UTC(2026, 0, 1);
  const now = () => nowMs, tables = openEmbedded(":memory:", { schema, now, synchronous: "normal" });
  const registry = new Registry(tables.log, { now, cacheMs: 0 });
  const broker = await startBroker({
    internal,
    authenticate: (deviceId, token) => registry.admit(deviceId, token),
    identityOf: (deviceId) => registry.identityOf(deviceId),
  });
  const url = `mqtt://127.0.0.1:${broker.port}`, publisher = new MqttPublisher({ url, ...internal });
  await publisher.start();
  for (const deviceId of ["dev-1", "dev-2"]) {
    const password = await registry.add(deviceId, "acme");
    const link = new MqttLink({ url, password, identity: { deviceId, accountId: "acme" } });
    link.start({ connected() {}, disconnected() {}, message() {} });
    await until("it is connected", () => link.connected);
    await link.close();
  }
  return {
    context: { table: tables.log, registry, publisher },
    registry,
    /** As the command line does it: beside the broker, which hears nothing. */
    async erase(deviceId: string): Promise<string[]> {
      const erasure = new Erasure({ schema, tables, registry, now });
      for (;;) {
        const state = await erasure.run(deviceId);
        if (state?.done) return state.remains.map(({ what }) => what);
        nowMs += 46_000;
      }
    },
    /** Whose presence the broker retains. */
    async retained(): Promise<string[]> {
      const login = { clientId: "watch", ...internal },
        { connection } = await RawConnection.connect(broker.port, login);
      connection.send(subscribePacket(["tt/d/+/presence", "tt/w/test/end"]));
      await connection.next(9);
      connection.send(publishPacket("tt/w/test/end", "end"));
      await until("the end", () => connection.messages.some(({ topic }) => topic === "tt/w/test/end"));
      const topics = connection.messages.map(({ topic }) => topic).filter((topic) => topic.endsWith("/presence"));
      await connection.close();
      return topics.sort();
    },
    async [Symbol.asyncDispose]() {
      await publisher.close();
      await broker.close();
      tables.close();
    },
  };
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name: `retained: ${name}`, fn, sanitizeOps: false, sanitizeResources: false });

test("of an erased device the broker forgets what it retains, and of no other", async () => {
  await using here = await rig();
  const both = ["tt/d/dev-1/presence", "tt/d/dev-2/presence"];
  assert.deepEqual(await here.retained(), both);
  const remains = await here.erase("dev-1");
  assert.ok(remains.some((what) => /a running worker clears it within a minute/.test(what)));
  assert.deepEqual(await here.retained(), both, "nobody has told the broker");
  await clearRetained(here.context);
  assert.deepEqual(await here.retained(), ["tt/d/dev-2/presence"]);
});

test("where the broker is away the mark stays, and is done the next time", async () => {
  await using here = await rig();
  await here.erase("dev-1");
  const away = { forget: () => Promise.reject(new Error("away")) };
  await clearRetained({ ...here.context, publisher: away });
  assert.equal((await here.retained()).length, 2);
  await clearRetained(here.context);
  assert.equal((await here.retained()).length, 1);
});

test("a device of the same name that was added since keeps its own", async () => {
  await using here = await rig();
  await here.erase("dev-1");
  await here.registry.add("dev-1", "acme");
  await clearRetained(here.context);
  assert.equal((await here.retained()).length, 2);
});
