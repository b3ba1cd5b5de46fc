/**
 * The Twin page's address: which device, which model.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { ApiError } from "../../api/errors.ts";
import type { ConsoleOptions } from "../context.ts";
import type { LocalDevice } from "../local_device.ts";

/** A device and a model. */
export function twinHref({ deviceId }: LocalDevice, { name }: Model): string {
  return `/twin?${new URLSearchParams({ device: deviceId, model: name })}`;
}

/** What the address names. */
export function chosen(options: ConsoleOptions, query: URLSearchParams): { device: LocalDevice; model: Model } {
  const devices = options.travels!.devices;
  const device = devices.find(({ deviceId }) => deviceId === query.get("device")) ?? devices[0]!;
  const models = shownModels(options), name = query.get("model");
  if (name !== null && !models.some((model) => model.name === name)) {
    throw new ApiError(404, "not-found", `There is no model “${name}” on both sides.`);
  }
  return { device, model: models.find((model) => model.name === name) ?? models[0]! };
}

/** Models that exist on both sides; those that sync both ways first. */
export function shownModels({ schema }: ConsoleOptions): Model[] {
  const both = [...schema.models.values()].filter(({ onDevice, inCloud }) => onDevice && inCloud);
  return both.sort((a, b) => Number(b.sync === "both") - Number(a.sync === "both"));
}
