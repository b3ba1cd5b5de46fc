/**
 * One run of the simulation: chaos by its plan's steps, then heal, then converge, then one more write; the oracles after
 * each rest. Steps can be left out: the others do the same as before.
 *
 * @module
 */
import { act, type Step } from "./actions.ts";
import type { Plan } from "./families.ts";
import { drain, heal, probe } from "./heal.ts";
import { withinMemory } from "./memory.ts";
import { check, nothingAside } from "./oracle.ts";
import { Random } from "./random.ts";
import { metInTime, timely } from "./timely.ts";
import { Trace } from "./trace.ts";
import { Violation, World } from "./world.ts";

/** What a run did. */
export interface Outcome {
  /** The violated invariant, or the program's own error. */
  readonly failure?: string;
  readonly commits: number;
  readonly writes: number;
  readonly messages: number;
  readonly injected: Readonly<Record<string, number>>;
}

/** How a run is told. */
export interface RunOptions {
  /** For copies of device databases; on a memory file system, if there is one. */
  readonly folder: string;
  /** In the plan's place. */
  readonly steps?: readonly Step[];
  readonly trace?: (line: string) => void;
}

/** Devices and clouds as they mostly are: connected, caught up, with items. */
async function warmUp(world: World, seed: number): Promise<void> {
  world.random = new Random(seed ^ 0x3a5f);
  await drain(world);
  for (const device of world.devices) {
    world.local(device);
    device.pump();
  }
  await drain(world);
}

/** Runs a plan. */
export async function run(plan: Plan, { folder, steps = plan.steps, trace }: RunOptions): Promise<Outcome> {
  const world = new World(plan.seed ^ 0x5eed, plan.setup, folder);
  if (trace) world.trace = new Trace(trace, () => world.now);
  let failure: string | undefined;
  try {
    if (plan.setup.warm) await warmUp(world, plan.seed);
    for (const [i, [action, draw]] of steps.entries()) {
      world.random = new Random(draw);
      trace?.(`${i} ${new Date(world.now).toISOString()} ${action}`);
      await act(world, action);
      if (world.fault) throw world.fault;
      withinMemory(world);
    }
    trace?.("heal");
    world.random = new Random(plan.seed);
    await heal(world);
    await check(world);
    if (plan.setup.unique) {
      trace?.("values of their own");
      await world.unclash();
      await heal(world);
      await check(world);
      nothingAside(world);
    }
    trace?.("one more write");
    await probe(world);
    await check(world);
    trace?.("in time");
    await timely(world);
    if (plan.setup.restores && !plan.setup.otherStream) {
      await metInTime(world);
      await heal(world);
      await check(world);
    }
  } catch (error) {
    if (error instanceof Violation) failure = error.message;
    else failure = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
  } finally {
    if (world.trace) { for (const device of world.devices) world.trace.state(device); }
    await world.close();
  }
  const writes = [...world.history.values()].reduce((sum, list) => sum + list.length, 0);
  return { failure, commits: world.commits.length, writes, messages: world.messages, injected: world.injected };
}
