/** The Fleet's small charts, and what stands beside its list while one searches in it. */
import assert from "node:assert/strict";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { KeptRig } from "./kept_rig.ts";
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

browserTest(
  "fleet: the lag down is what a device lacks of its log, apart from the lag up; it sorts, and is searched by",
  async (visits) => {
    await using rig = await KeptRig.start();
    const put = async (deviceId: string, value: number) => {
      const response = await fetch(`${rig.url}/api/items`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "Setting", item: { deviceId, name: "load", value } }),
      });
      assert.equal(response.status, 200, await response.text());
    };
    await rig.test.devices(2, () => ({ agent: "0.4.1", outbox: 0 }));
    await rig.agent("press-1");
    await rig.agent("press-2");
    // A device that was there before says at its connect how far it has come.
    await rig.again("press-2");
    const page = await visits.page();
    await page.goto(`${rig.url}/fleet`);
    await page.locator("#live[data-state=live]").waitFor();
    const cell = (id: string) => page.locator(`tr[data-device="${id}"] [data-col=down]`);
    await until("it has all", async () => {
      await put("press-1", Math.random());
      await page.reload();
      await page.locator("#live[data-state=live]").waitFor();
      return await cell("press-1").textContent() === "0 s" && await cell("press-2").textContent() === "0 s";
    });
    assert.equal(await cell("press-00000").textContent(), "–", "it has never told its position");
    await rig.away("press-2");
    await put("press-2", 2);
    await until("it lacks an entry", async () => {
      await page.goto(`${rig.url}/fleet?q=down:>1&sort=-down`);
      return await page.locator("tbody a.dev").count() === 1;
    });
    assert.deepEqual(await page.locator("tbody a.dev").allTextContents(), ["press-2"]);
    assert.match(await cell("press-2").textContent() ?? "", /^\d[\d.]* (s|min)$/);
    await page.getByRole("link", { name: "Lag ↓" }).click();
    await page.waitForURL(/sort=down/);
    await assertLooks(page, "fleet, lag down");
    await rig.agent("press-2");
    await until("it has all again", async () => {
      await page.goto(`${rig.url}/fleet?q=press-2`);
      return await cell("press-2").textContent() === "0 s";
    });
  },
);
