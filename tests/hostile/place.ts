/**
 * A cloud with one device that requests are tried on, tokens of all kinds of holders, and each route's row: who may, and a
 * request that works. Shared by the tests of routes.
 *
 * @module
 */
import { createApp } from "../../cloud/api/app.ts";
import { type ApiToken, type Scope, tokenHash } from "../../cloud/api/tokens.ts";
import { EventHub } from "../../cloud/console/event_hub.ts";
import { Travels } from "../../cloud/console/travels.ts";
import { sessionIn, signIn } from "../../cloud/console/session.ts";
import { Feed } from "../../cloud/feed/feed.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { schema } from "../cloud/api/fixture.ts";
import { Outbox } from "../cloud/fixture.ts";

export const host = "twin.example";
export const holders = ["nobody", "expired", "removed", "forward", "read", "write", "admin"] as const;
export type Holder = typeof holders[number];

/** Who may: everybody, or the scope that it takes. */
export type Need = "all" | "read" | "write" | "admin" | "forward";
/** A route. */
export interface Row {
  readonly need: Need;
  /** The status for who may; several: for each of them. 400, 404 and 504 are of what is asked for, and of nobody's rights. */
  readonly ok: number | readonly number[];
  /** Query of the request. */
  readonly query?: string;
  /** JSON, or the fields of a form. */
  readonly body?: object;
}

const item = { model: "Setting", item: { deviceId: "d1", name: "new", value: 1 } };
const key = encodeURIComponent(JSON.stringify({ deviceId: "d1", name: "load" }));
const twin = { device: "d1", model: "Setting" };
const cell = { ...twin, key: '["load"]', field: "value", value: "5" };
const kept = { table: "rejected", model: "Setting", reason: "x", all: "1" };

