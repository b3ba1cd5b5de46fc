/**
 * Conflicts and Rejected in a browser, with real agents: asked from the device, grouped, put back by jobs; what is overwritten
 * is said first, and nothing is done to what changed meanwhile.
 */
import assert from "node:assert/strict";
import { assertLooks, browserTest, type Page, until, type Visits } from "./browser.ts";
import { type KeptAgent, KeptRig, lose, refuse } from "./kept_rig.ts";

const most = "value must be at most 16";

const names = (agent: KeptAgent, table: "_rejected" | "_conflicts") =>
  agent.store.db.prepare(`SELECT json_extract(key, '$.name') AS name FROM ${table} ORDER BY id`).all()
    .map(({ name }) => String(name));

async function setting(rig: KeptRig, device: string, name: string): Promise<number | undefined> {
  const { items } = await (await fetch(`${rig.url}/api/items?model=Setting&device=${device}`)).json();
  return items.find((item: { name: string }) => item.name === name)?.value;
}

/** Two connected devices: the first keeps many changes of one reason and 3 of another, the second 2 of the first. */
async function refusals(rig: KeptRig, many = 23): Promise<{ one: KeptAgent; two: KeptAgent }> {
  const first = await rig.agent("press-1"), second = await rig.agent("press-2");
  for (let i = 0; i < many; i++) refuse(first, `p-${i}`, i, most);
  for (let i = 0; i < 3; i++) refuse(first, `m-${i}`, i, `name is "m-${i}", which does not match ^[a-z]+$`);
  for (let i = 0; i < 2; i++) refuse(second, `p-${i}`, i, most);
  await fetch(`${rig.url}/api/devices?q=press`);
  return { one: await rig.again("press-1"), two: await rig.again("press-2") };
}

/** What asks devices: on a machine that is busy one may not answer within its two seconds, and is asked again. */
async function asks(visits: Visits, page: Page, ask: () => Promise<unknown>): Promise<void> {
  visits.expected.push(/status of 503/);
  const from = page.url();
  for (;;) {
    await ask();
    await page.waitForLoadState();
    if (await page.getByText(/did not answer within 2 s/).count() === 0) return;
    await page.goto(from);
  }
}

const groups = (page: Page) => page.locator("section.group h2").allTextContents();

browserTest(
  "rejected: grouped by reason, whatever the values; counts by report, filters in the address and without JavaScript",
  async (visits) => {
    await using rig = await KeptRig.start();
    await refusals(rig);
    const page = await visits.page();
    await page.goto(`${rig.url}/fleet`);
    await page.getByRole("link", { name: /^Rejected 28/ }).waitFor();
    await page.getByRole("link", { name: /^Rejected/ }).first().click();
    await page.getByText("The cloud refused 28 changes of 2 devices.").waitFor();
    assert.deepEqual(await groups(page), [], "nobody is asked before somebody wants to know");
    await assertLooks(page, "rejected");
    await asks(visits, page, () => page.getByRole("link", { name: "Ask all 2" }).click());
    await page.getByText("2 devices were asked").waitFor();
    assert.deepEqual(await groups(page), [`25 × ${most}`, "3 × name is “…”, which does not match ^[a-z]+$"]);
    await page.locator(".kept-item summary").first().click();
    await page.locator(".versions").first().getByText("refused").waitFor();
    await assertLooks(page, "rejected, asked");
    const address = page.url();
    const plain = await visits.page({ javaScriptEnabled: false });
    await plain.goto(address);
    assert.equal((await groups(plain)).length, 2);
    await plain.goto(`${rig.url}/rejected`);
    await plain.getByRole("link", { name: "press-2" }).click();
    assert.deepEqual(await groups(plain), [`2 × ${most}`]);
    await plain.getByLabel("Model").selectOption("Event");
    await plain.getByRole("button", { name: "Filter" }).click();
    assert.match(plain.url(), /model=Event/);
    await plain.getByText("press-2 keeps none of Event now.").waitFor();
    await plain.getByRole("link", { name: "Without Event" }).click();
    await plain.getByRole("link", { name: "Without press-2" }).click();
    await plain.goto(address);
    await plain.getByRole("searchbox", { name: "Words" }).fill("AT MOST p-2");
    await plain.keyboard.press("Enter");
    await plain.waitForURL(/words=AT\+MOST\+p-2/);
    // p-2, and p-20 to p-22: what is retried are those, and not the group's others.
    assert.deepEqual(await groups(plain), [`4 × ${most}`]);
    await plain.getByRole("link", { name: "Drop all…" }).click();
    await plain.getByRole("heading", { name: "Drop 4 changes?" }).waitFor();
    await plain.goto(`${rig.url}/rejected?device=press-1&words=no-such`);
    await plain.getByText("press-1 keeps none with “no-such” now.").waitFor();
    await plain.goto(`${rig.url}/rejected`);
    await plain.getByRole("searchbox", { name: "Devices" }).fill("press-1");
    await plain.keyboard.press("Enter");
    await plain.getByText("The cloud refused 26 changes of 1 device.").waitFor();
    visits.expected.push(/status of 400/);
    await asks(visits, page, () => page.goto(`${rig.url}/rejected?ask=1&words=does+match`));
    assert.deepEqual(await groups(page), ["3 × name is “…”, which does not match ^[a-z]+$"]);
    await assertLooks(page, "rejected, found by words");
    await page.goto(`${rig.url}/rejected?q=stat:trouble`);
    await page.getByRole("alert").getByText(/"stat:trouble" is not a condition/).waitFor();
  },
);

