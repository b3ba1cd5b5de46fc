/**
 * What the console's pages are made of: the cloud's parts, and the person who asks.
 *
 * @module
 */
import type { Context } from "npm:hono@^4.13.19";
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { Schema } from "../../schema/model.ts";
import type { CloudMetrics } from "../api/metrics.ts";
import type { TraceContext } from "../api/trace.ts";
import type { ApiToken } from "../api/tokens.ts";
import type { Audit } from "../operations/audit.ts";
import type { Fleet } from "../sync/fleet.ts";
import type { Registry } from "../sync/registry.ts";
import type { CloudService } from "../sync/service.ts";
import type { Tables } from "../table/port.ts";
import type { EventHub } from "./event_hub.ts";
import type { Session } from "./session.ts";
import type { Travels } from "./travels.ts";

/** What the console is made of. */
export interface ConsoleOptions {
  readonly schema: Schema;
  readonly tables: Tables;
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly items: TraceContext;
  readonly metrics: CloudMetrics;
  /** Who did what by a form: noted before it is done. */
  readonly audit: Pick<Audit, "note">;
  readonly service?: Pick<CloudService, "metrics" | "requestVerify">;
  /** Who may sign in; absent: everybody who reaches it. */
  readonly tokens?: () => readonly ApiToken[];
  /** Names under which it is open where no token is wanted, beside this machine's own. */
  readonly hosts?: readonly string[];
  /** What happens, for open pages. Absent in a handler, which hears of nothing: its pages ask again. */
  readonly events?: EventHub;
  /** Devices that run in this very process, and what travels between them and the table: `dev`. */
  readonly travels?: Travels;
  /** What the table is called, beside the logo. */
  readonly label?: string;
  readonly now: () => number;
}

/** What Hono keeps for each request. */
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
  /** What the page wants to hear of: `on` of `/console/events`. */
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
  /** What is counted beside its name, and how bad that is. */
  count?(options: ConsoleOptions): { readonly number: number; readonly tone: "warn" | "bad" } | undefined;
  /** Only where that is true. */
  isThere?(options: ConsoleOptions): boolean;
}
