/**
 * A hostile device tries what there is to try, on each broker and table: nothing of anybody else's is altered, nothing leaks,
 * nothing stops, and a good device is served all the while.
 */
import assert from "node:assert/strict";
import { emulators } from "../support/dynamo.ts";
import { dynsecMissing } from "../support/mosquitto_dynsec.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { attempts } from "./attempts.ts";
import { letInAgain, openRig, type Peer, type Rig, secret } from "./rig.ts";

const [dynoxide, local] = await emulators();
const setups = [
  { name: "embedded broker and table", broker: "embedded", emulator: undefined, missing: undefined },
  { name: "Mosquitto, embedded table", broker: "mosquitto", emulator: undefined, missing: dynsecMissing },
  { name: "embedded broker, DynamoDB (dynoxide)", broker: "embedded", emulator: dynoxide, missing: dynoxide!.missing },
  { name: "Mosquitto, DynamoDB Local", broker: "mosquitto", emulator: local, missing: dynsecMissing ?? local!.missing },
] as const;

let asked = 0;
const sync = () => ({
  type: "sync" as const,
  request: `good/${++asked}`,
  channels: [{ channel: "device:good" as const, epoch: "x", seq: 0 }],
});

/** A change of the good device comes to its neighbour. */
async function stillFlows(good: Peer, victim: Peer, at: number): Promise<void> {
  const id = `flow-${at}`, stamp = Date.now() * 1000;
  await good.ask({
    type: "up",
    batch: `good/${++asked}`,
    sent: Date.now(),
    changes: [{ model: "Shared", op: "create", stamp, item: { id, text: secret } }],
  });
  await until(`the change ${at} is with the neighbour`, () => {
    victim.take();
    return victim.got.some((message) => JSON.stringify(message).includes(id));
  }, 60_000);
}

async function suite(rig: Rig): Promise<void> {
  const before = await rig.others();
  const good = await rig.peer("good"), victim = await rig.peer("victim");
  let spy = await rig.peer("spy");
  const seen: string[] = [];
  const look = () => {
    try {
      spy.take();
    } catch (error) {
      seen.push(`unreadable: ${error}`);
    }
    seen.push(...spy.connection.messages.map(({ payload }) => new TextDecoder().decode(payload)));
    seen.push(...spy.got.splice(0).map((message) => JSON.stringify(message)));
  };
  const list = attempts();
  assert.ok(new Set(list.map(({ what }) => what)).size === list.length && list.length >= 150);
  for (const [at, { what, kind, payload }] of list.entries()) {
    if (spy.connection.isClosed) {
      look();
      await letInAgain(rig);
      spy = await rig.peer("spy");
    }
    spy.send(kind, payload);
    if (at % 20 > 0) continue;
    // What is sent faster than it is read is thrown away, and at Mosquitto its sender is disabled: then nothing was tried.
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(await good.ask(sync()) < 30_000, `the good device is answered after ${what}`);
  }
  await stillFlows(good, victim, 1);
  // Whatever waits for the spy's budget is through by then, or thrown away.
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  await stillFlows(good, victim, 2);
  look();
  assert.ok(seen.length > 100, "the spy was answered: what it tried came through");
  assert.deepEqual(seen.filter((text) => text.includes(secret)), [], "nothing leaked");
  const after = (await rig.others()).filter(({ id }) => !String(id).startsWith("flow-"));
  assert.deepEqual(after, before, "nothing was altered");
  // deno-lint-ignore no-control-regex
  assert.ok(!/[\u0000-\u0009\u000b-\u001f\u007f]/.test(rig.log()), "the log has no control characters");
  assert.ok(!/failed: |the stream loop ended|uncaught/i.test(rig.log()), rig.log().slice(-2_000));
  for (const line of rig.log().split("\n")) assert.ok(line.length <= 2_100);
  const memory = await rig.memory();
  const [onUp, onSync] = ["up", "sync"].map((kind) => list.filter((one) => one.kind === kind).length);
  console.log(
    `    ${list.length} distinct attempts (${onUp} on up, ${onSync} on sync); the worker's memory at most ${
      memory.most.toFixed(0)
    } MB`,
  );
  assert.ok(memory.now < 250, `the worker has ${memory.now} MB`);
  for (const peer of [good, victim, spy]) await peer.connection.close();
}

for (const { name, broker, emulator, missing } of setups) {
  Deno.test({
    name: `hostile device: ${name}`,
    ignore: skipped(missing),
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using rig = await openRig(broker, emulator);
      await suite(rig);
    },
  });
}
