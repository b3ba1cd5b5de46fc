/**
 * Checks the connected devices again and again, evenly spread, and cuts those that are no longer registered, now belong
 * to another account, or logged in with a credential that was revoked or has expired.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { AccessOptions } from "./access.ts";
import type { Devices } from "./connections.ts";

/** Starts it. @returns a function that ends it */
export function recheck(
  devices: Devices,
  identityOf: NonNullable<AccessOptions["identityOf"]>,
  everyMs: number,
  cut: (deviceId: string) => void,
): () => void {
  const log = new Log("broker");
  const stepMs = Math.max(1, Math.min(1_000, everyMs / 4));
  let left: string[] = [], perStep = 1, busy = false;
  const step = async () => {
    if (left.length === 0) {
      left = devices.ids;
      perStep = Math.ceil(left.length * stepMs / everyMs);
    }
    for (const deviceId of left.splice(0, perStep)) {
      for (const { admission } of devices.of(deviceId)) {
        const isOver = (admission.untilMs ?? Infinity) <= Date.now();
        const now = isOver ? undefined : await identityOf(deviceId, admission.credential);
        if (now?.accountId !== admission.accountId) cut(deviceId);
      }
    }
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    // A device that can't be looked up now stays: an unreachable table must not disconnect the fleet.
    step().catch((error) => log.debug("connected devices can't be looked up: {reason}", { reason: error.message }))
      .finally(() => busy = false);
  }, stepMs);
  return () => clearInterval(timer);
}
