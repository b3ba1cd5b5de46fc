/**
 * Files that commands fill for their owner alone: what somebody else has put in their place is neither followed nor filled.
 */
import assert from "node:assert/strict";
import { closeSync, writeSync } from "node:fs";
import { readPosition, writePosition } from "../../cli/data/position.ts";
import { isOwn, openNew, openToAppend } from "../../cli/own_file.ts";
import { newKey } from "../../agent/credentials/request.ts";
import { runMod } from "../support/mod.ts";

const modeOf = (path: string) => Deno.lstatSync(path).mode! & 0o777;

/** A folder with somebody's file, which nothing may alter. */
async function withOther(run: (dir: string, other: string) => void | Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir(), other = `${dir}/other`;
  try {
    await Deno.writeTextFile(other, "theirs", { mode: 0o644 });
    await run(dir, other);
    assert.deepEqual([await Deno.readTextFile(other), modeOf(other)], ["theirs", 0o644]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** What may stand where a file of ours is to be. */
const plants: Readonly<Record<string, (path: string, other: string) => void>> = {
  "a link": (path, other) => Deno.symlinkSync(other, path),
  "a link to nothing": (path, other) => Deno.symlinkSync(`${other}-none`, path),
  "a hard link": (path, other) => Deno.linkSync(other, path),
};

for (const [what, plant] of Object.entries(plants)) {
  Deno.test(`own files: ${what} in the place of one is not filled`, () =>
    withOther(async (dir, other) => {
      const path = `${dir}/tokens.jsonl`;
      plant(path, other);
      assert.throws(() => isOwn(path), /is a link, or no file/);
      assert.throws(() => openToAppend(path), /is a link, or no file/);
      await assert.rejects(readPosition(path), /is a link, or no file/);
      // A new file takes its place.
      const file = openNew(path);
      writeSync(file, "ours");
      closeSync(file);
      assert.deepEqual([Deno.lstatSync(path).isFile, modeOf(path), Deno.readTextFileSync(path)], [true, 0o600, "ours"]);
      assert.ok(![...Deno.readDirSync(dir)].some(({ name }) => name === "other-none"));
      plant(`${dir}/note.new`, other);
      writePosition(`${dir}/note`, { at: 1 });
      assert.deepEqual([await readPosition(`${dir}/note`), modeOf(`${dir}/note`)], [{ at: 1 }, 0o600]);
    }));
}

Deno.test("own files: one that is there is continued, and is its owner's alone from then on", () =>
  withOther((dir) => {
    const path = `${dir}/tokens.jsonl`;
    Deno.writeTextFileSync(path, "a\n");
    Deno.chmodSync(path, 0o666);
    const file = openToAppend(path);
    writeSync(file, "b\n");
    closeSync(file);
    assert.deepEqual([modeOf(path), Deno.readTextFileSync(path)], [0o600, "a\nb\n"]);
    assert.equal(isOwn(`${dir}/none`), false);
  }));

Deno.test({
  name: "own files: another user's is refused",
  // Only root can make one.
  ignore: Deno.uid() !== 0,
  fn: () =>
    withOther((dir) => {
      const path = `${dir}/tokens.jsonl`;
      Deno.writeTextFileSync(path, "theirs");
      Deno.chownSync(path, 65_534, 65_534);
      assert.throws(() => openToAppend(path), /is another user's/);
    }),
});

for (const [what, plant] of Object.entries(plants)) {
  Deno.test(`own files: no request is made with ${what} in the place of the device's key`, () =>
    withOther(async (dir) => {
      // A key that works, and that somebody else has.
      const theirs = `${dir}/theirs.pem`, key = `${dir}/key.pem`, text = newKey();
      Deno.writeTextFileSync(theirs, text);
      plant(key, theirs);
      const { code, stdout, stderr } = await runMod("csr", "dev-1", "--key", key);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, /is a link, or no file/);
      assert.equal(Deno.readTextFileSync(theirs), text);
    }));
}
