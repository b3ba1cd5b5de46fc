/**
 * Debian's Chromium, driven by Playwright, for the console's tests: one browser for all of a process, with a context of its own
 * for each visitor. What no page may do is watched in all of them: an error in the browser's console, a request to another host, text
 * of a test that ran as a script.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import axeSource from "npm:axe-core@^4.14.1/axe.min.js" with { type: "text" };
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "npm:playwright-core@^1.65.1";
import { long } from "../support/long.ts";

export type { Browser, Page };

// The shell has no windows to draw: it takes half the processor time, and no priority over the worker that it looks at.
const executablePath = ["/usr/bin/chromium-headless-shell", "/usr/bin/chromium", "/usr/bin/chromium-browser"].find((
  path,
) => existsSync(path));

/** A test in a browser. Without Chromium it is skipped, in CI it fails. */
export function browserTest(
  name: string,
  run: (visits: Visits) => Promise<void>,
  { ignore = false }: { readonly ignore?: boolean } = {},
): void {
  const skips = executablePath === undefined && !Deno.env.get("CI");
  Deno.test({
    name: skips ? `${name} (skipped: there is no Chromium)` : name,
    ignore: skips || ignore,
    // Playwright keeps its own processes and timers until the browser is closed.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using visits = await Visits.open();
      try {
        await run(visits);
      } catch (cause) {
        // What was on the screen when it failed: a machine that was busy says so, and so does a page that is wrong.
        throw new Error(`${cause instanceof Error ? cause.message : cause}\n${await visits.scene()}`, { cause });
      }
      visits.check();
    },
  });
}

/**
 * The wait for a condition, a page or a click. Whoever waits goes on at once when it is there, so that it costs nothing to
 * be generous: beside two other test files a page has taken 9 s, and beside more than that 30 s were not enough.
 */
export const patienceMs = 120_000;

/** To start it takes longer than most tests. */
let browserHere: Promise<Browser> | undefined;

function launch(): Promise<Browser> {
  assert.ok(executablePath, "chromium is not installed");
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
  return chromium.launch({ executablePath, args });
}

/** Ends the browser, where one was started. */
export async function closeBrowser(): Promise<void> {
  const browser = await browserHere;
  browserHere = undefined;
  await browser?.close();
}
Deno.test.afterAll(closeBrowser);

/** Visitors of one test. */
export class Visits implements AsyncDisposable {
  /** What no page may do, as it was seen. */
  readonly faults: string[] = [];
  /** Parts of texts of faults that a test brings about itself. */
  readonly expected: RegExp[] = [
    // A test's worker may end before its browser does.
    /net::ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_\w+|SOCKET_NOT_CONNECTED|EMPTY_RESPONSE)|htmx:sse:error|htmx:error: Failed to fetch/,
  ];
  readonly #contexts: BrowserContext[] = [];
  private constructor(readonly browser: Browser) {}

  static async open(): Promise<Visits> {
    if (!(await browserHere)?.isConnected()) browserHere = launch();
    return new Visits((await browserHere)!);
  }

  /** A new visitor: cookies of their own, 1280 by 900, light. */
  async page(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.browser.newContext({
      viewport: { width: 1280, height: 900 },
      colorScheme: "light",
      permissions: ["clipboard-read", "clipboard-write"],
      ...options,
    });
    context.setDefaultTimeout(patienceMs);
    this.#contexts.push(context);
    context.on("page", (page) => this.#watch(page));
    return await context.newPage();
  }

  #watch(page: Page): void {
    const own = new Set<string>();
    page.on("console", (message) => {
      const fault = `${page.url()}: ${message.text()} (${message.location().url})`;
      if (["error", "warning"].includes(message.type())) this.faults.push(fault);
    });
    page.on("pageerror", (error) => this.faults.push(`${page.url()}: ${error.message}`));
    page.on("dialog", (dialog) => {
      this.faults.push(`${page.url()}: a dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    page.on("request", (request) => {
      const { protocol, host, hostname } = new URL(request.url());
      if (protocol === "data:" || protocol === "blob:" || protocol === "about:") return;
      own.add(host);
      if (!["127.0.0.1", "localhost"].includes(hostname)) this.faults.push(`${page.url()} asked ${request.url()}`);
    });
  }

  /** What the visitors see, and what went wrong so far. */
  async scene(): Promise<string> {
    const pages = this.#contexts.flatMap((context) => context.pages());
    const seen = await Promise.all(pages.map(async (page) => {
      const text = await page.locator("body").innerText({ timeout: 5_000 }).catch(String);
      return `at ${page.url()}: ${text.replaceAll(/\s+/g, " ").slice(0, 600)}`;
    }));
    return [...seen, ...this.faults.map((fault) => `fault: ${fault}`)].join("\n");
  }

  /** Whether nothing went wrong that was not meant to. */
  check(): void {
    assert.deepEqual(this.faults.filter((fault) => !this.expected.some((one) => one.test(fault))), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const context of this.#contexts) await context.close();
  }
}

const axeTags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** What axe-core finds on a page: nothing is wanted. */
export async function assertAccessible(page: Page, what: string): Promise<void> {
  // Through the debugger: the page's own policy would not let it in.
  if (!await page.evaluate("'axe' in globalThis")) await page.evaluate(axeSource);
  const found = await page.evaluate(
    `axe.run({ runOnly: ${JSON.stringify(axeTags)} }).then(({ violations }) =>
      violations.map(({ id, help, nodes }) =>
        id + ": " + help + " at " + nodes.slice(0, 3).map(({ target, failureSummary }) => target + " " + failureSummary).join("; ")))`,
  );
  assert.deepEqual(found, [], what);
}

/** A page without sideways scrolling, whose links of the navigation and open menus can all be read. */
export async function assertFits(page: Page, what: string): Promise<void> {
  const cut = await page.evaluate(`[...document.querySelectorAll("header nav a")].filter((link) => {
    const { left, right } = link.getBoundingClientRect(), around = link.parentElement.getBoundingClientRect();
    return left < Math.max(0, around.left) || right > Math.min(innerWidth, around.right) + .5;
  }).map((link) => link.textContent)`);
  assert.deepEqual(cut, [], `${what}: links that are cut`);
  // What is left of the page can't be scrolled to.
  const lost = await page.evaluate(`[...document.querySelectorAll("details.menu[open] > div")]
    .filter((menu) => menu.getBoundingClientRect().left < 0).map((menu) => menu.textContent)`);
  assert.deepEqual(lost, [], `${what}: menus that begin left of the page`);
  const [wide, room] = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]") as [number, number];
  if (wide <= room) return;
  const wides = await page.evaluate(`[...document.querySelectorAll("*")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.closest(".scroll, .tabs, nav, .sum"))
    .slice(0, 5).map((one) => one.outerHTML.slice(0, 120))`);
  assert.fail(`${what} is ${wide} px wide in ${room}: ${wides}`);
}

/** Both themes, both widths: no sideways scrolling, no finding of axe. */
export async function assertLooks(page: Page, what: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1280, 390, 320]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await assertFits(page, `${what}, ${width}`);
      // Axe takes a second: each theme and each width once, all of both with `TWINTABLE_LONG=1`.
      const isTried = long ? width !== 320 : width === (colorScheme === "light" ? 1280 : 390);
      if (isTried) await assertAccessible(page, `${what}, ${colorScheme}, ${width}`);
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
}

/** Waits until this is so. */
export async function until<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) assert.fail(`in vain waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