/** Each route of the router, as `METHOD /path`. */
export const rows: Readonly<Record<string, Row>> = {
  "POST /api/claim": { need: "all", ok: 403, body: { code: "GUESS", device: "d2", token: "x".repeat(43) } },
  "GET /healthz": { need: "all", ok: 200 },
  "GET /readyz": { need: "all", ok: 200 },
  "GET /metrics": { need: "read", ok: 200 },
  "GET /api/openapi.json": { need: "read", ok: 200 },
  "GET /api/items/history": { need: "read", ok: 200, query: `model=Setting&key=${key}` },
  "GET /api/items/where": { need: "read", ok: 200, query: `model=Setting&key=${key}` },
  "GET /api/items": { need: "read", ok: 200, query: "model=Setting&device=d1" },
  "GET /api/size": { need: "read", ok: 200 },
  "PUT /api/items": { need: "write", ok: 200, body: item },
  "DELETE /api/items": {
    need: "write",
    ok: 200,
    body: { model: "Setting", item: { deviceId: "d1", name: "load" } },
  },
  "GET /api/metrics": { need: "read", ok: 200 },
  "GET /api/metrics/series": { need: "read", ok: 200 },
  "GET /api/feed": { need: "read", ok: 200 },
  "GET /api/events": { need: "read", ok: 200 },
  "GET /api/unidentified": { need: "read", ok: 200 },
  "GET /api/devices": { need: "read", ok: 200 },
  "GET /api/devices/:device": { need: "read", ok: 200 },
  "POST /api/devices": { need: "admin", ok: 201, body: { deviceId: "d9", accountId: "acme" } },
  "POST /api/devices/:device/orders": { need: "write", ok: 202, body: { do: "rotate" } },
  "GET /api/devices/:device/orders": { need: "read", ok: 200 },
  "GET /api/devices/:device/kept": { need: "read", ok: 504 },
  "POST /api/devices/:device/verify": { need: "write", ok: 202, body: {} },
  "GET /api/devices/:device/verify": { need: "read", ok: 404 },
  "POST /api/claim-codes": { need: "admin", ok: 201, body: { account: "acme" } },
  "GET /api/audit": { need: "admin", ok: 200 },
  "DELETE /api/devices/:device": { need: "write", ok: [200, 404] },
  "GET /api/devices/:device/erasure": { need: "read", ok: 404 },
  "POST /stream": { need: "forward", ok: 200, body: [] },
  "POST /stream/lost": { need: "forward", ok: 200 },
  "POST /up": { need: "forward", ok: 400, body: { topic: "tt/d/d1/up", payload: "e30=" } },
  "POST /sync": { need: "forward", ok: 400, body: { topic: "tt/d/d1/sync", payload: "e30=" } },
  "GET /console/assets/:file": { need: "all", ok: 404 },
  "GET /": { need: "all", ok: 302 },
  "GET /login": { need: "all", ok: 200 },
  "POST /login": { need: "all", ok: 403, body: { token: "a guess" } },
  "POST /logout": { need: "read", ok: 303, body: {} },
  "POST /console/theme": { need: "read", ok: 303, body: {} },
  "GET /console/events": { need: "read", ok: 200, query: "on=fleet" },
  "GET /console/troubles": { need: "read", ok: 200 },
  "GET /fleet": { need: "read", ok: 200 },
  "GET /fleet/rows": { need: "read", ok: 200, query: "id=d1" },
  "GET /fleet/add": { need: "read", ok: 200 },
  "POST /fleet/add": { need: "admin", ok: 200, body: { device: "d9", account: "acme" } },
  "GET /fleet.csv": { need: "read", ok: 200 },
  "POST /fleet/do": { need: "write", ok: 303, body: { do: "sync", id: "d1" } },
  "GET /data": { need: "read", ok: 303 },
  "GET /data/:model": { need: "read", ok: 200, query: "device=d1" },
  "GET /data/:model/item": { need: "read", ok: 200, query: `key=${key}` },
  "GET /data/:model/far": { need: "read", ok: 200, query: `key=${key}` },
  "GET /data/:model/history": { need: "read", ok: 200, query: `key=${key}` },
  "GET /data/:model/new": { need: "read", ok: 200, query: "device=d1" },
  "POST /data/:model/save": { need: "write", ok: 400, body: {} },
  "POST /data/:model/delete": { need: "write", ok: 400, body: {} },
  "GET /data/:model/selected": { need: "read", ok: 200, query: `item=${encodeURIComponent('["d1","load"]')}` },
  "POST /data/:model/delete-selected": { need: "write", ok: 400, body: {} },
  "POST /data/:model/put-back": { need: "write", ok: 409, body: {} },
  "GET /data/:model/as-of": { need: "read", ok: 200, query: `key=${key}` },
  "GET /fleet/silence": { need: "read", ok: 200 },
  "POST /fleet/silence": { need: "write", ok: 303, body: { account: "acme", usual: "3600000" } },
  "POST /data/:model/undo": { need: "write", ok: 303, body: {} },
  "GET /live": { need: "read", ok: 200 },
  "GET /conflicts": { need: "read", ok: 200 },
  "GET /conflicts/confirm": { need: "read", ok: 400, query: "device=d1" },
  "POST /conflicts/do": { need: "write", ok: 400, body: kept },
  "GET /rejected": { need: "read", ok: 200 },
  "GET /rejected/confirm": { need: "read", ok: 400, query: "device=d1" },
  "POST /rejected/do": { need: "write", ok: 400, body: kept },
  "GET /metrics-view": { need: "read", ok: 200 },
  "GET /devices/:id": { need: "read", ok: 200 },
  "POST /devices/:id/sync": { need: "write", ok: 303, body: {} },
  "POST /devices/:id/verify": { need: "write", ok: 303, body: {} },
  "POST /devices/:id/repair": { need: "write", ok: 303, body: {} },
  "POST /devices/:id/aside": { need: "write", ok: 303, body: {} },
  "POST /devices/:id/rotate": { need: "admin", ok: 200, body: {} },
  "GET /devices/:id/revoke": { need: "read", ok: 200 },
  "POST /devices/:id/revoke": { need: "write", ok: [303, 404], body: { typed: "d1" } },
  "GET /devices/:id/erase": { need: "read", ok: 200 },
  "POST /devices/:id/erase": { need: "admin", ok: 303, body: { typed: "d1" } },
  "POST /devices/:id/erasure": { need: "admin", ok: 404, body: {} },
  "GET /devices/:id/erasure": { need: "read", ok: 404 },
  "GET /devices/:id/erasure.json": { need: "read", ok: 404 },
  "GET /jobs/:id": { need: "read", ok: 404 },
  "POST /jobs/:id/cancel": { need: "write", ok: 404, body: {} },
  "GET /console/find": { need: "read", ok: 303, query: "q=d1" },
  "GET /twin": { need: "read", ok: 200 },
  "GET /twin/lines": { need: "read", ok: 400 },
  "POST /twin/link": { need: "write", ok: 303, body: { ...twin, offline: "yes" } },
  "POST /twin/device": { need: "write", ok: 303, body: cell },
  "POST /twin/cloud": { need: "write", ok: 303, body: cell },
  "POST /twin/new": { need: "write", ok: [303, 412], body: { ...twin, side: "cloud", "field.name": "new" } },
  "POST /twin/undo": { need: "write", ok: 404, body: { ...twin, travel: "1" } },
};

/** Who may, by what a route takes. */
export const may: Readonly<Record<Need, readonly Holder[]>> = {
  all: holders,
  read: ["read", "write", "admin"],
  write: ["write", "admin"],
  admin: ["admin"],
  forward: ["forward", "admin"],
};

export const secretOf = (holder: string) => `secret-of-${holder}-${"x".repeat(20)}`;

