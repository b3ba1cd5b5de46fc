/** The Metrics page and a device's charts, in a browser: gaps stay gaps, thresholds, zoom, one worker, tables without JavaScript. */
import assert from "node:assert/strict";
import type { Table } from "../../cloud/table/port.ts";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { busyMinute, putSamples } from "./samples.ts";

const minuteMs = 60_000;
const log = (test: TestCloud): Table => test.cloud.tables.log;

/** A chart's values as uPlot has them. */
const drawn = (page: Page, id: string) =>
  page.evaluate(`[...twintable.charts.get(${JSON.stringify(id)}).data].map((line) => [...line])`) as Promise<
    (number | null)[][]
  >;

/** Pixels of a line's colour in the column of a point: what is painted, whatever the data say. */
const painted = (page: Page, id: string, at: number) =>
  page.evaluate(`(() => {
    const u = twintable.charts.get(${JSON.stringify(id)});
    const colour = getComputedStyle(document.querySelector("#${id} .swatch")).color.match(/\\d+/g).map(Number);
    const x = Math.round(u.valToPos(u.data[0][${at}], "x", true));
    const { top, height } = u.bbox, image = u.ctx.getImageData(x, top, 1, height + 4).data;
    let count = 0;
    for (let i = 0; i < image.length; i += 4) {
      if ([0, 1, 2].every((c) => Math.abs(image[i + c] - colour[c]) < 40) && image[i + 3] > 100) count++;
    }
    return count;
  })()`) as Promise<number>;

const rowsOf = async (page: Page, id: string) => {
  const rows = await page.locator(`#${id} tbody tr`).all();
  return await Promise.all(rows.map(async (row) => (await row.locator("td").allTextContents()).join("|")));
};

browserTest(
  "metrics: a worker that stopped is a gap in the chart and no data in the table, never 0",
  async (visits) => {
    await using test = await TestCloud.start();
    // The test's own reading of pixels.
    visits.expected.push(/willReadFrequently/);
    const from = Date.now() - 60 * minuteMs;
    // Stopped from the 20th to the 40th minute; what it says otherwise is far from 0.
    await putSamples(
      log(test),
      "w-1",
      { fromMs: from, minutes: 60 },
      (minute) => minute >= 20 && minute < 40 ? undefined : busyMinute(minute, { lag_p99_ms: 50_000 }),
    );
    const page = await visits.page();
    await page.goto(`${test.url}/metrics-view`);
    await page.getByRole("heading", { name: "Is anyone behind?" }).waitFor();
    const [times, lag] = await until(
      "the chart is drawn",
      async () => (await drawn(page, "lag").catch(() => undefined)),
    );
    const gap = lag!.findIndex((value, at) => at > 5 && value === null),
      end = lag!.indexOf(50_000, gap);
    assert.ok(end - gap >= 18 && end - gap <= 21, `${end - gap} minutes`);
    assert.equal(lag!.includes(0), false);
    assert.deepEqual(new Set(lag!), new Set([50_000, null]));
    assert.ok(await painted(page, "lag", gap - 3) > 0, "a line before the gap");
    assert.equal(await painted(page, "lag", gap + 5), 0, "nothing is painted in the gap");
    assert.equal(times!.length, lag!.length);

    await page.locator("#lag summary").click();
    const rows = await rowsOf(page, "lag");
    assert.ok(rows.includes("no data|no data"), rows.join());
    assert.equal(
      rows.some((text) => /^0( ms| s)?(\||$)/.test(text)),
      false,
    );
    await page.getByText("the lease ends after 6 s").waitFor();
    await assertLooks(page, "metrics");
  },
);

browserTest("metrics: without any sample each chart says so, and why", async (visits) => {
  await using test = await TestCloud.start();
  const page = await visits.page();
  await page.goto(`${test.url}/metrics-view?range=24h`);
  await page.getByText("No samples of this time.").waitFor();
  assert.equal(await page.locator("#lag [data-empty]").isVisible(), true);
  await page.locator("#units").getByText("Only DynamoDB charges for units.").waitFor();
  assert.equal(await page.locator("[data-value]").filter({ hasNotText: "no data" }).count(), 0);
  await assertLooks(page, "no metrics");
});

