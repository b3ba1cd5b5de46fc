import assert from "node:assert/strict";
import { assetAt, assetBytes, assetPath } from "../../../cloud/console/assets.ts";

const folder = new URL("../../../cloud/console/assets/", import.meta.url);
const pages = new URL("../../../cloud/console/pages/", import.meta.url);
const everywhere = ["htmx.js", "base.js", "console.css"];

Deno.test("assets: no page loads more than 150 KB, uncompressed, and uPlot only where there are charts", async () => {
  let asking = 0;
  for await (const { name } of Deno.readDir(pages)) {
    const source = await Deno.readTextFile(new URL(name, pages));
    for (const [list] of source.matchAll(/scripts: \[.*\],$/gm)) {
      asking++;
      const scripts = [...list.matchAll(/"([\w.]+\.js)"/g)].map(([, script]) => script!);
      const bytes = assetBytes([...everywhere, ...scripts]);
      assert.ok(bytes <= 150_000, `${name}: ${scripts}: ${bytes}`);
      assert.equal(scripts.includes("uplot.js"), scripts.includes("charts.js"), name);
    }
    assert.equal(source.split("scripts:").length - 1, source.match(/scripts: \[.*\],$/gm)?.length ?? 0, name);
  }
  assert.ok(asking >= 8, `${asking} pages ask for scripts`);
});

Deno.test("assets: scripts are whole without their indentation and comments", async () => {
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".js")) continue;
    const text = await Deno.readTextFile(new URL(name, folder));
    for (const line of text.split("\n")) {
      const isWhole = (line.match(/`/g)?.length ?? 0) % 2 === 0;
      // Between the braces of a text there is code, which may have as many lines as it likes.
      const isCode = line.endsWith("${") || line.trimStart().startsWith("}");
      assert.ok(isWhole || isCode, `${name} has a text over several lines: ${line}`);
    }
    const { text: served } = assetAt(assetPath(name))!;
    assert.ok(served.length < text.length, name);
    assert.doesNotThrow(() => new Function(served), name);
    assert.equal(/^\s|^\/\//m.test(served), false, name);
  }
});

Deno.test("assets: styles keep their rules", () => {
  const { text } = assetAt(assetPath("console.css"))!;
  assert.match(text, /html:not\(\.scripted\) \.js\{display:none !important\}/);
  assert.match(text, /@media \(prefers-reduced-motion: ?reduce\)\{\*,\*::before,\*::after\{animation:none !important/);
  assert.equal(text.includes("/*"), false);
  assert.equal(text.split("{").length, text.split("}").length);
});
