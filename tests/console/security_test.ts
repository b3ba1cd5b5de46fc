/**
 * The console's doors, without a browser: sessions, sign-in, what browsers send, headers. Each refusal is of a kind, and the
 * kinds are gone through for every route that there is.
 */
import assert from "node:assert/strict";
import { createHandler, type HandlerOptions } from "../../cloud/handler.ts";
import { tokenHash } from "../../cloud/api/tokens.ts";
import { assetBytes } from "../../cloud/console/assets.ts";
import { sessionIn, sessionMs, signIn } from "../../cloud/console/session.ts";
import { ownPath } from "../../cloud/console/pages/login.tsx";
import { Registry } from "../../cloud/sync/registry.ts";
import { Fixture, schema } from "../cloud/fixture.ts";

const host = "twin.example", token = "t0ken-of-the-worker";
type Handler = ReturnType<typeof createHandler>;

function open(more: Partial<HandlerOptions> = { token }): { fixture: Fixture; handler: Handler; registry: Registry } {
  const fixture = new Fixture();
  const { tables, now, random } = fixture;
  const registry = new Registry(tables.log, { now });
  return { fixture, registry, handler: createHandler({ schema, tables, registry, now, random, ...more }) };
}

function ask(handler: Handler, path: string, init: RequestInit = {}, address = "10.0.0.1"): Promise<Response> {
  const headers = new Headers(init.headers);
  if (!headers.has("host")) headers.set("host", host);
  const url = `http://${headers.get("host")}${path}`;
  return handler(new Request(url, { redirect: "manual", ...init, headers }), { remoteAddr: { hostname: address } });
}

