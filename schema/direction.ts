/**
 * Which way a model's items travel, and what follows from it for both sides: one place.
 *
 * A model that syncs exists on both sides (the compiler sees to it), so that its direction alone decides.
 *
 * @module
 */
import type { Model } from "./model.ts";

/** Whether devices send changes of this model. */
export function goesUp({ sync }: Pick<Model, "sync">): boolean {
  return sync === "both" || sync === "up";
}

/** Whether the cloud sends items of this model to devices. */
export function comesDown({ sync }: Pick<Model, "sync">): boolean {
  return sync === "both" || sync === "down";
}

/** Whether a device keeps a base for each key, and finds outbox entries by it: everything that goes up but models of one device. */
export function isTracked({ sync, scope }: Pick<Model, "sync" | "scope">): boolean {
  return sync === "both" || (sync === "up" && scope !== "device");
}
