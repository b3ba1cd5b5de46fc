/**
 * The cloud's HTTP handler: `/healthz`, `/metrics`, the API for applications (docs/cloud.md), and what AWS and brokers
 * forward: `/stream`, `/up`, `/sync`. A function from request to response without state, so that it runs wherever `fetch`
 * does, in any number.
 *
 * @module
 */
import { type Context, Hono } from "npm:hono@^4.13.19";
import type { Channel } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import { Audit } from "../operations/audit.ts";
import { Erasure } from "../operations/erasure.ts";
import { ChannelLog } from "../sync/channel_log.ts";
import { Fleet, stateOf } from "../sync/fleet.ts";
import type { Registry } from "../sync/registry.ts";
import type { CloudService } from "../sync/service.ts";
import type { Tables } from "../table/port.ts";
import { consoleRoutes } from "../console/mod.tsx";
import type { EventHub } from "../console/event_hub.ts";
import type { Travels } from "../console/travels.ts";
import { checkBrowser } from "./browser.ts";
import { ApiError, errorResponse } from "./errors.ts";
import { listUnidentified } from "./unidentified.ts";
import type { ItemsContext } from "./items.ts";
import { itemRoutes } from "./item_routes.ts";
import { checkQuery, knownDevice, pageOf, withToken } from "./query.ts";
import { deviceRoutes } from "./device_routes.ts";
import { queryFleet } from "./devices.ts";
import type { Feed } from "../feed/feed.ts";
import { feedRoutes } from "./feed_routes.ts";
import { CloudMetrics } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import { samplesRoutes } from "./samples_routes.ts";
import { tableLacking } from "./ready.ts";
import { Intake } from "./intake.ts";
import { confirmationIn, IotDestinations } from "./iot_destination.ts";
import { addOperations, Noted } from "./operations.ts";
import { readObject } from "./request.ts";
import { type ApiToken, bearerOf, singleToken } from "./tokens.ts";

/** What a handler is made of. */
export interface HandlerOptions {
  /** What the items are. */
  readonly schema: Schema;
  /** Where they are. */
  readonly tables: Tables;
  /** Who the devices are. */
  readonly registry: Registry;
  /** The fleet in memory, for queries over all devices. Default: one that reads the registry when it is asked. */
  readonly fleet?: Fleet;
  /**
   * What happens, for `/api/feed` and `/api/events`; without it there are none.
   *
   * @internal
   */
  readonly feed?: Feed;
  /** For `/metrics`, and for `/stream`, `/up` and `/sync`; without it there are none of these. */
  readonly service?: Pick<
    CloudService,
    | "metrics"
    | "receive"
    | "refuse"
    | "fanOutParts"
    | "recordDropped"
    | "recordRefused"
    | "historyLost"
    | "requestVerify"
    | "askWhere"
    | "orders"
  >;
  /** What `/metrics` shows beside counters: the service's observer. */
  readonly metrics?: CloudMetrics;
  /** What is not reached now, a sentence each, for `/readyz`. Default: the table. */
  readonly lacking?: () => Promise<string[]>;
  /** Further counters for `/metrics`: a publisher's. */
  readonly counters?: () => Readonly<Record<string, number>>;
  /** Topic prefix of what is forwarded; default `tt`. */
  readonly prefix?: string;
  /** How long `/stream` may take before it reports what is not done as failed, ms; default 4000: an API destination of EventBridge waits 5 s. */
  readonly streamTimeoutMs?: number;
  /**
   * The bearer token that everything but `/healthz` wants. Without it the API is open, for loopback only, and `/stream`,
   * `/up` and `/sync` are closed.
   */
  readonly token?: string;
  /** In the place of `token`: several, each with what it may do and until when; asked at each request. See `tokens.ts`. */
  readonly tokens?: () => readonly ApiToken[];
  /**
   * Where the API is served without a token, on loopback: names beside `localhost` and loopback addresses under which it is
   * open (none: `[]`), and what browsers send for other pages is refused. Without it nothing is known of where it is served.
   */
  readonly hosts?: readonly string[];
  /**
   * What the console's pages hear of; without it they ask again every 10 s.
   *
   * @internal
   */
  readonly events?: EventHub;
  /**
   * Devices of this very process, for the console's page of both sides.
   *
   * @internal
   */
  readonly travels?: Travels;
  /** What the console calls the table. */
  readonly label?: string;
  /** How many days the audit keeps who did what through the API and the console; default 90. */
  readonly auditDays?: number;
  /** The cloud's clock, ms. */
  readonly now: () => number;
  /** Numbers in [0, 1), for generated ids. */
  readonly random: () => number;
}

/** Where a request came from, as `Deno.serve` tells it. */
export interface RequestInfo {
  /** Absent: not known. */
  readonly remoteAddr?: { readonly hostname?: string } | object;
}

/** Makes the handler. It never throws: an error is a response. */
export function createHandler(options: HandlerOptions): (request: Request, info?: RequestInfo) => Promise<Response> {
  const app = createApp(options);
  return async (request, info) => await app.fetch(request, { address: addressOf(info) });
}

