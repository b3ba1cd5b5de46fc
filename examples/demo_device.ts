/**
 * The demo device: writes this machine's real measurements through an agent, raises events at thresholds that are settings,
 * and obeys commands. It uses nothing but an agent's public API, and keeps no state outside the database.
 *
 * @module
 */
import { readFileSync, statfsSync } from "node:fs";
import { availableParallelism } from "node:os";
import type { Agent } from "../agent/agent.ts";
import type { schema } from "./schema.ts";

/** How often it measures unless a `Command` named `interval` (seconds, 0.1 to 3600) says otherwise. */
const intervalSeconds = 1;
/** Telemetry is kept for a day, on both sides. */
const keepMs = 24 * 3_600_000;
/** The settings it makes when there are none: percent of the cores' capacity, of memory, of the disk. */
const thresholds = { load: 90, memory: 90, disk: 95 } as const;
type Gauge = keyof typeof thresholds;
type Limits = Readonly<Record<Gauge, number>>;
const gauges = Object.keys(thresholds) as Gauge[];
type DemoAgent = Agent<typeof schema>;

/** One measurement of this machine. */
export interface Measurement {
  /** Runnable tasks per core over the last minute, percent: above 100 they wait. */
  readonly load: number;
  /** Memory in use, percent. */
  readonly memory: number;
  /** The root file system in use, percent. */
  readonly disk: number;
  /** Bytes received and sent since boot, by network interface; empty where the system has no /proc. */
  readonly network: Record<string, { received: number; sent: number }>;
}

function percent(part: number, whole: number): number {
  return whole > 0 ? Math.round((part / whole) * 1000) / 10 : 0;
}

/** The counters of Linux's `/proc/net/dev`: two header lines, then `name: received-bytes … (9th) sent-bytes …`. */
export function parseNetworkCounters(text: string): Measurement["network"] {
  const network: Measurement["network"] = {};
  for (const line of text.split("\n").slice(2)) {
    const colon = line.lastIndexOf(":");
    if (colon < 0) continue;
    const counters = line.slice(colon + 1).trim().split(/\s+/).map(Number);
    network[line.slice(0, colon).trim()] = { received: counters[0] ?? 0, sent: counters[8] ?? 0 };
  }
  return network;
}

function networkCounters(): Measurement["network"] {
  if (Deno.build.os !== "linux") return {};
  return parseNetworkCounters(readFileSync("/proc/net/dev", "utf8"));
}

/** Measures this machine now. */
export function measure(): Measurement {
  const memory = Deno.systemMemoryInfo();
  const disk = statfsSync(Deno.build.os === "windows" ? "C:\\" : "/");
  return {
    load: percent(Deno.loadavg()[0] ?? 0, availableParallelism()),
    memory: percent(memory.total - memory.available, memory.total),
    disk: percent(disk.blocks - disk.bfree, disk.blocks),
    network: networkCounters(),
  };
}

/** Which thresholds a measurement is above, and which of these are news. */
export function crossings(
  now: Measurement,
  limits: Limits,
  before: ReadonlySet<string>,
): { over: ReadonlySet<string>; rose: Gauge[]; fell: Gauge[] } {
  const over = new Set<string>(gauges.filter((name) => now[name] >= limits[name]));
  return {
    over,
    rose: gauges.filter((name) => over.has(name) && !before.has(name)),
    fell: gauges.filter((name) => !over.has(name) && before.has(name)),
  };
}

/** The pause that the device was told to make, ms. */
function interval(agent: DemoAgent): number {
  const seconds = Number(agent.model("Command").get({ name: "interval" })?.value ?? intervalSeconds);
  return (seconds >= 0.1 && seconds <= 3600 ? seconds : intervalSeconds) * 1000;
}

function limitsOf(agent: DemoAgent): Limits {
  const settings = Object.entries(thresholds).map(([name, usual]) => {
    return [name, Number(agent.model("Setting").get({ name })?.value ?? usual)];
  });
  return Object.fromEntries(settings) as Limits;
}

/** Makes the settings that exist on neither side. */
function makeSettings(agent: DemoAgent): void {
  for (const [name, value] of Object.entries(thresholds)) {
    if (!agent.model("Setting").get({ name })) agent.model("Setting").create({ name, value });
  }
}

/** One round: measures, and tells of thresholds that were crossed since the round before. */
function report(agent: DemoAgent, before: ReadonlySet<string>): ReadonlySet<string> {
  const measured = measure();
  agent.model("Telemetry").create({ ...measured, expires: new Date(Date.now() + keepMs) });
  const limits = limitsOf(agent);
  const { over, rose, fell } = crossings(measured, limits, before);
  for (const name of rose) {
    const message = `${name} is ${measured[name]} %, above ${limits[name]} %`;
    agent.model("Event").create({ severity: "warn", message });
  }
  for (const name of fell) {
    const message = `${name} is ${measured[name]} %, below ${limits[name]} % again`;
    agent.model("Event").create({ severity: "info", message });
  }
  return over;
}

/** Resolves after `ms`, earlier when `wake` is called or the signal aborts. */
function pause(ms: number, signal: AbortSignal, onWake: (wake: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    onWake(done);
    if (signal.aborted) done();
  });
}

/** Runs the device until the signal aborts. A command takes effect at once. */
export async function runDemoDevice(agent: DemoAgent, signal: AbortSignal): Promise<void> {
  let wake = () => {};
  // What was above when it stopped, and is still, is no crossing.
  let over: ReadonlySet<string> | undefined;
  let isSettled = false;
  const unwatch = agent.watch("Command", () => wake());
  try {
    while (!signal.aborted) {
      // Not before the first catch-up: a new database must not put its defaults over the settings that the cloud has.
      if (!isSettled && agent.status().caughtUp) {
        makeSettings(agent);
        isSettled = true;
      }
      over = report(agent, over ?? crossings(measure(), limitsOf(agent), new Set()).over);
      await pause(interval(agent), signal, (now) => wake = now);
    }
  } finally {
    unwatch();
  }
}
