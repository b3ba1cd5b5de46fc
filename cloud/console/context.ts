/**
 * The context of the console's pages: the cloud's parts, and the signed-in person.
 *
 * @module
 */
import type { Context } from "npm:hono@^4.13.19";
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { Schema } from "../../schema/model.ts";
import type { CloudMetrics } from "../api/metrics.ts";
import type { OpenStreams } from "../api/open_streams.ts";
import type { TraceContext } from "../api/trace.ts";
import type { ApiToken } from "../api/tokens.ts";
import type { Audit } from "../operations/audit.ts";
import type { Erasure } from "../operations/erasure.ts";
import type { FailedSignIns } from "../operations/failed_sign_ins.ts";
import type { Fleet } from "../sync/fleet.ts";
import type { Registry } from "../sync/registry.ts";
import type { CloudService } from "../sync/service.ts";
import type { Tables } from "../table/port.ts";
import type { EventHub } from "./event_hub.ts";
import type { ItemVersions } from "./item_versions.ts";
import type { DynamoName } from "./lines.ts";
import type { Session } from "./session.ts";
import type { Travels } from "./travels.ts";

/** The options of the console. */
export interface ConsoleOptions {
  readonly schema: Schema;
  readonly tables: Tables;
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly items: TraceContext;
  readonly metrics: CloudMetrics;
  /** The audit, in which forms' acts are noted before they are done. */
  readonly audit: Pick<Audit, "note">;
  /** Is told of whoever can't sign in. */
  readonly failed: Pick<FailedSignIns, "failed">;
  readonly service?: Pick<CloudService, "metrics" | "requestVerify" | "orders" | "askWhere">;
  /** Takes devices out with all that is theirs. */
  readonly erasure: Pick<Erasure, "run" | "state">;
  /** Who may sign in; absent: everybody who reaches it. */
  readonly tokens?: () => readonly ApiToken[];
  /** Names, in addition to this machine's own, under which it is open if no token is required. */
  readonly hosts?: readonly string[];
  /** The open streams, the API's among them. */
  readonly streams: OpenStreams;
  /** Events for open pages. Absent in a handler, which receives none: its pages poll. */
  readonly events?: EventHub;
  /** Items' values as the feed brought them. Absent in a handler. */
  readonly versions?: ItemVersions;
  /** This worker's name among the samples. Absent in a handler, which takes none. */
  readonly worker?: string;
  /** Devices that run in this very process, and what travels between them and the table: `dev`. */
  readonly travels?: Travels;
  /** The table's name, beside the logo. */
  readonly label?: string;
  /** Its place at DynamoDB. */
  readonly dynamo?: DynamoName;
  readonly now: () => number;
}

/** What Hono stores for each request. */
export interface ConsoleEnv {
  // deno-lint-ignore ban-types
  Bindings: { readonly address?: string } & {};
  Variables: { session: Session };
}
export type PageContext = Context<ConsoleEnv>;

/** A page, as its function describes it; `layout.tsx` puts it together. */
export interface Page {
  readonly title: string;
  readonly body: Child;
  /** The page's topics: `on` of `/console/events`. */
  readonly on?: string;
  /** Files of `assets/` beside `base.js`. */
  readonly scripts?: readonly string[];
  readonly status?: 200 | 400 | 403 | 404 | 409 | 412 | 429 | 500 | 503;
}

/** A page of the navigation. */
export interface PageLink {
  readonly name: string;
  readonly path: string;
  /** `g` and this key lead there. */
  readonly key: string;
  /** The number beside its name, and its severity. */
  count?(options: ConsoleOptions): { readonly number: number; readonly tone: "warn" | "bad" } | undefined;
  /** Only where that is true. */
  isThere?(options: ConsoleOptions): boolean;
}
