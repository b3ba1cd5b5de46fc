/** The API without a token is this machine's programs', not its browser's pages'. */
import assert from "node:assert/strict";
import { createHandler } from "../../cloud/handler.ts";
import { readBody } from "../../cloud/api/request.ts";
import { startCloud } from "../../cloud/worker.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { Fixture, schema } from "./fixture.ts";

async function handlerOf(fixture: Fixture, more: { token?: string; hosts?: string[] } = {}) {
  const { tables, now, random } = fixture;
  const registry = new Registry(tables.log, { now });
  await registry.add("d1", "acme");
  return createHandler({ schema, tables, registry, now, random, hosts: [], ...more });
}

type Case = [what: string, method: string, headers: Record<string, string>, status: number];
const json = { "content-type": "application/json" };
const local = { host: "127.0.0.1:7300" };

const cases: Case[] = [
  ["a program", "GET", local, 200],
  ["a program by another port", "GET", { host: "localhost:1" }, 200],
  ["a program by IPv6", "GET", { host: "[::1]:7300" }, 200],
  ["a program that writes JSON", "PUT", { ...local, ...json }, 200],
  ["the console's own page", "PUT", {
    ...local,
    ...json,
    origin: "http://127.0.0.1:7300",
    "sec-fetch-site": "same-origin",
  }, 200],
  ["an address that was typed", "GET", { ...local, "sec-fetch-site": "none" }, 200],
  ["a configured name", "GET", { host: "Twin.Example:443" }, 200],
  ["a name that was rebound", "GET", { host: "evil.example" }, 421],
  ["a name that was rebound, with our port", "GET", { host: "evil.example:7300" }, 421],
  ["a name that begins as ours", "GET", { host: "127.0.0.1.evil.example" }, 421],
  ["a name with ours in it", "GET", { host: "localhost.evil.example" }, 421],
  ["a name after our address", "GET", { host: "[::1].evil.example" }, 421],
  ["a name at our address", "GET", { host: "[::1]evil.example" }, 421],
  ["a name after our port", "GET", { host: "localhost:80@evil.example" }, 421],
  ["two names", "GET", { host: "127.0.0.1:7300, evil.example" }, 421],
  ["an odd port", "GET", { host: "localhost:evil.example" }, 421],
  ["no port", "GET", { host: "localhost:" }, 421],
  ["an address of anywhere", "GET", { host: "0.0.0.0:7300" }, 421],
  ["a name with a user", "GET", { host: "127.0.0.1@evil.example" }, 421],
  ["no name", "GET", { host: "" }, 421],
  ["a page of another site", "GET", { ...local, "sec-fetch-site": "cross-site" }, 403],
  ["a page of a sibling", "GET", { ...local, "sec-fetch-site": "same-site" }, 403],
  ["a page of another origin", "PUT", { ...local, ...json, origin: "https://evil.example" }, 403],
  ["a page of another port", "PUT", { ...local, ...json, origin: "http://127.0.0.1:8080" }, 403],
  ["a page of no origin", "PUT", { ...local, ...json, origin: "null" }, 403],
  ["a form", "PUT", { ...local, "content-type": "application/x-www-form-urlencoded" }, 415],
  ["a text", "PUT", { ...local, "content-type": "text/plain;charset=UTF-8" }, 415],
  ["a text that ends as JSON", "PUT", { ...local, "content-type": "text/plain; application/json" }, 415],
  ["JSON with its charset", "PUT", { ...local, "content-type": "Application/JSON; charset=utf-8" }, 200],
];

Deno.test("api without a token: of a browser's requests only its own pages' are answered", async () => {
  await using fixture = new Fixture();
  const handler = await handlerOf(fixture, { hosts: ["twin.example"] });
  for (const [what, method, headers, status] of cases) {
    const body = method === "GET" ? undefined : JSON.stringify({ model: "Plain", item: { deviceId: "d1", id: "x" } });
    // Request objects may not carry these headers in browsers; here they are what a client sent.
    const request = new Request("http://127.0.0.1:7300/api/items?model=Plain", { method, body });
    const sent = new Headers(headers);
    Object.defineProperty(request, "headers", { value: sent });
    const url = method === "GET" ? request.url : "http://127.0.0.1:7300/api/items";
    Object.defineProperty(request, "url", { value: url });
    assert.equal((await handler(request)).status, status, what);
  }
});

Deno.test("api without a token: a page elsewhere can't have a device verified or counted", async () => {
  await using fixture = new Fixture();
  const handler = await handlerOf(fixture);
  const post = new Request("http://127.0.0.1:7300/api/devices/d1/verify", { method: "POST", body: '{"repair":true}' });
  assert.equal((await handler(post)).status, 415);
  assert.equal((await handler(new Request("http://evil.example/metrics"))).status, 421);
});

Deno.test("api: with a token it is the token that counts, and an empty one is none", async () => {
  await using fixture = new Fixture();
  const handler = await handlerOf(fixture, { token: "secret" });
  const request = (token?: string) =>
    new Request("http://twin.example/api/devices", {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
  assert.equal((await handler(request("secret"))).status, 200);
  for (const wrong of [undefined, "", "secre", "secret2"]) assert.equal((await handler(request(wrong))).status, 401);
  await using open = new Fixture();
  const careless = await handlerOf(open, { token: "" });
  for (const given of [undefined, "", "x"]) assert.equal((await careless(request(given))).status, 401);
  await using cloud = await startCloud({ schema, table: "embedded::memory:" });
  await assert.rejects(() => cloud.serveHttp({ token: "" }), TypeError);
  await assert.rejects(() => cloud.serveHttp({ token: "", host: "0.0.0.0" }), TypeError);
});

Deno.test("api: what goes wrong inside is told without paths, tables or addresses", async () => {
  await using fixture = new Fixture();
  const { tables, now, random } = fixture;
  const secret = "dynamodb://t?endpoint=http://user:hunter2@host /var/lib/cloud.db";
  const away = {
    ...tables.data,
    query: () => Promise.reject(new Error(secret)),
    scan: () => Promise.reject(new Error(secret)),
  };
  const registry = new Registry(tables.log, { now });
  const handler = createHandler({
    schema,
    tables: { ...tables, data: away as unknown as typeof tables.data },
    registry,
    now,
    random,
  });
  const response = await handler(new Request("http://localhost/api/items?model=Plain"));
  assert.equal(response.status, 500);
  assert.ok(!/hunter2|cloud\.db/.test(await response.text()));
});

Deno.test("api: a body that does not come is not waited for", async () => {
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(10)) });
  const request = new Request("http://localhost/", { method: "PUT", body });
  await assert.rejects(readBody(request, 100, 50), { status: 408 });
});
