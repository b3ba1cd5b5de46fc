/** A device's last changes, in a browser: what the log of its channels says, with values that went by; telemetry is in no log. */
import assert from "node:assert/strict";
import { entryItem } from "../../cloud/sync/log_items.ts";
import { assertLooks, browserTest, until } from "./browser.ts";
import { KeptRig } from "./kept_rig.ts";

browserTest(
  "device: its last 50 changes, of each channel, with the values that went by; older ones by Older; who removed is not made up",
  async (visits) => {
    await using rig = await KeptRig.start();
    const agent = await rig.agent("press-1");
    const put = (model: string, item: object) =>
      fetch(`${rig.url}/api/items`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model, item }),
      }).then((response) => assert.equal(response.status, 200));
    // Nobody watches yet.
    await put("Setting", { deviceId: "press-1", name: "load", value: 1 });
    await until("it is there", () => agent.model("Setting").get({ name: "load" }));
    const page = await visits.page();
    await page.goto(`${rig.url}/devices/press-1`);
    await page.getByRole("link", { name: "Changes", exact: true }).click();
    await page.locator('#live[data-state="live"]').waitFor();
    const line = (text: string | RegExp) => page.locator(".changes li", { hasText: text });
    await line("Setting load").filter({ hasText: "values not kept" }).waitFor();
    assert.match(await line("Setting load").innerText(), /written by cloud/);
    agent.model("Setting").upsert({ name: "disk", value: 92 });
    await line(/written by press-1.*Setting disk.*value 92/s).waitFor();
    await put("Setting", { deviceId: "press-1", name: "load", value: 2 });
    await line(/written by cloud.*Setting load.*value 2/s).waitFor();
    await rig.test.cloud.tables.data.write([{ op: "delete", key: ["device#press-1", "setting#disk"] }]);
    await line(/removed by the cloud or a device.*setting#disk/s).waitFor();
    await line(/written by press-1.*Setting setting#disk.*not there now/s).waitFor();
    await page.getByText(/Only in the table: .*Event/).waitFor();
    await assertLooks(page, "a device's changes");
    await put("Site", { accountId: "acme", name: "north" });
    await page.getByRole("link", { name: "account:acme" }).click();
    await line("Site north").waitFor();
    await line("Site north").getByRole("link").click();
    await page.getByRole("heading", { name: /Site north/ }).waitFor();

    // A long log, of a device that is away.
    await rig.test.cloud.registry.add("old-1", "acme");
    const entries = Array.from({ length: 120 }, (_, at) =>
      entryItem("device:old-1", {
        seq: at + 1,
        timeMs: Date.now() - 1_000 * (120 - at),
        keys: [{ key: ["device#old-1", `setting#s-${at}`], bytes: 100 }],
      }, Date.now() + 86_400_000));
    await rig.test.cloud.tables.log.write(entries.map((item) => ({ op: "put", item })));
    const plain = await visits.page({ javaScriptEnabled: false });
    await plain.goto(`${rig.url}/devices/old-1?tab=changes`);
    for (const [count, last] of [[50, "70"], [50, "20"], [20, "0"]] as const) {
      await plain.locator(".changes li").last().getByText(`setting#s-${last}`, { exact: true }).waitFor();
      assert.equal(await plain.locator(".changes li").count(), count);
      if (last !== "0") await plain.getByRole("link", { name: "Older" }).click();
    }
    await plain.getByText("The log has no older ones: it keeps 7 days.").waitFor();
    await plain.getByRole("link", { name: "From the newest" }).click();
    await plain.getByText("setting#s-119").waitFor();
    visits.expected.push(/status of 400/);
    await plain.goto(`${rig.url}/devices/old-1?tab=changes&back=nonsense`);
    await plain.getByRole("heading", { name: "old-1" }).waitFor();
  },
);
