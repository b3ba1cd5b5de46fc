/** The Data page in a browser: an index of the schema is chosen and asked; items are selected, copied, exported, deleted and put back. */
import assert from "node:assert/strict";
import type { OneTableSchema } from "../../schema.ts";
import { assertLooks, browserTest, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

const schema = {
  format: "onetable:1.1.0",
  version: "0.1.0",
  indexes: {
    primary: { hash: "pk", sort: "sk" },
    byGrade: { hash: "grade", sort: "place", project: "all" },
    bySize: { hash: "size", project: "all" },
  },
  models: {
    Part: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "part#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      grade: { type: "string" },
      place: { type: "string", value: "${hall}#${shelf}" },
      hall: { type: "string" },
      shelf: { type: "string" },
      size: { type: "number" },
      raw: { type: "binary" },
      when: { type: "date" },
      a: { type: "string" },
      b: { type: "string" },
      updated: { type: "date" },
    },
  },
  params: { isoDates: true, timestamps: true, nulls: true, typeField: "_type" },
  process: { Part: { sync: "both", conflict: "newest" } },
} as unknown as OneTableSchema;

async function start(): Promise<TestCloud> {
  const test = await TestCloud.start({ schema });
  await test.cloud.registry.add("d-1", "acme");
  await test.cloud.registry.add("d-2", "acme");
  const parts = [
    { deviceId: "d-1", name: "bolt", grade: "low", hall: "north", shelf: "a1", size: 3, raw: "AP8=", a: "it's" },
    { deviceId: "d-1", name: "nut", grade: "high", hall: "north", shelf: "b2", size: 4 },
    { deviceId: "d-2", name: "gear", grade: "high", hall: "north", shelf: "a7", size: 9 },
    { deviceId: "d-2", name: "cog", grade: "high", hall: "south", shelf: "a1", size: 1 },
    { deviceId: "d-2", name: "rod", hall: "south", shelf: "a1" },
  ];
  const response = await fetch(`${test.url}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "Part", items: parts }),
  });
  assert.equal((await response.json()).failed, 0);
  return test;
}

const countOf = async (test: TestCloud, device: string) =>
  (await (await fetch(`${test.url}/api/items?model=Part&device=${device}`)).json()).items.length as number;

browserTest(
  "data: an index of the schema is chosen and asked by its fields; its order is turned; the address has all of it",
  async (visits) => {
    await using test = await start();
    const page = await visits.page();
    const names = () => page.locator("a[data-open]").allTextContents();
    await page.goto(`${test.url}/data/Part?device=d-1`);
    await page.getByText("Query: read 2 items for 2 found, 1 unit (RCU)").waitFor();
    await page.getByLabel("name begins").fill("b");
    await page.keyboard.press("Enter");
    await page.getByText("Query: read 1 item for 1 found").waitFor();
    // A number's index can't be asked by text: it is not offered.
    assert.deepEqual(await page.getByLabel("Index").locator("option").allTextContents(), ["primary", "byGrade"]);
    await page.getByLabel("Index").selectOption("byGrade");
    await page.getByText("A query of the index byGrade needs grade.").waitFor();
    await assertLooks(page, "an index whose value is missing");
    await page.getByLabel("Device", { exact: true }).fill("");
    await page.getByRole("textbox", { name: "grade" }).fill("high");
    await page.getByRole("textbox", { name: "hall" }).fill("north");
    await page.keyboard.press("Enter");
    await page.getByText("Query of byGrade: read 2 items for 2 found").waitFor();
    assert.deepEqual(await names(), ["gear", "nut"]);
    await page.getByRole("link", { name: "hall" }).click();
    await until("turned", async () => (await names())[0] === "nut");
    assert.equal(await page.locator("th[aria-sort]").getAttribute("aria-sort"), "descending");
    await page.getByLabel("shelf begins").fill("a");
    await page.keyboard.press("Enter");
    await page.getByText("read 1 item for 1 found").waitFor();
    await page.reload();
    assert.deepEqual(await names(), ["gear"]);
    await assertLooks(page, "an index");
    // Without JavaScript the same by Show; a scan is narrowed by what is typed, too.
    const plain = await visits.page({ javaScriptEnabled: false });
    await plain.goto(`${test.url}/data/Part?index=byGrade&k.hall=south&scan=1`);
    await plain.getByText(/^Scan: read 5 items for 2 found/).waitFor();
    visits.expected.push(/status of 400/);
    await page.goto(`${test.url}/data/Part?index=nope`);
    await page.getByText("Part is in no index “nope”").waitFor();
    // What a device's page links to keeps the device.
    await page.goto(`${test.url}/data?device=d-2`);
    await page.getByText("read 3 items for 3 found").waitFor();
  },
);

browserTest("data: columns are chosen, and reset", async (visits) => {
  await using test = await start();
  const page = await visits.page();
  const heads = async () => (await page.locator("#data thead th").allTextContents()).map((text) => text.trim());
  await page.goto(`${test.url}/data/Part?device=d-1`);
  assert.deepEqual((await heads()).slice(3, 8), ["grade", "hall", "shelf", "size", "raw"]);
  await page.getByText("Columns").click();
  await page.getByLabel("raw").uncheck();
  await page.getByLabel("b", { exact: true }).check();
  await assertLooks(page, "columns");
  await page.locator(".menu[open]").getByRole("button", { name: "Show" }).click();
  await page.getByRole("columnheader", { name: "b", exact: true }).waitFor();
  assert.ok(!(await heads()).includes("raw"));
  await page.getByText("Columns").click();
  await page.getByRole("link", { name: "Reset" }).click();
  await page.getByRole("columnheader", { name: "raw" }).waitFor();
});

browserTest(
  "data: items are selected by keys, stay selected, are copied and exported; deleted as they were seen, and put back",
  async (visits) => {
    await using test = await start();
    const page = await visits.page();
    await page.goto(`${test.url}/data/Part?device=d-2`);
    await page.locator('#live[data-state="live"]').waitFor();
    for (const key of ["j", "x", "j", "x"]) await page.keyboard.press(key);
    await page.getByText("2 selected").waitFor();
    await assertLooks(page, "items that are selected");
    // The list is renewed meanwhile.
    const change = (name: string, size: number) =>
      fetch(`${test.url}/api/items`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "Part", item: { deviceId: "d-2", name, size } }),
      });
    await change("rod", 77);
    await page.getByRole("cell", { name: "77" }).waitFor();
    await page.getByText("2 selected").waitFor();
    assert.equal(await page.locator("input[name=item]:checked").count(), 2);
    await page.getByRole("button", { name: "Copy as…" }).click();
    await page.getByRole("heading", { name: "2 items of Part" }).waitFor();
    assert.match(await page.locator("#as-curl").textContent() ?? "", /"items":\[\{.*"name":"cog".*"name":"gear"/);
    await page.getByRole("radio", { name: "JSON" }).check();
    assert.equal((await page.locator("#as-json").innerText()).trim().split("\n").length, 2);
    await assertLooks(page, "items as lines");
    await page.goBack();
    await page.getByText("2 selected").waitFor();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Export JSONL" }).click(),
    ]);
    const lines = (await Deno.readTextFile(await download.path())).trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.map(({ name }) => name), ["cog", "gear"]);

    await page.getByLabel("Select all rows of this page").check();
    await page.getByText("3 selected").waitFor();
    await page.getByRole("button", { name: "Delete…" }).click();
    await page.getByRole("heading", { name: "Delete 3 items?" }).waitFor();
    await assertLooks(page, "deleting");
    await change("gear", 10);
    await page.getByRole("button", { name: "Delete 3 items" }).click();
    await page.getByRole("heading", { name: "Deleted 2 items" }).waitFor();
    await page.getByText("it was changed meanwhile").waitFor();
    await assertLooks(page, "deleted");
    assert.equal(await countOf(test, "d-2"), 1);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("heading", { name: "Put back 2 items" }).waitFor();
    assert.equal(await countOf(test, "d-2"), 3);
  },
);

browserTest("data: without JavaScript items are selected and deleted all the same", async (visits) => {
  await using test = await start();
  const page = await visits.page({ javaScriptEnabled: false });
  await page.goto(`${test.url}/data/Part?device=d-1`);
  await page.locator("input[name=item]").first().check();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete 1 item" }).click();
  await page.getByRole("heading", { name: "Deleted 1 item" }).waitFor();
  assert.equal(await countOf(test, "d-1"), 1);
});
