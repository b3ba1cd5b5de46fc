/**
 * What holds on every page: accessible in both themes and at both widths, no error and no other host, focus that stays, nothing
 * that moves where people asked for stillness, any number of tabs.
 */
import assert from "node:assert/strict";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { assertLooks, browserTest, type Page, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";
import { fullCloud, navigation, pages } from "./pages.ts";

/** Loaded, its scripts run, and its stream (where it has one) open. */
async function open(page: Page, url: string): Promise<void> {
  await page.goto(url);
  if (await page.locator("#live").count() > 0) await page.locator('#live:not([data-state="starts"])').waitFor();
  await page.locator("h1").first().waitFor();
}

browserTest("pages: axe finds nothing on any of them, in both themes, at both widths", async (visits) => {
  await using test = await fullCloud();
  visits.expected.push(/status of 404/);
  const page = await visits.page();
  for (const { name, path } of pages) {
    await open(page, `${test.url}${path}`);
    await assertLooks(page, name);
  }
});

browserTest("pages: axe finds nothing where there is nothing to show", async (visits) => {
  await using test = await TestCloud.start();
  const page = await visits.page();
  for (const { name, path } of navigation.filter(({ path }) => path !== "/twin")) {
    await open(page, `${test.url}${path}`);
    await assertLooks(page, `${name}, empty`);
  }
});

browserTest("pages: seven links by name lead to seven pages", async (visits) => {
  using dir = new TempDir();
  await using dev = new Program(["dev", "--dir", dir.file("state"), "--port", "0", "--mqtt-port", "0"]);
  const [, url] = await dev.printed(/console +(http:\S+?)\/ /);
  const page = await visits.page();
  await page.goto(url!);
  const links = page.getByRole("navigation", { name: "Main" }).getByRole("link");
  const names = (await links.allTextContents()).map((text) => text.replace(/[\d,]+ open$/, "").trim());
  const wanted = ["Twin", "Fleet", "Data", "Live", "Conflicts", "Rejected", "Metrics"];
  assert.deepEqual(names, wanted.filter((name) => navigation.some((link) => link.name === name)));
  for (const name of names) {
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name }).click();
    const here = page.locator('nav[aria-label="Main"] a[aria-current="page"]');
    await until(`${name} is open`, async () => (await here.textContent())?.startsWith(name));
    assert.equal(await page.getByRole("alert").filter({ visible: true }).count(), 0, name);
  }
});

browserTest("pages: no console error, and no other host is asked, by any of them", async (visits) => {
  await using test = await fullCloud();
  const page = await visits.page(), hosts = new Set<string>(), own = new URL(test.url).host;
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) hosts.add(new URL(request.url()).host);
  });
  const violations: string[] = [];
  await page.exposeFunction("violated", (text: string) => void violations.push(text));
  await page.addInitScript(
    `addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => violated(violatedDirective + " " + blockedURI))`,
  );
  for (const { path } of pages) {
    if (path === "/devices/none") continue;
    await open(page, `${test.url}${path}`);
    await page.evaluate(`document.body.dispatchEvent(new Event("tt:again", { bubbles: true }))`);
  }
  assert.deepEqual([...hosts], [own]);
  assert.deepEqual([violations, visits.faults], [[], []]);
});

browserTest("pages: the focus stays where it was when a part is asked for again", async (visits) => {
  await using test = await fullCloud();
  const page = await visits.page(), tried: string[] = [];
  for (const { name, path } of pages) {
    if (path === "/devices/none") continue;
    await open(page, `${test.url}${path}`);
    // The last of the part: what stands above it may have changed.
    const focused = await page.evaluate(`(() => {
      const parts = [...document.querySelectorAll("main [hx-get][hx-trigger*='tt:again'], main [data-charts]")];
      const all = parts.flatMap((part) => [...part.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")])
        .filter((one) => one.checkVisibility() && !one.disabled && one.type !== "hidden");
      const one = all.at(-1);
      if (!one) return undefined;
      one.focus();
      globalThis.swaps = 0;
      document.addEventListener("htmx:after:swap", () => globalThis.swaps++);
      return globalThis.wasFocused = one.tagName + " " + (one.name ?? "") + " " + one.textContent.slice(0, 60);
    })()`);
    if (focused === null || focused === undefined) continue;
    tried.push(name);
    const response = page.waitForResponse((response) => response.request().resourceType() === "fetch" && response.ok());
    await page.evaluate(`document.body.dispatchEvent(new Event("tt:again", { bubbles: true }))`);
    await response;
    if (await page.locator("main [data-charts]").count() === 0) {
      await until(`${name} is swapped`, () => page.evaluate("globalThis.swaps > 0") as Promise<boolean>);
    } else await page.waitForTimeout(300);
    const now = await page.evaluate(`(() => {
      const one = document.activeElement;
      return one.tagName + " " + (one.name ?? "") + " " + one.textContent.slice(0, 60);
    })()`);
    assert.equal(now, focused, name);
  }
  assert.ok(
    ["Fleet", "Data of a device", "Item", "Device", "Metrics"].every((name) => tried.includes(name)),
    tried.join(),
  );
});

browserTest("pages: with reduced motion nothing moves on any of them", async (visits) => {
  await using test = await fullCloud();
  const page = await visits.page({ reducedMotion: "reduce" });
  for (const { name, path } of pages) {
    if (path === "/devices/none") continue;
    await open(page, `${test.url}${path}`);
    const moves = await page.evaluate(`[
      ...document.getAnimations().map(({ animationName, transitionProperty }) => animationName ?? transitionProperty),
      ...[...document.querySelectorAll("*")].flatMap((one) => ["", "::before", "::after"].flatMap((pseudo) => {
        const { animationName, transitionDuration, scrollBehavior } = getComputedStyle(one, pseudo || undefined);
        const isStill = animationName === "none" && transitionDuration.split(", ").every((text) => text === "0s") &&
          scrollBehavior === "auto";
        return isStill ? [] : [one.tagName + pseudo + " " + animationName + " " + transitionDuration];
      })),
    ]`);
    assert.deepEqual(moves, [], name);
  }
});

browserTest("pages: the eighth tab loads, for hidden ones close their streams", async (visits) => {
  await using test = await TestCloud.start();
  const first = await visits.page(), context = first.context();
  const tabs: Page[] = [];
  for (let at = 0; at < 8; at++) {
    const page = at === 0 ? first : await context.newPage();
    // Playwright keeps each page in front: a browser hides all but the last.
    for (const tab of tabs) {
      await tab.evaluate(`(() => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
        document.dispatchEvent(new Event("visibilitychange"));
      })()`);
    }
    await page.goto(`${test.url}/live`);
    await page.locator('#live[data-state="live"]').waitFor();
    tabs.push(page);
  }
  assert.equal(tabs.length, 8);
});

browserTest("pages: tabs that were opened behind others hold no stream", async (visits) => {
  await using test = await TestCloud.start();
  const page = await visits.page(), context = page.context();
  for (let at = 0; at < 7; at++) {
    const behind = await context.newPage();
    await behind.addInitScript(`Object.defineProperty(document, "hidden", { configurable: true, get: () => true })`);
    await behind.goto(`${test.url}/live`);
    await behind.getByText("Quiet so far").waitFor();
  }
  await page.goto(`${test.url}/live`);
  await page.locator('#live[data-state="live"]').waitFor();
});
