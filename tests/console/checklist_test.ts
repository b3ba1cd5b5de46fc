/** The list of what is to be shown names tests that are there. */
import assert from "node:assert/strict";

const folder = new URL("./", import.meta.url);
const lines = (await Deno.readTextFile(new URL("CHECKLIST.md", folder))).split("\n").filter((line) =>
  /^[A-Z]?\d+\. /.test(line)
);

Deno.test("console: each line of the checklist names a test that is there, or says that it is free", async () => {
  assert.ok(lines.filter((line) => /^\d/.test(line)).length >= 64);
  for (const line of lines) {
    const [, where] = /: (free|[\w./]+\.ts#.+)$/.exec(line) ?? [];
    assert.ok(where, line);
    // The formatter joins what is no list: its second line would be looked for nowhere.
    assert.equal(line.split("_test.ts#").length <= 2, true, `several in a line: ${line}`);
    if (where === "free") continue;
    const [file, name] = [where.slice(0, where.indexOf("#")), where.slice(where.indexOf("#") + 1)];
    assert.ok((await Deno.readTextFile(new URL(file, folder))).includes(`"${name}`), line);
  }
});
