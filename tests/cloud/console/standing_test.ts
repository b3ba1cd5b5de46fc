import assert from "node:assert/strict";
import { behindMs, type CloudStanding, Standings, troublesOf, workersText } from "../../../cloud/console/standing.ts";
import type { Table } from "../../../cloud/table/port.ts";
import { busyMinute } from "../../console/samples.ts";

const minuteMs = 60_000;
type Minute = Readonly<Record<string, number>> | undefined;

/** As the samples of one worker say it, the last minute last. */
function minutesOf(...minutes: readonly Minute[]): CloudStanding["minutes"] {
  const names = new Set(minutes.flatMap((minute) => Object.keys(minute ?? {})));
  return Object.fromEntries([...names].map((name) => [name, minutes.map((minute) => minute?.[name] ?? null)]));
}

const well = busyMinute(1);

Deno.test("standing: a cloud that does well, or of which nothing is known, has no troubles", () => {
  assert.deepEqual(troublesOf({}), []);
  assert.deepEqual(troublesOf(minutesOf(undefined, undefined)), []);
  assert.deepEqual(troublesOf(minutesOf(well, well)), []);
  // A worker was restarted: one minute without a sample is no news.
  assert.deepEqual(troublesOf(minutesOf(well, undefined)), []);
  // Failures that are rare are repaired by repetition.
  assert.deepEqual(troublesOf(minutesOf(well, { ...well, table_failures: 2, publish_failed: 2 })), []);
});

Deno.test("standing: what is behind or fails in the last minute is said; what was before is not", () => {
  const bad = { ...well, stream_age_ms: 34_000, table_failures: 600, messages_failed: 90, publish_failed: 40 };
  assert.deepEqual(troublesOf(minutesOf(well, bad)), [
    "The stream is 34 s behind.",
    "600 table requests failed in the last minute.",
    "90 messages of devices failed in the last minute.",
    "40 publishes failed in the last minute.",
  ]);
  assert.deepEqual(troublesOf(minutesOf(bad, well)), []);
  assert.deepEqual(troublesOf(minutesOf(well, { ...well, stream_age_ms: behindMs - 1 })), []);
});

Deno.test("standing: workers that are gone, and a stream that nobody reads any more", () => {
  const idle = { ...well, tailing: 0 };
  assert.deepEqual(troublesOf(minutesOf(well, undefined, undefined)), [
    "No worker has kept a sample for 2 minutes: no worker runs, or the table takes no writes.",
  ]);
  assert.deepEqual(troublesOf(minutesOf(well, idle, idle)), [
    "No worker reads the stream: changes in the cloud do not reach the devices.",
  ]);
  // Between two workers; and where something else reads it.
  assert.deepEqual(troublesOf(minutesOf(well, idle)), []);
  assert.deepEqual(troublesOf(minutesOf(idle, idle, idle)), []);
});

Deno.test("standing: who works, in words", () => {
  const of = (workers: number, minute: Minute) =>
    workersText({ startMs: 0, minutes: minutesOf(minute), workers, troubles: [] });
  assert.equal(of(0, undefined), "");
  assert.equal(of(1, { tailing: 1 }), "1 worker runs.");
  assert.equal(of(1, { tailing: 1, stream_age_ms: 300 }), "The stream is 0.3 s behind. 1 worker runs.");
  assert.equal(
    of(3, { tailing: 1, stream_age_ms: 300 }),
    "The stream is 0.3 s behind. 3 workers run, 1 of them reads the stream.",
  );
  assert.equal(of(2, { tailing: 0 }), "2 workers run, none of them reads the stream.");
});

Deno.test("standing: read once a minute, however many ask; a table that fails, or is silent, is a trouble", async () => {
  let now = Date.UTC(2026, 0, 1, 12, 0, 30), asked = 0;
  let answer: () => Promise<never> | ReturnType<Table["query"]> = () => Promise.resolve({ items: [] });
  const query = () => (asked++, answer());
  const standings = new Standings({ query } as unknown as Table, () => now);
  await Promise.all(Array.from({ length: 20 }, () => standings.read()));
  const once = asked;
  await standings.read();
  assert.equal(asked, once);
  now += minuteMs;
  await standings.read();
  assert.equal(asked, 2 * once);

  now += minuteMs;
  answer = () => Promise.reject(new Error("gone"));
  assert.deepEqual((await standings.read()).troubles, ["The table can't be read."]);
  // And read again at once, when it is there.
  answer = () => Promise.resolve({ items: [] });
  assert.deepEqual((await standings.read()).troubles, []);

  now += minuteMs;
  answer = () => new Promise(() => {});
  assert.deepEqual((await standings.read()).troubles, ["The table has not answered for 1 s."]);
});