function formOf(fields: Record<string, string>): RequestInit {
  return {
    method: "POST",
    body: new URLSearchParams(fields).toString(),
    headers: { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin", origin: "null" },
  };
}

async function cookieOf(handler: Handler, given = token): Promise<string> {
  const response = await ask(handler, "/login", formOf({ token: given, next: "/fleet" }));
  assert.equal(response.status, 303, await response.text());
  return response.headers.get("set-cookie")!.split(";")[0]!;
}

Deno.test("console: whoever is not signed in is sent to sign in, and lands where they wanted to", async () => {
  const { handler } = open();
  const asked = await ask(handler, "/fleet?q=state:trouble&sort=-lag");
  assert.equal(asked.status, 303);
  assert.equal(asked.headers.get("location"), "/login?next=%2Ffleet%3Fq%3Dstate%3Atrouble%26sort%3D-lag");
  const signed = await ask(handler, "/login", formOf({ token, next: "/fleet?q=state:trouble&sort=-lag" }));
  assert.equal(signed.headers.get("location"), "/fleet?q=state:trouble&sort=-lag");
  const wrong = await ask(handler, "/login", formOf({ token: "wrong", next: "/fleet" }));
  assert.equal(wrong.status, 403);
  assert.match(await wrong.text(), /That is not the token/);
  assert.equal(wrong.headers.get("set-cookie"), null);
});

Deno.test("console: nobody is sent to another site, however it is written", () => {
  for (const path of ["/fleet", "/fleet?q=a:b", "/devices/d-1#rejected", "/"]) assert.equal(ownPath(path), path);
  for (
    const path of [
      "//evil.example",
      "/\\evil.example",
      "\\\\evil.example",
      "https://evil.example",
      "/\t/evil.example",
      "/a\\..\\b",
      "javascript:alert(1)",
      "/login",
      "/logout",
      "fleet",
      "/\n",
      "",
    ]
  ) {
    assert.equal(ownPath(path), "/", JSON.stringify(path));
  }
  assert.equal(ownPath(undefined), "/");
});

Deno.test("console: the cookie is HttpOnly and SameSite=Strict, on TLS Secure and __Host-, for 12 hours", async () => {
  const { handler } = open();
  const plain = (await ask(handler, "/login", formOf({ token }))).headers.get("set-cookie")!;
  assert.match(plain, /^twintable_80=[^;]+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/);
  const form = formOf({ token });
  const tls = await ask(handler, "/login", { ...form, headers: { ...form.headers, "x-forwarded-proto": "https" } });
  assert.match(
    tls.headers.get("set-cookie")!,
    /^__Host-twintable=[^;]+; Max-Age=43200; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
  );
});

Deno.test("console: the eleventh try of an address in a minute is refused, with the seconds; others may try", async () => {
  const { handler, fixture } = open();
  for (let i = 0; i < 10; i++) assert.equal((await ask(handler, "/login", formOf({ token: `${i}` }))).status, 403);
  const eleventh = await ask(handler, "/login", formOf({ token }));
  assert.equal(eleventh.status, 429);
  assert.match(await eleventh.text(), /wait 60 s/);
  assert.equal(eleventh.headers.get("retry-after"), "60");
  assert.equal((await ask(handler, "/login", formOf({ token }), "10.0.0.2")).status, 303);
  fixture.time += 61_000;
  assert.equal((await ask(handler, "/login", formOf({ token }))).status, 303);
});

Deno.test("console: a session is valid at every worker of its tokens, until its hour, and no longer than its token", () => {
  const until = 5_000_000;
  const tokens = [
    { name: "admin", hash: tokenHash("a".repeat(16)), scopes: ["admin" as const] },
    { name: "reader", hash: tokenHash("b".repeat(16)), scopes: ["read" as const], untilMs: until },
    { name: "forwarder", hash: tokenHash("c".repeat(16)), scopes: ["forward" as const] },
  ];
  const cookie = signIn("a".repeat(16), tokens, 1000)!;
  assert.equal(sessionIn(cookie, tokens, 2000)?.mayWrite, true);
  assert.equal(sessionIn(cookie, tokens, 1000 + sessionMs), undefined, "over");
  assert.equal(sessionIn(cookie, tokens.slice(1), 2000), undefined, "taken back");
  assert.equal(sessionIn(cookie, [{ ...tokens[0]!, hash: tokenHash("other") }], 2000), undefined, "replaced");
  const reader = signIn("b".repeat(16), tokens, 1000)!;
  assert.equal(sessionIn(reader, tokens, 2000)?.mayWrite, false);
  assert.equal(sessionIn(reader, tokens, 2000)?.untilMs, until);
  assert.equal(sessionIn(reader, tokens, until), undefined, "the token is over");
  assert.equal(signIn("c".repeat(16), tokens, 1000), undefined, "one that may not read");
});

Deno.test("console: a cookie that is altered anywhere, made longer, or made of the hashes alone opens nothing", () => {
  const tokens = [{ name: "t", hash: tokenHash(token), scopes: ["admin" as const] }];
  const cookie = signIn(token, tokens, 1000)!;
  assert.ok(sessionIn(cookie, tokens, 2000));
  for (let at = 0; at < cookie.length; at++) {
    const other = cookie[at] === "A" ? "B" : cookie[at] === "1" ? "2" : "A";
    // The last character of base64url has bits that mean nothing.
    if (at === cookie.length - 1) continue;
    assert.equal(sessionIn(cookie.slice(0, at) + other + cookie.slice(at + 1), tokens, 2000), undefined, `at ${at}`);
  }
  for (
    const text of [
      "",
      "open",
      cookie.slice(1),
      `${cookie}A`,
      cookie.replace(/^\d+/, "9".repeat(15)),
      cookie.slice(0, 40),
    ]
  ) {
    assert.equal(sessionIn(text, tokens, 2000), undefined, text);
  }
  // Who has the file of hashes signs in with a hash in vain.
  assert.equal(signIn(tokenHash(token), tokens, 1000), undefined);
});

const routes: readonly (readonly [method: string, path: string])[] = [
  ["GET", "/fleet"],
  ["GET", "/fleet/rows"],
  ["GET", "/fleet.csv"],
  ["GET", "/fleet/add"],
  ["POST", "/fleet/add"],
  ["POST", "/fleet/do"],
  ["GET", "/devices/d1"],
  ["GET", "/devices/d1/revoke"],
  ["GET", "/devices/d1/erase"],
  ["GET", "/devices/d1/erasure"],
  ["GET", "/devices/d1/erasure.json"],
  ["POST", "/devices/d1/sync"],
  ["POST", "/devices/d1/verify"],
  ["POST", "/devices/d1/repair"],
  ["POST", "/devices/d1/aside"],
  ["POST", "/devices/d1/erase"],
  ["POST", "/devices/d1/erasure"],
  ["GET", "/conflicts"],
  ["GET", "/conflicts/confirm"],
  ["POST", "/conflicts/do"],
  ["GET", "/rejected"],
  ["GET", "/rejected/confirm"],
  ["POST", "/rejected/do"],
  ["GET", "/jobs/j-1"],
  ["POST", "/jobs/j-1/cancel"],
  ["POST", "/devices/d1/rotate"],
  ["POST", "/devices/d1/revoke"],
  ["GET", "/data"],
  ["GET", "/data/Plain"],
  ["GET", "/data/Plain/item"],
  ["GET", "/data/Plain/new"],
  ["POST", "/data/Plain/save"],
  ["POST", "/data/Plain/delete"],
  ["POST", "/data/Plain/undo"],
  ["GET", "/console/events"],
  ["GET", "/console/find"],
  ["GET", "/console/troubles"],
  ["POST", "/console/theme"],
  ["POST", "/logout"],
];

Deno.test("console: every route wants a session; every one that changes something wants the session's form", async () => {
  const { handler } = open();
  const cookie = await cookieOf(handler);
  for (const [method, path] of routes) {
    const bare = method === "GET" ? await ask(handler, path) : await ask(handler, path, formOf({}));
    assert.equal(bare.status, method === "GET" ? 303 : 403, `${method} ${path} without a cookie`);
    if (method === "GET") continue;
    for (const form of [{}, { _form: "" }, { _form: "wrong" }] as Record<string, string>[]) {
      const init = formOf(form);
      const response = await ask(handler, path, { ...init, headers: { ...init.headers, cookie } });
      assert.equal(response.status, 403, `${method} ${path} with ${JSON.stringify(form)}`);
    }
    const text = { method, body: "{}", headers: { cookie, "content-type": "text/plain", "sec-fetch-site": "none" } };
    assert.equal((await ask(handler, path, text)).status, 400, `${method} ${path} with a text`);
  }
});

Deno.test("console: what other sites' pages send is refused on every route, cookie or not", async () => {
  for (const more of [{ token }, { hosts: [] }] as Partial<HandlerOptions>[]) {
    const { handler } = open(more);
    const own = more.token ? host : "127.0.0.1:7300";
    for (const [method, path] of routes) {
      for (
        const headers of [
          { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
          { "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" },
          ...method === "POST"
            ? [{ origin: "https://evil.example" }, { origin: "null" }, {
              "sec-fetch-site": "cross-site",
              "sec-fetch-mode": "navigate",
            }]
            : [],
        ] as Record<string, string>[]
      ) {
        const init: RequestInit = method === "POST"
          ? {
            method,
            body: "a=b",
            headers: { ...headers, host: own, "content-type": "application/x-www-form-urlencoded" },
          }
          : { headers: { ...headers, host: own } };
        const response = await ask(handler, path, init);
        assert.equal(response.status, 403, `${method} ${path} ${JSON.stringify(headers)}`);
        await response.body?.cancel();
      }
    }
  }
});

Deno.test("console: a page without TLS sends nothing to one with TLS, where the browser says no site; a proxy may end TLS", async () => {
  const { handler } = open();
  for (
    const [headers, status] of [
      [{ origin: `https://${host}`, "x-forwarded-proto": "https" }, 303],
      [{ origin: `https://${host}` }, 303],
      [{ origin: `http://${host}` }, 303],
      [{ origin: `http://${host}`, "x-forwarded-proto": "https" }, 403],
      [{ origin: `HTTP://${host}`, "x-forwarded-proto": "https, http" }, 403],
      [{ origin: `https://${host}.evil.example`, "x-forwarded-proto": "https" }, 403],
    ] as [Record<string, string>, number][]
  ) {
    const init = { ...formOf({ token }), headers: { "content-type": "application/x-www-form-urlencoded", ...headers } };
    assert.equal((await ask(handler, "/login", init)).status, status, JSON.stringify(headers));
  }
});

Deno.test("console without a token: only this machine's names and those that are configured are answered", async () => {
  const { handler } = open({ hosts: ["twin.local"] });
  for (const name of ["127.0.0.1:7300", "localhost:7300", "[::1]:7300", "twin.local", "LOCALHOST."]) {
    assert.equal((await ask(handler, "/fleet", { headers: { host: name } })).status, 200, name);
  }
  for (const name of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.9:7300"]) {
    assert.equal((await ask(handler, "/fleet", { headers: { host: name } })).status, 403, name);
    assert.equal((await ask(handler, "/", { headers: { host: name } })).status, 403, name);
  }
});

Deno.test("console: a link on another site leads in: the page asks again by itself, then with its cookie", async () => {
  const { handler } = open();
  const headers = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
  const again = await ask(handler, "/fleet?q=state:trouble", { headers });
  assert.equal(again.status, 200);
  assert.match(await again.text(), /http-equiv="refresh" content="0"/);
  const cookie = await cookieOf(handler);
  const own = { cookie, "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate" };
  assert.match(await (await ask(handler, "/fleet", { headers: own })).text(), /<h1>Fleet/);
});

Deno.test("console: a token that may only read changes nothing", async () => {
  const tokens = () => [{ name: "reader", hash: tokenHash(token), scopes: ["read" as const] }];
  const { handler, registry } = open({ tokens });
  const cookie = await cookieOf(handler);
  const page = await (await ask(handler, "/fleet/add", { headers: { cookie } })).text();
  const form = formOf({ _form: /name="_form" value="([^"]+)"/.exec(page)![1]!, device: "d-9", account: "acme" });
  const response = await ask(handler, "/fleet/add", { ...form, headers: { ...form.headers, cookie } });
  assert.equal(response.status, 403);
  assert.match(await response.text(), /may only read/);
  assert.equal(await registry.identityOf("d-9"), undefined);
});

Deno.test("console: who may write and not admin may revoke a device, and not erase it with its items", async () => {
  const tokens = () => [{ name: "writer", hash: tokenHash(token), scopes: ["read" as const, "write" as const] }];
  const { handler, registry } = open({ tokens });
  await registry.add("d-9", "acme");
  const cookie = await cookieOf(handler);
  const page = await (await ask(handler, "/devices/d-9/revoke", { headers: { cookie } })).text();
  const _form = /name="_form" value="([^"]+)"/.exec(page)![1]!;
  const send = (path: string) => {
    const form = formOf({ _form, typed: "d-9" });
    return ask(handler, path, { ...form, headers: { ...form.headers, cookie } });
  };
  const told = await (await ask(handler, "/devices/d-9/erase", { headers: { cookie } })).text();
  assert.match(told, /needs a token of scope admin/);
  for (const path of ["/devices/d-9/erase", "/devices/d-9/erasure"]) {
    const response = await send(path);
    assert.equal(response.status, 403, path);
    assert.match(await response.text(), /may not do this: it needs a token of scope admin/);
  }
  assert.ok(await registry.identityOf("d-9"));
  assert.equal((await send("/devices/d-9/revoke")).status, 303);
  assert.equal(await registry.identityOf("d-9"), undefined);
});

