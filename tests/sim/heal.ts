/**
 * The end of a run: every link and disk heals, nobody writes any more, and the system must come to rest in bounded
 * traffic; then one more write must still arrive.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import { names } from "./workload.ts";
import { Violation, type World } from "./world.ts";

/** Virtual time between rounds: longer than any wait of the agent, so that a few rounds settle everything. */
const roundMs = 31_000;
const roundsMax = 80;
/** So long a broker that swallows messages goes on to: less and less is asked for meanwhile. */
const silentRounds = 14;
const stepsMax = 6000;

/** Brings the world to rest. @throws Violation where it finds none */
export async function heal(world: World): Promise<void> {
  world.cloud.trouble = 0;
  world.cloud.hidden.clear();
  world.brokerDownUntilMs = 0;
  if (world.config.back) world.allNewest();
  world.parcels.push(...world.copies.splice(0));
  for (const device of world.devices) {
    device.mute = device.deaf = false;
    device.dieIn = undefined;
    device.fullFor = 0;
    device.connect();
  }
  for (let round = 0; round < roundsMax; round++) {
    // Reads go on failing for a while: most of what was missed is asked for meanwhile.
    if (round === 3) world.cloud.misreads = 0;
    if (round === silentRounds && world.hush) {
      world.hush = undefined;
      // What could not be read is asked for again with a new connection.
      for (const device of world.devices) {
        device.disconnect();
        device.connect();
      }
    }
    await drain(world);
    world.now += roundMs;
    let busy = world.hush !== undefined;
    for (const device of world.devices) {
      if (!device.twin.settled || device.twin.listCheck.pending) busy = true;
      device.tick();
      if (round < 2) device.resync();
    }
    if (world.config.expiring && (round === 1 || round === 3)) await world.sweep(true);
    if (!busy && !isMoving(world) && round > 3) return;
  }
  throw new Violation(`I7 no rest: ${world.devices.map(unrest).join("; ")}`);
}

function isMoving({ parcels, cloud, devices }: World): boolean {
  return devices.some((device) => device.hasArrivals) || parcels.length > 0 || cloud.gate.pending.length > 0 ||
    cloud.stream.ready().length > 0;
}

/** Lets everything that is under way arrive, in any order. */
export async function drain(world: World): Promise<void> {
  const { random, parcels, cloud } = world;
  // Without a broker a worker tries again and again.
  if (world.brokerIsDown) world.pass(world.brokerDownUntilMs - world.now);
  for (let i = 0; i < stepsMax; i++) {
    if (world.fault) throw world.fault;
    world.now += 1;
    const options: (() => Promise<void>)[] = [];
    if (parcels.length > 0) options.push(() => world.deliver(random.below(parcels.length)));
    if (cloud.gate.pending.length > 0) options.push(() => world.step(random.below(cloud.gate.pending.length)));
    if (cloud.stream.ready().length > 0) options.push(() => world.readStream(10));
    for (const device of world.devices) {
      if (device.hasArrivals) options.push(() => Promise.resolve(device.handOver()));
    }
    if (options.length === 0) return;
    await random.pick(options)();
  }
  throw new Violation("I3 endless traffic");
}

export function unrest({ name, twin }: World["devices"][number]): string {
  const { outbox, records, clock } = twin.context;
  const rechecks = records.rechecks(3).map((r) => r.key.join("|"));
  return `${name}: outbox ${outbox.head()}, in flight ${twin.context.inFlight.batches.size}, caught up ${twin.downlink.caughtUp}, ` +
    `rechecks ${rechecks}, time known ${clock.known}, waiting ${[...outbox.waiting.keys()]}`;
}

/** Values from here on are probes. */
const probeValue = 1_000_000;

/** A write on a device at the end must arrive: no key is poisoned for ever. @throws Violation */
export async function probe(world: World): Promise<void> {
  world.now += 5000;
  const device = world.devices[0]!, expected: [key: string, value: number][] = [];
  const two = (model: Model) => model.sync === "both";
  world.config.models.filter(two).forEach((model, i) => {
    const value = probeValue + i;
    world.setLocally(device, model, value);
    expected.push([world.keyText(device.identity, model, names[0]), value]);
  });
  await heal(world);
  const table = await world.cloud.items();
  for (const [key, value] of expected) {
    const item = table.get(key);
    if (item?.v !== value) throw new Violation(`I7 ${key} can't be written any more: ${JSON.stringify(item)}`);
  }
}
