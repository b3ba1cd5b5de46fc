/**
 * The Twin page's address.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import type { LocalDevice } from "../local_device.ts";

/** A device and a model. */
export function twinHref({ deviceId }: LocalDevice, { name }: Model): string {
  return `/twin?${new URLSearchParams({ device: deviceId, model: name })}`;
}
