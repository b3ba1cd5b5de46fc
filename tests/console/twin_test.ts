/** The Twin page on a real `dev`: written left by the page and by sqlite3, right by the page and by curl; unplugged and mended. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { toolsMissing } from "../support/tools.ts";
import { assertLooks, browserTest, type Page, until, type Visits } from "./browser.ts";

class Dev implements AsyncDisposable {
  private constructor(readonly dir: TempDir, readonly program: Program, readonly url: string) {}

  static async start(...args: string[]): Promise<Dev> {
    const dir = new TempDir();
    const program = new Program(["dev", "--dir", dir.file("state"), "--port", "0", "--mqtt-port", "0", ...args]);
    const [, url] = await program.printed(/console +(http:\S+?)\/ /);
    return new Dev(dir, program, url!);
  }

  /** The device's file. */
  get file(): string {
    return this.dir.file("state/demo-1.db");
  }

  setting(name: string): number | undefined {
    const db = new DatabaseSync(this.file, { readOnly: true, timeout: 5000 });
    try {
      return db.prepare("SELECT value FROM Setting WHERE name = ?").get(name)?.value as number | undefined;
    } finally {
      db.close();
    }
  }

  async inCloud(name: string): Promise<number | undefined> {
    const { items } = await (await fetch(`${this.url}/api/items?model=Setting&device=demo-1`)).json();
    return items.find((item: { name: string }) => item.name === name)?.value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
    this.dir[Symbol.dispose]();
  }
}

const left = (name: string) => `value of ${name} on the device`,
  right = (name: string) => `value of ${name} in the cloud`;

async function open(visits: Visits, dev: Dev): Promise<Page> {
  const page = await visits.page();
  await page.goto(dev.url);
  await page.locator("#live[data-state=live]").waitFor();
  await page.getByLabel(right("load")).waitFor();
  return page;
}

async function type(page: Page, label: string, value: string): Promise<void> {
  await page.getByLabel(label).click();
  await page.getByLabel(label).fill(value);
  await page.keyboard.press("Enter");
}

