/**
 * The one place that decides which way a model's items travel, and what follows for both sides.
 *
 * A model that syncs exists on both sides (the compiler ensures it), so only its direction decides.
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

/**
 * Whether a device stores a base for each key, and finds outbox entries by it: true for every model that syncs up,
 * except models of one device.
 */
export function isTracked({ sync, scope }: Pick<Model, "sync" | "scope">): boolean {
  return sync === "both" || (sync === "up" && scope !== "device");
}
