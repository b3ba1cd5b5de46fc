/**
 * The cloud's HTTP handler: `/healthz`, `/metrics`, the API for applications (docs/cloud.md), and the routes for AWS
 * and brokers: `/stream`, `/up`, `/sync`. A stateless function from request to response, so that it runs wherever
 * `fetch` does, in any number of instances.
 *
 * @module
 */
import { Hono } from "npm:hono@^4.13.19";
import type { Channel } from "../../protocol.ts";
import type { Schema } from "../../schema/model.ts";
import { Audit } from "../operations/audit.ts";
import type { FieldMetrics } from "../operations/field_metrics.ts";
import { Erasure } from "../operations/erasure.ts";
import { FailedSignIns } from "../operations/failed_sign_ins.ts";
import { clearRetained } from "../operations/retained.ts";
import { Claims, type ClaimsContext } from "../identity/claims.ts";
import type { Publisher } from "../publishers/port.ts";
import { Attention } from "../sync/attention.ts";
import { ChannelLog } from "../sync/channel_log.ts";
import { Fleet } from "../sync/fleet.ts";
import type { Registry } from "../sync/registry.ts";
import type { CloudService } from "../sync/service.ts";
import type { Tables } from "../table/port.ts";
import { consoleRoutes } from "../console/mod.tsx";
import type { EventHub } from "../console/event_hub.ts";
import type { ItemVersions } from "../console/item_versions.ts";
import type { DynamoName } from "../console/lines.ts";
import type { Travels } from "../console/travels.ts";
import type { Feed } from "../feed/feed.ts";
import { Access } from "./access.ts";
import { deviceAddRoute } from "./device_add.ts";
import { claimCodeRoutes, claimDoor } from "./claim_routes.ts";
import { deviceRoutes } from "./device_routes.ts";
import { ApiError, errorResponse } from "./errors.ts";
import { feedRoutes } from "./feed_routes.ts";
import { fleetRoutes } from "./fleet_routes.ts";
import { Intake } from "./intake.ts";
import { intakeRoutes } from "./intake_routes.ts";
import { IotDestinations } from "./iot_destination.ts";
import { itemRoutes } from "./item_routes.ts";
import { CloudMetrics } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import { OpenStreams } from "./open_streams.ts";
import { addOperations, Noted } from "./operations.ts";
import { tableLacking } from "./ready.ts";
import { samplesRoutes } from "./samples_routes.ts";
import { stateRoutes } from "./state_routes.ts";
import type { ApiToken } from "./tokens.ts";
import type { TraceContext } from "./trace.ts";

/** The options of a handler. */
export interface HandlerOptions {
  /** What the items are. */
  readonly schema: Schema;
  /** Where they are. */
  readonly tables: Tables;
  /** Who the devices are. */
  readonly registry: Registry;
  /** The fleet in memory, for queries over all devices. Default: one that reads the registry on use. */
  readonly fleet?: Fleet;
  /**
   * The feed, for `/api/feed` and `/api/events`; without it, these routes do not exist.
   *
   * @internal
   */
  readonly feed?: Feed;
  /** For `/metrics`, and for `/stream`, `/up` and `/sync`; without it, these routes do not exist. */
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
  /** What `/metrics` shows in addition to counters: the service's observer. */
  readonly metrics?: CloudMetrics;
  /**
   * What this process counted of fields and has not written, for `/api/metrics`.
   *
   * @internal
   */
  readonly fieldMetrics?: FieldMetrics;
  /** The unreachable services, a sentence each, for `/readyz`. Default: the table. */
  readonly lacking?: () => Promise<string[]>;
  /** Further counters for `/metrics`: a publisher's. */
  readonly counters?: () => Readonly<Record<string, number>>;
  /** Topic prefix of forwarded messages; default `tt`. */
  readonly prefix?: string;
  /**
   * How long `/stream` may take before it reports unfinished records as failed, ms; default 4000: an API destination of
   * EventBridge waits 5 s.
   */
  readonly streamTimeoutMs?: number;
  /**
   * The bearer token that everything except `/healthz` requires. Without it, the API is open, for loopback only, and
   * `/stream`, `/up` and `/sync` are closed.
   */
  readonly token?: string;
  /** Instead of `token`: several, each with its scopes and expiry; read at each request. See `tokens.ts`. */
  readonly tokens?: () => readonly ApiToken[];
  /**
   * If the API is served without a token, on loopback: the names, in addition to `localhost` and loopback addresses,
   * under which it is open (none: `[]`). Requests that browsers send for other pages are then refused. Absent: it is
   * unknown where the API is served.
   */
  readonly hosts?: readonly string[];
  /**
   * Events for the console's pages; without them, the pages poll every 10 s.
   *
   * @internal
   */
  readonly events?: EventHub;
  /**
   * Items' values as the feed brought them, for the console.
   *
   * @internal
   */
  readonly versions?: ItemVersions;
  /** This process's name among the samples of `GET /api/metrics`. */
  readonly worker?: string;
  /**
   * Devices of this very process, for the console's page of both sides.
   *
   * @internal
   */
  readonly travels?: Travels;
  /** The table's name in the console. */
  readonly label?: string;
  /**
   * The table's place at DynamoDB, for the console's lines to paste.
   *
   * @internal
   */
  readonly dynamo?: DynamoName;
  /** How many days the audit keeps who did what through the API and the console; default 90. */
  readonly auditDays?: number;
  /**
   * What clears a broker's retained messages of a device that is erased here; absent: a worker does.
   *
   * @internal
   */
  readonly publisher?: Pick<Publisher, "forget">;
  /**
   * What makes certificates of claim codes, and whom a claimed device is told to.
   *
   * @internal
   */
  readonly claims?: Pick<ClaimsContext, "authority" | "tellBroker">;
  /** The cloud's clock, ms. */
  readonly now: () => number;
  /** Numbers in [0, 1), for generated ids. */
  readonly random: () => number;
}

