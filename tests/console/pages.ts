/**
 * All pages of the console, for tests of what holds on each: those of the navigation by their own entries, and those that stand
 * behind them. Whoever adds a page to the navigation has it here, too.
 *
 * @module
 */
import assert from "node:assert/strict";
import { pageModules } from "../../cloud/console/pages/index.ts";
import { TestCloud } from "./cloud.ts";
import { busyMinute, putSamples } from "./samples.ts";

/** A page. */
export interface PageAddress {
  readonly name: string;
  readonly path: string;
}

const minuteMs = 60_000;
const item = encodeURIComponent(JSON.stringify({ deviceId: "press-1", name: "load" }));

/** The pages of the navigation; Twin has devices of its own, in `dev` alone. */
export const navigation: readonly PageAddress[] = pageModules.flatMap(({ link }) => link ?? []);

/** Pages of a worker, the ones behind the navigation's, too. */
export const pages: readonly PageAddress[] = [
  ...navigation.filter(({ path }) => path !== "/twin"),
  { name: "Device", path: "/devices/press-1" },
  { name: "A device's changes", path: "/devices/press-1?tab=changes" },
  { name: "A device's orders", path: "/devices/press-1?tab=orders" },
  { name: "A device's conflicts", path: "/devices/press-1?tab=conflicts" },
  { name: "Revoke", path: "/devices/press-1/revoke" },
  { name: "Add device", path: "/fleet/add" },
  { name: "Usual silence", path: "/fleet/silence" },
  { name: "Data of a device", path: "/data/Setting?device=press-1" },
  { name: "Item", path: `/data/Setting/item?key=${item}` },
  { name: "Edit", path: `/data/Setting/item?key=${item}&edit=1` },
  { name: "New item", path: "/data/Setting/new?device=press-1" },
  { name: "Selected items", path: `/data/Setting/selected?item=${encodeURIComponent('["press-1","load"]')}` },
  { name: "Metrics of a day", path: "/metrics-view?range=24h" },
  { name: "Find", path: "/console/find?q=press" },
  { name: "Nothing there", path: "/devices/none" },
];

/** A cloud in which each page has something to show. */
export async function fullCloud(): Promise<TestCloud & AsyncDisposable> {
  const test = await TestCloud.start({ label: "twin-prod" });
  const now = Date.now();
  await test.devices(
    40,
    (at) => at % 5 === 0 ? undefined : { outbox: at, rejected: at % 7 === 0 ? 2 : 0, conflicts: at % 3 },
  );
  await test.cloud.registry.add("press-1", "acme");
  await test.cloud.registry.touch("press-1", true, {
    agent: "0.1.0",
    schema: "8c41fe20",
    outbox: 3,
    oldest: now - 90_000,
    free: 3e9,
    skew: 12,
    rejected: 1,
    conflicts: 2,
  });
  const items = Array.from({ length: 60 }, (_, at) => ({
    deviceId: "press-1",
    name: at === 0 ? "load" : `setting-${at}`,
    value: at,
  }));
  const response = await fetch(`${test.url}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "Setting", items }),
  });
  assert.equal(response.status, 200, await response.text());
  await putSamples(
    test.cloud.tables.log,
    "w-1",
    { fromMs: now - 1440 * minuteMs, minutes: 1440 },
    (minute) => minute % 500 < 40 ? undefined : busyMinute(minute),
  );
  return test;
}
