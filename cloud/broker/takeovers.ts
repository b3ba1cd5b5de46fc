/**
 * Two agents with one id disconnect each other for ever: in MQTT, the newer connection of a client id ends the older
 * one. One takeover is a device that reconnects after its connection broke; several in a minute mean two agents, which
 * nobody notices without a log line.
 *
 * @module
 */
import { BoundedMap } from "../../protocol/bounded_map.ts";

/** So many takeovers of a device within {@link windowMs} are logged, and then once in that time. */
const toldFrom = 3, windowMs = 60_000;
/** Devices in memory: some MB. The one with the oldest takeover is dropped first. */
const devicesMax = 20_000;

/** Counts takeovers. */
export class Takeovers {
  readonly #times = new BoundedMap<string, number[]>(devicesMax);

  /** A device's connection was taken over. @returns whether to log it now */
  note(deviceId: string, nowMs: number): boolean {
    const times = (this.#times.get(deviceId) ?? []).filter((at) => nowMs - at < windowMs);
    times.push(nowMs);
    if (times.length < toldFrom) this.#times.set(deviceId, times);
    else this.#times.delete(deviceId);
    return times.length >= toldFrom;
  }
}
