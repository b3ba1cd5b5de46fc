/**
 * The day of a device, compressed: measurements with an expiry time, events that give way while it is offline, settings
 * changed on both sides, commands; some hours of it on line, then weeks off line with writing going on, then on line again.
 * Disk and memory stay within the bounds that are stated here, and everything that was not given up by policy arrives.
 *
 * `DAY_WRITES` sets the number of writes (1,000,000 and more for a real day of ten a second).
 */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { openDatabase } from "../../agent/sqlite/driver.ts";
import type { Clock } from "../../agent/ports.ts";
import { compileSchema } from "../../schema.ts";
import { Twinned } from "./twinned.ts";
import { long } from "../support/long.ts";

const writes = Number(Deno.env.get("DAY_WRITES") ?? (long ? 150_000 : 30_000));
/** Parts of the day; the second third is off line. */
const parts = 75;
const perPart = Math.round(writes / parts);
const minuteMs = 60_000;
/** Of a part's time on line, and off line: 8 hours and a half on line before and after 12 days off line. */
const partMs = 20 * minuteMs, offlinePartMs = 12 * 60 * minuteMs;
const telemetryTtlMs = 60 * minuteMs;
const outboxMax = Math.round(writes / 10);

/** The machine's time, put forward. Both clocks go together: nobody jumps. */
class FastClock implements Clock {
  #aheadMs = 0;

  wallMs(): number {
    return Date.now() + this.#aheadMs;
  }

  monotonicMs(): number {
    return performance.now() + this.#aheadMs;
  }

  skip(ms = 31_000): void {
    this.#aheadMs += ms;
  }
}

const pk = { type: "string", value: "d#${deviceId}" };
const deviceId = { type: "string", required: true };

const schema = compileSchema({
  format: "onetable:1.1.0",
  version: "1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true, timestamps: true },
  models: {
    Telemetry: {
      pk,
      sk: { type: "string", value: "telemetry#${id}" },
      deviceId,
      id: { type: "string", generate: "ulid" },
      cpu: { type: "number", required: true },
      expires: { type: "date", ttl: true },
    },
    Event: {
      pk,
      sk: { type: "string", value: "event#${id}" },
      deviceId,
      id: { type: "string", generate: "ulid" },
      n: { type: "number", required: true },
    },
    Setting: {
      pk,
      sk: { type: "string", value: "setting#${name}" },
      deviceId,
      name: { type: "string", required: true },
      value: { type: "number" },
    },
    Command: {
      pk,
      sk: { type: "string", value: "command#${name}" },
      deviceId,
      name: { type: "string", required: true },
      value: { type: "number" },
    },
  },
  process: {
    Telemetry: { sync: "up", keep: "newest" },
    Event: { sync: "up", keep: "newest" },
    Setting: { sync: "both" },
    Command: { sync: "down" },
  },
});

/** What an application of its own process writes in one part. */
function application(path: string, expires: string, part: number): void {
  const db = openDatabase(path, { synchronous: "normal" });
  const telemetry = db.prepare("INSERT INTO Telemetry(cpu, expires) VALUES (?, ?)");
  const event = db.prepare("INSERT INTO Event(n) VALUES (?)");
  const setting = db.prepare(
    "INSERT INTO Setting(name, value) VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
  );
  for (let n = 0; n < perPart;) {
    db.exec("BEGIN IMMEDIATE");
    for (let i = 0; i < 250 && n < perPart; i++, n++) {
      if (n % 10 === 9) event.run(part * perPart + n);
      else if (n % 10 === 8) setting.run(`s${n % 100}`, part * perPart + n);
      else telemetry.run(n / 7, expires);
    }
    db.exec("COMMIT");
  }
  db.close();
}

/** Undefined in older versions of Deno. */
const collectGarbage = ((): (() => void) | undefined => {
  setFlagsFromString("--expose-gc");
  return runInNewContext("globalThis.gc");
})();

/** What the heap holds when nothing in it is garbage: how much V8 lets lie depends on the machine. */
function heapBytes(): number {
  collectGarbage?.();
  return Deno.memoryUsage().heapUsed;
}

function bytesOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

