/**
 * Samples of workers as they would have kept them, for tests of what is drawn from them.
 *
 * @module
 */
import type { Table } from "../../cloud/table/port.ts";

const minuteMs = 60_000, dayMs = 86_400_000;

/** A worker's samples: one for each minute from `fromMs` on that `valuesOf` gives values for. */
export async function putSamples(
  table: Pick<Table, "write">,
  worker: string,
  { fromMs, minutes }: { readonly fromMs: number; readonly minutes: number },
  valuesOf: (minute: number) => Readonly<Record<string, number>> | undefined,
): Promise<void> {
  const items = Array.from({ length: minutes }, (_, minute) => {
    const atMs = Math.floor(fromMs / minuteMs) * minuteMs + minute * minuteMs, values = valuesOf(minute);
    return values && {
      hash: `samples#${Math.floor(atMs / dayMs)}`,
      sort: `${String(atMs).padStart(16, "0")}#${worker}`,
      values: JSON.stringify(values),
      expires: Math.floor(atMs / 1000) + 8 * 86_400,
    };
  }).filter((item) => item !== undefined);
  for (let at = 0; at < items.length; at += 100) {
    await table.write(items.slice(at, at + 100).map((item) => ({ op: "put", item })));
  }
}

/** What a worker of a busy fleet says in a minute. */
export function busyMinute(minute: number, more: Readonly<Record<string, number>> = {}): Record<string, number> {
  const wave = Math.sin(minute / 40), noise = ((minute * 7919) % 97) / 97;
  return {
    v: 2,
    changes: Math.round(600 + 200 * wave + 80 * noise),
    changes_refused: minute % 37 === 0 ? 4 : 0,
    entries_published: Math.round(200 + 90 * wave + 30 * noise),
    messages_received: 900,
    messages_failed: 0,
    publish_failed: minute % 113 === 0 ? 2 : 0,
    stream_records: 300,
    stream_failures: 0,
    table_requests: 2_000,
    table_failures: 0,
    table_ms_max: 40 + Math.round(60 * noise),
    stream_age_ms: Math.round(300 + 200 * noise),
    connections: 9_800,
    messages_running: 3,
    resident_bytes: 180_000_000 + minute * 20_000,
    devices_online: 9_700,
    devices_lagging: Math.round(60 + 50 * wave),
    devices_trouble: 12,
    devices_silent: 97,
    lag_p50_ms: Math.round(2_000 + 1_500 * wave),
    lag_p99_ms: Math.round(22_000 + 21_000 * wave + 3_000 * noise),
    outbox: Math.round(40_000 + 30_000 * wave),
    rcu: 900,
    wcu: Math.round(700 + 200 * wave),
    tailing: 1,
    shards: 4,
    poll_ms_max: 80,
    ...(minute % 37 === 0 ? { refused_stale: 3, refused_clock: 1 } : {}),
    ...more,
  };
}
