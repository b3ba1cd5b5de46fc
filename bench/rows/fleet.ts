/**
 * The cloud worker with thousands of devices: its memory, its processor time, and a change for all of an account.
 *
 * @module
 */
import { Child } from "../child.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { percentile } from "../stats.ts";
import { until } from "../until.ts";

const account = "bench";
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A broker, a worker and devices, each kind a process of its own. */
class Fleet implements AsyncDisposable {
  readonly broker: Child;
  readonly cloud: Child;
  readonly devices: Child;
  #url = "";
  #joined = 0;

  constructor({ child }: Context) {
    this.broker = new Child("broker", child);
    this.cloud = new Child("cloud", child);
    this.devices = new Child("fleet", child);
  }

  async start({ dir }: Context): Promise<void> {
    const broker = await this.broker.call<{ url: string }>("start");
    this.#url = broker.url;
    await this.cloud.call("start", { table: `${dir}/cloud.db`, synchronous: "full", broker });
  }

  /** Registers and connects so many more devices. */
  async join(count: number): Promise<void> {
    const devices = Array.from({ length: count }, (_, i) => `device-${this.#joined + i}`);
    await this.cloud.call("addDevices", { devices, account });
    await this.devices.call("join", { url: this.#url, devices, account, tokens: devices });
    this.#joined += count;
  }

  /** Processor time of the worker for each change, when `devices` send `changes` each, `rounds` times; µs. */
  async sendCost(devices: number, changes: number, rounds = 1): Promise<number> {
    const before = await this.cloud.call<number>("cpuMs");
    for (let round = 0; round < rounds; round++) await this.devices.call("send", { devices, changes });
    await this.cloud.call("streamed");
    return (await this.cloud.call<number>("cpuMs") - before) * 1000 / (devices * changes * rounds);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.devices.close();
    await this.cloud.close();
    await this.broker.close();
  }
}

/** See the module. */
export const fleet: Bench = {
  name: "fleet",
  title: "Cloud worker and many devices",
  quick: false,
  repeats: 2,
  about:
    "5,000 devices, each with a connection of its own, against the embedded broker in one process and the worker with " +
    "its embedded table in another. Memory is read after the devices came, and after each has sent 40 changes in batches " +
    "of 20. Idle: 10 s in which no device sends.",
  async run(context): Promise<Row[]> {
    await using all = new Fleet(context);
    await all.start(context);
    await all.join(50);
    await all.sendCost(50, 20, 20);
    const few = await all.sendCost(50, 20, 40);
    const memoryFew = all.cloud.usage().residentMb;
    await all.join(4_950);
    await wait(2_000);
    const memoryMany = all.cloud.usage().residentMb;
    const idleFrom = all.cloud.usage().cpuMs;
    await wait(10_000);
    const idle = (all.cloud.usage().cpuMs - idleFrom) / 10_000 * 100;
    const many = await all.sendCost(5_000, 20, 2);
    const memoryAfter = all.cloud.usage().residentMb;
    return [
      { name: "worker's memory, 50 devices", unit: "MB", value: memoryFew },
      { name: "worker's memory, 5,000 devices", unit: "MB", value: memoryMany, goal: { atMost: 200 } },
      { name: "worker's memory, after 200,000 changes", unit: "MB", value: memoryAfter, goal: { atMost: 200 } },
      { name: "broker's memory, 5,000 connections", unit: "MB", value: all.broker.usage().residentMb },
      { name: "worker's processor time, 5,000 idle devices", unit: "% of a core", value: idle },
      { name: "worker's processor time per change up, 5,000 devices", unit: "µs", value: many, goal: { atMost: 60 } },
      { name: "the same ÷ with 50 devices", unit: "×", value: many / few, goal: { atMost: 1.2 } },
    ];
  },
};

/** See the module. */
export const fanOut: Bench = {
  name: "fanout",
  title: "Fan-out to an account",
  quick: true,
  repeats: 3,
  about:
    "1,000 devices of one account; a cloud application writes one item of that account, ten times, a full second " +
    "apart. The clock runs from the table's commit until the last device has the message; broker, worker and devices " +
    "share this machine's cores.",
  async run(context): Promise<Row[]> {
    const devices = context.quick ? 250 : 1_000, changes = context.quick ? 5 : 20;
    await using all = new Fleet(context);
    await all.start(context);
    await all.join(devices);
    const put = async (from: number, count: number) =>
      await all.cloud.call<[number, number][]>("putApart", {
        ...{ model: "Notice", from, count, gapMs: context.quick ? 200 : 500, device: "", account },
      });
    await put(0, 3);
    await wait(1_000);
    const before = await all.cloud.call<Record<string, number>>("counters");
    const headBefore = await all.cloud.call<number>("head", { channel: `account:${account}` });
    const written = await put(100, changes);
    const arrivals = async () => (await all.devices.call<number[][]>("arrivals")).slice(3);
    await until(
      "every device has every change",
      async () => {
        const times = await arrivals();
        return times.length === changes && times.every((list) => list.length === devices);
      },
      30_000,
      100,
    );
    const times = await arrivals();
    const after = await all.cloud.call<Record<string, number>>("counters");
    const head = await all.cloud.call<number>("head", { channel: `account:${account}` });
    const last = written.map(([, atMs], i) => Math.max(...times[i]!) - atMs);
    return [
      { name: "last device has it, p50", unit: "ms", value: percentile(last, 0.5) },
      { name: "last device has it, p99", unit: "ms", value: percentile(last, 0.99), goal: { atMost: 250 } },
      {
        name: "publishes per change",
        unit: "",
        value: (after.mqttPublished! - before.mqttPublished!) / changes,
        goal: { atMost: 1 },
        gate: { atMost: 1 },
      },
      {
        name: "log entries per change",
        unit: "",
        value: (head - headBefore) / changes,
        goal: { atMost: 1 },
        gate: { atMost: 1 },
      },
    ];
  },
};
