/** A device's certificate and key as files: at no moment, and after no crash, does neither pair let it in. */
import assert from "node:assert/strict";
import { KeyFiles, type KeyPaths, readKeyPair } from "../../../agent/credentials/key_files.ts";
import { newKey, publicOf, requestFor } from "../../../agent/credentials/request.ts";
import { testAuthority } from "../../support/authority.ts";
import { TempDir } from "../../support/temp_dir.ts";

const dayMs = 86_400_000;
const { authority } = await testAuthority();

async function certOf(csr: string, validMs: number, device = "dev-1"): Promise<string> {
  return (await authority.certify(device, csr, validMs)).cert;
}

/** A device with its first certificate. */
async function fresh(dir: TempDir): Promise<{ paths: KeyPaths; key: string; cert: string }> {
  const paths = { cert: dir.file("d.pem"), key: dir.file("d-key.pem") }, key = newKey();
  const cert = await certOf(requestFor("dev-1", key), 10 * dayMs);
  Deno.writeTextFileSync(paths.key, key);
  Deno.writeTextFileSync(paths.cert, cert);
  return { paths, key, cert };
}

function filesIn(dir: TempDir): string[] {
  return [...Deno.readDirSync(dir.path)].map(({ name }) => name).sort();
}

Deno.test("key files: a new certificate is shown first, and takes the old one's place when it was let in", async () => {
  using dir = new TempDir();
  const { paths, key, cert } = await fresh(dir), files = new KeyFiles(paths);
  assert.deepEqual(files.current(), { cert, key });
  const csr = files.request("dev-1");
  assert.equal(publicOf(Deno.readTextFileSync(`${paths.key}.next`)) === publicOf(key), false, "the key is a new one");
  const next = await certOf(csr, 20 * dayMs);
  files.take("dev-1", next);
  assert.equal(files.current().cert, next);
  assert.equal(Deno.readTextFileSync(paths.cert), cert, "the old one is there until the new one was used");
  files.accepted();
  assert.equal(Deno.readTextFileSync(paths.cert), next);
  assert.deepEqual(files.current(), readKeyPair(paths));
  assert.equal(Deno.statSync(paths.key).mode! & 0o777, 0o600);
  assert.deepEqual(filesIn(dir), ["d-key.pem", "d.pem"], "nothing is left over");
});

Deno.test("key files: one that the broker refuses is not shown again, and the next request is of another key", async () => {
  using dir = new TempDir();
  const { paths, cert } = await fresh(dir), files = new KeyFiles(paths);
  const first = files.request("dev-1");
  files.take("dev-1", await certOf(first, 20 * dayMs));
  assert.equal(files.refused(), true);
  assert.equal(files.current().cert, cert);
  assert.equal(files.refused(), false, "there is none before it");
  files.accepted();
  assert.equal(Deno.readTextFileSync(paths.cert), cert, "what was let in is the old one");
  const second = files.request("dev-1"), next = await certOf(second, 20 * dayMs);
  await assert.rejects(async () => files.take("dev-1", await certOf(first, 20 * dayMs)), /not for the key/);
  files.take("dev-1", next);
  assert.equal(files.current().cert, next);
});

Deno.test("key files: what is asked for is asked for again with the same key, also after a crash", async () => {
  using dir = new TempDir();
  const { paths } = await fresh(dir);
  const keyOf = (csr: string) => csr.length > 0 && publicOf(Deno.readTextFileSync(`${paths.key}.next`));
  const first = keyOf(new KeyFiles(paths).request("dev-1"));
  assert.equal(keyOf(new KeyFiles(paths).request("dev-1")), first);
  // Half of it was written by something else than this.
  Deno.writeTextFileSync(`${paths.key}.next`, "-----BEGIN PRIVATE KEY-----\nMIG");
  assert.notEqual(keyOf(new KeyFiles(paths).request("dev-1")), first);
});

Deno.test("key files: an answer for another key, another device, or that ends no later is not taken", async () => {
  using dir = new TempDir();
  const { paths, cert } = await fresh(dir), files = new KeyFiles(paths);
  const csr = files.request("dev-1"), nextKey = Deno.readTextFileSync(`${paths.key}.next`);
  const other = await certOf(requestFor("dev-1", newKey()), 20 * dayMs);
  const foreign = await certOf(requestFor("dev-2", nextKey), 20 * dayMs, "dev-2");
  const short = await certOf(csr, 5 * dayMs);
  for (const wrong of [other, foreign, short, "no certificate"]) {
    assert.throws(() => files.take("dev-1", wrong), { code: "invalid" });
  }
  assert.equal(files.current().cert, cert);
  assert.deepEqual(filesIn(dir), ["d-key.pem", "d-key.pem.next", "d.pem"]);
});

Deno.test("key files: a crash after each write, and a power cut that keeps one of two renames, leaves a pair that lets in", async () => {
  const steps = ["key written", "certificate written", "certificate renamed", "key renamed alone", "both renamed"];
  for (const at of steps) {
    using dir = new TempDir();
    const { paths, cert } = await fresh(dir);
    const csr = new KeyFiles(paths).request("dev-1"), next = await certOf(csr, 20 * dayMs);
    if (at !== "key written") new KeyFiles(paths).take("dev-1", next);
    if (at === "certificate renamed" || at === "both renamed") Deno.renameSync(`${paths.cert}.next`, paths.cert);
    if (at === "key renamed alone" || at === "both renamed") Deno.renameSync(`${paths.key}.next`, paths.key);
    // Who only reads finds a pair, and changes nothing.
    const before = filesIn(dir), read = readKeyPair(paths);
    assert.equal(publicOf(read.cert), publicOf(read.key), at);
    assert.deepEqual(filesIn(dir), before, at);
    const files = new KeyFiles(paths), shown = files.current();
    assert.equal(publicOf(shown.cert), publicOf(shown.key), at);
    assert.equal(shown.cert, at === "key written" ? cert : next, at);
    files.accepted();
    const { cert: kept, key } = readKeyPair(paths);
    assert.equal(publicOf(kept), publicOf(key), at);
    assert.equal(Deno.readTextFileSync(paths.cert), shown.cert, at);
    assert.equal(publicOf(Deno.readTextFileSync(paths.key)), publicOf(shown.cert), at);
  }
});

Deno.test("key files: another pair that somebody puts in the place is shown at the next connection", async () => {
  using dir = new TempDir();
  const { paths, cert, key } = await fresh(dir), files = new KeyFiles(paths);
  const other = newKey(), next = await certOf(requestFor("dev-1", other), 30 * dayMs);
  Deno.writeTextFileSync(paths.key, other);
  assert.deepEqual(files.current(), { cert, key }, "one of two is replaced: what was read before is shown");
  Deno.writeTextFileSync(paths.cert, next);
  assert.deepEqual(files.current(), { cert: next, key: other });
});

Deno.test("key files: a key that is another certificate's is refused at the start, with its name", async () => {
  using dir = new TempDir();
  const { paths } = await fresh(dir);
  Deno.writeTextFileSync(paths.key, newKey());
  assert.throws(() => new KeyFiles(paths), /d-key\.pem is not the key of .*d\.pem/);
  Deno.removeSync(paths.key);
  assert.throws(() => new KeyFiles(paths), /d-key\.pem does not exist/);
});
