/** The Data page and an item's, in a browser: lists, filters, typed editors without loss, clashes, undo. */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import type { OneTableSchema } from "../../schema.ts";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

const schema = {
  format: "onetable:1.1.0",
  version: "0.1.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Thing: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "thing#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      note: { type: "string", nulls: true },
      size: { type: "number" },
      grade: { type: "string", enum: ["low", "high"] },
      tags: { type: "set" },
      meta: { type: "object" },
      raw: { type: "binary" },
      when: { type: "date" },
      on: { type: "boolean" },
      updated: { type: "date" },
    },
  },
  params: { isoDates: true, timestamps: true, nulls: true, typeField: "_type" },
  process: { Thing: { sync: "both", conflict: "newest" } },
} as unknown as OneTableSchema;

const digits = "12345678901234567890.123456789012345678";
type Item = Record<string, unknown>;

const putTo = (test: TestCloud) => async (...items: Item[]) => {
  for (let at = 0; at < items.length; at += 500) {
    const body = JSON.stringify({
      model: "Thing",
      items: items.slice(at, at + 500).map((item) => ({ deviceId: "d-1", ...item })),
      unknown: "keep",
    });
    const response = await fetch(`${test.url}/api/items`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body,
    });
    const answer = await response.json();
    assert.equal(answer.failed, 0, JSON.stringify(answer).slice(0, 400));
  }
};

class Things implements AsyncDisposable {
  private constructor(readonly test: TestCloud) {}

  static async start(): Promise<Things> {
    const test = await TestCloud.start({ schema });
    await test.cloud.registry.add("d-1", "acme");
    return new Things(test);
  }

  get url(): string {
    return this.test.url;
  }

  async put(...items: Item[]): Promise<void> {
    await putTo(this.test)(...items);
  }

  async get(name: string): Promise<Item | undefined> {
    const { items } = await (await fetch(`${this.url}/api/items?model=Thing&device=d-1`)).json();
    return items.find((item: Item) => item.name === name);
  }

  async edit(page: Page, name: string): Promise<void> {
    await page.goto(
      `${this.url}/data/Thing/item?${new URLSearchParams({
        key: JSON.stringify({ deviceId: "d-1", name }),
        edit: "1",
      })}`,
    );
    await page.getByRole("button", { name: "Save" }).waitFor();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.test[Symbol.asyncDispose]();
  }
}

const save = (page: Page) => page.getByRole("button", { name: "Save" }).click();

browserTest(
  "data: null, empty and absent differ, in the list and as filters; a scan is asked for before",
  async (visits) => {
    await using things = await Things.start();
    await things.put({ name: "a", note: "text" }, { name: "b", note: "" }, { name: "c", note: null }, {
      name: "d",
      size: 5,
    });
    const page = await visits.page();
    await page.goto(`${things.url}/data`);
    await page.getByText("This needs a scan").waitFor();
    await assertLooks(page, "a scan");
    await page.getByLabel("Device", { exact: true }).fill("d-1");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("Query: read 4 items for 4 found").waitFor();
    await assertLooks(page, "data");
    for (const [op, name] of [["is null", "c"], ["is empty", "b"], ["begins with", "a"], ["is absent", "d"]] as const) {
      await page.goto(`${things.url}/data/Thing?device=d-1`);
      await page.getByLabel("Filter by").selectOption("note");
      await page.getByLabel("How").selectOption({ label: op });
      if (op === "begins with") await page.getByLabel("Value", { exact: true }).fill("te");
      await page.getByRole("button", { name: "Add filter" }).click();
      await page.getByText("for 1 found").waitFor();
      assert.equal(await page.locator("a[data-open]").textContent(), name, op);
    }
    await page.reload();
    assert.equal(await page.locator("a[data-open]").textContent(), "d", "the address has the filter");
    await page.goto(`${things.url}/data/Thing`);
    await page.getByRole("link", { name: "Scan" }).click();
    await page.getByText(/^Scan: read \d+ items for 4 found/).waitFor();
    visits.expected.push(/status of 400/);
    await page.goto(`${things.url}/data/Thing?device=d-1&f=nope:eq:1`);
    await page.getByText("Thing has no nope").waitFor();
  },
);

browserTest("find: a model leads to its items, with the values of a key to the item", async (visits) => {
  await using things = await Things.start();
  await things.put({ name: "a", size: 5 });
  const page = await visits.page();
  await page.goto(`${things.url}/fleet`);
  await page.keyboard.press("/");
  await page.keyboard.type("thing d-1 a");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Thing a · d-1" }).waitFor();
  for (const q of ["thing d-1 none", "thing", "Thing <b> x"]) {
    await page.goto(`${things.url}/console/find?${new URLSearchParams({ q })}`);
    await page.getByRole("main").getByRole("link", { name: "Thing" }).waitFor();
  }
});

