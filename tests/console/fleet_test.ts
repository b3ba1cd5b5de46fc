/** The fleet's page, in a browser: search, sorting, pages, selection, rows that tick where they stand. */
import assert from "node:assert/strict";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { KeptRig } from "./kept_rig.ts";

const names = (page: Page) => page.locator("tbody a.dev").allTextContents();

/** 60 devices: the first 3 in trouble, the next 4 lagging, the last without a report. */
async function mixedFleet(): Promise<TestCloud> {
  const test = await TestCloud.start();
  const now = Date.now();
  await test.devices(60, (at) => {
    if (at === 59) return undefined;
    if (at < 3) {
      return {
        agent: "0.4.1",
        schema: "abc",
        outbox: 5_000_000 - at,
        rejected: at,
        problem: "outbox full: new writes are refused",
      };
    }
    if (at < 7) return { agent: "0.4.1", schema: "abc", outbox: 100 + at, oldest: now - at * 100_000 };
    return { agent: "0.3.9", schema: "abc", outbox: 0, rejected: 0, conflicts: at === 20 ? 12 : 0 };
  });
  return test;
}

browserTest(
  "fleet: the first sentence says who needs you; the worst come first; states, counts and unknowns are told apart",
  async (visits) => {
    await using test = await mixedFleet();
    const page = await visits.page();
    await page.goto(`${test.url}/fleet`);
    await page.getByText("3 devices need you, 4 devices lag.").waitFor();
    const shown = await names(page);
    assert.equal(shown.length, 50);
    assert.deepEqual(shown.slice(0, 7).sort(), Array.from({ length: 7 }, (_, at) => `press-0000${at}`));
    assert.equal(shown[3], "press-00006", "of the lagging the one that lags most");
    await page.goto(`${test.url}/fleet?q=press-00059`);
    const old = page.locator("tr[data-device=press-00059]");
    assert.equal(await old.locator("[data-col=outbox]").textContent(), "–");
    assert.equal(await old.locator("[data-col=agent]").textContent(), "–");
    await page.goto(`${test.url}/fleet?q=press-00030`);
    assert.equal(await page.locator("[data-col=outbox]").textContent(), "0");
    await page.goto(`${test.url}/fleet`);
    await assertLooks(page, "fleet");
  },
);

browserTest("fleet: search words, chips, Back; the address is all that a new browser needs", async (visits) => {
  await using test = await mixedFleet();
  const page = await visits.page();
  await page.goto(`${test.url}/fleet`);
  await page.getByLabel("Search devices").fill("state:lagging");
  await page.getByText("4 of 60 devices").waitFor();
  await page.getByRole("link", { name: "Lag ↑" }).click();
  await page.waitForURL(/sort=-lag/);
  const shown = await names(page);
  assert.deepEqual(shown, ["press-00006", "press-00005", "press-00004", "press-00003"]);
  const address = page.url();
  await page.getByRole("link", { name: "Without state:lagging" }).click();
  await page.getByText("1–50 of 60").waitFor();
  await page.goBack();
  await page.getByText("4 of 60 devices").waitFor();
  assert.equal(await page.getByLabel("Search devices").inputValue(), "state:lagging");
  const colleague = await visits.page();
  await colleague.goto(address);
  assert.deepEqual(await names(colleague), shown);
  visits.expected.push(/status of 400/);
  await page.goto(`${test.url}/fleet?q=stat:trouble`);
  await page.getByRole("alert").getByText(/"stat:trouble" is not a condition/).waitFor();
  await page.getByLabel("Search devices").waitFor();
  await assertLooks(page, "an unknown word");
  await page.goto(`${test.url}/fleet?q=press-9`);
  await page.getByText("No device matches").waitFor();
});