Deno.test(`property: a day of ${writes} writes with 12 days off line stays within its bounds of disk and memory`, async () => {
  const clock = new FastClock();
  await using twinned = new Twinned(schema, { clock, limits: { outboxMax, historyMax: 1_000 }, cloudOnDisk: true });
  const { data } = twinned.tables;
  await twinned.settle();
  const most = { fileBytes: 0, walBytes: 0, heapBytes: 0, outbox: 0, telemetryRows: 0 };
  let startHeapBytes = 0;
  const one = (sql: string) => Number(Object.values(twinned.store.db.prepare(sql).get()!)[0]);
  const look = () => {
    most.fileBytes = Math.max(most.fileBytes, bytesOf(twinned.path));
    most.walBytes = Math.max(most.walBytes, bytesOf(`${twinned.path}-wal`));
    most.heapBytes = Math.max(most.heapBytes, heapBytes());
    most.outbox = Math.max(most.outbox, one("SELECT count(*) FROM _outbox"));
    most.telemetryRows = Math.max(most.telemetryRows, one("SELECT count(*) FROM Telemetry"));
  };
  for (let part = 0; part < parts; part++) {
    const offline = part >= parts / 3 && part < 2 * parts / 3;
    if (offline === twinned.online) {
      if (offline) twinned.disconnect();
      else twinned.connect();
    }
    application(twinned.path, new Date(clock.wallMs() + telemetryTtlMs).toISOString(), part);
    const name = `c${part % 20}`;
    const command = { pk: "d#dev-1", sk: `command#${name}`, deviceId: "dev-1", name, value: part, _type: "Command" };
    await data.write([{ op: "put", item: command }]);
    await twinned.exchange();
    look();
    // Time goes on by the minute, so that what the agent does once a minute is done as often as it would be.
    for (let leftMs = offline ? offlinePartMs : partMs; leftMs > 0; leftMs -= 10 * minuteMs) {
      clock.skip(10 * minuteMs);
      await twinned.exchange();
    }
    look();
    if (part === 5) startHeapBytes = heapBytes();
  }
  await twinned.settle();

  const rssBytes = Deno.memoryUsage().rss;

  const items = (await twinned.items()).map(({ _type, sk, value }) => ({ _type, sk: String(sk), value }));
  const events = items.filter(({ _type }) => _type === "Event").length;
  const dropped = one("SELECT dropped FROM _status");
  const kept = one("SELECT count(*) FROM Event");
  console.log(
    `day: ${JSON.stringify({ ...most, startHeapBytes, rssBytes, dropped, events, kept, items: items.length })}`,
  );
  // Everything is settled, and both sides are equal.
  assert.deepEqual([one("SELECT outbox FROM _status"), one("SELECT rejected FROM _status")], [0, 0]);
  assert.equal(events, kept);
  const settings = Object.fromEntries(
    items.filter(({ _type }) => _type === "Setting").map(({ sk, value }) => [sk, value]),
  );
  for (const row of twinned.store.db.prepare("SELECT sk, value FROM Setting").all()) {
    assert.equal(settings[String(row.sk)], row.value);
  }
  assert.equal(one("SELECT max(value) FROM Command"), parts - 1);
  // What is not there was given up by policy: expired, or counted as dropped.
  const written = parts * Math.floor(perPart / 10);
  assert.ok(kept >= written - dropped, `${kept} events of ${written}, and ${dropped} were dropped`);
  assert.ok(dropped > 0, "the outbox never came to its cap: nothing was tried");

  // Rows live for an hour: three parts and what came before the last look.
  assert.ok(most.telemetryRows <= outboxMax + 5 * perPart, `${most.telemetryRows} measurements at once`);
  assert.ok(most.outbox <= outboxMax + 2 * perPart, `${most.outbox} entries in the outbox`);
  // 16 MiB are what the WAL is cut back to; a part's own pages come on top before the next checkpoint.
  assert.ok(most.walBytes <= 24 * 2 ** 20, `a WAL of ${most.walBytes} bytes`);
  // Some 300 bytes for a row with its indexes, 150 for an outbox entry.
  const bound = 2 ** 20 + 300 * (most.telemetryRows + kept + dropped / 2) + 150 * most.outbox;
  assert.ok(most.fileBytes <= bound, `a file of ${most.fileBytes} bytes, beyond ${Math.round(bound)}`);
  // The device's and the cloud's halves together, whatever the backlog: as much as after the first parts of the day.
  assert.ok(
    most.heapBytes - startHeapBytes < 16 * 2 ** 20,
    `the heap grew from ${startHeapBytes} to ${most.heapBytes}`,
  );
});