browserTest(
  "rejected: Retry all is a job with progress and a result for each; another group stays; a newer row is not overwritten",
  async (visits) => {
    await using rig = await KeptRig.start();
    const { one } = await refusals(rig, 150);
    // Written since: the device itself refuses to overwrite it, and that is this one's result.
    one.model("Setting").upsert({ name: "p-3", value: 99 });
    await one.flush({ timeoutMs: 30_000 });
    const page = await visits.page();
    await asks(visits, page, () => page.goto(`${rig.url}/rejected?device=press-1`));
    await asks(visits, page, () => page.getByRole("button", { name: "Retry all 150" }).click());
    await page.getByRole("heading", { name: "Retry 150 changes" }).waitFor();
    await page.getByRole("progressbar").waitFor();
    const seen = new Set<string>();
    await until("it is done", async () => {
      seen.add(await page.locator("#job-progress b").textContent() ?? "");
      return await page.locator("#job[data-state=done]").count() === 1;
    });
    assert.ok([...seen].some((text) => /^\d+ of 150$/.test(text)), [...seen].join());
    await page.locator("#job-progress").getByText("All 150 ended").waitFor();
    await page.locator("#job-progress").getByText("· 149 done · 1 failed").waitFor();
    await page.getByText(/^It ran in the worker \S+\. Only that worker knows its results/).waitFor();
    const failed = page.getByRole("row").filter({ hasText: "failed" });
    assert.match(await failed.textContent() ?? "", /Setting p-3.*was written again at/);
    await assertLooks(page, "a job");
    assert.deepEqual(names(one, "_rejected"), ["p-3", "m-0", "m-1", "m-2"]);
    await until("they are in the cloud", async () => await setting(rig, "press-1", "p-149") === 149);
    assert.equal(one.model("Setting").get({ name: "p-3" })?.value, 99);
    // With eyes open: what it overwrites is said, and then it is done.
    await asks(visits, page, () => page.getByRole("link", { name: "To Rejected" }).click());
    // Alone in its group, it is open.
    await asks(visits, page, () => page.getByRole("link", { name: "Retry…" }).first().click());
    await page.getByText("It overwrites").waitFor();
    assert.match(
      await page.locator(".overwrites").textContent() ?? "",
      /value 99 with 3\..*written after this version/,
    );
    await asks(visits, page, () => page.getByRole("button", { name: "Retry Setting p-3" }).click());
    await page.locator("#job-progress").getByText("Ended · 1 done").waitFor();
    assert.equal(one.model("Setting").get({ name: "p-3" })?.value, 3);
    // As another worker would answer, or this one after a restart.
    visits.expected.push(/status of 404/);
    await page.goto(page.url().replace(/-\d+$/, "-99"));
    await page.getByRole("alert").getByText(/does not know this job\..*load the page again until that one answers/)
      .waitFor();
    assert.equal(await page.locator("#job").count(), 0);
  },
);

