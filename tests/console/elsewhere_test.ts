/** The console elsewhere than on one worker with an embedded table: on each DynamoDB emulator, on two workers, on a handler that polls. */
import assert from "node:assert/strict";
import { createHandler } from "../../cloud/handler.ts";
import { openEmbedded } from "../../cloud/embedded/tables.ts";
import { serveHttp } from "../../cloud/api/http_server.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { startCloud } from "../../cloud/worker.ts";
import { openAgent } from "../../agent/open.ts";
import { schema as example } from "../../examples/schema.ts";
import { compileSchema } from "../../schema.ts";
import { emulators } from "../support/dynamo.ts";
import { mosquittoMissing } from "../support/mosquitto.ts";
import { TempDir } from "../support/temp_dir.ts";
import { withTwoWorkers } from "../support/two_workers.ts";
import { newTableUrl, openMade } from "../support/world.ts";
import { browserTest, type Page, until } from "./browser.ts";
import { busyMinute, putSamples } from "./samples.ts";

const schema = compileSchema(example), minuteMs = 60_000;

const address = (url: string, name: string, more = {}) =>
  `${url}/data/Setting/item?${new URLSearchParams({ key: JSON.stringify({ deviceId: "d-1", name }), ...more })}`;

/** Writes an item by its page, as a person does. */
async function save(page: Page, url: string, name: string, value: string): Promise<void> {
  await page.goto(`${url}/data/Setting/new?device=d-1`);
  await page.getByLabel("name", { exact: true }).fill(name);
  await page.getByLabel("value", { exact: true }).fill(value);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Added.").waitFor();
}

for (const kind of await emulators()) {
  browserTest(
    `console on ${kind.name}: a saved item is listed, logged and live; fleet and metrics are there`,
    async (visits) => {
      const emulator = await kind.start();
      try {
        const tables = await openMade(newTableUrl(emulator.endpoint), schema);
        try {
          await using cloud = await startCloud({ schema, table: tables });
          const url = `http://127.0.0.1:${await cloud.serveHttp()}`;
          const password = await cloud.registry.add("d-1", "acme");
          using dir = new TempDir();
          await using agent = await openAgent({
            schema: example,
            device: "d-1",
            account: "acme",
            path: dir.file("d-1.db"),
            mqtt: `mqtt://127.0.0.1:${cloud.mqttPort}`,
            password,
          });
          await agent.sync({ timeoutMs: 60_000 });
          const live = await visits.page(), page = await visits.page();
          await live.goto(`${url}/live`);
          await live.locator('#live[data-state="live"]').waitFor();
          await save(page, url, "load", "70");
          await live.getByText("value 70").waitFor();
          await live.getByText(/on d-1 ✓ \d+ ms/).first().waitFor();
          await page.goto(address(url, "load"));
          await page.getByText("on device", { exact: true }).waitFor();
          await page.locator(".history li", { hasText: "as it is now" }).first().waitFor();
          await page.goto(`${url}/data/Setting?device=d-1`);
          await page.getByText("Query: read 1 item for 1 found").waitFor();
          await page.goto(`${url}/fleet`);
          await page.locator('tr[data-device="d-1"]').waitFor();
          // What the table has charged is known here, and drawn.
          const { read, write } = tables.units!();
          assert.ok(read > 0 && write > 0);
          await putSamples(
            tables.log,
            "w-1",
            { fromMs: Date.now() - 20 * minuteMs, minutes: 20 },
            (minute) => busyMinute(minute),
          );
          await page.goto(`${url}/metrics-view`);
          await page.getByText(/samples of \d+ worker/).waitFor();
        } finally {
          await tables.close();
        }
      } finally {
        await emulator.stop();
      }
    },
    { ignore: kind.missing !== undefined },
  );
}

browserTest("console with two workers: either shows what the other handles", async (visits) => {
  await withTwoWorkers(schema, { deviceId: "d-1", accountId: "acme" }, async ({ a, b, mqtt }) => {
    const urls = [a, b].map(({ httpPort }) => `http://127.0.0.1:${httpPort}`);
    using dir = new TempDir();
    await using agent = await openAgent({
      schema: example,
      device: "d-1",
      account: "acme",
      path: dir.file("d-1.db"),
      mqtt,
      password: "t",
    });
    await agent.sync({ timeoutMs: 60_000 });
    const pages = [await visits.page(), await visits.page()];
    for (const [at, page] of pages.entries()) {
      await page.goto(`${urls[at]}/live`);
      await page.locator('#live[data-state="live"]').waitFor();
    }
    // Whichever worker is dealt the device's batches, both pages have all.
    for (let at = 0; at < 4; at++) {
      agent.model("Setting").upsert({ name: `up-${at}`, value: at });
      for (const page of pages) await page.getByText(`up-${at}`).first().waitFor();
    }
    const editor = await visits.page();
    await save(editor, urls[0]!, "down", "5");
    for (const page of pages) await page.getByText("value 5").first().waitFor();
    // An item that the one showed as it was is put back by the other.
    await editor.goto(address(urls[1]!, "down"));
    await editor.locator(".history li", { hasText: "as it is now" }).first().waitFor();
    for (const [at, url] of urls.entries()) {
      await editor.goto(`${url}/fleet`);
      await editor.locator('tr[data-device="d-1"]', { hasText: "Online" }).waitFor();
      await putSamples(
        a.tables.log,
        `w-${at}`,
        { fromMs: Date.now() - 9 * minuteMs, minutes: 9 },
        (minute) => busyMinute(minute),
      );
    }
    // The first has read its step already, and keeps it.
    await editor.goto(`${urls[1]}/metrics-view`);
    await editor.getByText(/samples of [2-4] workers/).waitFor();
    // Both say of themselves that they read the stream: here each has a copy of its own.
    assert.equal(await editor.locator("#lease tbody").getByText("2", { exact: true }).count() > 0, true);
  });
}, { ignore: mosquittoMissing !== undefined });

browserTest("console of a handler: it says that it asks every 10 s, and does", async (visits) => {
  using dir = new TempDir();
  const tables = openEmbedded(dir.file("cloud.db"), { schema, now: Date.now });
  const registry = new Registry(tables.log, { now: Date.now });
  const handler = createHandler({ schema, tables, registry, hosts: [], now: Date.now, random: Math.random });
  const server = await serveHttp(handler, { host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${server.port}`;
  try {
    await registry.add("d-1", "acme");
    const page = await visits.page(), other = await visits.page();
    await page.goto(`${url}/data/Setting?device=d-1`);
    await page.getByText("Every 10 s").waitFor();
    assert.equal(await page.getByRole("link", { name: "Live" }).count(), 0, "nothing is heard here");
    await page.getByText("No Setting items here").waitFor();
    await save(other, url, "load", "7");
    const begun = performance.now();
    await page.getByText("Query: read 1 item for 1 found").waitFor();
    assert.ok(performance.now() - begun < 15_000);
    const asked: string[] = [];
    page.on("request", (request) => void asked.push(new URL(request.url()).pathname));
    await until("it asks once more", () => asked.length > 0);
    assert.equal(asked.includes("/console/events"), false);
    await other.goto(`${url}/metrics-view`);
    await other.getByText("No samples of this time.").waitFor();
    assert.equal(await other.getByRole("link", { name: "This worker" }).count(), 0);
    await other.goto(address(url, "load"));
    await other.locator("#history").getByText(/none names it|1 name it/).waitFor();
  } finally {
    server.destroy();
    await tables.close();
  }
});
