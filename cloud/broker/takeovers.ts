/**
 * Two agents of one id push each other out for ever: MQTT lets the newer connection of a client id end the older one. One
 * takeover is a device that comes back after its line broke; several in a minute are two agents, which nobody sees unless it
 * is said.
 *
 * @module
 */

/** So many takeovers of a device within {@link windowMs} are told, and then once in that time. */
const toldFrom = 3, windowMs = 60_000;
/** Devices that are remembered: some MB. The one that was taken over longest ago goes. */
const devicesMax = 20_000;

/** Counts takeovers. */
export class Takeovers {
  readonly #times: Map<string, number[]> = new Map();

  /** A device's connection was taken over. @returns whether to tell of it now */
  note(deviceId: string, nowMs: number): boolean {
    const times = (this.#times.get(deviceId) ?? []).filter((at) => nowMs - at < windowMs);
    times.push(nowMs);
    this.#times.delete(deviceId);
    if (times.length < toldFrom) this.#times.set(deviceId, times);
    if (this.#times.size > devicesMax) this.#times.delete(this.#times.keys().next().value!);
    return times.length >= toldFrom;
  }
}
