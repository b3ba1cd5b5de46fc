/**
 * A storm: thousands of devices come back at once to a table of few requests a second, while others are connected and write.
 * The cloud's own classes over a table of limited speed; the devices are light: the agent's waits, and no database.
 *
 * @module
 */
import { openEmbedded } from "../../cloud/embedded.ts";
import type { Publisher } from "../../cloud/publishers/port.ts";
import { ChannelLog } from "../../cloud/sync/channel_log.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { CursorOf, FromCloud } from "../../protocol.ts";
import { Limited } from "../../tests/support/limited.ts";
import { LightDevice, type Timers } from "../../tests/support/light_device.ts";
import type { Bench, Row } from "../measure.ts";
import { compiled } from "../schema.ts";
import { percentile } from "../stats.ts";
import { until } from "../until.ts";

/** What the table takes a second, and how long it takes for one. */
const requestsPerSecond = 500, latencyMs = 5;
const writerCount = 10, warmMs = 2_500, quietMs = 12_000;
const accountId = "bench";

const timers: Timers = {
  nowMs: () => performance.now(),
  after: (ms, go) => {
    const timer = setTimeout(go, ms);
    return () => clearTimeout(timer);
  },
};
const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A writer that is connected: how long until its change is acknowledged and has come back. */
class Writer {
  readonly waitsMs: number[] = [];
  #at = 0;
  #batch = 0;

  constructor(readonly id: string, readonly service: CloudService) {}

  write(): void {
    if (this.#at !== 0) return;
    this.#at = performance.now();
    const now = Date.now();
    void this.service.receive(this.id, {
      type: "up",
      batch: `w/${++this.#batch}`,
      sent: now,
      changes: [{
        model: "Setting",
        op: "create",
        item: { name: `s${this.#batch}`, value: 1 },
        stamp: now * 1000 + this.#batch % 1000,
      }],
    });
  }

  receive(message: FromCloud): void {
    if (message.type !== "changes" || this.#at === 0) return;
    this.waitsMs.push(performance.now() - this.#at);
    this.#at = 0;
  }
}

/** The cloud over the limited table, with whoever listens by device. */
class Rig implements AsyncDisposable {
  readonly limited = new Limited(requestsPerSecond, latencyMs);
  readonly listeners = new Map<string, { receive(message: FromCloud): void }>();
  readonly service: CloudService;
  readonly #tables = openEmbedded(":memory:", { schema: compiled, now: Date.now });
  readonly #stopped = new AbortController();
  readonly #stream: Promise<void>;

  constructor() {
    const publisher: Publisher = {
      publish: async (to, message) => {
        await wait(1);
        if (to !== "all" && "device" in to) this.listeners.get(to.device)?.receive(message);
      },
    };
    const tables = this.limited.tables(this.#tables);
    this.service = new CloudService({ schema: compiled, tables, publisher, now: Date.now, random: Math.random });
    this.#stream = this.service.runStream(this.#stopped.signal);
  }

  /** Registers devices and gives each a change that it has not heard of; past the table's limit. */
  async away(count: number): Promise<LightDevice[]> {
    const registry = new Registry(this.#tables.log, { now: Date.now });
    const log = new ChannelLog(this.#tables.log, { now: Date.now, random: Math.random });
    const account: CursorOf = {
      channel: `account:${accountId}`,
      epoch: await log.epoch(`account:${accountId}`),
      seq: 0,
    };
    const devices: LightDevice[] = [];
    for (let i = 0; i < count; i++) {
      const id = `device-${i}`, channel = `device:${id}`;
      await registry.add(id, accountId);
      await log.append(channel, [{ key: [`device#${id}`, "setting#a"], bytes: 100 }]);
      devices.push(
        new LightDevice(id, {
          timers,
          random: Math.random,
          send: (message) => void this.service.receive(id, message),
          cursors: [{ channel, epoch: await log.epoch(channel), seq: 0 }, account],
        }),
      );
    }
    for (const device of devices) this.listeners.set(device.deviceId, device);
    return devices;
  }

  async writers(count: number): Promise<Writer[]> {
    const registry = new Registry(this.#tables.log, { now: Date.now });
    const all = Array.from({ length: count }, (_, i) => new Writer(`writer-${i}`, this.service));
    for (const writer of all) {
      await registry.add(writer.id, accountId);
      this.listeners.set(writer.id, writer);
    }
    return all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#stream;
    await this.#tables.data.close();
    await this.#tables.log.close();
  }
}

/** Each writer writes now and then, until the work is over; the 99th percentile of their waits. */
async function whileWriting(writers: readonly Writer[], work: Promise<unknown>): Promise<number> {
  for (const writer of writers) writer.waitsMs.length = 0;
  const timers = writers.map((writer, i) => setInterval(() => writer.write(), 900 + 20 * i));
  await work;
  for (const timer of timers) clearInterval(timer);
  return percentile(writers.flatMap(({ waitsMs }) => waitsMs), 0.99);
}

/** See the module. */
export const storm: Bench = {
  name: "storm",
  title: "A storm",
  quick: true,
  repeats: 1,
  about:
    "3,000 devices that missed a change each come back within a second, to the cloud's classes over a table of 500 requests " +
    "a second and 5 ms; ten others are connected and write a change about each second. The work is what the same devices " +
    "ask of the table one after the other.",
  async run({ quick, log }): Promise<Row[]> {
    const count = quick ? 400 : 3_000;
    await using rig = new Rig();
    const devices = await rig.away(count + 20), writers = await rig.writers(writerCount);
    // What one device costs, alone.
    const alone = devices.splice(0, 20), before = rig.limited.requests;
    for (const device of alone) {
      device.connected();
      await until("a device alone is caught up", () => device.caughtUp);
    }
    const each = (rig.limited.requests - before) / alone.length;
    // The first change of each makes its log, and reads who it is.
    await whileWriting(writers, wait(warmMs));
    const quiet = await whileWriting(writers, wait(quick ? quietMs / 3 : quietMs));
    const began = performance.now();
    const through = (async () => {
      for (const device of devices) setTimeout(() => device.connected(), 1000 * Math.random());
      await wait(1_100);
      await until("all are caught up", () => devices.every(({ caughtUp }) => caughtUp), 600_000);
    })();
    const busy = await whileWriting(writers, through);
    const tookMs = performance.now() - began, workMs = count * each / requestsPerSecond * 1000;
    const used = devices.reduce((sum, device) => sum + device.answers.used, 0);
    const all = used + devices.reduce((sum, device) => sum + device.answers.wasted, 0);
    log(
      `${each.toFixed(1)} requests a device, ${
        (tookMs / 1000).toFixed(1)
      } s, ${rig.service.metrics().messagesDelayed} told to wait`,
    );
    return [
      {
        name: "caught up, by the work's length",
        unit: "×",
        value: tookMs / workMs,
        goal: { atMost: 1.5 },
        gate: { atMost: 3 },
      },
      { name: "answers used", unit: "%", value: 100 * used / all, goal: { atLeast: 90 }, gate: { atLeast: 75 } },
      { name: "live p99, by the quiet one", unit: "×", value: busy / quiet, goal: { atMost: 3 } },
      { name: "live p99 in the storm", unit: "ms", value: busy },
    ];
  },
};