async function shell(line: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command("sh", { args: ["-c", line] }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

browserTest(
  "twin: dev opens it; a change on the left crosses, by the page and by sqlite3; one on the right, by the page and by curl",
  async (visits) => {
    await using dev = await Dev.start();
    const page = await open(visits, dev);
    assert.match(page.url(), /\/twin/);
    await assertLooks(page, "twin");
    await type(page, left("memory"), "85");
    await page.locator("[data-step='1'].done").getByText(/It was in the cloud [\d.]+ m?s later/).waitFor();
    const ups = page.locator("tr[data-kind=up]").filter({ hasText: "→ 85" });
    await ups.getByText(/^sent \d/).waitFor();
    assert.match(await ups.textContent() ?? "", /written.*sent [\d.]+ m?s.*in cloud [\d.]+ m?s/);
    await until("it is in the cloud", async () => await dev.inCloud("memory") === 85);
    await until("it is shown right", async () => await page.getByLabel(right("memory")).inputValue() === "85");
    // The line follows what is typed, and does what the cell does.
    await page.getByLabel(left("disk")).click();
    await page.getByLabel(left("disk")).fill("61");
    const sql = await until("the SQL line", async () => {
      const text = await page.locator("#sql-line").textContent();
      return text?.includes("value = 61 WHERE name = 'disk'") && text;
    });
    await page.keyboard.press("Escape");
    assert.equal(dev.setting("disk"), 95);
    await shell(sql);
    await until("it is in the cloud", async () => await dev.inCloud("disk") === 61);
    await until(
      "it is shown on both sides",
      async () =>
        await page.getByLabel(left("disk")).inputValue() === "61" &&
        await page.getByLabel(right("disk")).inputValue() === "61",
    );
    await type(page, right("load"), "70");
    const row = page.locator("tr[data-kind=down]").first();
    await row.getByText(/^on device/).waitFor();
    assert.match(await row.textContent() ?? "", /saved.*logged [\d.]+ m?s.*on device [\d.]+ m?s/);
    assert.equal(dev.setting("load"), 70);
    await page.locator("[data-step='2'].done").waitFor();
    await page.getByText(/log at (\d+) · device has read \1$/).waitFor();
    await page.getByLabel(right("load")).click();
    await page.getByLabel(right("load")).fill("71");
    const curl = await until("the curl line", async () => {
      const text = await page.locator("#curl-line").textContent();
      return text?.includes('"value":71') && text;
    });
    await page.keyboard.press("Escape");
    await shell(curl.replace("curl ", "curl -sf "));
    await until("it is on the device", () => dev.setting("load") === 71);
  },
  { ignore: toolsMissing("sqlite3", "curl") },
);

browserTest(
  "twin: unplugged both sides go on, and what waits is counted; plugged in again both are equal, and the loser is kept",
  async (visits) => {
    await using dev = await Dev.start();
    const page = await open(visits, dev);
    await page.getByRole("switch", { name: "Offline" }).click();
    await page.locator("#link-chip").getByText(/^Offline/).waitFor();
    await page.getByRole("switch", { name: "Offline", checked: true }).waitFor();
    await type(page, left("disk"), "97");
    await page.locator("tr[data-item='[\"disk\"]']").first().getByText("waiting").waitFor();
    await page.getByText(/^[1-9]\d* waiting here$/).waitFor();
    const waits = page.locator("tr[data-kind=waits]").filter({ hasText: "Setting disk: value 97" });
    await waits.getByText("device is offline").waitFor();
    await type(page, right("disk"), "92");
    await page.getByText("1 waiting there").waitFor();
    await page.locator("tr[data-kind=down]").getByText("device is offline").waitFor();
    assert.equal(dev.setting("disk"), 97);
    await assertLooks(page, "twin, unplugged");
    await page.getByRole("switch", { name: "Offline" }).click();
    await page.locator("#link-chip").getByText("Online").waitFor();
    await until("both are equal", async () => dev.setting("disk") === 92 && await dev.inCloud("disk") === 92);
    await page.locator("tr[data-kind=lost]").getByText(/both sides changed it.*92, won; value 97 is kept/).waitFor();
    await page.locator("[data-step='3'].done").waitFor();
    await until(
      "it is shown on both sides",
      async () =>
        await page.getByLabel(left("disk")).inputValue() === "92" &&
        await page.getByLabel(right("disk")).inputValue() === "92",
    );
  },
);

browserTest(
  "twin: where the device's change was the newer one, the cloud's is said to be overtaken",
  async (visits) => {
    await using dev = await Dev.start();
    const page = await open(visits, dev);
    await page.getByRole("switch", { name: "Offline" }).click();
    await page.locator("#link-chip").getByText(/^Offline/).waitFor();
    await type(page, right("disk"), "11");
    await until("it is saved", async () => await dev.inCloud("disk") === 11);
    await type(page, right("load"), "12");
    await until("it is saved", async () => await dev.inCloud("load") === 12);
    await type(page, left("disk"), "13");
    await until("it is written", () => dev.setting("disk") === 13);
    await page.getByRole("switch", { name: "Offline" }).click();
    await until("both are equal", async () => await dev.inCloud("disk") === 13 && dev.setting("load") === 12);
    const down = (text: string) => page.locator("tr[data-kind=down]").filter({ hasText: text });
    await down("→ 11").getByText("the device's was newer").waitFor();
    // The other item's change has its own time, and arrived.
    await down("→ 12").getByText(/^on device [1-9]/).waitFor();
    await page.locator("tr[data-kind=lost]").getByText(/value 13, won; value 11 is kept/).waitFor();
  },
);

browserTest("twin: paused, the list stands still and counts on, by its button and by p", async (visits) => {
  await using dev = await Dev.start();
  const page = await open(visits, dev);
  await type(page, right("load"), "21");
  await page.locator("tr[data-kind=down]").filter({ hasText: "→ 21" }).getByText(/^on device/).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await type(page, right("load"), "22");
  await page.getByText(/^[1-9]\d* more since$/).waitFor();
  assert.equal(await page.locator("tr[data-kind=down]").filter({ hasText: "→ 22" }).count(), 0);
  assert.equal(await page.getByLabel(right("load")).inputValue(), "22", "the sides go on");
  await assertLooks(page, "twin, paused");
  await page.getByRole("heading", { name: "What travelled" }).click();
  await page.keyboard.press("p");
  await page.locator("tr[data-kind=down]").filter({ hasText: "→ 22" }).waitFor();
  assert.equal(await page.locator("#missed").textContent(), "");
});

browserTest("twin: an item of the cloud leads to its page and its history", async (visits) => {
  await using dev = await Dev.start();
  const page = await open(visits, dev);
  await type(page, right("load"), "31");
  await page.locator("tr[data-kind=down]").filter({ hasText: "→ 31" }).getByText(/^on device/).waitFor();
  await page.getByRole("link", { name: "History of Setting load" }).click();
  await page.waitForURL(/\/data\/Setting\/item\?key=.*load.*#history/);
  await page.getByRole("heading", { name: "History" }).waitFor();
  await page.goBack();
  await page.getByRole("region", { name: "Setting in the cloud" }).getByRole("link", { name: "memory" }).click();
  await page.waitForURL(/\/data\/Setting\/item\?key=.*memory/);
});

browserTest("twin: each device of several has its page; what is cut off is said in the menu", async (visits) => {
  await using dev = await Dev.start("--devices", "2");
  const page = await open(visits, dev);
  await page.getByRole("switch", { name: "Offline" }).click();
  await page.locator("#link-chip").getByText(/^Offline/).waitFor();
  await page.getByText("Device: demo-1").click();
  await page.getByRole("link", { name: /^demo-1 ?Offline/ }).waitFor();
  await assertLooks(page, "twin, the menu of devices");
  await page.getByRole("link", { name: /^demo-2/ }).click();
  await page.waitForURL(/device=demo-2/);
  await page.locator("#link-chip").getByText("Online").waitFor();
  await type(page, right("load"), "41");
  await page.locator("tr[data-kind=down]").filter({ hasText: "→ 41" }).getByText(/^on device/).waitFor();
  assert.equal(await dev.inCloud("load"), 90, "the other device's is its own");
});

/** Unplugged, both sides change disk: the cloud's 92 is newer, the device's 97 loses. */
async function loseOne(page: Page, dev: Dev): Promise<void> {
  await page.getByRole("switch", { name: "Offline" }).click();
  await page.locator("#link-chip").getByText(/^Offline/).waitFor();
  await type(page, left("disk"), "97");
  await until("it is written", () => dev.setting("disk") === 97);
  await type(page, right("disk"), "92");
  await until("it is saved", async () => await dev.inCloud("disk") === 92);
  await page.getByRole("switch", { name: "Offline" }).click();
  await page.locator("tr[data-kind=lost]").waitFor();
  await until("both are equal", async () => dev.setting("disk") === 92 && await dev.inCloud("disk") === 92);
}

browserTest(
  "twin: the loser is in Conflicts, Compare marks what differs, and Restore makes it the newest on both sides",
  async (visits) => {
    await using dev = await Dev.start();
    const page = await open(visits, dev);
    await loseOne(page, dev);
    visits.expected.push(/status of 503/);
    // A machine that is busy may make the device miss its two seconds.
    const ask = async (address: string) =>
      await until("the device has answered", async () => {
        await page.goto(address);
        return await page.getByText("did not answer within 2 s").count() === 0;
      });
    await page.getByRole("link", { name: /^Compare Setting/ }).click();
    await page.waitForURL(/\/conflicts\?device=demo-1&row=\d+/);
    await ask(page.url());
    await page.getByRole("heading", { name: "Setting disk on demo-1" }).waitFor();
    const differing = page.locator("tr[data-differs]");
    assert.equal(await differing.count(), 1);
    assert.equal(await differing.getAttribute("data-differs"), "value");
    assert.deepEqual(await differing.locator("td").allTextContents(), ["92", "≠97", "92"]);
    await assertLooks(page, "compare");
    await page.getByRole("link", { name: /^Conflicts 1/ }).click();
    await ask(page.url());
    await page.locator(".kept-item summary").filter({ hasText: "disk" }).first().waitFor();
    await page.getByRole("link", { name: "Restore…" }).click();
    await ask(page.url());
    assert.match(await page.locator(".overwrites").textContent() ?? "", /It overwrites value 92 with 97\./);
    await page.getByRole("button", { name: "Restore Setting disk" }).click();
    await page.locator("#job-progress").getByText("Ended · 1 done").waitFor();
    await until("it is the newest", async () => dev.setting("disk") === 97 && await dev.inCloud("disk") === 97);
    await page.goto(`${dev.url}/twin`);
    await until("both sides show it", async () => await page.getByLabel(right("disk")).inputValue() === "97");
    assert.equal(await page.getByRole("link", { name: /^Conflicts \d/ }).count(), 0);
    // Its conflict is gone, and that is said.
    await page.getByRole("link", { name: /^Compare Setting/ }).click();
    await page.getByText("It is not there any more").or(page.getByText("did not answer within 2 s")).waitFor();
  },
);

browserTest(
  "twin: AWS's line follows what is typed, and writes the complete item as an application would",
  async (visits) => {
    await using dev = await Dev.start();
    const page = await open(visits, dev);
    await page.getByRole("button", { name: "AWS CLI" }).click();
    await page.getByText("This table is embedded").waitFor();
    await assertLooks(page, "twin, AWS's line");
    await page.getByLabel(right("load")).click();
    await page.getByLabel(right("load")).fill("71");
    const line = await until("the line follows", async () => {
      const text = await page.locator("#aws-line").textContent();
      return text?.includes('"value":{"N":"71"}') && text;
    });
    await page.keyboard.press("Escape");
    const words = JSON.parse(
      await shell(`aws() { python3 -c 'import json,sys; print(json.dumps(sys.argv[1:]))' "$@"; }; ${line}`),
    );
    assert.deepEqual(words.slice(0, 5), ["dynamodb", "put-item", "--table-name", "TABLE", "--item"]);
    const item = JSON.parse(words[5]);
    assert.deepEqual([item.pk, item.sk, item.value, item._type], [
      { S: "device#demo-1" },
      { S: "setting#load" },
      { N: "71" },
      { S: "Setting" },
    ]);
  },
  { ignore: toolsMissing("python3") },
);

browserTest("twin: undo puts the old value back, and not over another's change", async (visits) => {
  await using dev = await Dev.start();
  const page = await open(visits, dev);
  await type(page, right("load"), "70");
  await until("it is on the device", () => dev.setting("load") === 70);
  await page.getByRole("button", { name: "Undo" }).first().click();
  await until("it is back", async () => dev.setting("load") === 90 && await dev.inCloud("load") === 90);
  await type(page, right("load"), "50");
  await until("it is on the device", () => dev.setting("load") === 50);
  await type(page, left("load"), "51");
  await until("it is in the cloud", async () => await dev.inCloud("load") === 51);
  visits.expected.push(/status of 409/);
  await page.locator("tr[data-kind=down]").filter({ hasText: "→ 50" }).getByRole("button", { name: "Undo" }).click();
  await page.getByText("It was changed since: undo the newer change first.").waitFor();
  assert.equal(await dev.inCloud("load"), 51);
});

browserTest("twin: what is typed survives what arrives; Esc leaves it; what SQLite refuses is said", async (visits) => {
  await using dev = await Dev.start();
  const page = await open(visits, dev);
  const cell = page.getByLabel(left("memory"));
  await cell.click();
  await cell.fill("12");
  await shell(`sqlite3 -cmd ".timeout 5000" ${dev.file} "UPDATE Setting SET value = 33 WHERE name = 'load'"`);
  await until("the other is shown", async () => await page.getByLabel(right("load")).inputValue() === "33");
  assert.equal(await cell.inputValue(), "12");
  await page.getByText("Enter saves · Esc").filter({ visible: true }).waitFor();
  assert.equal(await page.evaluate("document.activeElement.getAttribute('aria-label')"), left("memory"));
  await page.keyboard.press("Escape");
  assert.equal(await cell.inputValue(), "90");
  visits.expected.push(/status of 400/);
  await type(page, left("memory"), "many");
  await page.getByText(/"many" is not a number/).waitFor();
}, { ignore: toolsMissing("sqlite3", "curl") });

browserTest("twin: a new item by the page; text with script and quotes is text on both sides", async (visits) => {
  await using dev = await Dev.start();
  const page = await open(visits, dev);
  const evil = `<script>alert(1)</script>"'<img src=x onerror=alert(2)>`;
  await page.getByText("+ New Setting").first().click();
  await page.getByLabel("name of the new Setting on the device").fill(evil);
  await page.getByLabel("value of the new Setting on the device").fill("7");
  await page.keyboard.press("Enter");
  await until("it is in the cloud", async () => await dev.inCloud(evil) === 7);
  await page.getByLabel(`value of ${evil} in the cloud`).waitFor();
  await type(page, `value of ${evil} in the cloud`, "8");
  await until("it is on the device", () => dev.setting(evil) === 8);
  const sql = await page.locator("#sql-line").textContent();
  assert.ok(sql);
});

browserTest("twin: without JavaScript a value is changed by its form", async (visits) => {
  await using dev = await Dev.start();
  const page = await visits.page({ javaScriptEnabled: false });
  await until("the demo has written", async () => await dev.inCloud("load") === 90);
  await page.goto(dev.url);
  await page.getByLabel(right("load")).fill("64");
  await page.keyboard.press("Enter");
  await until("it is on the device", () => dev.setting("load") === 64);
});

browserTest("twin: the first minute by keyboard alone", async (visits) => {
  await using dev = await Dev.start();
  const page = await open(visits, dev);
  const focus = async (label: RegExp) => {
    await until(`the focus is on ${label}`, async () => {
      await page.keyboard.press("Tab");
      return label.test(
        await page.evaluate(
          "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent)",
        ) as string,
      );
    });
  };
  await focus(/^value of memory on the device$/);
  await page.keyboard.press("Control+a");
  await page.keyboard.type("44");
  await page.keyboard.press("Enter");
  await page.locator("[data-step='1'].done").waitFor();
  await focus(/^value of memory in the cloud$/);
  await page.keyboard.press("Control+a");
  await page.keyboard.type("45");
  await page.keyboard.press("Enter");
  await page.locator("[data-step='2'].done").waitFor();
  await focus(/^Offline$/);
  await page.keyboard.press("Space");
  await page.locator("#link-chip").getByText(/^Offline/).waitFor();
  await focus(/^value of disk on the device$/);
  await page.keyboard.press("Control+a");
  await page.keyboard.type("46");
  await page.keyboard.press("Enter");
  await until("it is written", () => dev.setting("disk") === 46);
  await focus(/^value of disk in the cloud$/);
  await page.keyboard.press("Control+a");
  await page.keyboard.type("47");
  await page.keyboard.press("Enter");
  await until("it is saved", async () => await dev.inCloud("disk") === 47);
  await focus(/^Offline$/);
  await page.keyboard.press("Space");
  await page.locator("[data-step='3'].done").waitFor();
});