/** The origin of a request, in the form of `Deno.serve`. */
export interface RequestInfo {
  /** Absent: not known. */
  readonly remoteAddr?: { readonly hostname?: string } | object;
  /** Settles when the answer has been sent. Absent: nobody says. */
  readonly completed?: Promise<unknown>;
}

/** Creates the handler. It never throws: an error is a response. */
export function createHandler(options: HandlerOptions): (request: Request, info?: RequestInfo) => Promise<Response> {
  const app = createApp(options);
  return async (request, info) => await app.fetch(request, { address: addressOf(info) });
}

/** The routes of {@link createHandler}. */
export function createApp(options: HandlerOptions): Hono {
  const { schema, tables, registry, service, hosts, feed, now, random, auditDays: days } = options;
  const audit = new Audit(tables.log, { now, days }), noted = new Noted(audit), failed = new FailedSignIns(audit, now);
  const access = new Access({ ...options, failed }, noted);
  const fleet = options.fleet ?? new Fleet({ registry, now, attention: new Attention(tables.log, now) });
  const intake = service && new Intake({ ...options, service });
  const metrics = options.metrics ?? new CloudMetrics({ schema: schema.version });
  metrics.add({ counters: () => ({ ...service?.metrics(), ...options.counters?.(), ...intake?.counters }) });
  const accountOf = async (deviceId: string) => (await registry.identityOf(deviceId))?.accountId;
  const items: TraceContext = {
    ...{ schema, data: tables.data, now, random, accountOf, fleet, log: new ChannelLog(tables.log, { now, random }) },
    askWhere: service && ((channel: Channel) => service.askWhere(channel)),
  };
  const app = new Hono();
  app.onError((error) => errorResponse(error));
  app.notFound(() => errorResponse(new ApiError(404, "not-found", "there is nothing here")));
  const claims = new Claims({ table: tables.log, registry, audit, now, ...options.claims });
  claimDoor(app, { claims, failed, access, now });
  app.use("/metrics", access.guard);
  app.use("/api/*", access.guard);
  stateRoutes(app, { metrics, access, now, lacking: options.lacking ?? (() => tableLacking(tables)) });
  app.get("/api/openapi.json", (c) => c.json(openApi(schema)));
  itemRoutes(app, items, noted);
  samplesRoutes(app, { schema, table: tables.log, now, fieldMetrics: options.fieldMetrics });
  const streams = new OpenStreams();
  if (feed) feedRoutes(app, { feed, now, access, streams, name: schema.version });
  fleetRoutes(app, { registry, fleet, items });
  deviceAddRoute(app, { registry, noted });
  deviceRoutes(app, { registry, noted, service });
  const erasure = new Erasure({ schema, tables, registry, now, days });
  claimCodeRoutes(app, { claims, noted });
  addOperations(app, {
    ...{ audit, erasure, noted, registry },
    clearRetained: () => clearRetained({ table: tables.log, registry, publisher: options.publisher ?? {} }),
  });
  intakeRoutes(app, { access, intake, destinations: new IotDestinations(now) });
  const { events, versions, worker, travels, label, dynamo } = options, { tokens } = access;
  app.route(
    "/",
    consoleRoutes({
      ...{ schema, tables, registry, fleet, items, metrics, service, audit, erasure, failed, now },
      ...{ tokens, hosts, streams, events, versions, worker, travels, label, dynamo },
    }),
  );
  return app;
}

function addressOf(info: RequestInfo | undefined): string | undefined {
  const { remoteAddr } = info ?? {};
  return remoteAddr && "hostname" in remoteAddr ? remoteAddr.hostname : undefined;
}
