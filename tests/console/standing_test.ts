/** How the cloud does, on every page: what is wrong while it is, and the Fleet's half hour in small charts. */
import assert from "node:assert/strict";
import { assertLooks, browserTest } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { navigation } from "./pages.ts";
import { busyMinute, putSamples } from "./samples.ts";

const minuteMs = 60_000;

/** Samples up to the minute that may begin meanwhile, so that there is one of the last minute whenever it is asked for. */
const put = (test: TestCloud, more: Record<string, number>) =>
  putSamples(
    test.cloud.tables.log,
    "w-2",
    { fromMs: Date.now() - 30 * minuteMs, minutes: 40 },
    (minute) => minute > 4 && minute < 9 ? undefined : busyMinute(minute, more),
  );

browserTest("standing: while the stream is behind each page says so, and none where all is well", async (visits) => {
  await using test = await TestCloud.start();
  await put(test, { stream_age_ms: 34_000 });
  const page = await visits.page({ javaScriptEnabled: false });
  const paths = navigation.flatMap(({ path }) => path === "/twin" ? [] : [path]);
  for (const path of [...paths, "/fleet/add", "/console/find?q=press"]) {
    await page.goto(`${test.url}${path}`);
    assert.equal(await page.getByRole("status").getByText("The stream is 34 s behind.").isVisible(), true, path);
  }
  await page.getByRole("main").getByRole("link", { name: "Metrics" }).click();
  await page.getByRole("heading", { name: "Metrics", level: 1 }).waitFor();
  const seen = await visits.page();
  await seen.goto(`${test.url}/live`);
  await assertLooks(seen, "a page, the stream behind");

  await using well = await TestCloud.start();
  await put(well, { stream_age_ms: 300 });
  for (const path of paths) {
    await page.goto(`${well.url}${path}`);
    assert.equal((await page.locator("#troubles").textContent())?.trim(), "", path);
  }
});

browserTest("standing: the fleet's first line says who works; its tiles have the last half hour", async (visits) => {
  await using test = await TestCloud.start();
  await test.devices(3, () => ({ outbox: 2 }));
  await put(test, { stream_age_ms: 300 });
  const page = await visits.page();
  await page.goto(`${test.url}/fleet`);
  await page.getByText(/All 3 are online\. The stream is 0\.3 s behind\. \d workers? runs?/).waitFor();
  const charts = page.locator("#tiles svg.spark");
  assert.equal(await charts.count(), 3);
  for (const chart of await charts.all()) {
    assert.match(await chart.getAttribute("aria-label") ?? "", /30 min\. .*at most \S.*, last /);
  }
  // What nobody sampled is a gap: two lines, not one.
  const [line] = await charts.nth(0).locator("path.tone-warn").all();
  assert.equal((await line!.getAttribute("d"))!.split("M").length - 1, 2);
  await assertLooks(page, "fleet with charts");
});
