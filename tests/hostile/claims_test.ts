/** The door that wants no token: what strangers send to `POST /api/claim`, and to the API with wrong tokens. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createHandler } from "../../cloud/api/app.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { Audit } from "../../cloud/operations/audit.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { e2eCompiled } from "../support/schema.ts";
import { until } from "../support/until.ts";

const token = "the-operators-token", tokenOf = () => randomBytes(32).toString("base64url");

function door(options: { token?: string } = { token }) {
  const now = Date.now, tables = openEmbedded(":memory:", { schema: e2eCompiled, now, synchronous: "normal" });
  const registry = new Registry(tables.log, { now });
  const handler = createHandler({
    schema: e2eCompiled,
    tables,
    registry,
    now,
    random: Math.random,
    ...options,
    ...(options.token === undefined ? { hosts: [] } : {}),
  });
  const send = async (path: string, body: unknown, address = "203.0.113.7", headers: Record<string, string> = {}) => {
    const response = await handler(
      new Request(`http://localhost${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
      { remoteAddr: { hostname: address } },
    );
    const answer = await response.json() as Record<string, unknown> & { error?: { code: string; message: string } };
    return { status: response.status, answer, headers: response.headers };
  };
  const admin = { authorization: `Bearer ${options.token}` };
  return {
    registry,
    send,
    audit: new Audit(tables.log, { now }),
    makeCode: async (body: object) => (await send("/api/claim-codes", body, "::1", admin)).answer.code as string,
    admin,
    claim: (body: unknown, address?: string) => send("/api/claim", body, address),
    [Symbol.dispose]: () => tables.close(),
  };
}

Deno.test("claim door: an operator's code lets one device in, and nothing else wants no token", async () => {
  using here = door();
  const code = await here.makeCode({ account: "acme" }), mine = tokenOf();
  const { status, answer } = await here.claim({ code, device: "dev-1", token: mine });
  assert.deepEqual([status, answer], [200, { device: "dev-1", account: "acme" }]);
  assert.ok(await here.registry.authenticate("dev-1", mine));
  for (const path of ["/api/claim-codes", "/api/claim/", "/api/claim/x", "/api/devices/dev-1/orders"]) {
    assert.ok([401, 404].includes((await here.send(path, { account: "acme" })).status), path);
  }
});

Deno.test("claim door: codes are made by administrators alone, for ids, and not for ever", async () => {
  using here = door();
  const make = (body: object) => here.send("/api/claim-codes", body, "::1", here.admin);
  for (
    const wrong of [
      {},
      { account: "a/b" },
      { account: "acme", device: "../x" },
      { account: "acme", validSeconds: 0 },
      { account: "acme", validSeconds: 1e9 },
      { account: "acme", validSeconds: "soon" },
      { account: "acme", admin: true },
    ]
  ) assert.equal((await make(wrong)).status, 400, JSON.stringify(wrong));
  assert.equal((await make({ account: "acme", device: "dev-1", validSeconds: 60 })).status, 201);
});

Deno.test("claim door: what is no claim is refused before a code is looked up", async () => {
  using here = door();
  const code = await here.makeCode({ account: "acme" }), good = { code, device: "dev-1", token: tokenOf() };
  const wrong: unknown[] = [
    "",
    "[]",
    "null",
    "{",
    `"x"`,
    { ...good, device: "twintable/../x" },
    { ...good, code: 5 },
    { ...good, code: "x".repeat(65) },
    { ...good, csr: "both" },
    { ...good, account: "other" },
    { code, device: "dev-1" },
    { ...good, token: "short" },
    { ...good, token: { toString: "x" } },
  ];
  for (const [n, body] of wrong.entries()) {
    assert.equal((await here.claim(body, `198.51.100.${n}`)).status, 400, JSON.stringify(body));
  }
  assert.equal((await here.claim({ ...good, token: "x".repeat(20_000) }, "198.51.100.99")).status, 413);
  assert.equal((await here.claim({ code, device: "dev-1", csr: "x".repeat(9_000) }, "198.51.100.98")).status, 501);
  assert.equal((await here.claim(good)).status, 200, "the code is as good as it was");
});

Deno.test("claim door: who guesses learns nothing, takes a while, and is told to wait after ten tries", async () => {
  using here = door();
  await here.makeCode({ account: "acme", device: "dev-1" });
  const answers = new Set<string>(), begunMs = performance.now();
  for (let n = 0; n < 10; n++) {
    const { status, answer } = await here.claim({
      code: `GUESS-0000${n}-00000-00000`,
      device: "dev-1",
      token: tokenOf(),
    });
    assert.equal(status, 403);
    answers.add(JSON.stringify(answer));
  }
  assert.equal(answers.size, 1);
  assert.ok(performance.now() - begunMs > 1_400);
  const { status, headers } = await here.claim({ code: "GUESS", device: "dev-1", token: tokenOf() });
  assert.equal(status, 429);
  assert.ok(Number(headers.get("retry-after")) > 0);
  assert.equal(
    (await here.claim({ code: "GUESS", device: "dev-1", token: tokenOf() }, "203.0.113.8")).status,
    403,
    "another",
  );
});

Deno.test("claim door: a thousand guesses at once keep no device out", async () => {
  using here = door();
  const code = await here.makeCode({ account: "acme" });
  const guesses = Array.from(
    { length: 1_000 },
    (_, n) => here.claim({ code: `GUESS${n}`, device: "dev-1", token: tokenOf() }, `2001:db8:${n}::1`),
  );
  const own = tokenOf();
  await until(
    "the device is let in",
    async () => (await here.claim({ code, device: "dev-1", token: own }, "2001:db9::1")).status === 200,
  );
  const statuses = new Set((await Promise.all(guesses)).map(({ status }) => status));
  assert.deepEqual([...statuses].filter((status) => status !== 403 && status !== 503), []);
});

Deno.test("claim door: on an open API a page in somebody's browser claims nothing", async () => {
  using here = door({});
  const body = { code: "x", device: "dev-1", token: tokenOf() };
  const from = (headers: Record<string, string>) => here.send("/api/claim", body, "127.0.0.1", headers);
  assert.equal((await from({ "sec-fetch-site": "cross-site" })).status, 403);
  assert.equal((await from({ origin: "https://evil.example" })).status, 403);
  assert.equal((await from({ host: "evil.example" })).status, 421);
  assert.equal((await from({ "content-type": "text/plain" })).status, 415);
  assert.equal((await from({})).answer.error!.code, "denied");
});

Deno.test("failed sign-ins: at the API, the console and the claim door each is in the audit, and who shows nothing is not", async () => {
  using here = door();
  await here.send("/api/claim-codes", {}, "203.0.113.1", { authorization: "Bearer wrong" });
  await here.send("/api/claim-codes", {}, "203.0.113.2");
  await here.send("/up", {}, "203.0.113.3", { authorization: "Bearer wrong" });
  await here.claim({ code: "wrong", device: "dev-1", token: tokenOf() }, "203.0.113.4");
  const entries = async () => (await here.audit.list({ limit: 100 })).entries;
  await until("three are there", async () => (await entries()).length === 3);
  assert.deepEqual((await entries()).map(({ who, via, action }) => [who, via, action]).sort(), [
    ["203.0.113.1", "api", "sign-in"],
    ["203.0.113.3", "api", "sign-in"],
    ["203.0.113.4", "device", "sign-in"],
  ]);
});
