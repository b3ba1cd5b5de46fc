/** Whether the pictures in the documents show the console as it is. */
import assert from "node:assert/strict";
import { notedSources, pictures, sourcesOf } from "./pictures.ts";

Deno.test("pictures: those in the documents are of the console's pages as they are", async () => {
  const noted = await notedSources();
  for (const name of Object.keys(pictures)) {
    assert.ok((await Deno.stat(new URL(`../../docs/pictures/${name}`, import.meta.url))).size > 10_000);
    if (noted[name] === await sourcesOf(name)) continue;
    // Somebody who changes a page is told; CI is what a stale picture fails.
    const say = `docs/pictures/${name} is stale: run deno run -A --no-check tests/console/pictures.ts, and look at it`;
    if (Deno.env.get("CI") === "true") assert.fail(say);
    console.warn(say);
  }
});
