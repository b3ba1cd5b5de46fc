/** API tokens: several at a time, each for what its scopes say, until it expires; rotated without a restart. */
import assert from "node:assert/strict";
import { openTokens } from "../../cloud/api/tokens_file.ts";
import { type ApiToken, type Scope, tokenHash, tokensOf } from "../../cloud/api/tokens.ts";
import { createHandler } from "../../cloud/handler.ts";
import { readHandlerConfig } from "../../cloud/handler_config.ts";
import { signIn } from "../../cloud/console/session.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { SyncError } from "../../schema.ts";
import { until } from "../support/until.ts";
import { Fixture, schema } from "./fixture.ts";

const token = (name: string, scopes: Scope[], untilMs?: number): ApiToken => ({
  name,
  hash: tokenHash(`secret-of-${name}`),
  scopes,
  ...(untilMs === undefined ? {} : { untilMs }),
});

Deno.test("api tokens: each opens what its scopes say, and nothing else", async () => {
  await using fixture = new Fixture();
  const { tables, now, random } = fixture;
  const registry = new Registry(tables.log, { now });
  const tokens = [
    token("r", ["read"]),
    token("w", ["write"]),
    token("f", ["forward"]),
    token("a", ["admin"]),
    token("rf", ["read", "forward"]),
  ];
  const handler = createHandler({ schema, tables, registry, now, random, tokens: () => tokens });
  const put = { method: "PUT", body: JSON.stringify({ model: "Plain", item: { deviceId: "d1", id: "x" } }) };
  const requests: [string, string, RequestInit][] = [
    ["read", "/api/devices", {}],
    ["read", "/metrics", {}],
    ["write", "/api/items", put],
    // 503: let in, and nothing is published here.
    ["forward", "/stream", { method: "POST", body: "[]" }],
    ["forward", "/up", { method: "POST", body: "{}" }],
  ];
  const may: Record<string, string[]> = {
    r: ["read"],
    w: ["read", "write"],
    f: ["forward"],
    a: ["read", "write", "forward"],
    rf: ["read", "forward"],
  };
  for (const [scope, path, init] of requests) {
    const status = async (bearer: string) =>
      (await handler(new Request(`http://cloud${path}`, { ...init, headers: { authorization: bearer } }))).status;
    for (const [name, scopes] of Object.entries(may)) {
      const got = await status(`Bearer secret-of-${name}`);
      assert.equal(got === 403, !scopes.includes(scope), `${name} ${path}: ${got}`);
      assert.notEqual(got, 401);
    }
    for (const wrong of ["", "Bearer ", "Bearer secret-of-x", "Basic secret-of-a", `Bearer ${tokens[3]!.hash}`]) {
      assert.equal(await status(wrong), 401, wrong);
    }
  }
});

Deno.test("api tokens: nothing is no token, though its hash is in the list", async () => {
  await using fixture = new Fixture();
  const { tables, now, random } = fixture;
  const registry = new Registry(tables.log, { now });
  const nothing: ApiToken = { name: "unset", hash: tokenHash(""), scopes: ["admin"] };
  const handler = createHandler({ schema, tables, registry, now, random, tokens: () => [nothing] });
  for (const authorization of [undefined, "", "Bearer", "Bearer ", "Bearer  ", "Basic x"]) {
    const headers: HeadersInit = authorization === undefined ? {} : { authorization };
    for (const path of ["/api/devices", "/metrics", "/api/audit"]) {
      assert.equal((await handler(new Request(`http://cloud${path}`, { headers }))).status, 401, `${authorization}`);
    }
  }
  assert.equal(signIn("", [nothing], now()), undefined);
});

Deno.test("api tokens: one that has expired opens nothing, and the next one does", async () => {
  await using fixture = new Fixture();
  const { tables, now, random } = fixture;
  const registry = new Registry(tables.log, { now });
  let tokens = [token("old", ["admin"], fixture.time + 1_000), token("new", ["admin"])];
  const handler = createHandler({ schema, tables, registry, now, random, tokens: () => tokens });
  const status = async (name: string) =>
    (await handler(new Request("http://cloud/api/devices", { headers: { authorization: `Bearer secret-of-${name}` } })))
      .status;
  assert.deepEqual([await status("old"), await status("new")], [200, 200]);
  fixture.time += 1_000;
  assert.deepEqual([await status("old"), await status("new")], [401, 200]);
  tokens = [];
  assert.equal(await status("new"), 401);
});

