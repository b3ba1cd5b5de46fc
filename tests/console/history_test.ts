/** An item's history, in a browser: what the log has, values where they went by, never one that did not; put back, look further back. */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import { schema } from "../../examples/schema.ts";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

const put = async (test: TestCloud, name: string, value: number, deviceId = "d-1") => {
  const response = await fetch(`${test.url}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "Setting", item: { deviceId, name, value } }),
  });
  assert.equal(response.status, 200, await response.text());
};

const address = (test: TestCloud, name: string, model = "Setting") =>
  `${test.url}/data/${model}/item?${new URLSearchParams({ key: JSON.stringify({ deviceId: "d-1", name }) })}`;

const lines = async (page: Page) => (await page.locator(".history li").allTextContents()).map((text) => text.trim());

/** Waits until the log has so many entries of the device. */
const logged = (test: TestCloud, head: number) =>
  until("it is in the log", async () => {
    const { versions } = await (await fetch(
      `${test.url}/api/items/history?${new URLSearchParams({
        model: "Setting",
        key: JSON.stringify({ deviceId: "d-1", name: "load" }),
      })}`,
    )).json();
    return versions.length >= head;
  });

browserTest("history: what nobody saw has no values; what went by has, and is put back", async (visits) => {
  await using test = await TestCloud.start();
  await test.cloud.registry.add("d-1", "acme");
  await put(test, "load", 41);
  await logged(test, 1);
  const page = await visits.page();
  await page.goto(address(test, "load"));
  await page.locator('#live[data-state="live"]').waitFor();
  assert.match((await lines(page))[0]!, /1.*written by cloud.*values not kept$/s);
  assert.equal((await page.locator("#history").textContent())!.includes("41"), false, "no value is made up");
  await page.getByText(/Read 1 entry of device:d-1's log, 1 unit \(RCU\)/).waitFor();

  // From now on the feed is watched.
  await put(test, "load", 52);
  await page.locator(".history li", { hasText: "52" }).first().waitFor();
  await put(test, "load", 63);
  await page.locator(".history li", { hasText: "52 → 63" }).waitFor();
  const now = await lines(page);
  assert.equal(now.length, 3);
  assert.match(now[0]!, /3.*value 52 → 63.*as it is now/s);
  assert.match(now[1]!, /2.*value 52.*Put this back/s);
  assert.match(now[2]!, /1.*values not kept$/s);
  await assertLooks(page, "history");

  await page.locator(".history li", { hasText: "Put this back" }).getByRole("button").click();
  await page.getByText("Put back.").waitFor();
  const { items } = await (await fetch(`${test.url}/api/items?model=Setting&device=d-1`)).json();
  assert.equal(items[0].value, 52);
});

browserTest(
  "history: a slider over the versions that went by: then and now; what is looked at stays; put back, without JavaScript too",
  async (visits) => {
    await using test = await TestCloud.start();
    await test.cloud.registry.add("d-1", "acme");
    const page = await visits.page(), plain = await visits.page({ javaScriptEnabled: false });
    await page.goto(`${test.url}/live`);
    await page.locator('#live[data-state="live"]').waitFor();
    for (const value of [10, 20, 30]) {
      await put(test, "load", value);
      await page.getByText(new RegExp(`(value|→) ${value}$`)).first().waitFor();
    }
    await page.goto(address(test, "load"));
    await page.locator('#live[data-state="live"]').waitFor();
    const slider = page.getByRole("slider", { name: "As it was" });
    await page.getByText("Version 2 of 3").waitFor();
    const sides = (one: Page) => one.locator("#as-of tr", { hasText: "value" }).getByRole("cell").allInnerTexts();
    assert.deepEqual(await sides(page), ["≠20", "30"]);
    await slider.focus();
    await page.keyboard.press("ArrowLeft");
    await page.getByText("Version 1 of 3").waitFor();
    assert.deepEqual(await sides(page), ["≠10", "30"]);
    assert.ok(await page.evaluate("document.activeElement.id === 'version'"), "the focus stays on the slider");
    await assertLooks(page, "an item as it was");
    await put(test, "load", 40);
    await page.locator(".history li", { hasText: "30 → 40" }).waitFor();
    await page.getByText("Version 1 of 3").waitFor();
    await page.keyboard.press("End");
    await page.getByText("Version 3 of 4").waitFor();
    assert.deepEqual(await sides(page), ["≠30", "40"]);

    await plain.goto(`${address(test, "load")}&version=4`);
    await plain.locator("#as-of").getByText("as it is now").waitFor();
    await plain.goto(`${address(test, "load")}&version=1`);
    assert.deepEqual(await sides(plain), ["≠10", "40"]);
    await plain.locator("#as-of").getByRole("button", { name: "Put this back" }).click();
    await plain.getByText("Put back.").waitFor();
    const { items } = await (await fetch(`${test.url}/api/items?model=Setting&device=d-1`)).json();
    assert.equal(items[0].value, 10);
  },
);

browserTest("history: somebody was faster, so that nothing is put back", async (visits) => {
  await using test = await TestCloud.start();
  await test.cloud.registry.add("d-1", "acme");
  const watcher = await visits.page(), page = await visits.page({ javaScriptEnabled: false });
  visits.expected.push(/status of 409/);
  await watcher.goto(`${test.url}/live`);
  await watcher.locator('#live[data-state="live"]').waitFor();
  await put(test, "load", 2);
  await watcher.getByText("value 2").waitFor();
  await put(test, "load", 3);
  await watcher.getByText("value 2 → 3").waitFor();
  await page.goto(address(test, "load"));
  const back = page.locator(".history li", { hasText: "Put this back" });
  await back.waitFor();
  // Without scripts the page stays as it was.
  await put(test, "load", 4);
  await back.getByRole("button").click();
  await page.getByText("It was changed since: nothing was put back.").waitFor();
  const { items } = await (await fetch(`${test.url}/api/items?model=Setting&device=d-1`)).json();
  assert.equal(items[0].value, 4);
});

browserTest("history: a device's own versions are known by their stamps; telemetry has none", async (visits) => {
  await using test = await TestCloud.start();
  const password = await test.cloud.registry.add("d-1", "acme");
  await using agent = await openAgent({
    schema,
    device: "d-1",
    account: "acme",
    path: test.dir.file("d-1.db"),
    mqtt: `mqtt://127.0.0.1:${test.cloud.mqttPort}`,
    password,
  });
  await agent.sync({ timeoutMs: 30_000 });
  const watcher = await visits.page(), page = await visits.page();
  await watcher.goto(`${test.url}/live`);
  await watcher.locator('#live[data-state="live"]').waitFor();
  agent.model("Setting").upsert({ name: "load", value: 7 });
  await watcher.getByText("load").first().waitFor();
  await logged(test, 1);
  await page.goto(address(test, "load"));
  await page.locator(".history li", { hasText: "written by d-1" }).first().waitFor();
  assert.match((await lines(page))[0]!, /written by d-1.*value 7.*as it is now/s);

  agent.model("Event").create({ message: "hello" });
  const event = await until("the event is in the table", async () => {
    const { items } = await (await fetch(`${test.url}/api/items?model=Event&device=d-1`)).json();
    return items[0];
  });
  const key = { deviceId: "d-1", ...("id" in event ? { id: event.id } : {}) };
  await page.goto(`${test.url}/data/Event/item?${new URLSearchParams({ key: JSON.stringify(key) })}`);
  await page.getByText("There is no history").waitFor();
});

