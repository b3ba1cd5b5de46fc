/**
 * Events about devices for the console: `row` for each active device, and `fleet` at most every 2 s.
 *
 * @module
 */
import type { EventHub } from "./event_hub.ts";

const fleetMs = 2_000;

/** Tells the hub. */
export function tellOfDevices(hub: EventHub): { heard(deviceId: string): void; close(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    heard(deviceId) {
      hub.publish({ name: "row", topic: `device:${deviceId}`, data: { id: deviceId } });
      timer ??= setTimeout(() => {
        timer = undefined;
        hub.publish({ name: "fleet", topic: "fleet", data: {} });
      }, fleetMs);
    },
    close: () => clearTimeout(timer),
  };
}
