/**
 * A hostile device tries what there is to try, on each broker and table: nothing of anybody else's is altered, nothing leaks,
 * nothing stops, and a good device is served all the while. The worker's counters prove that it has read and judged every
 * attempt: one that was left unread proves nothing.
 */
import assert from "node:assert/strict";
import { emulators } from "../support/dynamo.ts";
import { dynsecMissing } from "../support/mosquitto_dynsec.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import type { Item } from "../../schema/values.ts";
import { type Attempt, attempts } from "./attempts.ts";
import { packet } from "./raw_mqtt.ts";
import { openRig, type Peer, type Rig, secret } from "./rig.ts";

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

/** Counts of messages that the worker did not judge: no room, no budget, an unknown sender, a fault on the way. */
const unjudged = ["mqtt_dropped", "messages_refused", "messages_delayed", "messages_unknown", "messages_failed"];
const atOnce = 20, triesMax = 5;

/** The devices of the attempts, and what came to them. */
class Spies {
  readonly #peers = new Map<string, Peer>();
  readonly seen: string[] = [];
  sent = 0;

  constructor(private readonly rig: Rig) {}

  async make({ spy, kind, payload, what }: Attempt): Promise<void> {
    const peer = this.#peers.get(spy) ?? await this.rig.peer(spy);
    this.#peers.set(spy, peer);
    peer.send(kind, payload);
    this.sent++;
    // The broker has it, and has not cut its sender.
    assert.ok(await peer.connection.next(4), `${what}: the broker takes it`);
  }

  /** What has come to them by now, which the broker has passed on before it answers a ping. */
  async look(): Promise<void> {
    await Promise.all([...this.#peers.values()].map(async (peer) => {
      peer.connection.send(packet(0xc0, []));
      assert.ok(await peer.connection.next(13), `${peer.name} is still connected`);
      this.seen.push(...peer.connection.messages.map(({ payload }) => new TextDecoder().decode(payload)));
      try {
        peer.take();
      } catch (error) {
        this.seen.push(`unreadable: ${error}`);
      }
      this.seen.push(...peer.got.splice(0).map((message) => JSON.stringify(message)));
      peer.connection.received.splice(0);
      peer.rewind();
    }));
  }

  async leave(): Promise<void> {
    for (const peer of this.#peers.values()) await peer.connection.close();
    this.#peers.clear();
  }
}

/** Whether the worker has read so many payloads, and answered what they were. */
async function haveRead(rig: Rig, sent: number): Promise<boolean> {
  const counts = await rig.counts();
  if (counts.mqtt_received! + counts.mqtt_malformed! + counts.mqtt_parts! >= sent) return counts.messages_running === 0;
  // Each look is work for the worker.
  await new Promise((resolve) => setTimeout(resolve, 25));
  return false;
}

const unjudgedBy = async (rig: Rig): Promise<number> => {
  const counts = await rig.counts();
  return unjudged.reduce((sum, name) => sum + counts[name]!, 0);
};

/** Makes some attempts until each was judged: while a table does not answer, none is. Then they are made again, as by an agent. */
async function judged(rig: Rig, some: readonly Attempt[], spies: Spies, good: Peer): Promise<void> {
  const names = some.map(({ what }) => what).join("; ");
  for (let tries = 1; tries <= triesMax; tries++) {
    const before = await unjudgedBy(rig);
    // One after the other where they are one device's: that is their order.
    await Promise.all(
      Object.values(Object.groupBy(some, ({ spy }) => spy)).map(async (own) => {
        for (const one of own!) await spies.make(one);
      }),
    );
    const sent = spies.sent + good.sent;
    await until(`all of these were read: ${names}`, () => haveRead(rig, sent), 60_000);
    if (await unjudgedBy(rig) === before) return;
  }
  assert.fail(`not judged: one of ${names}\n${rig.log().slice(-2_000)}`);
}

async function suite(rig: Rig, list: readonly Attempt[]): Promise<void> {
  const before = await rig.others();
  const good = await rig.peer("good"), victim = await rig.peer("victim"), spies = new Spies(rig);
  assert.ok(new Set(list.map(({ what }) => what)).size === list.length && list.length >= 150);
  for (let at = 0; at < list.length; at += atOnce) {
    const some = list.slice(at, at + atOnce), names = some.map(({ what }) => what).join("; ");
    await judged(rig, some, spies, good);
    await spies.look();
    await spies.leave();
    assert.ok(await good.ask(sync()) < 30_000, `the good device is answered after ${names}`);
  }
  await stillFlows(good, victim, 1);
  const counts = await rig.counts();
  await holdsStill(rig, before, spies);
  const memory = await rig.memory();
  const [onUp, onSync] = ["up", "sync"].map((kind) => list.filter((one) => one.kind === kind).length);
  console.log(
    `    ${list.length} distinct attempts (${onUp} on up, ${onSync} on sync), each read: ${counts.mqtt_malformed} malformed, ` +
      `${counts.mqtt_parts} parts; the worker's memory at most ${memory.most.toFixed(0)} MB`,
  );
  assert.ok(memory.now < 250, `the worker has ${memory.now} MB`);
  for (const peer of [good, victim]) await peer.connection.close();
}

/** Nothing of others' has leaked or changed, and the log is fit to be read. */
async function holdsStill(rig: Rig, before: readonly Item[], spies: Spies): Promise<void> {
  assert.ok(spies.seen.length > 100, "the spies were answered");
  assert.deepEqual(spies.seen.filter((text) => text.includes(secret)), [], "nothing leaked");
  const after = (await rig.others()).filter(({ id }) => !String(id).startsWith("flow-"));
  assert.deepEqual(after, before, "nothing was altered");
  // deno-lint-ignore no-control-regex
  assert.ok(!/[\u0000-\u0009\u000b-\u001f\u007f]/.test(rig.log()), "the log has no control characters");
  assert.ok(!/failed: |the stream loop ended|uncaught/i.test(rig.log()), rig.log().slice(-2_000));
  for (const line of rig.log().split("\n")) assert.ok(line.length <= 2_100);
}

for (const { name, broker, emulator, missing } of setups) {
  Deno.test({
    name: `hostile device: ${name}`,
    ignore: skipped(missing),
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const list = attempts();
      const spies = Object.fromEntries(list.map(({ spy, account }) => [spy, account]));
      await using rig = await openRig(broker, emulator, spies);
      await suite(rig, list);
    },
  });
}
