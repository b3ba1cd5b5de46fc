/**
 * I5 at every step: what an agent holds in memory is bounded by keys and by its window, not by how much was written. That
 * nothing is left behind at rest is judged in `oracle.ts`; what processes use is measured end to end.
 *
 * @module
 */
import { splitBatchesMax } from "../../agent/sync/silence.ts";
import type { SimDevice } from "./device.ts";
import { names, poisonName } from "./workload.ts";
import { Violation, type World } from "./world.ts";

/** Checks every device. @throws Violation */
export function withinMemory({ devices, config }: World): void {
  const keysMax = config.models.length * [...names, poisonName].length;
  for (const device of devices) bounded(device, keysMax);
}

function bounded({ name, twin }: SimDevice, keysMax: number): void {
  const { outbox, limits } = twin.context, { batches } = twin.context.inFlight;
  const changes = [...batches.values()].reduce((sum, { flights }) => sum + flights.length, 0);
  const bounds = [
    ["keys that wait to be sent", outbox.waiting.size, keysMax],
    ["batches in flight", batches.size, limits.unansweredMax === Infinity ? limits.windowBatches : splitBatchesMax],
    ["changes in flight", changes, keysMax],
  ] as const;
  for (const [what, count, most] of bounds) {
    if (count > most) throw new Violation(`I5 ${name} holds ${count} ${what}, where ${most} are the most`);
  }
}