browserTest("fleet: without JavaScript search, sorting, pages and columns work", async (visits) => {
  await using test = await mixedFleet();
  const page = await visits.page({ javaScriptEnabled: false });
  await page.goto(`${test.url}/fleet`);
  await page.getByLabel("Search devices").fill("state:trouble");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=state/);
  assert.equal((await names(page)).length, 3);
  await page.goto(`${test.url}/fleet`);
  await page.getByRole("link", { name: "Next" }).click();
  assert.equal((await names(page)).length, 10);
  await page.getByRole("link", { name: "Back" }).click();
  await page.getByText("Columns").click();
  for (const label of ["Account", "Agent", "Schema", "Seen", "Problem"]) {
    await page.getByLabel(label, { exact: true }).uncheck();
  }
  await page.getByRole("button", { name: "Show" }).click();
  assert.equal(await page.getByRole("columnheader").count(), 1 + 2 + 5);
  await page.goto(`${test.url}/fleet?q=press-00001`);
  await page.getByLabel("Select press-00001").check();
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByRole("heading", { name: "Verify 1 device" }).waitFor();
  await until("it is said that it was asked", async () => {
    await page.reload();
    return await page.getByText("asked; the result comes to the device's page").count() === 1;
  });
});

browserTest(
  "fleet: a row ticks where it stands; rows that changed are counted and sorted when that is asked for",
  async (visits) => {
    await using test = await TestCloud.start();
    await using one = await test.device("d-1");
    await using two = await test.device("d-2");
    await one.say({ outbox: 1, agent: "0.4.1" });
    await two.say({ outbox: 2, agent: "0.4.1" });
    const page = await visits.page();
    await page.goto(`${test.url}/fleet?sort=-outbox`);
    await until("both are heard of", async () => {
      await page.reload();
      return (await page.locator("[data-col=outbox]").allTextContents()).join() === "2,1";
    });
    await page.locator("#live[data-state=live]").waitFor();
    await page.getByLabel("Select d-1").check();
    await page.getByText("1 selected").waitFor();
    await one.say({ outbox: 41220, agent: "0.4.1" });
    await page.getByRole("cell", { name: "41,220" }).waitFor();
    assert.deepEqual(await names(page), ["d-2", "d-1"]);
    assert.equal(await page.getByLabel("Select d-1").isChecked(), true);
    await page.getByText("1 row changed since sorted").waitFor();
    await page.getByRole("link", { name: "Sort again" }).click();
    await until("it is sorted", async () => (await names(page))[0] === "d-1");
  },
);

browserTest(
  "fleet: bulk: above 20 devices the number is asked for; a job tells each result, and who is away gets it later",
  async (visits) => {
    await using rig = await KeptRig.start();
    await rig.test.devices(24, () => ({ agent: "0.4.1", orders: 1, outbox: 0 }), false);
    await rig.agent("press-1");
    const page = await visits.page();
    await page.goto(`${rig.url}/fleet?q=press`);
    await page.getByLabel("Select press-1", { exact: true }).check();
    await page.getByText("1 selected").waitFor();
    await page.getByRole("checkbox", { name: "all 25 found" }).check();
    await page.getByRole("button", { name: "Sync" }).click();
    await page.getByRole("heading", { name: "Sync 25 devices?" }).waitFor();
    await assertLooks(page, "confirm");
    visits.expected.push(/status of 400/);
    await page.getByLabel(/Number of devices/).fill("5");
    await page.getByRole("button", { name: "Sync 25" }).click();
    await page.getByText("That is not the number.").waitFor();
    await page.getByLabel(/Number of devices/).fill("25");
    await page.getByRole("button", { name: "Sync 25" }).click();
    await page.getByRole("heading", { name: "Sync 25 devices" }).waitFor();
    await page.getByText("24 devices are not connected: the order waits for 7 days.").waitFor();
    await page.locator("#job-progress").getByText("All 25 ended").waitFor();
    const connected = page.getByRole("row").filter({ has: page.getByRole("link", { name: "press-1", exact: true }) });
    await connected.getByText("has all that the cloud has").waitFor();
    assert.equal(await page.getByText("not connected: runs when it connects").count(), 24);
    await assertLooks(page, "a job over devices");
    const { orders } = await (await fetch(`${rig.url}/api/devices/press-00003/orders`)).json();
    assert.deepEqual(orders.map((one: { do: string; state: string }) => [one.do, one.state]), [["sync", "waiting"]]);
  },
);