/** The routes of {@link createHandler}. */
export function createApp(options: HandlerOptions): Hono {
  const { schema, tables, registry, service, token, hosts } = options;
  const tokens = options.tokens ?? (token === undefined ? undefined : () => singleToken(token));
  const mayForward = (c: Context) => {
    try {
      requireForwarder(c);
      return true;
    } catch (error) {
      if (error instanceof ApiError) return false;
      throw error;
    }
  };
  /** For what is never open: without a token nobody is let in. @throws ApiError 401, 403. */
  const requireForwarder = (c: Context) => {
    if (!tokens) throw new ApiError(401, "unauthorized", "this wants a bearer token, and none is configured");
    bearerOf(c.req.header("authorization"), tokens(), "forward", options.now());
  };
  const items: ItemsContext = {
    schema,
    data: tables.data,
    now: options.now,
    random: options.random,
    accountOf: async (deviceId) => (await registry.identityOf(deviceId))?.accountId,
  };
  const { now, auditDays: days } = options;
  const audit = new Audit(tables.log, { now, days }), noted = new Noted(audit);
  const erasure = new Erasure({ schema, tables, registry, now, days });
  const fleet = options.fleet ?? new Fleet({ registry, now: options.now });
  const app = new Hono();
  app.onError((error) => errorResponse(error));
  app.notFound(() => errorResponse(new ApiError(404, "not-found", "there is nothing here")));
  app.get("/healthz", (c) => c.text("ok\n"));
  const guard = async (c: Context, next: () => Promise<void>) => {
    if (!tokens && hosts) checkBrowser(c.req.raw, hosts);
    const isReading = c.req.method === "GET" || c.req.method === "HEAD";
    const scope = isReading ? "read" : "write";
    const bearer = tokens && bearerOf(c.req.header("authorization"), tokens(), scope, options.now());
    await noted.run(c, bearer, next);
  };
  app.use("/metrics", guard);
  app.use("/api/*", guard);
  const destinations = new IotDestinations(options.now);
  const intake = service && new Intake({ ...options, service });
  const metrics = options.metrics ?? new CloudMetrics({ schema: schema.version });
  metrics.add({ counters: () => ({ ...service?.metrics(), ...options.counters?.(), ...intake?.counters }) });
  app.get(
    "/metrics",
    async () => new Response(await metrics.text(), { headers: { "content-type": metrics.contentType } }),
  );
  app.get("/readyz", async (c) => {
    const lacking = await (options.lacking?.() ?? tableLacking(tables));
    return lacking.length === 0 ? c.text("ready\n") : c.text(`${lacking.join("\n")}\n`, 503);
  });
  const log = new ChannelLog(tables.log, { now: options.now, random: options.random });
  const traced = { ...items, log, fleet, askWhere: service && ((channel: Channel) => service.askWhere(channel)) };
  itemRoutes(app, traced, noted);
  app.get("/api/openapi.json", (c) => c.json(openApi(schema)));
  samplesRoutes(app, { table: tables.log, now });
  if (options.feed) feedRoutes(app, { feed: options.feed, now: options.now, name: schema.version });
  app.get("/api/unidentified", async (c) => {
    checkQuery(c, ["limit", "next"]);
    return c.json(withToken(await listUnidentified(items, pageOf(c))));
  });
  app.get("/api/devices", async (c) => {
    checkQuery(c, ["limit", "next", "q", "sort"]);
    const { limit, next } = pageOf(c);
    const q = c.req.query("q"), sort = c.req.query("sort");
    if (q === undefined && sort === undefined) return c.json(withToken(await registry.list({ limit, after: next })));
    return c.json(withToken(await queryFleet(fleet, { q, sort, limit, after: next })));
  });
  app.get("/api/devices/:device", async (c) => {
    const info = await registry.info(c.req.param("device"));
    if (!info) throw new ApiError(404, "not-found", `there is no device "${c.req.param("device")}"`);
    return c.json({ ...info, ...stateOf(info, options.now()) });
  });
  deviceRoutes(app, { registry, noted, orders: service?.orders });
  app.post("/api/devices/:device/verify", async (c) => {
    const deviceId = await knownDevice(registry, c.req.param("device"));
    const { repair = false, keysPerSecond } = await readObject(c.req.raw);
    if (typeof repair !== "boolean") throw new ApiError(400, "invalid", "repair is true or false");
    if (keysPerSecond !== undefined && !(Number.isSafeInteger(keysPerSecond) && Number(keysPerSecond) > 0)) {
      throw new ApiError(400, "invalid", "keysPerSecond is a whole number above 0");
    }
    if (!service) throw new ApiError(503, "config", "nothing is published here: a publisher is missing");
    await noted.begin(c, repair ? "device.verify and repair" : "device.verify", deviceId);
    const rate = keysPerSecond === undefined ? {} : { keysPerSecond: Number(keysPerSecond) };
    return c.json({ request: await service.requestVerify(deviceId, { repair, ...rate }) }, 202);
  });
  app.get("/api/devices/:device/verify", async (c) => {
    const report = await registry.report(await knownDevice(registry, c.req.param("device")));
    if (!report) throw new ApiError(404, "not-found", "the device has told of no verification");
    return c.json(report);
  });
  addOperations(app, { audit, erasure, noted, registry });
  for (
    const [path, take] of [
      ["/stream", "stream"],
      ["/stream/lost", "lost"],
      ["/up", "forwarded"],
      ["/sync", "forwarded"],
    ] as const
  ) {
    app.post(path, async (c) => {
      const confirmation = take === "forwarded" ? await confirmationIn(c.req.raw) : undefined;
      if (confirmation) {
        await destinations.confirm(confirmation, mayForward(c));
        return c.json({});
      }
      requireForwarder(c);
      if (!intake) throw new ApiError(503, "config", "nothing is published here: a publisher is missing");
      return await intake[take](c);
    });
  }
  const { events, travels, label } = options;
  const parts = {
    schema,
    tables,
    registry,
    fleet,
    items: traced,
    metrics,
    service,
    tokens,
    hosts,
    events,
    travels,
    label,
    audit,
    now,
  };
  app.route("/", consoleRoutes(parts));
  return app;
}

function addressOf(info: RequestInfo | undefined): string | undefined {
  const { remoteAddr } = info ?? {};
  return remoteAddr && "hostname" in remoteAddr ? remoteAddr.hostname : undefined;
}
