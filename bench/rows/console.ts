/**
 * The console: how soon a page is there, what a browser loads for it, and what a worker pays for people who watch.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "npm:playwright-core@^1.65.1";
import { assetBytes } from "../../cloud/console/assets.ts";
import { Child } from "../child.ts";
import type { Bench, Context, Row } from "../measure.ts";
import { Pair } from "../pair.ts";
import { median, percentile } from "../stats.ts";

type Times = [n: number, atMs: number][];

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => existsSync(path));
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Pages, and what each loads beside `base.js`. */
const pages = [
  { name: "Fleet", path: "/fleet", scripts: ["fleet.js"] },
  { name: "Data", path: "/data/Command?device=bench-1", scripts: ["data.js"] },
  { name: "Live", path: "/live", scripts: ["live.js"] },
  { name: "Metrics", path: "/metrics-view", scripts: ["uplot.js", "charts.js"] },
] as const;

/** Until the first text is painted, from the beginning of the navigation; ms, of several loads without a cache. */
async function firstPaints(browser: Browser, url: string, path: string, loads: number): Promise<number[]> {
  const paints: number[] = [];
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage(), protocol = await context.newCDPSession(page);
  await protocol.send("Network.setCacheDisabled", { cacheDisabled: true });
  // The first load starts the browser's process for the page, and compiles the worker's code: each does that once in its life.
  for (let load = 0; load <= loads; load++) {
    await page.goto(`${url}${path}`);
    await page.locator("h1").waitFor();
    const paint = await page.evaluate(`new Promise((resolve) => {
      new PerformanceObserver((list) => {
        const found = list.getEntries().find(({ name }) => name === "first-contentful-paint");
        if (found) resolve(found.startTime);
      }).observe({ type: "paint", buffered: true });
    })`) as number;
    if (load > 0) paints.push(paint);
  }
  await context.close();
  return paints;
}

async function paintRows(context: Context, url: string): Promise<Row[]> {
  if (executablePath === undefined) throw new Error("chromium is not installed");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    const rows: Row[] = [];
    for (const { name, path } of pages) {
      const value = median(await firstPaints(browser, url, path, context.quick ? 3 : 9));
      rows.push({ name: `first paint of ${name}`, unit: "ms", value, goal: { atMost: 200 } });
    }
    return rows;
  } finally {
    await browser.close();
  }
}

/** All pages of a long list, each by the link of the one before it. */
async function pagingRows(context: Context, pair: Pair, url: string): Promise<Row[]> {
  const count = context.quick ? 10_000 : 100_000, times: number[] = [];
  await pair.cloud.call("put", { model: "Command", count, ...pair.identity });
  const before = pair.cloud.usage().residentMb;
  for (let path: string | undefined = `/data/Command?device=${pair.device}`; path;) {
    const begunMs = performance.now();
    const text: string = await (await fetch(`${url}${path}`)).text();
    times.push(performance.now() - begunMs);
    path = /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll("&amp;", "&");
  }
  if (times.length < count / 50) throw new Error(`${times.length} pages are not all of ${count} items`);
  const tenth = times.length / 10, first = median(times.slice(0, tenth)), last = median(times.slice(-tenth));
  const goal = { atMost: 1.5 };
  return [
    { name: `a page of ${count.toLocaleString("en-US")} items, near the start`, unit: "ms", value: first },
    { name: "the same, near the end ÷ near the start", unit: "×", value: last / first, goal, gate: { atMost: 2 } },
    {
      name: "worker's memory after all pages ÷ before",
      unit: "×",
      value: pair.cloud.usage().residentMb / before,
      goal,
    },
  ];
}

function byteRows(): Row[] {
  return pages.map(({ name, scripts }) => ({
    name: `scripts and styles of ${name}, uncompressed`,
    unit: "KB",
    value: assetBytes(["htmx.js", "base.js", "console.css", ...scripts]) / 1000,
    goal: { atMost: 150 },
    gate: { atMost: 150 },
  }));
}

interface Flood {
  readonly p50: number;
  readonly p99: number;
  readonly memoryMb: number;
  readonly watchedMb: number;
}

/** A worker under a flood, while so many pages watch. */
async function flood(context: Context, consoles: number): Promise<Flood> {
  const dir = await Deno.makeTempDir({ dir: context.dir });
  await using pair = await Pair.start({ ...context, dir }, { synchronous: "normal" });
  await using watchers = new Child("consoles", context.child);
  await pair.openReady();
  const { url } = await pair.cloud.call<{ url: string }>("serve");
  await watchers.call("watch", { url, count: consoles });
  await pair.agent.call("watch", { model: "Command" });
  const count = context.quick ? 1_000 : 6_000, warm = count / 5;
  const times = await pair.cloud.call<Times>("putApart", {
    model: "Command",
    from: 0,
    count: count + warm,
    gapMs: 2,
    ...pair.identity,
  });
  await wait(1_000);
  const arrived = new Map(await pair.agent.call<Times>("times"));
  const delays = times.slice(warm).map(([n, atMs]) => {
    const at = arrived.get(n);
    if (at === undefined) throw new Error(`the change ${n} did not arrive`);
    return at - atMs;
  });
  return {
    p50: percentile(delays, 0.5),
    p99: percentile(delays, 0.99),
    memoryMb: pair.cloud.usage().residentMb,
    watchedMb: await watchers.call<number>("bytes") / 1e6,
  };
}

async function floodRows(context: Context): Promise<Row[]> {
  const without = await flood(context, 0), watched = await flood(context, 10);
  if (watched.watchedMb < 0.1) throw new Error(`the pages heard next to nothing: ${watched.watchedMb} MB`);
  const ratio = (name: string, value: number): Row => ({
    name: `${name}, ten pages watching ÷ none`,
    unit: "×",
    value,
    goal: { atMost: 1.2 },
    gate: { atMost: 1.5 },
  });
  return [
    { name: "live latency in the flood, none watching, p50", unit: "ms", value: without.p50 },
    { name: "live latency in the flood, ten watching, p50", unit: "ms", value: watched.p50 },
    ratio("live latency, p50", watched.p50 / without.p50),
    { name: "live latency, p99, ten pages watching ÷ none", unit: "×", value: watched.p99 / without.p99 },
    ratio("worker's memory", watched.memoryMb / without.memoryMb),
    { name: "sent to the ten pages", unit: "MB", value: watched.watchedMb },
  ];
}

/** See the module. */
export const consoleBench: Bench = {
  name: "console",
  title: "The console",
  quick: false,
  repeats: 3,
  about:
    "First paint: from the beginning of the navigation to the first text, in Chromium on loopback, the median of nine loads " +
    "without a cache, on a worker that has shown the page once. Bytes: what a page loads beside its HTML. Paging: a list of " +
    "Data, 50 items a page, read to its end; near the start and the end is the median of a tenth of the pages. The flood: 6,000 " +
    "single writes in the cloud, 2 ms apart, each to a device; latency from the table's commit to the device's, with no " +
    "page open and with the streams of ten in a process of its own (a browser's drawing would take the processor from " +
    "both). The feed tells at most 200 rows a second.",
  async run(context): Promise<Row[]> {
    await using pair = await Pair.start(context, { synchronous: "normal" });
    await pair.cloud.call("put", { model: "Command", count: 2_000, ...pair.identity });
    const { url } = await pair.cloud.call<{ url: string }>("serve");
    const paints = await paintRows(context, url);
    return [...paints, ...byteRows(), ...await pagingRows(context, pair, url), ...await floodRows(context)];
  },
};
