/**
 * A storm: everybody comes back at once, and the table takes far fewer requests than the fleet asks for. It must end within
 * three times the length of the work, whatever is repeated meanwhile, and what is answered must be of use: when each
 * repetition is worked through, or late answers are thrown away, it never ends.
 *
 * @module
 */
import { Decoder } from "../../protocol.ts";
import { Violation, type World } from "./world.ts";

/** How long the table, slow as it is, takes for a request; one after the other. */
const requestMs = 1000;
/** For so long the table is slow at least: more than a device's patience. */
const slowMs = 10_000;
/** Requests and publishes that answer one channel's question: the floor, the last entry, two reads of a run, the page. */
const stepsAChannel = 5;
/** Requests that answer one part of a verification, which a device may begin as soon as it is caught up: the whole range's pages. */
const stepsACompare = 10;
/** A catch-up of several pages, and what is written meanwhile, is more work: so many questions a channel. */
const questionsMax = 2;

/**
 * Answers that a device ignores: repetitions cross answers, and workers die with what they had. Of few answers nothing
 * follows. (`deno task bench storm` holds a tenth, with one worker and thousands of devices.)
 */
const wastedMax = 0.5, answersMin = 20;

/** Lets a storm pass. @throws Violation where it does not */
export async function storm(world: World): Promise<void> {
  world.count("storm");
  for (const device of world.devices) {
    device.disconnect();
    device.connect();
  }
  const channels = world.devices.reduce((sum, { twin }) => sum + twin.downlink.channels.length, 0);
  const answers = { all: 0, wasted: 0, compares: new Set<string>() };
  const workMs = channels * stepsAChannel * questionsMax * requestMs;
  const began = world.now;
  const deadline = () => began + Math.max(3 * (workMs + answers.compares.size * stepsACompare * requestMs), slowMs);
  while (world.now < deadline()) {
    world.now += requestMs;
    await passMessages(world, answers);
    if (world.cloud.gate.pending.length > 0) await world.step(0);
    if (world.cloud.stream.ready().length > 0) await world.readStream(10);
    for (const device of world.devices) device.tick();
    if (world.fault) throw world.fault;
    const isOver = world.devices.every(({ twin, online }) => !online || twin.downlink.caughtUp);
    if (isOver && world.now - began > slowMs) return judge(answers);
  }
  const behind = world.devices.filter(({ twin, online }) => online && !twin.downlink.caughtUp);
  throw new Violation(`I7 a storm does not end: ${behind.length} of ${world.devices.length} devices are not caught up`);
}

/** @throws Violation where too many answers were of no use */
function judge({ all, wasted }: { all: number; wasted: number }): void {
  if (all < answersMin || wasted <= wastedMax * all) return;
  throw new Violation(`I7 in a storm ${wasted} of ${all} answers were of no use`);
}

/** The network is fast: what is under way arrives. */
async function passMessages(
  world: World,
  answers: { all: number; wasted: number; readonly compares: Set<string> },
): Promise<void> {
  while (world.parcels.length > 0) {
    const { to, device, payloads } = world.parcels[0]!;
    const decoder = new Decoder({ now: () => world.now });
    const message = payloads.map((p) => to === "device" ? decoder.accept(p, "down") : decoder.accept(p, "up")).at(-1);
    if (message?.type === "compare") answers.compares.add(message.request);
    const isAnswer = message?.type === "page" || message?.type === "snapshot";
    device.handOver();
    const { counters } = device.twin.context, ignored = counters.ignored;
    await world.deliver(0);
    device.handOver();
    if (!isAnswer) continue;
    answers.all++;
    if (counters.ignored > ignored) answers.wasted++;
  }
}
