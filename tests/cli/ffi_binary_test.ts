/**
 * The binary that may load native code (`deno task compile:ffi`, `TWINTABLE_FFI_BINARY`): the drivers' contract suite, compiled with
 * its permissions, and what it may not load. The tests of encryption run their commands in it (`encryption_test.ts`,
 * `key_rotate_test.ts`).
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { compileArguments, compileOptions } from "../../build/compile.ts";
import { ffiDriver } from "../../agent/sqlite/driver_ffi.ts";
import { sqlcipher } from "../support/libraries.ts";
import { ffiBinary } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { noted } from "../support/tools.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const ignore = noted(ffiBinary && sqlcipher ? undefined : "TWINTABLE_FFI_BINARY or TWINTABLE_SQLCIPHER is not set");

async function finished(command: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd: root, env: { NO_COLOR: "1" } })
    .output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test({
  name: "ffi binary: the drivers' contract suite passes in a compiled program with its permissions",
  ignore,
  async fn() {
    using dir = new TempDir();
    const bundled = dir.file("contract.js"), program = dir.file("contract");
    const entry = "tests/agent/sqlite/contract_main.ts";
    const bundle = await finished(
      Deno.execPath(),
      "bundle",
      "--quiet",
      "--platform",
      "deno",
      "--output",
      bundled,
      entry,
    );
    assert.equal(bundle.code, 0, bundle.err);
    // The suite is told by the environment which libraries there are.
    const args = compileArguments(compileOptions(["--ffi", "--output", program]), bundled)
      .map((flag) => flag === "--ignore-env" ? "--allow-env" : flag);
    assert.ok(args.includes("--allow-ffi"));
    const made = await finished(Deno.env.get("DENO_COMPILE") ?? Deno.execPath(), ...args);
    assert.equal(made.code, 0, made.err);
    const { code, out } = await finished(program);
    assert.match(out, /\n\d{2,} passed, 0 failed\n$/);
    assert.match(out, /ok driver SQLCipher: /);
    assert.equal(code, 0);
  },
});

Deno.test({
  name: "ffi binary: narrowed to a folder, it opens encrypted files there and no other",
  ignore,
  async fn() {
    using dir = new TempDir();
    const state = dir.file("state"), program = dir.file("twintable"), key = `${state}/key`, path = `${state}/d.db`;
    Deno.mkdirSync(state);
    Deno.writeTextFileSync(key, "k");
    const flags = ["--state", state, "--broker", "127.0.0.1:1", "--output", program];
    const made = await finished(Deno.execPath(), "task", "--quiet", "compile:ffi", ...flags);
    assert.equal(made.code, 0, made.err);
    const encrypted = ffiDriver({ library: sqlcipher!, key: new TextEncoder().encode("k") })(path);
    encrypted.exec("CREATE TABLE t(x)");
    encrypted.close();
    const status = (db: string, keyFile: string) =>
      finished(program, "status", "--db", db, "--key-file", keyFile, "--sqlite-library", sqlcipher!);
    assert.match((await status(path, key)).err, /^twintable: .* is not a device database\n$/, "it was opened");
    Deno.writeTextFileSync(`${state}/other`, "another");
    assert.match((await status(path, `${state}/other`)).err, /^twintable: the key does not open .*\n$/);
    Deno.copyFileSync(path, dir.file("x.db"));
    const outside = await status(dir.file("x.db"), key);
    assert.equal(outside.code, 1);
    assert.match(outside.err, /^twintable: .*permissions forbid it\n$/);
  },
});
