/**
 * Looks through the connected devices again and again, evenly spread, and cuts those that are known no more, are of another
 * account by now, or came in with a credential that was withdrawn or has expired.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { AccessOptions } from "./access.ts";
import type { Devices } from "./connections.ts";

/** Starts it. @returns what ends it */
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
        const now = await identityOf(deviceId, admission.credential);
        if (now?.accountId !== admission.accountId) cut(deviceId);
      }
    }
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    // Whoever can't be looked up now stays: a table that is away must not throw the fleet out.
    step().catch((error) => log.debug("connected devices can't be looked up: {reason}", { reason: error.message }))
      .finally(() => busy = false);
  }, stepMs);
  return () => clearInterval(timer);
}
