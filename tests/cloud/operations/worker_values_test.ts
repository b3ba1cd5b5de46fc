import assert from "node:assert/strict";
import type { Attention } from "../../../cloud/sync/attention.ts";
import { fleetValues, streamValues, unitCounters } from "../../../cloud/operations/worker_values.ts";
import type { DeviceStanding } from "../../../cloud/sync/fleet.ts";
import type { Tables } from "../../../cloud/table/port.ts";

const device = (state: DeviceStanding["state"], more: Partial<DeviceStanding> = {}): DeviceStanding => ({
  deviceId: "d",
  accountId: "a",
  createdMs: 0,
  connected: state !== "silent",
  state,
  ...more,
});

Deno.test("worker values: a fleet that is not known says nothing; the worker that tails reads it, for the next minute", () => {
  let read = 0;
  const unknown = { peek: () => undefined, all: () => (read++, Promise.reject(new Error("away"))) };
  assert.deepEqual([fleetValues(unknown, false), read], [{}, 0]);
  assert.deepEqual([fleetValues(unknown, true), read], [{}, 1]);
  const ages: (number | undefined)[] = [];
  const known = {
    peek: (ageMaxMs?: number) => {
      ages.push(ageMaxMs);
      return [
        device("online", { lagMs: 40, report: { outbox: 2 } }),
        device("lagging", { lagMs: 90_000, report: { outbox: 5 } }),
        device("silent", { lagMs: 900_000 }),
      ];
    },
    all: unknown.all,
  };
  assert.deepEqual(fleetValues(known, true), {
    devices_online: 1,
    devices_lagging: 1,
    devices_trouble: 0,
    devices_silent: 1,
    outbox: 7,
    lag_p50_ms: 40,
    lag_p99_ms: 90_000,
  });
  assert.deepEqual([read, ages], [1, [3_600_000]]);
  // What others looked at counts in the next sample.
  const refreshed: (number | undefined)[] = [];
  const attention = { refresh: (ageMaxMs?: number) => (refreshed.push(ageMaxMs), Promise.resolve()) };
  fleetValues({ ...known, attention: attention as unknown as Attention }, false);
  assert.deepEqual(refreshed, [600_000]);
});

Deno.test("worker values: who tails says how; a table that charges nothing has no units", () => {
  assert.deepEqual(streamValues({ tails: true, shards: 4, pollMs: 50 }), { tailing: 1, shards: 4, poll_ms_max: 50 });
  assert.deepEqual(streamValues({ tails: false }), { tailing: 0, shards: undefined, poll_ms_max: undefined });
  assert.deepEqual(streamValues(undefined), { tailing: 0, shards: undefined, poll_ms_max: undefined });
  assert.deepEqual(unitCounters({} as Tables), {});
  assert.deepEqual(unitCounters({ units: () => ({ read: 3, write: 4 }) } as Tables), { unitsRead: 3, unitsWritten: 4 });
});