browserTest(
  "data: pages by Next; an empty page of a sparse filter says how much was read, and Read on",
  async (visits) => {
    await using things = await Things.start();
    await things.put(...Array.from({ length: 2_500 }, (_, at) => ({ name: String(at).padStart(6, "0"), size: at })));
    const page = await visits.page();
    await page.goto(`${things.url}/data/Thing?device=d-1`);
    assert.equal(await page.locator("a[data-open]").count(), 50);
    await page.getByRole("link", { name: "Next" }).click();
    await page.getByRole("link", { name: "000050", exact: true }).waitFor();
    // However far into the list, a page reads what it shows.
    const said = new Set<string>();
    for (let path: string | undefined = "/data/Thing?device=d-1"; path;) {
      const text: string = await (await fetch(`${things.url}${path}`)).text();
      said.add(/read [\d,]+ items for \d+ found/.exec(text)![0]);
      path = /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll("&amp;", "&");
    }
    assert.deepEqual([...said], ["read 50 items for 50 found"]);
    await page.goto(`${things.url}/data/Thing?device=d-1&f=size:gt:2490`);
    await page.getByText("None found so far").waitFor();
    await page.getByText("Read 2,000 items; the list continues.").waitFor();
    await page.getByRole("link", { name: "Read on" }).click();
    await page.getByText("for 9 found").waitFor();
  },
);

browserTest(
  "item: 38 digits, a set, binary and an unknown attribute survive an edit of another value",
  async (visits) => {
    await using things = await Things.start();
    await things.put({
      name: "a",
      size: digits,
      tags: ["x", "y"],
      raw: "AAEC",
      meta: { deep: [1, null, "<b>"] },
      stray: "kept",
      note: "before",
      on: true,
    });
    const before = await things.get("a");
    const page = await visits.page();
    await things.edit(page, "a");
    assert.equal(await page.getByLabel("size", { exact: true }).inputValue(), digits);
    await assertLooks(page, "an edit");
    await page.getByLabel("note", { exact: true }).fill("after");
    await save(page);
    await page.getByText("Saved.").waitFor();
    await page.getByText("unknown to the schema; kept by each save").waitFor();
    await page.locator("#far").getByText("saved").waitFor();
    await assertLooks(page, "an item");
    const { updated: _1, note: _2, ...rest } = before!;
    const { updated: _3, note, ...now } = (await things.get("a"))!;
    assert.equal(note, "after");
    assert.deepEqual(now, rest);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByText("Put back.").waitFor();
    assert.equal((await things.get("a"))!.note, "before");
  },
);

browserTest(
  "item: what is refused names the field and keeps what was typed; an enum is a choice; JSON says the line",
  async (visits) => {
    await using things = await Things.start();
    await things.put({ name: "a", meta: { a: 1 }, grade: "low", size: 1 });
    const page = await visits.page();
    visits.expected.push(/status of 400/);
    await things.edit(page, "a");
    assert.deepEqual(await page.getByLabel("grade", { exact: true }).locator("option").allTextContents(), [
      "low",
      "high",
    ]);
    await page.getByLabel("meta", { exact: true }).fill('{\n  "a": 1,\n  oops\n}');
    await save(page);
    await page.getByText(/meta: line 3 is not JSON/).waitFor();
    assert.equal(await page.getByLabel("meta", { exact: true }).inputValue(), '{\n  "a": 1,\n  oops\n}');
    assert.equal(await page.getByLabel("meta", { exact: true }).getAttribute("aria-invalid"), "true");
    await assertLooks(page, "a refused edit");
    await page.getByLabel("meta", { exact: true }).fill('{"a": 2}');
    await page.getByLabel("size", { exact: true }).fill("1".repeat(39));
    await save(page);
    await page.getByText(/size: has more than 38 digits/).waitFor();
    await page.getByLabel("size", { exact: true }).fill("7");
    await page.getByLabel("grade", { exact: true }).selectOption("high");
    await page.getByLabel("note: value, null or absent").selectOption("null");
    await save(page);
    await page.getByText("Saved.").waitFor();
    const { meta, size, grade, note } = (await things.get("a"))!;
    assert.deepEqual({ meta, size, grade, note }, { meta: { a: 2 }, size: 7, grade: "high", note: null });
  },
);

browserTest(
  "item: changed meanwhile: what is typed stays, yours, was and now stand side by side, and saving again is one's own decision",
  async (visits) => {
    await using things = await Things.start();
    await things.put({ name: "a", note: "was", size: 1 });
    const page = await visits.page();
    visits.expected.push(/status of 412/);
    await things.edit(page, "a");
    await page.getByLabel("note", { exact: true }).fill("mine");
    await until("events arrive", async () => await page.locator("#live").getAttribute("data-state") === "live");
    await things.put({ name: "a", note: "theirs", size: 2 });
    await page.getByText("It was changed meanwhile.").waitFor();
    assert.equal(await page.getByLabel("note", { exact: true }).inputValue(), "mine");
    await save(page);
    await page.getByText("It was changed while you edited it.").waitFor();
    const row = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "note", exact: true }) });
    assert.deepEqual(await row.getByRole("cell").allTextContents(), ["mine", "was", "theirs"]);
    assert.equal((await things.get("a"))!.note, "theirs");
    await assertLooks(page, "a clash");
    await page.getByRole("button", { name: "Save mine over it" }).click();
    await page.getByText("Saved.").waitFor();
    assert.equal((await things.get("a"))!.note, "mine");
  },
);