Deno.test("console: a device's token is shown to who may admin alone: whoever has it can act as the device", async () => {
  for (const scope of ["write", "admin"] as const) {
    const { handler, registry } = open({ tokens: () => [{ name: "one", hash: tokenHash(token), scopes: [scope] }] });
    const there = await registry.add("d-8", "acme"), cookie = await cookieOf(handler);
    const page = await (await ask(handler, "/devices/d-8/revoke", { headers: { cookie } })).text();
    const _form = /name="_form" value="([^"]+)"/.exec(page)![1]!;
    for (
      const [path, fields] of [["/fleet/add", { device: "d-9", account: "acme" }], ["/devices/d-8/rotate", {}]] as const
    ) {
      const form = formOf({ _form, ...fields });
      const response = await ask(handler, path, { ...form, headers: { ...form.headers, cookie } });
      const shown = /<code id="token">([^<]+)</.exec(await response.text())?.[1];
      assert.deepEqual([response.status, shown !== undefined], scope === "admin" ? [200, true] : [403, false], path);
    }
    assert.equal(await registry.identityOf("d-9") !== undefined, scope === "admin");
    assert.ok(await registry.admit("d-8", there), "the token is as it was, or is not replaced yet");
    const add = await (await ask(handler, "/fleet/add", { headers: { cookie } })).text();
    const device = await (await ask(handler, "/devices/d-8", { headers: { cookie } })).text();
    assert.equal(/action="\/fleet\/add"/.test(add), scope === "admin");
    assert.equal(/Rotate token/.test(device), scope === "admin");
  }
});

