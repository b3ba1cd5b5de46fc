/** Signing in and out, the bar on top, keys, the mark that says whether events arrive: in a browser. */
import assert from "node:assert/strict";
import { assertLooks, browserTest, until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

const token = "the-worker's-own-token";

browserTest("sign-in: a wrong token says so, the right one lands on the page that was asked for", async (visits) => {
  await using test = await TestCloud.start({ token });
  const page = await visits.page();
  // Chromium reports the status of the refused sign-in in its console.
  visits.expected.push(/status of 403/);
  await page.goto(`${test.url}/fleet?q=account:acme`);
  await assertLooks(page, "sign-in");
  await page.getByLabel("Token", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("That is not the token.").waitFor();
  await assertLooks(page, "a wrong token");
  await page.getByRole("button", { name: "Show" }).click();
  assert.equal(await page.locator("#token").getAttribute("type"), "text");
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Fleet" }).waitFor();
  assert.equal(page.url(), `${test.url}/fleet?q=account:acme`);
  const [cookie] = await page.context().cookies();
  assert.equal(cookie!.httpOnly, true);
  assert.equal(cookie!.sameSite, "Strict");
});

browserTest("sign-in: signing out ends the stream of events, and the other tabs'", async (visits) => {
  await using test = await TestCloud.start({ token });
  const page = await visits.page();
  await page.goto(`${test.url}/login`);
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.keyboard.press("Enter");
  await page.locator("#live[data-state=live]").waitFor();
  const other = await page.context().newPage();
  await other.goto(`${test.url}/fleet`);
  await other.locator("#live[data-state=live]").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  await other.bringToFront();
  await other.getByRole("button", { name: "Sign in" }).waitFor();
  const events = await page.request.get(`${test.url}/console/events?on=fleet`, { maxRedirects: 0 });
  assert.equal(events.status(), 303);
});

browserTest("sign-in: a link on another site leads in and stays signed in", async (visits) => {
  await using test = await TestCloud.start({ token });
  const page = await visits.page();
  await page.goto(`${test.url}/login`);
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Fleet" }).waitFor();
  // localhost and 127.0.0.1 are two sites.
  const elsewhere = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    ({ url }) =>
      new URL(url).pathname === "/"
        ? new Response(`<a href="${test.url}/fleet?q=state:online">look</a>`, {
          headers: { "content-type": "text/html" },
        })
        : new Response(null, { status: 204 }),
  );
  try {
    await page.goto(`http://localhost:${elsewhere.addr.port}/`);
    await page.getByText("look").click();
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
    assert.equal(page.url(), `${test.url}/fleet?q=state:online`);
  } finally {
    await page.goto("about:blank");
    await elsewhere.shutdown();
  }
});

browserTest(
  "bar: links by name, theme, finder and help by keys; none while typing, and they can be turned off",
  async (visits) => {
    await using test = await TestCloud.start();
    await test.devices(3, () => ({}));
    const page = await visits.page();
    await page.goto(`${test.url}/console/find?q=press`);
    await page.locator("body").press("g");
    await page.keyboard.press("f");
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("next and previous row").waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    await page.keyboard.type("g?press-00001");
    assert.equal(await page.getByLabel("Find a device, an item or a page").inputValue(), "g?press-00001");
    assert.equal(await page.getByRole("dialog").count(), 0);
    await page.getByLabel("Find a device, an item or a page").fill("press-0000");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "press-00002" }).waitFor();
    await assertLooks(page, "what was found");
    const theme = page.getByRole("button", { name: /^Theme/ });
    await theme.click();
    assert.equal(await page.locator("html").getAttribute("data-theme"), "light");
    await theme.click();
    await page.reload();
    assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
    await page.locator("body").press("?");
    await page.getByLabel("No single-letter keys").check();
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    assert.equal(await page.getByRole("dialog").count(), 0);
  },
);

browserTest("live mark: a worker that goes is said with the seconds; one that comes back is found", async (visits) => {
  const test = await TestCloud.start();
  const page = await visits.page();
  visits.expected.push(/ERR_|Failed to load resource|network|fetch/i);
  await page.goto(`${test.url}/fleet`);
  await page.locator("#live[data-state=live]").waitFor();
  await test.cloud.close();
  await page.getByText(/^Reconnecting \d+ s$/).waitFor();
  const { startCloud } = await import("../../cloud/worker.ts");
  const { schema } = await import("../../examples/schema.ts");
  await using next = await startCloud({ schema, table: `embedded:${test.dir.file("cloud.db")}` });
  await next.registry.add("new-device", "acme");
  await next.serveHttp({ port: Number(new URL(test.url).port) });
  await page.locator("#live[data-state=live]").waitFor();
  // Another life of the worker: the page asks again for what it shows.
  await page.getByRole("link", { name: "new-device" }).waitFor();
  await until("the page is closed", async () => (await page.close(), true));
});
