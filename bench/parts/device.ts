/**
 * A device process: the product's `openAgent` beside an application that writes with SQL on a connection of its own.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import process from "node:process";
import { type Agent, openAgent } from "../../agent/open.ts";
import { MqttLink } from "../../agent/link.ts";
import { answerCalls, nowMs } from "../child.ts";
import { type benchSchema, insertTelemetrySql, schemaWith, telemetryValues } from "../schema.ts";
import { until } from "../until.ts";

type Synchronous = "full" | "normal";

let agent: Agent<typeof benchSchema>, link: MqttLink | undefined, file = "", level: Synchronous = "full";
let seen: Map<number, number> | undefined;

let application: DatabaseSync | undefined;

/** The application's own connection: one for as long as the agent is open, as applications do. */
function connect(): DatabaseSync {
  if (application) return application;
  application = new DatabaseSync(file);
  application.exec(`PRAGMA busy_timeout = 5000; PRAGMA synchronous = ${level}`);
  return application;
}

const methods = {
  /** Opens the agent; without `mqtt` it is offline. */
  async open({ path, device, account, mqtt, token, synchronous, modelsMore = 0 }: {
    path: string;
    device: string;
    account: string;
    mqtt?: string;
    token?: string;
    synchronous: Synchronous;
    modelsMore?: number;
  }) {
    [file, level] = [path, synchronous];
    link = mqtt === undefined
      ? undefined
      : new MqttLink({ url: mqtt, password: token, identity: { deviceId: device, accountId: account } });
    agent = await openAgent({ schema: schemaWith(modelsMore), device, account, path, mqtt: link, synchronous });
  },
  async close() {
    application?.close();
    application = undefined;
    await agent?.close();
  },
  /** Until every channel is caught up for the first time. */
  ready: () => until("the agent has caught up", () => agent.status().caughtUp, 600_000, 5),
  /** Inserts measurements in one transaction; ms. */
  insert({ from = 0, count }: { from?: number; count: number }) {
    const db = connect();
    const statement = db.prepare(insertTelemetrySql);
    const start = performance.now();
    db.exec("BEGIN IMMEDIATE");
    for (let n = from; n < from + count; n++) statement.run(...telemetryValues(n));
    db.exec("COMMIT");
    return performance.now() - start;
  },
  /** Processor time of a plain insert of six columns, nothing of ours, in one transaction; µs a row. */
  plainCost({ count }: { count: number }) {
    const db = new DatabaseSync(`${file}-plain`);
    db.exec(
      "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, n ANY, cpu ANY, memory ANY, state TEXT)",
    );
    const statement = db.prepare("INSERT INTO t(a, n, cpu, memory, state) VALUES (?, ?, ?, ?, ?)");
    const insert = (many: number) => {
      db.exec("BEGIN");
      for (let n = 0; n < many; n++) statement.run(`01ARZ3NDEKTSV4RRFFQ69G${n}`, ...telemetryValues(n));
      db.exec("COMMIT");
    };
    insert(2_000);
    const before = methods.cpuMs();
    insert(count);
    const cost = (methods.cpuMs() - before) * 1000 / count;
    db.close();
    return cost;
  },
  /** Creates or changes settings, all in one transaction; ms. */
  settings({ from = 0, count, value }: { from?: number; count: number; value: number }) {
    const db = connect();
    const statement = db.prepare(
      "INSERT INTO Setting(name, n, value) VALUES (?, ?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
    );
    const start = performance.now();
    db.exec("BEGIN IMMEDIATE");
    for (let n = from; n < from + count; n++) statement.run(`item-${n}`, n, value);
    db.exec("COMMIT");
    return performance.now() - start;
  },
  /** Inserts single measurements by the agent's own API, `gapMs` apart, and says when each was committed. */
  async insertApart({ from, count, gapMs, batch = 1 }: { from: number; count: number; gapMs: number; batch?: number }) {
    const times: [number, number][] = [];
    const telemetry = agent.model("Telemetry");
    for (let n = from; n < from + count; n += batch) {
      for (let i = 0; i < batch; i++) {
        const [, cpu, memory, state] = telemetryValues(n + i);
        telemetry.create({ n: n + i, cpu, memory, state });
      }
      times.push([n, nowMs()]);
      await new Promise((resolve) => setTimeout(resolve, gapMs));
    }
    return times;
  },
  /** Until everything is acknowledged; ms. */
  async flush() {
    const start = performance.now();
    await agent.flush({ timeoutMs: 3_600_000 });
    return performance.now() - start;
  },
  /** Every `everyMs` until everything is acknowledged: how many changes were, and when. */
  async drain({ everyMs }: { everyMs: number }) {
    const samples: [number, number][] = [];
    const timer = setInterval(() => samples.push([nowMs(), agent.status().counters.acknowledged]), everyMs);
    await agent.flush({ timeoutMs: 3_600_000 });
    clearInterval(timer);
    samples.push([nowMs(), agent.status().counters.acknowledged]);
    return samples;
  },
  /** Until so many changes of the cloud are applied. */
  async applied({ count }: { count: number }) {
    await until(`${count} changes are applied`, () => agent.status().counters.applied >= count, 3_600_000, 2);
    return nowMs();
  },
  watch({ model }: { model: "Command" | "Notice" }) {
    seen = new Map();
    agent.watch(model, ({ item }) => {
      if (typeof item?.n === "number" && !seen!.has(item.n)) seen!.set(item.n, nowMs());
    });
  },
  times: () => [...seen ?? []],
  status: () => agent.status(),
  link: () => ({ ...link?.counters }),
  cpuMs() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

await answerCalls(methods, methods.close);