browserTest("fleet: what has no answer for 10 s is said, with Retry; it goes when the answer comes", async (visits) => {
  await using test = await mixedFleet();
  const page = await visits.page();
  await page.clock.install();
  await page.goto(`${test.url}/fleet`);
  let answer!: () => void;
  const held = new Promise<void>((resolve) => answer = resolve);
  await page.route(/state/, async (route) => {
    await held;
    await route.continue();
  });
  const asked = page.waitForRequest(/state/);
  await page.getByLabel("Search devices").fill("state:lagging");
  await page.clock.runFor(1_000);
  await asked;
  const alert = page.getByRole("alert").filter({ hasText: "No answer for 10 s" });
  await page.clock.runFor(8_000);
  assert.equal(await alert.isVisible(), false);
  await page.clock.runFor(3_000);
  await alert.getByRole("link", { name: "Retry" }).waitFor();
  answer();
  await page.getByText("4 of 60 devices").waitFor();
  await alert.waitFor({ state: "hidden" });
});

browserTest("fleet: a silent device says since when; CSV has what is found, and no formulas", async (visits) => {
  await using test = await TestCloud.start();
  await test.devices(2, (at) => ({ problem: at ? '=cmd|"x"' : "disk full" }), false);
  const page = await visits.page();
  await page.goto(`${test.url}/fleet`);
  const row = page.locator("tr[data-device=press-00000]");
  assert.match(await row.textContent() ?? "", /Silent/);
  assert.match(
    await row.locator("[data-col=problem]").textContent() ?? "",
    /^since (now|\d+ s), usual up to 15 min: disk full$/,
  );
  const csv = await (await page.request.get(`${test.url}/fleet.csv?q=press`)).text();
  assert.match(csv, /^press-00001,acme,silent,.*"'=cmd\|""x"""/m);
});

browserTest("fleet: a device is added; its token is shown once and lets it in", async (visits) => {
  await using test = await TestCloud.start();
  const page = await visits.page();
  await page.goto(`${test.url}/fleet`);
  await page.getByText("No devices yet", { exact: true }).waitFor();
  await assertLooks(page, "an empty fleet");
  await page.getByRole("main").getByRole("link", { name: "Add device" }).first().click();
  await page.getByLabel("Device id").fill("no id");
  await page.getByLabel("Account id").fill("acme");
  visits.expected.push(/status of 400/);
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByText("“no id” is not an id.").waitFor();
  await assertLooks(page, "a device that can't be added");
  await page.getByLabel("Device id").fill("kiln-7");
  await page.getByRole("button", { name: "Add" }).click();
  await page.getByRole("heading", { name: "kiln-7 was added" }).waitFor();
  const token = await page.locator("#token").textContent();
  assert.ok(await test.cloud.registry.authenticate("kiln-7", token!));
  await assertLooks(page, "a token");
  await page.getByRole("button", { name: "Copy token" }).click();
  await until("it is copied", async () => await page.evaluate("navigator.clipboard.readText()") === token);
  await page.goto(`${test.url}/fleet`);
  await page.getByText("never seen").waitFor();
  assert.doesNotMatch(await page.content(), new RegExp(token!));
});

browserTest("fleet: 10,000 devices: the first row within 500 ms, sorted over all", async (visits) => {
  await using test = await TestCloud.start();
  const now = Date.now();
  await test.devices(10_000, (at) => ({ agent: "0.4.1", outbox: 1, oldest: now - ((at * 7919) % 10_000) }));
  const page = await visits.page();
  // The registry is read once; from then on presence keeps the fleet.
  await page.goto(`${test.url}/fleet`);
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const at = performance.now();
    await page.goto(`${test.url}/fleet?sort=-lag`, { waitUntil: "commit" });
    await page.locator("tbody a.dev").first().waitFor();
    times.push(performance.now() - at);
  }
  // The best of five: the machine runs other things, too.
  assert.ok(Math.min(...times) < 500, `${times.map(Math.round)} ms`);
  const worst = Array.from({ length: 10_000 }, (_, at) => at).sort((a, b) => (b * 7919) % 10_000 - (a * 7919) % 10_000);
  assert.equal((await names(page))[0], `press-${String(worst[0]).padStart(5, "0")}`);
  await page.getByText("1–50 of 10,000").waitFor();
});