/** A cloud with one device, and tokens of all holders. */
export class Place implements AsyncDisposable {
  readonly now = () => Date.now();
  readonly tables = openEmbedded(":memory:", { schema, now: this.now });
  readonly registry = new Registry(this.tables.log, { now: this.now });
  readonly feed = new Feed({ now: this.now, random: Math.random });
  readonly events = new EventHub();
  /** What was done to the device that `dev` has in its own process. */
  readonly done: string[] = [];
  readonly travels = new Travels({
    schema,
    devices: [{
      deviceId: "d1",
      accountId: "acme",
      path: "d1.db",
      status: () => ({ connected: true, outbox: 0, rejected: 0, conflicts: 0 }),
      pause: () => void this.done.push("pause"),
      resume: () => void this.done.push("resume"),
      items: () => ({ items: [], total: 0 }),
      waiting: () => [],
      conflicts: () => [],
      write: (sql) => void this.done.push(sql),
      watch: () => () => {},
    }],
    now: this.now,
    quiet: new Set(),
  });
  readonly app = createApp({
    ...{ schema, tables: this.tables, registry: this.registry, feed: this.feed, now: this.now, random: Math.random },
    service: new CloudService({
      ...{ schema, tables: this.tables, registry: this.registry, publisher: new Outbox() },
      ...{ now: this.now, random: Math.random },
    }),
    ...{ events: this.events, travels: this.travels },
    tokens: () => this.tokens,
  });
  readonly cookies = new Map<Holder, { cookie: string; form: string }>();
  tokens: readonly ApiToken[] = [];
  /** Texts that nobody below admin may see. */
  secrets: string[] = [];

  static async open(): Promise<Place> {
    const place = new Place(), { registry, tables, now } = place, startMs = now();
    const token = await registry.add("d1", "acme");
    const hidden = "a-hidden-property";
    await tables.data.write([{
      op: "put",
      item: {
        pk: "device#d1",
        sk: "setting#load",
        _type: "Setting",
        deviceId: "d1",
        name: "load",
        value: 3,
        secret: hidden,
      },
    }]);
    const row = (await registry.rowOf("d1"))!;
    const scopes = (holder: Holder): Scope[] =>
      holder === "expired" || holder === "removed" ? ["admin"] : [holder as Scope];
    const valid = holders.slice(1).map((holder): ApiToken => ({
      ...{ name: holder, hash: tokenHash(secretOf(holder)), scopes: scopes(holder) },
      ...(holder === "expired" ? { untilMs: startMs } : {}),
    }));
    for (const holder of holders) {
      const cookie = signIn(secretOf(holder), valid, startMs - 1_000);
      if (cookie) place.cookies.set(holder, { cookie, form: sessionIn(cookie, valid, startMs - 1_000)!.formToken });
    }
    place.tokens = valid.filter(({ name }) => name !== "removed");
    const stored = [row.token, ...String(row.mosquitto).split("$")].filter((text) => typeof text === "string");
    place.secrets = [
      token,
      hidden,
      ...stored as string[],
      ...valid.flatMap(({ name, hash }) => [secretOf(name), hash]),
    ];
    return place;
  }

  async ask(route: string, { query, body }: Row, holder: Holder): Promise<Response> {
    const [method = "", pattern = ""] = route.split(" ");
    const path = pattern.replace(":device", "d1").replace(":model", "Setting").replace(":file", "none.js")
      .replace("/jobs/:id", "/jobs/j-1").replace(":id", "d1");
    const headers = new Headers({ host, "sec-fetch-site": "same-origin" }), init: RequestInit = { method, headers };
    const isApi = /^\/(api|stream|up|sync|metrics$|healthz|readyz)/.test(path);
    const session = this.cookies.get(holder);
    if (isApi && holder !== "nobody") headers.set("authorization", `Bearer ${secretOf(holder)}`);
    if (!isApi && session) headers.set("cookie", `twintable_80=${session.cookie}`);
    if (body && isApi) init.body = JSON.stringify(body);
    if (body && !isApi) init.body = new URLSearchParams({ ...body, _form: session?.form ?? "" });
    if (isApi) headers.set("content-type", "application/json");
    return await this.app.fetch(new Request(`http://${host}${path}${query ? `?${query}` : ""}`, init), {
      address: `203.0.113.${holders.indexOf(holder)}`,
    });
  }

  /** All that is stored, but for what the audit says. */
  async stored(): Promise<string> {
    const [data, log] = await Promise.all(
      [this.tables.data, this.tables.log].map((table) => table.scan({ limit: 10_000 })),
    );
    return JSON.stringify([this.done, data!.items, log!.items.filter(({ hash }) => !String(hash).startsWith("audit"))]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Ends what goes on behind a request: jobs, an erasure.
    this.travels.close();
    this.events.close();
    this.feed.close();
    await this.tables.close();
  }
}
