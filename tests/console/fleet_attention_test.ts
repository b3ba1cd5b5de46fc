/** What people tell the fleet: how long an account's devices are usually silent, and what they have looked at. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connectAsync } from "npm:mqtt@^5.16.0";
import { encodePresence } from "../../protocol.ts";
import { assertLooks, browserTest, type Page } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

const row = (page: Page, id: string) => page.locator(`tr[data-device="${id}"]`);
const problem = async (page: Page, id: string) => await row(page, id).locator("[data-col=problem]").textContent() ?? "";

/** Devices that were last seen so long ago, by account. */
async function silentFleet(): Promise<TestCloud> {
  const test = await TestCloud.start(), { registry, tables } = test.cloud;
  for (const [id, account, minutes] of [["a-1", "acme", 20], ["a-2", "acme", 3_000], ["b-1", "bolt", 20]] as const) {
    await registry.add(id, account);
    await registry.touch(id, false);
    // As it would stand there now.
    const { items } = await tables.log.scan({ limit: 1_000 });
    const seen = items.find(({ hash, sort }) => String(hash).startsWith("seen") && sort === id)!;
    await tables.log.write([{ op: "put", item: { ...seen, seen: Date.now() - minutes * 60_000 } }]);
  }
  await registry.add("c-1", "bolt");
  await registry.touch("c-1", true, { agent: "0.4.1", outbox: 0 });
  return test;
}

browserTest(
  "fleet: how long silence is usual is said by account; who is away for longer comes first, is counted and found",
  async (visits) => {
    await using test = await silentFleet();
    const page = await visits.page();
    await page.goto(`${test.url}/fleet`);
    await page.getByText("3 devices are silent, for longer than usual.").waitFor();
    assert.match(await problem(page, "a-1"), /^since 20 min, longer than the usual 15 min$/);
    await page.getByText("Views").click();
    await assertLooks(page, "fleet, its views");
    await page.getByRole("link", { name: "How long silence is usual…" }).click();
    await page.getByRole("cell", { name: "All accounts" }).waitFor();
    await page.getByLabel("Account (empty: all others)").fill("acme");
    await page.getByLabel("Usually away for up to").selectOption({ label: "24 h" });
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("row", { name: /^acme 24 h/ }).waitFor();
    await assertLooks(page, "usual silence");
    await page.goto(`${test.url}/fleet?sort=-worst`);
    await page.getByText("3 devices are silent, 2 of them for longer than usual.").waitFor();
    assert.match(await problem(page, "a-1"), /^since 20 min, usual up to 24 h$/);
    assert.match(await problem(page, "a-2"), /^since 2 d, longer than the usual 24 h$/);
    assert.deepEqual(await page.locator("tbody a.dev").allTextContents(), ["a-2", "b-1", "a-1", "c-1"]);
    await assertLooks(page, "fleet, silent devices");
    await page.getByRole("link", { name: "+ Silent for longer than usual" }).click();
    await page.getByText("2 of 4 devices").waitFor();
    await page.goto(`${test.url}/fleet/silence`);
    await page.getByRole("button", { name: /^As all others ?: acme$/ }).click();
    await page.getByRole("cell", { name: "All accounts" }).waitFor();
    visits.expected.push(/status of 400/);
    await page.getByLabel("Account (empty: all others)").fill("no id");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("“no id” is not an id of an account.").waitFor();
  },
);

browserTest(
  "fleet: rejected changes are trouble until somebody has looked at them; those that come later are again",
  async (visits) => {
    await using test = await TestCloud.start();
    await using one = await test.device("d-1");
    const page = await visits.page();
    await page.goto(`${test.url}/fleet`);
    await page.locator("#live[data-state=live]").waitFor();
    await one.say({ agent: "0.4.1", outbox: 0, rejected: 214 });
    await row(page, "d-1").getByText("Trouble").waitFor();
    await page.goto(`${test.url}/fleet?sort=device`);
    assert.equal(await problem(page, "d-1"), "214 of its changes were rejected");
    await page.getByLabel("Select d-1").check();
    await page.getByRole("button", { name: "Looked at" }).click();
    await page.waitForURL(/sort=device/);
    await row(page, "d-1").getByText("Online").waitFor();
    assert.equal(await row(page, "d-1").locator("[data-col=rejected]").textContent(), "214", "they are still there");
    await page.locator("#live[data-state=live]").waitFor();
    await one.say({ agent: "0.4.1", outbox: 0, rejected: 217 });
    await row(page, "d-1").getByText("3 of its changes were rejected since it was looked at").waitFor();
    // Without JavaScript, too.
    const plain = await visits.page({ javaScriptEnabled: false });
    await plain.goto(`${test.url}/fleet`);
    await plain.getByLabel("Select d-1").check();
    await plain.getByRole("button", { name: "Looked at" }).click();
    await row(plain, "d-1").getByText("Online").waitFor();
  },
);

browserTest("fleet: a device whose login is refused is in trouble, until it is let in", async (visits) => {
  await using test = await TestCloud.start();
  await test.cloud.registry.add("d-1", "acme");
  const page = await visits.page();
  await page.goto(`${test.url}/fleet`);
  await page.locator("#live[data-state=live]").waitFor();
  await row(page, "d-1").getByText("Silent").waitFor();
  const login = (username: string, password: string) =>
    connectAsync(`mqtt://127.0.0.1:${test.cloud.mqttPort}`, {
      ...{ clientId: username, username, password, protocolVersion: 4, reconnectPeriod: 0 },
    });
  await assert.rejects(login("d-1", "wrong"));
  await assert.rejects(login("nobody", "wrong"));
  await row(page, "d-1").getByText("Trouble").waitFor();
  assert.equal(await problem(page, "d-1"), "its login is refused");
  assert.equal(await row(page, "nobody").count(), 0);
  await page.goto(`${test.url}/fleet?q=state:trouble`);
  await page.getByText("1 device needs you.").waitFor();
  const client = await login("d-1", await test.cloud.registry.add("d-1", "acme", { replace: true }));
  await client.publishAsync("tt/d/d-1/presence", Buffer.from(encodePresence(true)), { qos: 1 });
  await page.goto(`${test.url}/fleet`);
  await row(page, "d-1").getByText("Online").waitFor();
  // A stranger's guesses do not trouble a device that is there.
  await assert.rejects(login("d-1", "wrong"));
  await page.reload();
  await row(page, "d-1").getByText("Online").waitFor();
  await client.endAsync();
});