browserTest(
  "item: undo is refused after another's change; delete can be undone; a new item is added",
  async (visits) => {
    await using things = await Things.start();
    const page = await visits.page();
    await page.goto(`${things.url}/data/Thing/new?device=d-1`);
    await assertLooks(page, "a new item");
    await page.getByLabel("name", { exact: true }).fill("n");
    await page.getByLabel("note", { exact: true }).fill("one");
    await save(page);
    await page.getByText("Added.").waitFor();
    assert.equal((await things.get("n"))!.note, "one");
    await things.put({ name: "n", note: "another's" });
    visits.expected.push(/status of 409/);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByText("It was changed since: nothing was put back.").waitFor();
    await page.goto(`${things.url}/data/Thing/item?key=${encodeURIComponent('{"deviceId":"d-1","name":"n"}')}`);
    await page.getByText("Delete…").click();
    await page.getByRole("button", { name: "Delete this item" }).click();
    await page.getByRole("heading", { name: /is deleted/ }).waitFor();
    assert.equal(await things.get("n"), undefined);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByText("Put back.").waitFor();
    assert.equal((await things.get("n"))!.note, "another's");
  },
);

browserTest(
  "data: script in each field is text, wherever it is shown; without JavaScript an edit is saved",
  async (visits) => {
    await using things = await Things.start();
    const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}\u202e`;
    await things.put({ name: evil, note: evil, tags: [evil], meta: { [evil]: evil }, [`x${evil}`]: evil });
    const page = await visits.page();
    await page.goto(`${things.url}/data/Thing?device=d-1`);
    await page.locator("a[data-open]").click();
    await page.getByRole("link", { name: "Edit" }).click();
    await page.getByLabel("note", { exact: true }).waitFor();
    assert.equal(await page.getByLabel("note", { exact: true }).inputValue(), evil);
    await page.goto(`${things.url}/data/Thing?device=d-1&f=${encodeURIComponent(`note:eq:${evil}`)}`);
    await page.getByText("for 1 found").waitFor();
    const plain = await visits.page({ javaScriptEnabled: false });
    await things.edit(plain, evil);
    await plain.getByLabel("note", { exact: true }).fill("calm");
    await save(plain);
    await plain.getByText("Saved.").waitFor();
    assert.equal((await things.get(evil))!.note, "calm");
  },
);

browserTest("data: a change of somebody else lights its row", async (visits) => {
  await using things = await Things.start();
  await things.put({ name: "a", note: "one" }, { name: "b", note: "two" });
  const page = await visits.page();
  await page.goto(`${things.url}/data/Thing?device=d-1`);
  await page.locator("#live[data-state=live]").waitFor();
  await until("the row is lit", async () => {
    await things.put({ name: "b", note: String(Math.random()) });
    return await page.locator("tr.lit").filter({ hasText: "b" }).count() === 1;
  });
});

browserTest("data: how far a change got stands in its row, until it is on the device", async (visits) => {
  await using test = await TestCloud.start({ schema });
  const password = await test.cloud.registry.add("d-1", "acme");
  const things = { put: putTo(test) };
  await things.put({ name: "a", note: "one" }, { name: "b", note: "two" });
  const agent = await openAgent({
    schema,
    device: "d-1",
    account: "acme",
    path: test.dir.file("d-1.db"),
    mqtt: `mqtt://127.0.0.1:${test.cloud.mqttPort}`,
    password,
  });
  try {
    await agent.sync({ timeoutMs: 30_000 });
    const page = await visits.page();
    await page.goto(`${test.url}/data/Thing?device=d-1`);
    await page.locator("#live[data-state=live]").waitFor();
    const far = (name: string) => page.getByRole("row", { name: new RegExp(`\\b${name}\\b`) }).locator("[data-far]");
    assert.equal(await far("b").innerText(), "–");
    await things.put({ name: "b", note: "three" });
    await far("b").getByText(/^on d-1 ✓ \d+ ms$/).waitFor();
    // It stays when the list is renewed.
    await things.put({ name: "a", note: "four" });
    await far("a").getByText(/^on d-1 ✓ \d+ ms$/).waitFor();
    assert.match(await far("b").innerText(), /^on d-1 ✓/);
  } finally {
    await agent.close();
  }
  const page = await visits.page();
  await page.goto(`${test.url}/data/Thing?device=d-1`);
  await page.locator("#live[data-state=live]").waitFor();
  await things.put({ name: "b", note: "nobody is there" });
  await page.getByRole("cell", { name: "logged" }).waitFor();
});