browserTest(
  "rejected: a job is cancelled between two; what was not begun is left, and is still there",
  async (visits) => {
    await using rig = await KeptRig.start();
    const agent = await rig.agent("press-1");
    for (let i = 0; i < 300; i++) refuse(agent, `p-${i}`, i, most);
    const page = await visits.page();
    await asks(visits, page, () => page.goto(`${rig.url}/rejected?device=press-1`));
    await asks(visits, page, () => page.getByRole("button", { name: "Retry all 300" }).click());
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator("#job[data-state=cancelled]").waitFor();
    const [, left] = /^Cancelled: (\d+) of 300 were not begun/.exec(
      await page.locator("#job-progress").textContent() ?? "",
    )!;
    assert.ok(Number(left) > 0, `${left} were left`);
    await until("what was begun has ended", () => names(agent, "_rejected").length === Number(left));
  },
);

browserTest("rejected: to drop more than 20 the number is asked for; one group goes, another stays", async (visits) => {
  await using rig = await KeptRig.start();
  const { one, two } = await refusals(rig);
  const page = await visits.page();
  await asks(visits, page, () => page.goto(`${rig.url}/rejected?ask=1`));
  await asks(visits, page, () => page.getByRole("link", { name: "Drop all…" }).first().click());
  await page.getByRole("heading", { name: "Drop 25 changes?" }).waitFor();
  await assertLooks(page, "drop");
  visits.expected.push(/status of 400/);
  await page.getByLabel("How many (25)").fill("24");
  await asks(visits, page, () => page.getByRole("button", { name: "Drop 25 changes" }).click());
  await page.getByText("That is not the number. Nothing was done.").waitFor();
  assert.equal(names(one, "_rejected").length, 26);
  await page.getByLabel("How many (25)").fill("25");
  await asks(visits, page, () => page.getByRole("button", { name: "Drop 25 changes" }).click());
  await page.locator("#job-progress").getByText("All 25 ended").waitFor();
  assert.deepEqual([names(one, "_rejected"), names(two, "_rejected")], [["m-0", "m-1", "m-2"], []]);
});

browserTest(
  "conflicts: what differs is marked, what is equal folded; restore says what it overwrites and is refused where that changed",
  async (visits) => {
    await using rig = await KeptRig.start();
    const agent = await rig.agent("press-1");
    agent.model("Setting").upsert({ name: "disk", value: 92 });
    agent.model("Setting").upsert({ name: "load", value: 90 });
    await agent.flush({ timeoutMs: 30_000 });
    lose(agent, "disk", 97);
    lose(agent, "load", 90);
    lose(agent, "fan", 4);
    const page = await visits.page();
    await asks(visits, page, () => page.goto(`${rig.url}/conflicts?device=press-1`));
    assert.match(await page.locator("#kept-press-1\\/1 summary").first().textContent() ?? "", /value 92 ≠ 97/);
    assert.match(await page.locator("#kept-press-1\\/2 summary").first().textContent() ?? "", /equal by now/);
    await page.locator("#kept-press-1\\/1 summary").first().click();
    const versions = page.locator("#kept-press-1\\/1 .versions");
    assert.deepEqual(await versions.locator("tr[data-differs] td").allTextContents(), ["92", "≠97", "92"]);
    assert.equal(await versions.locator("tr[data-differs]").count(), 1);
    await versions.getByText("1 equal: name").waitFor();
    await assertLooks(page, "conflicts");
    await asks(visits, page, () => page.goto(`${rig.url}/conflicts/confirm?do=restore&kept=press-1/1&kept=press-1/3`));
    const said = await page.locator(".overwrites").allTextContents();
    assert.deepEqual(said.map((text) => text.trim()), [
      "It overwrites value 92 with 97.",
      "It creates the row: there is none now.",
    ]);
    await assertLooks(page, "restore");
    // Meanwhile somebody writes the row: what the person has seen is not what would be overwritten.
    agent.model("Setting").update({ name: "disk", value: 93 });
    visits.expected.push(/status of 409/);
    await asks(visits, page, () => page.getByRole("button", { name: "Restore 2 versions" }).click());
    await page.getByText("Setting disk on press-1 changed since you looked: nothing was done.").waitFor();
    assert.deepEqual(names(agent, "_conflicts"), ["disk", "load", "fan"]);
    await asks(visits, page, () => page.goto(`${rig.url}/conflicts?device=press-1`));
    await page.getByLabel("Select Setting disk of press-1").check();
    await page.getByText("1 selected").waitFor();
    await asks(visits, page, () => page.getByRole("button", { name: "Restore…" }).click());
    assert.match(await page.locator(".overwrites").textContent() ?? "", /value 93 with 97\./);
    await asks(visits, page, () => page.getByRole("button", { name: "Restore Setting disk" }).click());
    await page.locator("#job-progress").getByText("Ended · 1 done").waitFor();
    assert.equal(agent.model("Setting").get({ name: "disk" })?.value, 97);
    await until("it is in the cloud", async () => await setting(rig, "press-1", "disk") === 97);
    await asks(visits, page, () => page.getByRole("link", { name: "To Conflicts" }).click());
    await page.getByText("2 versions on press-1").waitFor();
    visits.expected.push(/status of 404/);
    await page.goto(`${rig.url}/conflicts/confirm?do=restore&kept=press-1/1`);
    await page.getByText("press-1/1 is not there any more: it was put back or dropped.").waitFor();
    await page.goto(`${rig.url}/conflicts?device=press-1&row=1`);
    await page.getByText("It is not there any more").waitFor();
  },
);

