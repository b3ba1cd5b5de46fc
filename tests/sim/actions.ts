/**
 * What the scheduler may do to the world, each with its weight where a family says nothing else. An action draws all its
 * choices from one number, so that a schedule is a list of (action, draw) from which any part can be left out.
 *
 * @module
 */
import { calm } from "./timely.ts";
import { channelsOf } from "../../schema.ts";
import type { SimDevice } from "./device.ts";
import { drain } from "./heal.ts";
import type { Random } from "./random.ts";
import { storm } from "./storm.ts";
import type { World } from "./world.ts";

const hourMs = 3_600_000;

/** The actions. */
export const weights = {
  write: 10,
  ext: 5,
  pump: 8,
  deliver: 30,
  drop: 3,
  dup: 2,
  stream: 10,
  step: 40,
  crashWorker: 1,
  off: 1,
  on: 2,
  partition: 1,
  crash: 1,
  dieSoon: 1,
  full: 1,
  copy: 1,
  power: 1,
  sendAndForget: 1,
  tick: 3,
  tiny: 3,
  trim: 2,
  clock: 1,
  resync: 2,
  redeliver: 1,
  trouble: 1,
  forge: 1,
  poison: 0,
  lose: 0,
  wipe: 0,
  settle: 0,
  newest: 0,
  copied: 0,
  reset: 0,
  broker: 0,
  shard: 0,
  drift: 0,
  upgrade: 0,
  keep: 0,
  restore: 0,
  expire: 0,
  fresh: 0,
  clockKill: 0,
  hide: 0,
  storm: 0,
  version: 0,
  hush: 0,
  usurp: 0,
  calm: 0,
};

/** One of them. */
export type Action = keyof typeof weights;

/** One step of a schedule. */
export type Step = readonly [action: Action, draw: number];

/** Does it. `world.random` must be the step's own. */
export async function act(world: World, action: Action): Promise<void> {
  const { random, parcels, cloud } = world;
  const device = random.pick(world.devices);
  switch (action) {
    case "write":
      return world.local(device);
    case "ext":
      return await world.external();
    case "calm":
      return await calm(world, device);
    case "pump":
      return device.pump();
    case "deliver":
      if (parcels.length > 0) await world.deliver(oneOf(random, parcels.length));
      return;
    case "newest":
      if (parcels.length > 0) await world.deliver(parcels.length - 1);
      return;
    case "copied":
      if (world.copies.length > 0 && counted(world, "message come late")) {
        const index = random.below(world.copies.length);
        parcels.push(...world.copies.splice(index, 1));
        await world.deliver(parcels.length - 1);
      }
      return;
    case "drop":
      if (parcels.length > 0 && counted(world, "message lost")) world.drop(random.below(parcels.length));
      return;
    case "dup":
      if (parcels.length > 0 && counted(world, "message repeated")) {
        await world.deliver(random.below(parcels.length), true);
      }
      return;
    case "stream":
      return await world.readStream(random.between(1, 3));
    case "step":
      if (cloud.gate.pending.length > 0) await world.step(oneOf(random, cloud.gate.pending.length));
      return;
    case "trim": {
      world.pass(random.pick([0, 150_000]));
      const channels = world.devices.flatMap(({ identity }) => channelsOf(world.config.schema, identity));
      if (channels.length > 0 && await cloud.trim(channels)) world.count("log trimmed");
      return;
    }
    case "settle":
      await drain(world);
      world.pass(random.pick([2000, 10_000, hourMs]));
      return;
    case "wipe":
      world.pass(150_000);
      await cloud.wipeLog();
      return world.count("log table lost");
    case "redeliver":
      if (cloud.redeliver(random.between(1, 8))) world.count("stream records repeated");
      return;
    case "expire":
      if (await world.sweep(random.chance(0.5))) world.count("items expired");
      return;
    case "hide":
      if (await world.hide()) world.count("item that an index misses");
      return;
    case "storm":
      return await storm(world);
    case "version":
      return world.changeVersion(device);
    case "hush":
      return world.changeHush();
    case "usurp":
      return await world.usurp();
    case "keep":
      return await cloud.keep();
    case "restore":
      return await world.restore();
    case "forge":
      world.count("message forged");
      return world.forge(device);
    case "poison":
      world.count("item no device can take");
      return await world.poison();
    default:
      return disturb(world, device, action);
  }
}

/** Often the first in line, sometimes the last, else any. */
function oneOf(random: Random, count: number): number {
  return random.pick([0, 0, count - 1, random.below(count)]);
}

function counted(world: World, what: string): true {
  world.count(what);
  return true;
}

function disturb(world: World, device: SimDevice, action: Action): void {
  const { random, cloud } = world;
  switch (action) {
    case "off":
      world.count("link cut");
      return device.disconnect();
    case "on":
      device.mute = device.deaf = false;
      return device.connect();
    case "partition":
      world.count("link cut in one direction");
      if (random.chance(0.5)) device.mute = !device.mute;
      else device.deaf = !device.deaf;
      return;
    case "crash":
      world.count("device crash");
      device.crash();
      return device.connect();
    case "dieSoon":
      world.count("device crash at a write");
      device.dieIn = { count: random.below(4), committed: random.chance(0.5) };
      return;
    case "full":
      world.count("device disk full");
      device.fullFor = random.between(1, 4);
      return;
    case "copy":
      return world.copy(device);
    case "power":
      if (world.powerLoss(device)) world.count("old copy of the database restored");
      return device.connect();
    case "sendAndForget":
      world.copy(device);
      device.pump();
      world.count("power loss that forgets what was sent");
      world.powerLoss(device, true);
      return device.connect();
    case "tick":
      world.pass(random.pick([1, 10, 500, 3000, 6000, 40_000, hourMs]));
      return device.tick();
    case "broker":
      world.count("broker restart that forgets");
      return world.restartBroker(random.pick([0, 1000, 20_000, 90_000]));
    case "shard":
      if (cloud.stream.split(random.next())) world.count("shard split");
      return;
    case "drift":
      world.count("clock drift");
      return device.driftBy(random.pick([0, 0.001, -0.001, 0.01, -0.01]));
    case "upgrade":
      return world.upgrade(device);
    case "tiny":
      world.now += 1;
      return;
    case "clock":
      world.count("clock jump");
      device.skewMs = random.pick([0, 0, 2 * hourMs, -2 * hourMs, 45_000, -45_000]);
      return device.tick();
    case "fresh":
      world.count("cursors given up");
      // A snapshot in the place of the log shows no removal of what is in flight (rules 7.3).
      if (device.twin.context.inFlight.batches.size > 0) world.leftLog.add(device.name);
      device.giveUpCursors(random.chance(0.5));
      return device.connect();
    case "clockKill":
      world.count("clock set while the agent was dead");
      device.online = false;
      device.skewMs = random.pick([0, 2 * hourMs, -2 * hourMs]);
      device.start();
      return device.connect();
    case "resync":
      return device.resync();
    case "crashWorker":
      world.count("worker crash");
      return cloud.killWorker();
    case "trouble":
      world.count("table throttled or failing");
      cloud.trouble = cloud.trouble > 0 ? 0 : random.pick([0.05, 0.3]);
      return;
    case "reset":
      world.count("device database lost");
      world.reset(device);
      return device.connect();
    case "lose":
      // What a stream trims is old: whatever lags has caught up with it.
      world.pass(150_000);
      if (cloud.stream.lose()) world.count("stream history lost");
      return;
  }
}
