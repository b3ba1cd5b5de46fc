import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { leasePath, takeLease } from "../../../agent/sqlite/lease.ts";
import { TempDir } from "../../support/temp_dir.ts";

Deno.test("lease: a second taker is refused while it is held, through a link as well, and let in when it is released", async () => {
  using dir = new TempDir();
  const path = dir.file("d.db"), link = dir.file("link.db");
  writeFileSync(path, "");
  await Deno.symlink(path, link);
  {
    using lease = takeLease(path);
    assert.equal(lease.path, leasePath(link));
    for (const other of [path, link]) assert.throws(() => takeLease(other), { code: "in-use" });
  }
  using again = takeLease(link);
  assert.equal(again.path, leasePath(path));
});

Deno.test("lease: an end without a word is unclean; a clean one is not; the generation is remembered over both", () => {
  using dir = new TempDir();
  const path = dir.file("d.db");
  {
    using first = takeLease(path);
    assert.deepEqual([first.unclean, first.generation], [false, undefined]);
    first.renew("g1");
  }
  {
    using second = takeLease(path);
    assert.deepEqual([second.unclean, second.generation], [true, "g1"]);
    second.ended();
  }
  using third = takeLease(path);
  assert.deepEqual([third.unclean, third.generation], [false, "g1"]);
});

Deno.test("lease: a start that was refused leaves what was there, and removes a file that was not", () => {
  using dir = new TempDir();
  const path = dir.file("d.db");
  {
    using lease = takeLease(path);
    lease.left();
    assert.equal(existsSync(leasePath(path)), false);
  }
  for (const isClean of [true, false]) {
    {
      using lease = takeLease(path);
      if (isClean) lease.ended();
    }
    {
      using refused = takeLease(path);
      refused.left();
    }
    using next = takeLease(path);
    assert.equal(next.unclean, !isClean);
  }
});

Deno.test("lease: a folder, a place that can't be written, and a damaged lease are told apart from an agent that runs", () => {
  using dir = new TempDir();
  assert.throws(() => takeLease(dir.file("")), { code: "io", message: /is a directory/ });
  writeFileSync(dir.file("file"), "");
  assert.throws(() => takeLease(dir.file("file/d.db")), { code: "io", hint: /permissions and space/ });
  const path = dir.file("d.db");
  writeFileSync(leasePath(path), "no database at all, and long enough to be read as a header of one".repeat(20));
  assert.throws(() => takeLease(path), { code: "io", hint: /a damaged lease file may be deleted/ });
});

Deno.test("lease: a database in memory has none, and any number of them may be open", () => {
  using first = takeLease(":memory:"), second = takeLease(":memory:");
  assert.deepEqual([first.unclean, second.generation], [false, undefined]);
});