browserTest(
  "kept: a device that is away offers the CLI line; an order waits for it and runs when it connects",
  async (visits) => {
    await using rig = await KeptRig.start();
    let agent = await rig.agent("press-1");
    refuse(agent, "fan", 4, most);
    lose(agent, "fan", 5);
    agent = await rig.again("press-1");
    await rig.away("press-1");
    const page = await visits.page();
    await asks(visits, page, () => page.goto(`${rig.url}/conflicts?device=press-1`));
    await page.getByText("It can't be asked now: the device is not connected.").waitFor();
    assert.equal(await page.locator(".away pre").textContent(), "twintable conflicts list --db press-1.db");
    await page.getByRole("button", { name: "Copy" }).click();
    await until(
      "it is copied",
      async () => await page.evaluate("navigator.clipboard.readText()") === "twintable conflicts list --db press-1.db",
    );
    await page.goto(`${rig.url}/devices/press-1?tab=conflicts`);
    await page.getByText("twintable conflicts list --db press-1.db").waitFor();
    await asks(visits, page, () => page.goto(`${rig.url}/rejected?device=press-1`));
    await assertLooks(page, "a device that is away");
    await page.getByRole("button", { name: "Retry all when it connects" }).click();
    await page.getByText("not connected: runs when it connects").waitFor();
    await page.goto(`${rig.url}/devices/press-1?tab=orders`);
    const order = page.getByRole("row").filter({ hasText: "Retry all of rejected" });
    await order.getByText("the device is not connected").waitFor();
    await page.locator("#live[data-state=live]").waitFor();
    agent = await rig.agent("press-1");
    await order.getByText("1 put back").waitFor();
    assert.equal(agent.model("Setting").get({ name: "fan" })?.value, 4);
    await page.getByRole("link", { name: /^Conflicts/ }).last().click();
    await page.getByText("1 version on press-1").waitFor();
  },
);

browserTest("kept: what changes meanwhile is told, and moves nothing; texts of devices are texts", async (visits) => {
  await using rig = await KeptRig.start();
  const evil = `<img src=x onerror=alert(1)>"'<script>alert(2)</script>`;
  let agent = await rig.agent("press-1");
  refuse(agent, evil, 4, `${evil} is refused`);
  const page = await visits.page();
  await asks(visits, page, () => page.goto(`${rig.url}/rejected?device=press-1`));
  await page.getByRole("heading", { name: evil }).waitFor();
  await page.locator("#live[data-state=live]").waitFor();
  agent = await rig.again("press-1");
  refuse(agent, "more", 4, most);
  agent = await rig.again("press-1");
  await page.getByText("Changed meanwhile on press-1.").waitFor();
  assert.equal((await groups(page)).length, 1);
  await asks(visits, page, () => page.getByRole("link", { name: "Look again" }).click());
  await until("both are shown", async () => (await groups(page)).length === 2);
});
