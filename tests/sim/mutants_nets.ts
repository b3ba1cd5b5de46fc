/**
 * Planted bugs that the wider nets find: the later families of the simulation, and rules that it showed to be missing.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

/** See the module. */
export const nets: readonly Mutant[] = [
  guarded(
    "an answer to an earlier transmission tells the time",
    "2.2: an answer's time counts from when its question was first asked (sim: all 9000001)",
    "tests/agent/sync/clock_test.ts#earlier transmission",
    "agent/sync/uplink.ts",
    `sending.firstMs ??= sending.restored ? -Infinity : now;`,
    `sending.firstMs = now;`,
  ),
  guarded(
    "a later time unheard",
    "2.2: a later time than the known one is nearer to the truth",
    "tests/agent/sync/clock_test.ts#later time",
    "agent/twin.ts",
    `if (isPrompt || !clock.known || message.time > clock.nowMs()) clock.learn(message.time);`,
    `if (isPrompt || !clock.known) clock.learn(message.time);`,
  ),
];
