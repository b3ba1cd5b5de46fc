/** Streams of events end with the token or the session that opened them, at every worker, and their number is bounded. */
import assert from "node:assert/strict";
import { createHandler } from "../../../cloud/handler.ts";
import { type ApiToken, type Scope, tokenHash } from "../../../cloud/api/tokens.ts";
import { OpenStreams } from "../../../cloud/api/open_streams.ts";
import { EventHub } from "../../../cloud/console/event_hub.ts";
import { freshMs } from "../../../cloud/console/ended_sessions.ts";
import { sessionMs } from "../../../cloud/console/session.ts";
import { Feed } from "../../../cloud/feed/feed.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import type { Tables } from "../../../cloud/table/port.ts";
import { SyncError } from "../../../schema.ts";
import { until } from "../../support/until.ts";
import { Fixture, schema, withWrite } from "../fixture.ts";

const one = (name: string, scopes: Scope[] = ["admin"], more: Partial<ApiToken> = {}): ApiToken => ({
  ...{ name, hash: tokenHash(`secret-of-${name}`), scopes },
  ...more,
});

/** Workers over one table, with the same tokens. */
class Workers implements AsyncDisposable {
  readonly fixture = new Fixture();
  tokens: ApiToken[] = [one("a"), one("b", ["read"])];
  /** The log table is away. */
  isAway = false;
  readonly feeds: Feed[] = [];
  readonly handlers: ReturnType<typeof createHandler>[];

  constructor(count = 1) {
    const { tables, now, random } = this.fixture, registry = new Registry(tables.log, { now });
    const away = () => Promise.reject(new SyncError("unavailable", "the table is away", { retryable: true }));
    const log = withWrite(tables.log, (...args) => this.isAway ? away() : tables.log.write(...args));
    log.get = (...args) => this.isAway ? away() : tables.log.get(...args);
    const shared = Object.assign(Object.create(tables) as Tables, { log });
    this.handlers = Array.from({ length: count }, () => {
      const feed = new Feed({ now, random });
      this.feeds.push(feed);
      const tokens = () => this.tokens, events = new EventHub();
      return createHandler({ schema, tables: shared, registry, now, random, tokens, feed, events });
    });
  }

  ask(path: string, headers: Record<string, string> = {}, init: RequestInit = {}, at = 0): Promise<Response> {
    const given = new Headers({ ...init.headers as Record<string, string>, ...headers });
    given.set("host", "twin.example");
    return this.handlers[at]!(
      new Request(`http://twin.example${path}`, { redirect: "manual", ...init, headers: given }),
    );
  }

  /** A stream, and how it stands. */
  async stream(path: string, headers: Record<string, string>, at = 0, signal?: AbortSignal) {
    const response = await this.ask(path, headers, { signal }, at);
    if (response.status !== 200) return { status: response.status, text: await response.text(), ended: true };
    const stream = { status: 200, text: "", ended: false };
    const reading = async () => {
      for await (const piece of response.body!) stream.text += new TextDecoder().decode(piece);
      stream.ended = true;
    };
    reading().catch(() => stream.ended = true);
    await until("it says hello", () => stream.text.includes("hello"));
    return stream;
  }

  api(name: string, at = 0, signal?: AbortSignal) {
    return this.stream("/api/events", { authorization: `Bearer secret-of-${name}` }, at, signal);
  }

  form(fields: Record<string, string>): RequestInit {
    const headers = { "content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin" };
    return { method: "POST", body: new URLSearchParams(fields).toString(), headers };
  }

  async signIn(name: string, at = 0): Promise<string> {
    const response = await this.ask("/login", {}, this.form({ token: `secret-of-${name}` }), at);
    assert.equal(response.status, 303, await response.text());
    return response.headers.get("set-cookie")!.split(";")[0]!;
  }

  async signOut(cookie: string, at = 0): Promise<Response> {
    const page = await (await this.ask("/fleet/add", { cookie }, {}, at)).text();
    const _form = /name="_form" value="([^"]+)"/.exec(page)![1]!;
    return await this.ask("/logout", { cookie }, this.form({ _form }), at);
  }

  /** Whether a cookie opens a page. */
  async opens(cookie: string, at = 0): Promise<boolean> {
    const response = await this.ask("/devices/none", { cookie }, {}, at);
    await response.body?.cancel();
    return response.status !== 303;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const feed of this.feeds) feed.close();
    await this.fixture[Symbol.asyncDispose]();
  }
}

Deno.test("streams: one whose token is removed, expires or loses its scope ends, of the API and of the console; others go on", async () => {
  await using workers = new Workers();
  const taken: [string, (tokens: ApiToken[]) => ApiToken[]][] = [
    ["removed", ([, b]) => [b!]],
    ["expired", ([a, b]) => [{ ...a!, untilMs: workers.fixture.time }, b!]],
    ["replaced", ([a, b]) => [{ ...a!, hash: tokenHash("another") }, b!]],
    ["no longer a reader's", ([a, b]) => [{ ...a!, scopes: ["forward"] }, b!]],
  ];
  const cookie = { a: await workers.signIn("a"), b: await workers.signIn("b") }, before = workers.tokens;
  const others = [await workers.api("b"), await workers.stream("/console/events?on=fleet", { cookie: cookie.b })];
  for (const [what, change] of taken) {
    const own = [await workers.api("a"), await workers.stream("/console/events?on=fleet", { cookie: cookie.a })];
    assert.deepEqual(own.map(({ ended }) => ended), [false, false]);
    workers.tokens = change(before);
    await until(`streams end: ${what}`, () => own.every(({ ended }) => ended));
    for (const { text } of own) assert.match(text, /event: (tt:)?bye/);
    assert.notEqual((await workers.api("a")).status, 200);
    workers.tokens = before;
  }
  assert.deepEqual(others.map(({ ended }) => ended), [false, false]);
});

