/**
 * What a worker's samples say beside its counters: how it reads the stream, what its tables charged, how the devices are.
 * Undefined, and thus a gap in a chart, where it does not know.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { DeviceStanding, Fleet } from "../sync/fleet.ts";
import type { StreamStanding, Tables } from "../table/port.ts";

const log = new Log("cloud");
/** The registry is read for samples once an hour, by the worker that tails: some 0.2 read units a device. */
const fleetAgeMs = 3600_000;

/** Counters of what the tables charged; none where they charge nothing. */
export function unitCounters({ units }: Tables): Readonly<Record<string, number>> {
  const consumed = units?.();
  return consumed ? { unitsRead: consumed.read, unitsWritten: consumed.write } : {};
}

/** Who tails says how the stream is; the others, that they don't. */
export function streamValues(standing: StreamStanding | undefined): Readonly<Record<string, number | undefined>> {
  return { tailing: standing?.tails ? 1 : 0, shards: standing?.shards, poll_ms_max: standing?.pollMs };
}

/** What people said of devices is read again after this. */
const attentionAgeMs = 600_000;

/** How the devices are. Where the copy is old, the worker that may read the registry begins to: it says so from the next minute on. */
export function fleetValues(
  fleet: Pick<Fleet, "peek" | "all"> & Partial<Pick<Fleet, "attention">>,
  mayRead: boolean,
): Readonly<Record<string, number>> {
  const devices = fleet.peek(fleetAgeMs);
  if (devices) {
    // For the next sample. It never rejects.
    void fleet.attention?.refresh(attentionAgeMs);
    return valuesOf(devices);
  }
  if (mayRead) fleet.all().catch((error) => log.debug("the fleet can't be read for a sample: {error}", { error }));
  return {};
}

function valuesOf(devices: readonly DeviceStanding[]): Readonly<Record<string, number>> {
  const count = (state: string) => devices.filter((device) => device.state === state).length;
  const lags = devices.flatMap(({ connected, lagMs }) => connected === true ? [lagMs ?? 0] : []).sort((a, b) => a - b);
  return {
    devices_online: count("online"),
    devices_lagging: count("lagging"),
    devices_trouble: count("trouble"),
    devices_silent: count("silent"),
    outbox: devices.reduce((sum, { report }) => sum + (report?.outbox ?? 0), 0),
    ...(lags.length > 0
      ? { lag_p50_ms: lags[Math.ceil(lags.length * 0.5) - 1]!, lag_p99_ms: lags[Math.ceil(lags.length * 0.99) - 1]! }
      : {}),
  };
}
