/** A device's page, in a browser: what it says of itself, its channels, its token, its end. */
import assert from "node:assert/strict";
import { keepReport } from "../../cloud/sync/stored_report.ts";
import { assertLooks, browserTest, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { KeptRig } from "./kept_rig.ts";

browserTest(
  "device: why it stands so, what it reports, where it is; it ticks, and unknown is not zero",
  async (visits) => {
    await using test = await TestCloud.start();
    await using device = await test.device("press-1");
    await test.cloud.registry.add("old-1", "acme");
    const page = await visits.page();
    await page.goto(`${test.url}/fleet`);
    await device.say({
      agent: "0.4.1",
      outbox: 12,
      rejected: 2,
      conflicts: 0,
      problem: "disk full: 0 of 512 MB free",
      skew: -7200_000,
      at: { "device:press-1": 3 },
    });
    await page.getByText("disk full: 0 of 512 MB free").first().waitFor();
    await page.getByRole("link", { name: "press-1" }).click();
    await page.getByText(": disk full: 0 of 512 MB free").waitFor();
    await page.getByText("2 h behind; corrected").waitFor();
    const channel = page.getByRole("row").filter({ hasText: "device:press-1" });
    assert.deepEqual((await channel.getByRole("cell").allTextContents()).slice(1, 2), ["3"]);
    await page.getByText("twintable rejected list --db press-1.db").waitFor();
    await assertLooks(page, "a device");
    await page.locator("#live[data-state=live]").waitFor();
    await device.say({ agent: "0.4.1", outbox: 41220 });
    await page.getByText("41,220").waitFor();
    await page.goto(`${test.url}/devices/old-1`);
    const facts = await page.locator("dl.kv").first().locator("dd").allTextContents();
    assert.ok(facts.every((fact) => /–/.test(fact)), facts.join());
    await page.getByText("never seen").waitFor();
    await assertLooks(page, "a device that was never seen");
    visits.expected.push(/status of 404/);
    await page.goto(`${test.url}/devices/nobody`);
    await page.getByText("There is no device “nobody”.").waitFor();
    await assertLooks(page, "a device that is not there");
  },
);

browserTest("device: another token is shown once, and the old one works meanwhile", async (visits) => {
  await using test = await TestCloud.start();
  const old = await test.cloud.registry.add("press-1", "acme");
  const page = await visits.page();
  await page.goto(`${test.url}/devices/press-1`);
  await page.getByRole("button", { name: "Rotate token" }).click();
  await page.getByRole("heading", { name: "press-1 has another token" }).waitFor();
  const token = (await page.locator("#token").textContent())!;
  assert.ok(await test.cloud.registry.authenticate("press-1", token));
  assert.ok(await test.cloud.registry.authenticate("press-1", old));
  await page.getByRole("link", { name: "To the device" }).click();
  await page.getByText("Previous token").waitFor();
  assert.ok(!(await page.content()).includes(token));
});

browserTest("device: revoke wants its id, typed; then its token opens nothing", async (visits) => {
  await using test = await TestCloud.start();
  const token = await test.cloud.registry.add("press-1", "acme");
  const page = await visits.page();
  visits.expected.push(/status of 400/);
  await page.goto(`${test.url}/devices/press-1`);
  await page.getByRole("link", { name: "Revoke…" }).click();
  await assertLooks(page, "revoke");
  await page.getByLabel("Type its id, press-1").fill("press-2");
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByText("That is not its id. Nothing was revoked.").waitFor();
  assert.ok(await test.cloud.registry.authenticate("press-1", token));
  await page.getByLabel("Type its id, press-1").fill("press-1");
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("heading", { name: "Fleet" }).waitFor();
  assert.equal(await test.cloud.registry.authenticate("press-1", token), undefined);
  await page.getByText("No devices yet", { exact: true }).waitFor();
});

browserTest(
  "device: orders: an old agent is asked to verify; whoever is away gets the order when it comes; results stand under Orders",
  async (visits) => {
    await using rig = await KeptRig.start();
    const { test } = rig;
    await using _old = await test.device("press-2");
    const page = await visits.page({ javaScriptEnabled: false });
    await until("it is known as connected", async () => {
      await page.goto(`${test.url}/devices/press-2`);
      return await page.getByText("connected, heard").count() === 1;
    });
    await page.getByRole("button", { name: "Verify", exact: true }).click();
    await page.getByText("It was asked to verify; the result comes to the overview.").waitFor();
    const agent = await rig.agent("press-1");
    agent.model("Setting").upsert({ name: "disk", value: 92 });
    await agent.flush({ timeoutMs: 30_000 });
    await rig.away("press-1");
    await page.goto(`${test.url}/devices/press-1`);
    await page.getByText("Orders run when it connects.").waitFor();
    for (const name of ["Sync", "Verify"]) {
      await page.getByRole("button", { name, exact: true }).click();
      await page.getByText("The order waits for the device: it runs when it connects.").waitFor();
    }
    const rows = () => page.locator("tr[id^=order-]").allTextContents();
    assert.deepEqual((await rows()).map((text) => /(waits)(Verify|Sync)the device is not connected/.test(text)), [
      true,
      true,
    ]);
    const open = await visits.page();
    await open.goto(`${test.url}/devices/press-1?tab=orders`);
    await assertLooks(open, "orders");
    await open.locator("#live[data-state=live]").waitFor();
    await rig.agent("press-1");
    await open.getByText(/1 row compared, both sides are equal/).waitFor();
    await open.getByText("has all that the cloud has").waitFor();
    await open.getByRole("link", { name: "Overview" }).click();
    await open.getByText("Both sides are equal").waitFor();
    // By model, too.
    await open.getByRole("region", { name: "What was compared, by model" }).getByRole("row", { name: /Setting 1 0 0/ })
      .waitFor();
  },
);

browserTest(
  "device: its last verification, by model, and which keys differ; what is not told is counted",
  async (visits) => {
    await using test = await TestCloud.start();
    await test.cloud.registry.add("press-1", "acme");
    const difference = {
      model: "Setting",
      what: "differs",
      detail: "value 92 on the device, 97 in the cloud",
      mended: false,
    };
    const report = {
      state: "done",
      differences: 4,
      mended: 1,
      unsettled: 0,
      models: {
        Event: { rows: 1200, differences: 0, mended: 0 },
        Setting: { rows: 40, differences: 3, mended: 1 },
        Gone: { rows: 1, differences: 1, mended: 0 },
      },
      found: [
        { ...difference, key: { name: "<b>disk</b>" } },
        { ...difference, key: { name: "load" }, mended: true },
        { ...difference, model: "Gone", key: { id: 7 }, what: "only on the device" },
        "nonsense",
        { model: 5 },
      ],
    };
    await keepReport(test.cloud.tables.log, "press-1", {
      request: "r-1",
      report: JSON.parse(JSON.stringify(report)),
      atMs: Date.now(),
    });
    const page = await visits.page();
    await page.goto(`${test.url}/devices/press-1`);
    await page.getByText("4 keys differ").waitFor();
    const counts = await page.locator("#verified tbody tr").allInnerTexts();
    assert.deepEqual(counts.map((text) => text.split(/\s+/)), [
      ["Setting", "40", "3", "1"],
      ["Gone", "1", "1", "0"],
      ["Event", "1,200", "0", "0"],
    ]);
    const lines = page.locator(".differences li");
    assert.equal(await lines.count(), 3);
    const href = await lines.first().getByRole("link", { name: "<b>disk</b>" }).getAttribute("href");
    assert.deepEqual(JSON.parse(new URL(href!, test.url).searchParams.get("key")!), {
      deviceId: "press-1",
      name: "<b>disk</b>",
    });
    assert.equal(await lines.last().getByRole("link").count(), 0, "the cloud does not have it");
    await page.getByText("1 more key is counted only").waitFor();
    await page.getByText("twintable verify --db press-1.db").waitFor();
    await assertLooks(page, "a verification that found something");
  },
);

browserTest(
  "device: what is set aside is listed with its reason, and tried again",
  async (visits) => {
    await using rig = await KeptRig.start();
    const agent = await rig.agent("press-1");
    agent.store.db.exec(`CREATE TRIGGER no_high BEFORE INSERT ON Command WHEN NEW.value > 16
      BEGIN SELECT RAISE(ABORT, 'value too high'); END`);
    const response = await fetch(`${rig.url}/api/items`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "Command", item: { deviceId: "press-1", name: "interval", value: 20 } }),
    });
    assert.equal(response.status, 200);
    const aside = () => Number(agent.store.db.prepare("SELECT count(*) AS n FROM _sync_aside").get()!.n);
    await until("it is set aside", () => aside() === 1);
    const page = await visits.page();
    await until("the device has answered", async () => {
      await page.goto(`${rig.url}/devices/press-1?tab=aside`);
      return await page.getByText("1 item, set aside").count() === 1;
    });
    await page.getByText(/value too high/).first().waitFor();
    await page.locator(".kept-item summary").first().click();
    await assertLooks(page, "set aside");
    agent.store.db.exec("DROP TRIGGER no_high");
    await page.getByRole("button", { name: "Try again now" }).click();
    await page.getByText("Try what is set aside again").waitFor();
    await until("it is there", () => agent.model("Command").get({ name: "interval" })?.value === 20);
  },
);

