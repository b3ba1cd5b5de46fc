/**
 * Live: changes as they come, paused and counted, gaps said, filtered; nothing of a text is run.
 */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import { schema } from "../../examples/schema.ts";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

const put = (cloud: TestCloud, name: string, value: number, deviceId = "d-1") =>
  fetch(`${cloud.url}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "Setting", item: { deviceId, name, value } }),
  }).then(async (response) => assert.equal(response.status, 200, await response.text()));

const rows = (page: Page) => page.locator("#changes tbody tr").allTextContents();

browserTest(
  "live: a change of the cloud and one of a device come as they happen, with how far they got",
  async (visits) => {
    await using cloud = await TestCloud.start();
    const password = await cloud.cloud.registry.add("d-1", "acme");
    const { dir } = cloud;
    await using agent = await openAgent({
      schema,
      device: "d-1",
      account: "acme",
      path: dir.file("d-1.db"),
      mqtt: `mqtt://127.0.0.1:${cloud.cloud.mqttPort}`,
      password,
    });
    await agent.sync({ timeoutMs: 30_000 });
    const page = await visits.page();
    await page.goto(`${cloud.url}/live`);
    await page.getByText("Quiet so far").waitFor();
    await page.locator('#live[data-state="live"]').waitFor();
    await put(cloud, "load", 70);
    await page.getByText(/Setting .*load/).waitFor();
    await page.getByText(/on d-1 ✓ \d+ ms/).first().waitFor();
    agent.model("Setting").upsert({ name: "disk", value: 5 });
    // Of an item that went by before, what changed; a device leads to its page.
    await put(cloud, "load", 71);
    await page.getByText("value 70 → 71").waitFor();
    await put(cloud, "load", 71);
    await page.getByText("the same values again").waitFor();
    assert.equal(
      await page.getByRole("link", { name: "d-1", exact: true }).first().getAttribute("href"),
      "/devices/d-1",
    );
    const link = page.getByRole("link", { name: /disk/ });
    await link.waitFor();
    assert.match((await link.getAttribute("href"))!, /^\/data\/Setting\/item\?key=/);
    // Telemetry would drown the rest, and it is said.
    agent.model("Event").create({ message: "hello" });
    await put(cloud, "<script>document.title='ran'</script>", 1);
    await page.getByText("<script>document.title").waitFor();
    assert.equal((await rows(page)).some((text) => text.includes("hello")), false);
    assert.match((await page.locator("p.muted").first().textContent())!, /Telemetry \(.*Event.*\) is left out/);
    assert.equal(await page.title(), "Live · Twintable");
    await assertLooks(page, "Live");
    await page.getByRole("link", { name: "Show it" }).click();
    await page.locator('#live[data-state="live"]').waitFor();
    agent.model("Event").create({ message: "hello again" });
    await page.getByText("hello again").waitFor();
  },
);

browserTest("live: paused, rows are counted and shown later; under the pointer they gather", async (visits) => {
  await using cloud = await TestCloud.start();
  const page = await visits.page();
  await page.goto(`${cloud.url}/live`);
  await page.locator('#live[data-state="live"]').waitFor();
  await put(cloud, "first", 1);
  await page.getByText(/first/).waitFor();
  await page.keyboard.press("p");
  await page.getByRole("button", { name: "Resume" }).waitFor();
  for (const name of ["a", "b", "c"]) await put(cloud, name, 1);
  await page.getByRole("button", { name: "Paused: 3 new" }).waitFor();
  assert.equal((await rows(page)).length, 1);
  await page.getByRole("button", { name: "Resume" }).click();
  await until("the rows are there", async () => (await rows(page)).length === 4);
  assert.match((await rows(page))[0]!, /Setting c · d-1value 1/);

  await page.locator("#changes").hover();
  await put(cloud, "d", 1);
  await page.getByRole("button", { name: "1 new, show" }).click();
  await until("it is shown", async () => (await rows(page)).length === 5);

  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export JSONL" }).click();
  const path = await (await download).path();
  const lines = (await Deno.readTextFile(path)).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ item }) => item.name), ["first", "a", "b", "c", "d"]);
});

browserTest("live: a flood shows the gap, and five hundred rows at most", async (visits) => {
  await using cloud = await TestCloud.start();
  const page = await visits.page();
  await page.goto(`${cloud.url}/live`);
  await page.locator('#live[data-state="live"]').waitFor();
  await page.mouse.move(5, 5);
  const items = (n: number) =>
    Array.from({ length: 1000 }, (_, i) => ({ deviceId: "d-1", name: `f${n}-${i}`, value: i }));
  for (let n = 0; n < 3; n++) {
    const response = await fetch(`${cloud.url}/api/items`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "Setting", items: items(n) }),
    });
    assert.equal(response.status, 200, await response.text());
  }
  await page.getByText(/\d+ more, too many to list/).first().waitFor();
  assert.ok((await rows(page)).length <= 500);
});

browserTest("live: words choose, an unknown one is refused by name, the address says it all", async (visits) => {
  await using cloud = await TestCloud.start();
  const page = await visits.page();
  await page.goto(`${cloud.url}/live?q=model:Setting+device:d-2`);
  visits.expected.push(/status of 400/);
  await page.locator('#live[data-state="live"]').waitFor();
  await put(cloud, "not", 1, "d-1");
  // What the cloud writes is by the cloud, whatever device it is for.
  await page.goto(`${cloud.url}/live?q=by:cloud`);
  await page.locator('#live[data-state="live"]').waitFor();
  await put(cloud, "shown", 1, "d-1");
  await page.getByText(/shown/).waitFor();
  await page.goto(`${cloud.url}/live?q=colour:red`);
  await page.getByRole("alert").getByText(/"colour:red" is not a condition/).waitFor();
  await page.goto(`${cloud.url}/live?q=model:Nope`);
  await page.getByRole("alert").getByText(/no model "Nope"/).waitFor();
});
