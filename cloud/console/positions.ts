/**
 * Asks devices how far they have come in their channels, where a page shows them as lagging or does not know: they say so by
 * themselves only every five minutes. Their answers come as presence, and the rows that show them tick.
 *
 * Guarantee: at most the rows of a page are asked, each device once in a while; nothing waits for an answer.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { SyncError } from "../../schema.ts";
import type { DeviceStanding } from "../sync/fleet.ts";
import { Lru } from "../sync/lru.ts";
import type { ConsoleOptions } from "./context.ts";

/** A device that lags is asked again after this; one that did not answer, later. */
const lagsMs = 10_000, unknownMs = 300_000;
const logger = new Log("console");

/** See the module. */
export class Positions {
  readonly #asked = new Lru<string, number>({ sizeOf: (deviceId) => 2 * deviceId.length + 8 });

  constructor(private readonly options: ConsoleOptions) {}

  /** Asks those of whom it is not known that they have everything. */
  ask(devices: readonly DeviceStanding[]): void {
    const { service, events, now } = this.options;
    // Without presence there would be no answer.
    if (!service || !events) return;
    for (const { deviceId, connected, downMs } of devices) {
      if (connected !== true || downMs === 0) continue;
      const asked = this.#asked.get(deviceId) ?? -Infinity;
      if (now() - asked < (downMs === undefined ? unknownMs : lagsMs)) continue;
      this.#asked.set(deviceId, now());
      service.askWhere(`device:${deviceId}`).catch((error) => {
        if (!(error instanceof SyncError)) throw error;
        logger.debug("{deviceId} can't be asked how far it is: {error}", { deviceId, error });
      });
    }
  }
}