browserTest("history: looks further back on demand, and says what that costs", async (visits) => {
  await using test = await TestCloud.start();
  await test.cloud.registry.add("d-1", "acme");
  await put(test, "load", 1);
  await logged(test, 1);
  // One entry each: written one after the other, each waited for.
  for (let at = 0; at < 30; at++) {
    await put(test, `other-${at}`, at);
    await until("it is logged", async () =>
      (await test.cloud.tables.log.query({
        index: "primary",
        hash: "log#device:d-1",
        limit: 100,
      })).items.length >= at + 2);
  }
  const page = await visits.page(), plain = await visits.page({ javaScriptEnabled: false });
  await page.goto(address(test, "load"));
  await page.getByText(/Read 25 entries of device:d-1's log, \d+ units? \(RCU\): none names it/).waitFor();
  await page.getByRole("link", { name: "Look further back (up to 1 MB, 256 RCU)" }).click();
  await page.locator(".history li").waitFor();
  // What was pressed is gone: the focus is where it stood.
  assert.equal(await page.evaluate("document.activeElement.id"), "history");
  await page.getByText(/Read 6 entries .* The log has no older ones/).waitFor();
  await plain.goto(address(test, "load"));
  await plain.getByRole("link", { name: /Look further back/ }).click();
  await plain.locator(".history li").waitFor();
  await plain.getByRole("link", { name: "From the newest" }).click();
  await plain.getByText("none names it").waitFor();
});
