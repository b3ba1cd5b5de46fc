/** An item as lines to paste, in a browser: SQL, curl and JSON do in a shell what they say; the AWS CLI's has the complete item. */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import type { OneTableSchema } from "../../schema.ts";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { toolsMissing } from "../support/tools.ts";
import { TestCloud } from "./cloud.ts";

const fields = {
  pk: { type: "string", value: "device#${deviceId}" },
  deviceId: { type: "string", required: true },
  name: { type: "string", required: true },
  note: { type: "string" },
  raw: { type: "binary" },
  meta: { type: "object" },
  when: { type: "date" },
  amount: { type: "number" },
  updated: { type: "date" },
};
const schema = {
  format: "onetable:1.1.0",
  version: "0.1.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Thing: { ...fields, sk: { type: "string", value: "thing#${name}" } },
    Order: { ...fields, sk: { type: "string", value: "order#${name}" } },
  },
  // Dates are numbers: a column of a STRICT table takes no text then.
  params: { isoDates: false, timestamps: true, nulls: true, typeField: "_type" },
  process: { Thing: { sync: "both", conflict: "newest" }, Order: { sync: "down" } },
} as unknown as OneTableSchema;

async function inShell(line: string, cwd: string): Promise<void> {
  const { code, stderr } = await new Deno.Command("sh", { args: ["-c", line], cwd }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

const put = async (test: TestCloud, model: string, item: object) => {
  const response = await fetch(`${test.url}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model, item }),
  });
  assert.equal(response.status, 200, await response.text());
};

const open = async (page: Page, test: TestCloud, model: string) => {
  const key = JSON.stringify({ deviceId: "d-1", name: "it" });
  await page.goto(`${test.url}/data/${model}/item?${new URLSearchParams({ key })}`);
};

browserTest(
  "item: SQL, curl and JSON are lines that do what they say; one language is shown at a time",
  async (visits) => {
    await using test = await TestCloud.start({ schema });
    const password = await test.cloud.registry.add("d-1", "acme");
    await using agent = await openAgent({
      schema,
      device: "d-1",
      account: "acme",
      path: test.dir.file("d-1.db"),
      mqtt: `mqtt://127.0.0.1:${test.cloud.mqttPort}`,
      password,
    });
    const item = {
      deviceId: "d-1",
      name: "it",
      note: `"quoted" $HOME 'and' <script>`,
      raw: "AP+A",
      meta: { deep: [1, null] },
      when: "2026-02-03T04:05:06.007Z",
      amount: "12345678901234567890123456789012345678",
    };
    await put(test, "Thing", item);
    await until("it is on the device", () => agent.store.db.prepare("SELECT 1 FROM Thing").get());
    const before = agent.store.db.prepare("SELECT * FROM Thing").get()!;
    const page = await visits.page({ javaScriptEnabled: false });
    await open(page, test, "Thing");
    await page.getByRole("radio", { name: "SQL" }).check();
    assert.equal(await page.locator("#as-curl").isVisible(), false);
    const sql = await page.locator("#as-sql").innerText();
    agent.store.db.exec("DELETE FROM Thing");
    await agent.flush({ timeoutMs: 30_000 });
    await inShell(sql, test.dir.path);
    await agent.flush({ timeoutMs: 30_000 });
    const values = (row: Record<string, unknown>) => ["note", "raw", "meta", "when", "amount"].map((name) => row[name]);
    assert.deepEqual(values(agent.store.db.prepare("SELECT * FROM Thing").get()!), values(before));
    // Over what is there it is the same item.
    await inShell(sql, test.dir.path);
    const plain = async () => (await (await fetch(`${test.url}/api/items?model=Thing&device=d-1`)).json()).items;
    const { updated: _1, created: _2, ...inCloud } = (await plain())[0];
    assert.deepEqual(inCloud, item);

    await open(page, test, "Thing");
    const curl = await page.locator("#as-curl").innerText();
    await put(test, "Thing", { ...item, note: "another" });
    await inShell(`${curl} --silent --fail`, test.dir.path);
    const { updated: _3, created: _4, ...again } = (await plain())[0];
    assert.deepEqual(again, item);

    await page.getByRole("radio", { name: "AWS CLI" }).check();
    const aws = await page.locator("#as-aws").innerText();
    assert.match(aws, /^aws dynamodb put-item --table-name TABLE --item /);
    const stored = await new Deno.Command("sh", { args: ["-c", `printf %s ${aws.split(" --item ")[1]}`] }).output();
    const { pk, sk, amount, note } = JSON.parse(new TextDecoder().decode(stored.stdout));
    assert.deepEqual([pk, sk, amount, note], [
      { S: "device#d-1" },
      { S: "thing#it" },
      { N: item.amount },
      { S: item.note },
    ]);
    await page.getByRole("radio", { name: "JSON" }).check();
    assert.equal(JSON.parse(await page.locator("#as-json").innerText()).amount, item.amount);
    const scripted = await visits.page();
    await open(scripted, test, "Thing");
    await scripted.getByRole("radio", { name: "SQL" }).check();
    await assertLooks(scripted, "an item as lines");

    // A word of 128 KB is no line that a shell takes.
    await put(test, "Thing", { ...item, note: "é".repeat(66_000) });
    await open(page, test, "Thing");
    assert.equal(await page.getByRole("radio").count(), 1);
    await page.getByText("As a command it is too long").waitFor();
    // What a device may not write has no SQL.
    await put(test, "Order", { deviceId: "d-1", name: "it" });
    await open(page, test, "Order");
    assert.equal(await page.getByRole("radio", { name: "SQL" }).count(), 0);
  },
  { ignore: toolsMissing("sqlite3", "curl") },
);