browserTest("metrics: dragging over a chart zooms in; the address has it, Back leads out", async (visits) => {
  await using test = await TestCloud.start();
  await putSamples(
    log(test),
    "w-1",
    { fromMs: Date.now() - 1440 * minuteMs, minutes: 1440 },
    (minute) => busyMinute(minute),
  );
  const page = await visits.page();
  await page.goto(`${test.url}/metrics-view?range=24h`);
  await until("the chart is drawn", async () => (await drawn(page, "lag").catch(() => undefined))?.length === 3);
  assert.equal((await drawn(page, "lag"))[0]!.length, 288);
  // A shared cursor: over one chart, all say their values of that time.
  const plot = page.locator("#lag .u-over"), before = await page.locator("#memory [data-value]").textContent();
  const box = (await plot.boundingBox())!;
  await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
  await until("the others follow", async () => await page.locator("#memory [data-value]").textContent() !== before);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=.*&to=.*#lag/);
  await until("the part is drawn", async () => (await drawn(page, "lag").catch(() => undefined))?.length === 3);
  const [times] = await drawn(page, "lag"), url = page.url();
  assert.equal(times![1]! - times![0]!, 60, "minute by minute");
  assert.ok(times!.length > 150 && times!.length < 280, `${times!.length} minutes`);
  await page.reload();
  await until("the same", async () => (await drawn(page, "lag").catch(() => undefined))?.[0]?.length === times!.length);
  assert.equal(page.url(), url);
  await page.getByRole("link", { name: "Zoom out" }).click();
  await page.waitForURL((to) => to.href !== url);
  await page.goBack();
  await page.goBack();
  await page.waitForURL(/range=24h$/);
});

browserTest("metrics: the whole fleet or this worker; what can't be asked is refused by name", async (visits) => {
  await using test = await TestCloud.start();
  await putSamples(
    log(test),
    "elsewhere",
    { fromMs: Date.now() - 30 * minuteMs, minutes: 30 },
    (minute) => busyMinute(minute),
  );
  const page = await visits.page();
  visits.expected.push(/status of 400/);
  await page.goto(`${test.url}/metrics-view`);
  await page.getByText("samples of 1 worker").waitFor();
  await page.getByRole("link", { name: "This worker" }).click();
  await page.waitForURL(/whose=worker/);
  // It has not ended its first minute: what others say is not its own.
  await until("it is drawn", async () => (await drawn(page, "memory").catch(() => undefined))?.length === 2);
  assert.deepEqual(new Set((await drawn(page, "memory"))[1]), new Set([null]));
  assert.equal(await page.getByRole("link", { name: "This worker" }).getAttribute("aria-current"), "true");
  await page.getByRole("link", { name: "24 h" }).click();
  await page.waitForURL(/range=24h&whose=worker/);
  for (
    const [query, said] of [
      ["range=2y", "“2y” is no range"],
      ["whose=me", "“me” has no samples"],
      [
        "from=tomorrow&to=1",
        "from is a time",
      ],
      ["from=2&to=1", "from must be before to"],
      ["from=0&to=1000000000000", "more than eight days"],
    ] as const
  ) {
    await page.goto(`${test.url}/metrics-view?${query}`);
    await page.getByRole("alert").getByText(said).waitFor();
  }
});

browserTest("metrics: without JavaScript the tables stand", async (visits) => {
  await using test = await TestCloud.start();
  await putSamples(
    log(test),
    "w-1",
    { fromMs: Date.now() - 60 * minuteMs, minutes: 60 },
    (minute) => minute > 20 && minute < 45 ? undefined : busyMinute(minute),
  );
  const page = await visits.page({ javaScriptEnabled: false });
  await page.goto(`${test.url}/metrics-view`);
  assert.equal(await page.locator("#memory table").isVisible(), true);
  assert.match((await rowsOf(page, "memory")).join(), /MB.*no data.*MB/);
  await page.getByRole("link", { name: "7 d" }).click();
  await page.getByText("in steps of 30 min").waitFor();
  assert.equal(await page.locator("#memory table").isVisible(), true);
});

browserTest("device: reports of 24 h are charts; where it said nothing there is a gap", async (visits) => {
  await using test = await TestCloud.start();
  await using device = await test.device("press-1");
  await device.say({ agent: "0.1.0", outbox: 12, oldest: Date.now() - 5_000, free: 3e9, skew: -40 });
  const page = await visits.page();
  await until("the report is stored", async () => {
    await page.goto(`${test.url}/devices/press-1`);
    const values = await page.locator("#report-outbox [data-value]").textContent();
    return values === "12";
  });
  assert.equal(await page.locator("#report-disk [data-value]").textContent(), "3,000 MB");
  const [, outbox] = await until("it is drawn", async () => await drawn(page, "report-outbox").catch(() => undefined));
  assert.deepEqual([outbox!.filter((value) => value === 12).length, outbox!.includes(0)], [1, false]);
  assert.deepEqual(new Set(outbox!), new Set([12, null]));
  await assertLooks(page, "a device's reports");
});

browserTest("metrics: the page is painted before its charts are drawn", async (visits) => {
  await using cloud = await TestCloud.start();
  const page = await visits.page();
  // A browser that never comes to its first frame: what is drawn nevertheless would have delayed that.
  await page.addInitScript("globalThis.frames_ = []; globalThis.requestAnimationFrame = (draw) => frames_.push(draw)");
  await page.goto(`${cloud.url}/metrics-view`);
  await page.waitForLoadState();
  await page.getByRole("heading", { name: "Metrics", level: 1 }).waitFor();
  assert.equal(await page.evaluate("twintable.charts.size"), 0);
  await page.evaluate("for (const draw of frames_.splice(0)) draw(performance.now())");
  await page.waitForFunction("twintable.charts.size === 12");
});