Deno.test("api tokens: a file's mistakes are named without their tokens", () => {
  const good = { name: "a", sha256: tokenHash("x"), scopes: ["read"] };
  assert.equal(
    tokensOf([good, { name: "b", token: "a long enough secret", scopes: ["admin"], expires: "2027-01-01" }], "f")
      .length,
    2,
  );
  const secret = "hunter2hunter2hunter2";
  for (
    const list of [
      {},
      [null],
      [{ ...good, name: "" }],
      [good, good],
      [{ ...good, more: 1 }],
      [{ name: "a", scopes: ["read"] }],
      [{ ...good, token: secret }],
      [{ name: "a", token: "short", scopes: ["read"] }],
      [{ ...good, sha256: "zz" }],
      [{ ...good, sha256: tokenHash("") }],
      [{ name: "a", token: secret, scopes: [] }],
      [{ name: "a", token: secret, scopes: ["root"] }],
      [{ name: "a", token: secret, scopes: ["read"], expires: "soon" }],
    ]
  ) {
    assert.throws(() => tokensOf(list, "f"), (error: Error & { code?: string }) => {
      assert.equal(error.code, "config");
      assert.ok(!error.message.includes(secret));
      return true;
    });
  }
});

Deno.test("api tokens: a file that changes is read again, and a broken one changes nothing", async () => {
  const file = await Deno.makeTempFile();
  const entry = (name: string) => ({ name, sha256: tokenHash(name), scopes: ["read"] });
  await Deno.writeTextFile(file, JSON.stringify([entry("one")]));
  const tokens = await openTokens(file);
  assert.deepEqual(tokens().map(({ name }) => name), ["one"]);
  await Deno.writeTextFile(file, JSON.stringify([entry("one"), entry("two")]));
  await until("it is read again", () => tokens().length === 2);
  await Deno.writeTextFile(file, "[");
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  tokens();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(tokens().length, 2);
  await Deno.writeTextFile(file, "[]");
  await until("none is left", () => tokens().length === 0);
  await Deno.remove(file);
  await assert.rejects(openTokens(file), /can't be read/);
});

Deno.test("api tokens: a handler has one, several, or a file of them that it reads again", async () => {
  const dir = await Deno.makeTempDir();
  const schemaFile = `${dir}/schema.json`, file = `${dir}/tokens.json5`;
  await Deno.writeTextFile(schemaFile, JSON.stringify(schema.source));
  const config = (more: Record<string, string>) => {
    const env: Record<string, string> = {
      TWINTABLE_SCHEMA: schemaFile,
      TWINTABLE_TABLE: `embedded:${dir}/cloud.db`,
      ...more,
    };
    return readHandlerConfig((name) => env[name]);
  };
  const names = ({ tokens }: { tokens: () => readonly ApiToken[] }) => tokens().map(({ name }) => name);
  const entry = (name: string) => ({ name, sha256: tokenHash(name), scopes: ["read"] });
  assert.deepEqual(names(await config({ TWINTABLE_TOKEN: "secret" })), ["token"]);
  assert.deepEqual(names(await config({ TWINTABLE_TOKENS: JSON.stringify([entry("a"), entry("b")]) })), ["a", "b"]);
  await Deno.writeTextFile(file, JSON.stringify([entry("one")]));
  const read = await config({ TWINTABLE_TOKENS: file });
  assert.deepEqual(names(read), ["one"]);
  await Deno.writeTextFile(file, JSON.stringify([entry("one"), entry("two")]));
  await until("it is read again", () => names(read).length === 2);
  const secret = "a-secret-that-stands-in-the-list";
  for (
    const wrong of [
      {},
      { TWINTABLE_TOKEN: "x", TWINTABLE_TOKENS: "[]" },
      { TWINTABLE_TOKENS: `[{"name":"x","token":"${secret}"` },
      { TWINTABLE_TOKENS: `[{"name":"x","token":"${secret}"}]` },
      { TWINTABLE_TOKENS: `${dir}/missing` },
    ]
  ) {
    await assert.rejects(config(wrong as Record<string, string>), (error) => {
      assert.ok(error instanceof SyncError && error.code === "config");
      return !String(error).includes(secret) && !String(error.cause).includes(secret);
    });
  }
});
