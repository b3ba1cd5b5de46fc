/** The token that an order brought: stored before it is shown, and the one before it until it has let the device in. */
import assert from "node:assert/strict";
import { TokenFile, tokenPath } from "../../../agent/credentials/token_file.ts";
import { TempDir } from "../../support/temp_dir.ts";

const open = (dir: TempDir, given = "given") => new TokenFile(tokenPath(dir.file("d.db")), given);

Deno.test("token file: a new token is shown at once and after a crash, and is the one in use once it has let the device in", () => {
  using dir = new TempDir();
  const tokens = open(dir);
  assert.equal(tokens.current(), "given");
  tokens.take("o/1", "first");
  assert.equal(tokens.current(), "first");
  const again = open(dir);
  assert.deepEqual([again.current(), again.outcome("o/1")], ["first", undefined]);
  again.accepted();
  assert.deepEqual([again.outcome("o/1"), open(dir).current(), open(dir).outcome("o/1")], [
    "accepted",
    "first",
    "accepted",
  ]);
  again.take("o/2", "second");
  again.accepted();
  assert.deepEqual([open(dir).current(), open(dir).outcome("o/1"), open(dir).outcome("o/2")], [
    "second",
    undefined,
    "accepted",
  ]);
  assert.equal(Deno.statSync(`${dir.file("d.db")}.token`).mode! & 0o777, 0o600);
  assert.deepEqual([...Deno.readDirSync(dir.path)].map(({ name }) => name), ["d.db.token"]);
});

Deno.test("token file: a refused token is followed by the one before it, and forgotten when that has let the device in", () => {
  using dir = new TempDir();
  const tokens = open(dir);
  tokens.take("o/1", "first");
  tokens.accepted();
  tokens.take("o/2", "second");
  assert.ok(tokens.refused());
  assert.equal(tokens.current(), "first");
  // A crash before the broker has answered: the new one is tried again.
  assert.equal(open(dir).current(), "second");
  tokens.accepted();
  assert.deepEqual([tokens.current(), tokens.outcome("o/2"), open(dir).current()], ["first", "refused", "first"]);
});

Deno.test("token file: where all are refused it begins with the first again, and the given one is among them", () => {
  using dir = new TempDir();
  const tokens = open(dir);
  tokens.take("o/1", "first");
  tokens.accepted();
  const shown = [tokens.current()];
  assert.ok(tokens.refused());
  shown.push(tokens.current());
  assert.ok(!tokens.refused());
  assert.deepEqual([...shown, tokens.current()], ["first", "given", "first"]);
});

Deno.test("token file: another given token is a newer word, and a damaged file is none", () => {
  using dir = new TempDir();
  const tokens = open(dir);
  tokens.take("o/1", "first");
  tokens.accepted();
  assert.equal(open(dir, "newer").current(), "newer");
  Deno.writeTextFileSync(`${dir.file("d.db")}.token`, '{"given":');
  assert.equal(open(dir).current(), "given");
});
