/**
 * Timeliness: where nothing is lost and nobody connects anew, nothing may wait for the next regular sync. Healing asks for
 * everything again, and so hides what a device was never told; here only time passes, in steps, for a bound.
 *
 * @module
 */
import { ChannelLog } from "../../cloud/sync/channel_log.ts";
import type { Model } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import { tableEpochOf } from "../../agent/sync/restores.ts";
import type { SimDevice } from "./device.ts";
import { drain, unrest } from "./heal.ts";
import { converged } from "./oracle.ts";
import { names } from "./workload.ts";
import { Violation, type World } from "./world.ts";

/** Longer than any wait where nothing is lost: a device that heard of an epoch asks again after 6 s. */
const quietMs = 10_000;
const quietStepMs = 500;
/**
 * After losses, but shorter than the time to the regular sync: a question or a batch that was lost is repeated after 75 s at
 * most, and what it brings may wait for one more.
 */
const calmMs = 200_000;
const calmStepMs = 2_000;
/** Values from here on are of this module. */
const firstValue = 2_000_000;

/** Lets time pass, for the bound at most. Returns whether it came true. */
async function inTime(
  world: World,
  isTrue: () => Promise<boolean>,
  boundMs = quietMs,
  stepMs = quietStepMs,
): Promise<boolean> {
  const untilMs = world.now + boundMs;
  while (true) {
    await drain(world);
    if (await isTrue()) return true;
    if (world.now >= untilMs) return false;
    world.now += stepMs;
    for (const device of world.devices) device.tick();
  }
}

/** What the device has of it. */
function valueOn({ store }: SimDevice, model: Model): unknown {
  return store.db.sql(`SELECT v FROM "${model.name}" WHERE name = ?`).get(names[0])?.v;
}

/** All connected devices, and the table, come to have this value. @throws Violation */
async function arrives(world: World, by: SimDevice, model: Model, value: number): Promise<void> {
  const key = world.keyText(by.identity, model, names[0]);
  const concerned = world.devices.filter((one) => world.keyText(one.identity, model, names[0]) === key);
  const late = async () => {
    const item = (await world.cloud.items()).get(key);
    if (item?.v !== value) return `the table has ${JSON.stringify(item)}`;
    const without = concerned.find((one) => valueOn(one, model) !== value);
    return without && `${without.name} has ${valueOn(without, model)}`;
  };
  if (await inTime(world, async () => await late() === undefined)) return;
  throw new Violation(`I7 ${key}: ${value} of ${by.name} is not everywhere within ${quietMs} ms: ${await late()}`);
}

/** At rest, what a cloud application and then a device writes is everywhere at once. @throws Violation */
export async function timely(world: World): Promise<void> {
  if (world.config.alone) return;
  let value = firstValue;
  for (const model of world.config.models.filter(({ sync }) => sync !== "up")) {
    const device = world.random.pick(world.devices);
    await world.put(device, model, { name: names[0], v: ++value });
    await arrives(world, device, model, value);
    if (model.sync !== "both") continue;
    world.setLocally(device, model, ++value);
    await arrives(world, device, model, value);
  }
}

/** Each channel of these devices is of the table's present epoch; else what is not. */
async function unmet(world: World, devices: readonly SimDevice[] = world.devices): Promise<string | undefined> {
  const log = new ChannelLog(world.cloud.raw.log, { now: () => world.now, random: () => 0.5 });
  const epoch = await log.tableEpoch();
  for (const { name, twin } of devices) {
    if (twin.context.restores.epoch !== epoch) return `${name} knows the epoch ${twin.context.restores.epoch}`;
    for (const [channel, cursor] of Object.entries(twin.downlink.cursors())) {
      const its = cursor.epoch === undefined ? undefined : tableEpochOf(cursor.epoch);
      if (its !== epoch || cursor.seq === undefined) return `${name} has ${channel} of epoch ${its}`;
    }
  }
  return undefined;
}

/** Nobody comes to a new epoch more often than epochs have begun. @throws Violation */
async function meets(world: World, what: string, begun: number, devices = world.devices): Promise<void> {
  const before = world.devices.map(({ twin }) => twin.context.records.learnt.era);
  if (!await inTime(world, async () => await unmet(world, devices) === undefined)) {
    throw new Violation(`B1 ${what}, and within ${quietMs} ms an epoch is not met: ${await unmet(world, devices)}`);
  }
  world.devices.forEach(({ name, twin }, i) => {
    const times = twin.context.records.learnt.era - before[i]!;
    if (times > begun) throw new Violation(`B1 ${what}, and ${name} came to a new epoch ${times} times`);
  });
}

/**
 * At rest, the table goes back, or its stream loses history: each connected device takes note, in all of its channels,
 * though nobody writes; and if nobody told it, with the first message of one channel (rules B1). @throws Violation
 */
export async function metInTime(world: World): Promise<void> {
  const { random, cloud, config } = world, device = random.pick(world.devices);
  const shown = config.models.filter(({ sync }) => sync !== "up");
  if (shown.length === 0) return;
  const model = random.pick(shown), u: Item = config.unique ? { u: "u1" } : {};
  const put = (v: number) => world.put(device, model, { name: names[0], v, ...u });
  const kind = random.pick(["restored", "untold", "lost"]);
  if (kind === "lost") {
    await put(firstValue + 1000);
    world.count("stream history lost");
    cloud.stream.lose();
    // Each reader of the stream sees it, and begins one; to the last a device may come twice.
    return await meets(world, "history was lost", 2 * config.tailers - 1);
  }
  await cloud.keep();
  await put(firstValue + 1000);
  await arrives(world, device, model, firstValue + 1000);
  if (config.unique) {
    // It is set aside: another row has its value.
    await world.put(device, model, { name: names[1], v: firstValue + 1002, ...u });
    await drain(world);
  }
  world.untold = kind === "untold";
  await world.restore();
  if (kind === "restored") return await meets(world, "the table went back", 1);
  await drain(world);
  world.untold = false;
  await put(firstValue + 1001);
  await drain(world);
  const late = await unmet(world, [device]);
  if (late !== undefined) throw new Violation(`B1 the table went back, and one channel told it: ${late}`);
}

/**
 * In the middle of a run, one device whose connection lasts: from here on nothing of its own is lost, the workers and the
 * table are well, and each of its channels has one more message. Whatever was lost before, it gets all of it without a new
 * connection, and everything of its own is answered. The other devices stay in whatever state they are. @throws Violation
 */
export async function calm(world: World, device: SimDevice): Promise<void> {
  if (!device.online || device.dead || world.brokerIsDown) return;
  const { cloud, config } = world;
  cloud.trouble = cloud.misreads = 0;
  cloud.hidden.clear();
  device.mute = device.deaf = false;
  device.dieIn = undefined;
  device.fullFor = 0;
  world.count("calm");
  for (const model of config.models.filter(({ sync }) => sync !== "up")) {
    await world.put(device, model, { name: names[0], v: firstValue + world.messages });
  }
  const late = async () => {
    if (!device.online) return undefined;
    if (!device.twin.settled) return `it has not settled: ${unrest(device)}`;
    const table = await cloud.items();
    try {
      for (const model of config.models) for (const name of names) converged(world, device, model, name, table);
    } catch (error) {
      if (error instanceof Violation) return error.message;
      throw error;
    }
    return undefined;
  };
  if (await inTime(world, async () => await late() === undefined, calmMs, calmStepMs)) return;
  throw new Violation(`I7 ${device.name} was connected for ${calmMs} ms, and: ${await late()}`);
}
