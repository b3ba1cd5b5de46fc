/**
 * Which names a device may have.
 *
 * @module
 */
import { checkId } from "../../schema.ts";

/** Workers log in to brokers under such names: no device may have one. */
export function isReserved(deviceId: string): boolean {
  return deviceId.toLowerCase().startsWith("twintable-");
}

/** Checks the names of a device that is added. @throws RangeError */
export function checkNames(deviceId: string, accountId: string): void {
  checkId("device", deviceId);
  checkId("account", accountId);
  if (!isReserved(deviceId)) return;
  throw new RangeError(`a device can't be named "${deviceId}": names that begin with "twintable-" are the workers'`);
}
