/** A device's page, in a browser: what it says of itself, its channels, its token, its end. */
import assert from "node:assert/strict";
import { assertLooks, browserTest, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

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
  await page.getByText("Token before it").waitFor();
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

browserTest("device: verify is asked for; of one that is not connected it is said", async (visits) => {
  await using test = await TestCloud.start();
  await test.cloud.registry.add("press-1", "acme");
  await using _device = await test.device("press-2");
  const page = await visits.page({ javaScriptEnabled: false });
  visits.expected.push(/status of 409/);
  await page.goto(`${test.url}/devices/press-1`);
  await page.getByRole("button", { name: "Verify", exact: true }).click();
  await page.getByText("It is not connected: ask again when it is.").waitFor();
  await until("it is known as connected", async () => {
    await page.goto(`${test.url}/devices/press-2`);
    return await page.getByText("connected, heard").count() === 1;
  });
  await page.getByRole("button", { name: "Verify", exact: true }).click();
  await page.getByText("It was asked to verify; its report comes here.").waitFor();
});