browserTest(
  "device: decommission wants its id, typed; its items go, and a receipt says what went and what remains",
  async (visits) => {
    await using rig = await KeptRig.start();
    const agent = await rig.agent("press-1");
    agent.model("Setting").upsert({ name: "disk", value: 92 });
    agent.model("Event").create({ message: "hello" });
    await agent.flush({ timeoutMs: 30_000 });
    await agent.close();
    const page = await visits.page();
    visits.expected.push(/status of 400/);
    await page.goto(`${rig.url}/devices/press-1`);
    await page.getByRole("link", { name: "Decommission…" }).click();
    await assertLooks(page, "decommission");
    await page.getByLabel("Type its id, press-1").fill("press-11");
    await page.getByRole("button", { name: "Erase it and all its items" }).click();
    await page.getByText("That is not its id. Nothing was deleted.").waitFor();
    assert.ok(await rig.test.cloud.registry.identityOf("press-1"));
    await page.getByLabel("Type its id, press-1").fill("press-1");
    await page.getByRole("button", { name: "Erase it and all its items" }).click();
    await page.getByRole("heading", { name: "press-1 is being erased" }).waitFor();
    await page.getByText(/It goes over its items once more after/).waitFor();
    assert.equal(await rig.test.cloud.registry.identityOf("press-1"), undefined);
    const { items } = await (await fetch(`${rig.url}/api/items?model=Setting&device=press-1`)).json();
    assert.deepEqual(items, []);
    const deleted = page.getByRole("region", { name: "Deleted" }).or(
      page.locator("section[aria-labelledby=deleted-title]"),
    );
    assert.match(await deleted.first().textContent() ?? "", /Event1Setting1|Setting1Event1/);
    await assertLooks(page, "an erasure under way");
    const json = await (await page.request.get(`${rig.url}/devices/press-1/erasure.json`)).json();
    assert.deepEqual([json.device, json.account, json.items], ["press-1", "acme", { Event: 1, Setting: 1 }]);
  },
);
