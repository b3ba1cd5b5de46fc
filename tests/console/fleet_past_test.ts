/** The Fleet's small charts, and what stands beside its list while one searches in it. */
import assert from "node:assert/strict";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { busyMinute, putSamples } from "./samples.ts";

const minuteMs = 60_000;
const lagChart = (page: Page) => page.getByRole("img", { name: /^How long changes wait on devices/ });

/** Samples of two days, those of the last minutes among them. */
async function sampled(): Promise<TestCloud> {
  const test = await TestCloud.start();
  await test.devices(3, (at) => ({ agent: "0.4.1", outbox: at }));
  const fromMs = Date.now() - 2_880 * minuteMs;
  await putSamples(test.cloud.tables.log, "w-1", { fromMs, minutes: 2_885 }, (minute) => {
    return busyMinute(minute, { lag_p50_ms: 2_000, lag_p99_ms: minute < 2_840 ? 90_000 : 7_000 });
  });
  return test;
}

browserTest(
  "fleet: its charts show half an hour, an hour, a day or a week, by p50 and p99; the address says which, and a search keeps it",
  async (visits) => {
    await using test = await sampled();
    const page = await visits.page();
    await page.goto(`${test.url}/fleet`);
    const said = async () => await lagChart(page).getAttribute("aria-label") ?? "";
    assert.match(
      await said(),
      /, 30 min\. 99 of 100 devices, at most: at most 7 s, last 7 s; half of the devices.*2 s$/,
    );
    await page.locator("#range summary").click();
    await assertLooks(page, "fleet, the menu of times");
    await page.getByRole("link", { name: "Last 24 h" }).click();
    await page.waitForURL(/range=24h/);
    assert.match(await said(), /, 24 h\. 99 of 100 devices, at most: at most 1 min, last 7 s/);
    await assertLooks(page, "fleet of a day");
    await page.getByLabel("Search devices").fill("press-00001");
    await page.getByText("1 of 3 devices").waitFor();
    assert.match(page.url(), /range=24h/);
    assert.match(await said(), /, 24 h\./);
    await page.goto(`${test.url}/fleet?range=7d`);
    assert.match(await said(), /, 7 days\./);
    // Half of the week has no sample: that is a gap, and no line at zero.
    const path = await lagChart(page).locator("path.tone-warn").getAttribute("d") ?? "";
    assert.equal(path.match(/M/g)?.length, 1);
    assert.ok(Number(/^M([\d.]+)/.exec(path)?.[1]) > 150, path);
    await page.goto(`${test.url}/fleet?range=1y`);
    assert.match(await said(), /, 30 min\./);
  },
);

browserTest("fleet: while one searches, tiles, views and columns follow, and what was found ticks", async (visits) => {
  await using test = await TestCloud.start();
  await test.devices(60, () => ({ agent: "0.4.1", outbox: 1 }));
  await using one = await test.device("z-1");
  await one.say({ outbox: 2, agent: "0.4.1" });
  const page = await visits.page();
  await page.goto(`${test.url}/fleet`);
  await page.locator("#live[data-state=live]").waitFor();
  assert.equal(await page.locator("tr[data-device=z-1]").count(), 0, "it is on the second page");
  await page.getByLabel("Search devices").fill("z-");
  await page.getByText("1 of 61 devices").waitFor();
  await one.say({ outbox: 41_220, agent: "0.4.1" });
  await page.getByRole("cell", { name: "41,220" }).waitFor();
  await page.getByText("Columns").click();
  await page.getByLabel("Account", { exact: true }).uncheck();
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByText("1 of 61 devices").waitFor();
  await page.getByLabel("Search devices").fill("press-0000");
  await page.getByText("10 of 61 devices").waitFor();
  await page.getByLabel("Devices by state").getByRole("link", { name: /^Online/ }).click();
  await page.waitForURL(/q=press-0000\+state:online/);
  await until("both words hold", async () => await page.locator("tbody tr").count() === 10);
});