Deno.test("streams: signing out ends a session for every copy of its cookie, at every worker, and no other session", async () => {
  await using workers = new Workers(2);
  const cookie = await workers.signIn("a"), other = await workers.signIn("a");
  // The last letter of base64url has bits that mean nothing: the same session by another text.
  const last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".indexOf(cookie.at(-1)!);
  const spellings = [
    cookie,
    `${cookie}A`,
    `${cookie}AA`,
    ..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
  ]
    .map((end) => end.length > 2 ? end : cookie.slice(0, -1) + end);
  const open = [];
  for (const spelling of spellings) if (await workers.opens(spelling)) open.push(spelling);
  assert.ok(last >= 0 && open.includes(cookie));
  const streams = [0, 1].map((at) => workers.stream("/console/events?on=fleet", { cookie }, at));
  const [here, there] = await Promise.all(streams),
    kept = await workers.stream("/console/events", { cookie: other }, 1);
  assert.equal((await workers.signOut(cookie)).status, 303);
  for (const spelling of open) assert.ok(!await workers.opens(spelling), "at the worker that was asked, at once");
  workers.fixture.time += freshMs;
  for (const spelling of open) assert.ok(!await workers.opens(spelling, 1), "at the other one");
  await until("its streams end at both", () => here!.ended && there!.ended);
  assert.ok(await workers.opens(other) && await workers.opens(other, 1));
  assert.equal(kept.ended, false);
  // A worker that is started later knows as much, and an entry goes when its session would be over by itself.
  const { items } = await workers.fixture.tables.log.scan({ limit: 100 });
  const [entry, ...more] = items.filter(({ hash }) => String(hash).startsWith("session#"));
  assert.deepEqual([more, Number(entry!.expires)], [
    [],
    Math.ceil((workers.fixture.time - freshMs + sessionMs) / 1000),
  ]);
  assert.ok(!cookie.includes(String(entry!.sort)));
});

Deno.test("streams: while the table is away sessions go on where they are known, and signing out says what it could not do", async () => {
  await using workers = new Workers(2);
  const cookie = await workers.signIn("a");
  assert.ok(await workers.opens(cookie, 1));
  workers.isAway = true;
  const fresh = await workers.signIn("a");
  workers.fixture.time += freshMs;
  assert.deepEqual([await workers.opens(cookie), await workers.opens(cookie, 1), await workers.opens(fresh)], [
    true,
    true,
    true,
  ]);
  const page = await (await workers.ask("/console/find", { cookie: fresh }, {}, 1)).text();
  assert.match(page, /be reached/, "unknown there: it might have been ended");
  const out = await workers.signOut(cookie);
  assert.equal(out.status, 503);
  assert.match(await out.text(), /Other workers could not be told/);
  assert.match(out.headers.get("set-cookie")!, /Max-Age=0/);
  assert.ok(!await workers.opens(cookie), "at this one it is over");
});

Deno.test("streams: a token's number is bounded, and so is that of all; one that ends, or whose client goes, makes room", async () => {
  await using workers = new Workers();
  const clients = Array.from({ length: 100 }, () => new AbortController());
  const cookie = await workers.signIn("a");
  for (const [at, { signal }] of clients.entries()) {
    const opened = at % 2
      ? await workers.api("a", 0, signal)
      : await workers.stream("/console/events", { cookie }, 0, signal);
    assert.equal(opened.status, 200, `${at}`);
  }
  assert.equal((await workers.api("a")).status, 503);
  assert.equal((await workers.stream("/console/events", { cookie })).status, 503);
  assert.equal((await workers.api("b")).status, 200, "another token's");
  clients[7]!.abort();
  assert.equal((await workers.api("a")).status, 200);
});

Deno.test("streams: no token keeps another's out, and all together are bounded", () => {
  const streams = new OpenStreams({ perHolder: 2, all: 5 }), never = new AbortController().signal;
  const holder = (name: string) => ({ name, stands: () => true });
  const places = ["a", "a", "b", "b", "c"].map((name) => streams.open(holder(name), never));
  for (const name of ["a", "b", "c", "d"]) assert.throws(() => streams.open(holder(name), never), /too many streams/);
  places[0]!.free();
  places[0]!.free();
  assert.throws(() => streams.open(holder("b"), never), /too many/);
  places.push(streams.open(holder("d"), never));
  const gone = new AbortController();
  places[1]!.free();
  const left = streams.open(holder("a"), gone.signal);
  gone.abort();
  assert.ok(left.signal.aborted);
  for (const { free } of [...places, left]) free();
  assert.equal(streams.size, 0);
});