Deno.test("console: whoever listens to events is there before the stream is opened", async () => {
  const { handler } = open();
  const html = await (await ask(handler, "/fleet", { headers: { cookie: await cookieOf(handler) } })).text();
  const scripts = [...html.matchAll(/<script src="[^"]*\/(\w+)\.[^"]*" defer/g)].map(([, name]) => name);
  assert.deepEqual(scripts, ["base", "fleet", "htmx"]);
});

Deno.test("console: each answer says what its page may do, is kept by no cache, and sniffed by nobody", async () => {
  const { handler } = open();
  const cookie = await cookieOf(handler);
  for (
    const [path, headers] of [["/fleet", { cookie }], ["/login", {}], ["/fleet", {}], ["/console/find", {
      cookie,
    }]] as const
  ) {
    const { headers: got } = await ask(handler, path, { headers: headers as Record<string, string> });
    const policy = got.get("content-security-policy")!;
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*/);
    assert.equal(got.get("x-content-type-options"), "nosniff");
    assert.equal(got.get("referrer-policy"), "no-referrer");
    assert.equal(got.get("cross-origin-opener-policy"), "same-origin");
    assert.equal(got.get("cache-control"), "no-store");
  }
});

Deno.test("console: scripts and styles have names of their content, are kept for ever, and weigh at most 150 KB a page", async () => {
  const { handler, registry } = open({ hosts: [] });
  await registry.add("d-1", "acme");
  const headers = { host: "localhost" };
  const page = await (await ask(handler, "/fleet", { headers })).text();
  const paths = [...page.matchAll(/(?:src|href)="(\/console\/assets\/[^"]+)"/g)].map(([, path]) => path!);
  assert.ok(paths.length >= 4);
  for (const path of paths) {
    const response = await ask(handler, path, { headers });
    assert.equal(response.status, 200, path);
    assert.match(response.headers.get("cache-control")!, /immutable/);
    await response.body?.cancel();
  }
  assert.equal((await ask(handler, "/console/assets/base.000000000000.js", { headers })).status, 404);
  for (const path of ["/fleet", "/rejected", "/live", "/devices/d-1", "/metrics-view"]) {
    const loaded = await (await ask(handler, path, { headers })).text();
    const names = [...loaded.matchAll(/\/console\/assets\/(\w+)\.[\w-]+\.(js|css)"/g)].map(([, name, type]) =>
      `${name}.${type}`
    );
    assert.ok(names.length >= 4, `${path} loads ${names}`);
    assert.ok(assetBytes(names) <= 150_000, `${path} loads ${assetBytes(names)} bytes`);
  }
});

Deno.test("console: programs go on as before: bearer for the API, JSON where nothing is", async () => {
  const { handler } = open();
  const headers = { authorization: `Bearer ${token}` };
  assert.equal((await ask(handler, "/api/devices", { headers })).status, 200);
  assert.equal((await ask(handler, "/api/devices")).status, 401);
  const cookie = await cookieOf(handler);
  assert.equal(
    (await ask(handler, "/api/devices", { headers: { cookie } })).status,
    401,
    "a cookie is none for the API",
  );
  const missing = await ask(handler, "/nothing", { headers });
  assert.equal(missing.status, 404);
  assert.match(missing.headers.get("content-type")!, /json/);
});
