/** An operator's way through the pages by keyboard alone: from the worst device to its item, an edit, Live, and back. */
import assert from "node:assert/strict";
import { browserTest, until } from "./browser.ts";
import { fullCloud } from "./pages.ts";

browserTest(
  "keyboard: find, rows, select, open, edit, save, pause, back, help; none while typing, and off",
  async (visits) => {
    await using test = await fullCloud();
    // A number that is refused.
    visits.expected.push(/status of 400/);
    const page = await visits.page();
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const heading = (name: string | RegExp) => page.getByRole("heading", { level: 1, name }).waitFor();
    await page.goto(`${test.url}/fleet`);
    await page.locator('#live[data-state="live"]').waitFor();

    await press("j", "j", "x");
    await page.getByText("1 selected").waitFor();
    await press("x", "k", "Enter");
    await heading("press-1");
    await press("Escape");
    await heading("Fleet");

    await press("/");
    await until(
      "the finder has the focus",
      async () => await page.evaluate("document.activeElement.tagName") === "INPUT",
    );
    await page.keyboard.type("setting press-1 load");
    await press("Enter");
    await heading("Setting load · press-1");
    await press("e");
    await page.waitForURL(/edit=1/);
    const focused = () => page.evaluate("document.activeElement.name") as Promise<string>;
    await until("the first field that can be changed has the focus", async () => await focused() === "v.value");
    // A letter that is a key elsewhere is a letter here.
    await press("Control+a");
    await page.keyboard.type("4g2f");
    await page.keyboard.press("Control+Enter");
    await page.getByText("is not a number").waitFor();
    await until("the field that was refused has the focus", async () => await focused() === "v.value");
    await press("Control+a");
    await page.keyboard.type("42");
    await press("Control+Enter");
    await page.getByText("Saved.").waitFor();
    await press("Escape");
    await heading("Setting");

    await press("g", "l");
    await heading("Live");
    await press("p");
    await page.getByRole("button", { name: "Resume" }).waitFor();
    for (
      const [key, name] of [["d", /./], ["c", "Conflicts"], ["r", "Rejected"], ["m", "Metrics"], [
        "f",
        "Fleet",
      ]] as const
    ) {
      await press("g", key);
      await heading(name);
    }

    await press("?");
    const help = page.getByRole("dialog", { name: "Keys" });
    await help.waitFor();
    await help.getByRole("checkbox", { name: "No single-letter keys" }).focus();
    await press("Space", "Escape");
    await help.waitFor({ state: "hidden" });
    await press("g", "m");
    await page.evaluate("new Promise((resolve) => requestAnimationFrame(resolve))");
    assert.match(page.url(), /\/fleet/);
  },
);
