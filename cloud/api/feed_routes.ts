/**
 * Live events: `GET /api/feed`, a page of rows for polling, and `GET /api/events`, the same as server-sent events. See
 * `feed/feed.ts` for what they contain.
 *
 * @module
 */
import type { Context, Hono } from "npm:hono@^4.13.19";
import type { Feed, FeedEvent } from "../feed/feed.ts";
import type { FeedRow } from "../feed/rows.ts";
import type { Access } from "./access.ts";
import { ApiError } from "./errors.ts";
import type { OpenStreams } from "./open_streams.ts";
import { checkQuery, idOf, pageOf } from "./query.ts";

/** What the routes work on. */
export interface FeedRoutes {
  readonly feed: Feed;
  readonly now: () => number;
  readonly access: Pick<Access, "holderOf">;
  readonly streams: OpenStreams;
  /** The hello's further content, beside the feed's scope: the schema's version. */
  readonly name: string;
}

/** Types of rows that a client can request. `item` is a change with its item. */
const types = ["change", "stage", "row", "item", "kept"] as const;
type EventType = typeof types[number] | "gap";

/** The requested part of the feed. */
export interface FeedFilter {
  /** Default: all. */
  readonly on?: ReadonlySet<EventType>;
  readonly model?: string;
  /** Rows about this device, or written by it. */
  readonly device?: string;
}

/** A client polls every 10 s; a late one must not lose its place. */
const pollInterestMs = 30_000;
/** A stream of events renews its interest itself. */
const streamInterestMs = 10_000, renewMs = 4_000;
/** Proxies and browsers treat a silent stream as dead after 30 s or more. */
const heartbeatMs = 15_000;
/** Rows that wait for a slow reader; further ones become a gap. */
const waitingMax = 1_000;

const encoder = new TextEncoder();

/** Adds the routes. */
export function feedRoutes(app: Hono, { feed, now, name, access, streams }: FeedRoutes): void {
  app.get("/api/feed", (c) => {
    checkQuery(c, ["after", "limit", "on", "model", "device"]);
    const filter = filterOf(c), after = c.req.query("after"), { limit } = pageOf(c);
    // Before reading: events while nobody watched are a gap.
    feed.watch(pollInterestMs);
    const page = feed.after(after, after === undefined ? undefined : limit);
    const rows = page.rows.flatMap((row) =>
      eventsOf(row, filter).map(([type, told]) => ({ ...told, type, id: row.id }))
    );
    return c.json({ rows, next: page.next, gap: page.gap, scope: feed.scope });
  });
  app.get("/api/events", (c) => {
    checkQuery(c, ["after", "on", "model", "device"]);
    const filter = filterOf(c), after = c.req.header("last-event-id") ?? c.req.query("after");
    const { signal, free: ended } = streams.open(access.holderOf(c), c.req.raw.signal);
    const stream = eventStream(feed, { after, filter, now, hello: { schema: name }, signal, ended });
    return new Response(stream, {
      headers: {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        // For nginx: do not buffer the stream.
        "x-accel-buffering": "no",
      },
    });
  });
}

/** Options of an event stream. */
export interface EventStreamOptions {
  /** Continue after this id (`Last-Event-ID`). */
  readonly after?: string;
  readonly filter?: FeedFilter;
  readonly now: () => number;
  /** Sent at the beginning, with the feed's scope. */
  readonly hello?: object;
  /** The reader may not go on, or has gone. */
  readonly signal?: AbortSignal;
  /** Called once, however it ended. */
  readonly ended?: () => void;
}

/**
 * The feed as server-sent events, until the reader goes or the feed closes. A reader that is slower than the feed loses
 * rows, and learns how many.
 */
export function eventStream(feed: Feed, options: EventStreamOptions): ReadableStream<Uint8Array> {
  const { after, filter = {}, now, hello = {}, signal, ended } = options;
  const waiting: string[] = [];
  let lost = 0, wake: (() => void) | undefined, isOver = false;
  const push = (text: string, isRow: boolean) => {
    if (isRow && waiting.length >= waitingMax) return void lost++;
    waiting.push(text);
    wake?.();
  };
  const add = ({ id, row }: FeedEvent) => {
    for (const [type, told] of eventsOf(row, filter)) push(eventText(type, told, id), true);
  };
  feed.watch(streamInterestMs);
  push(eventText("hello", { at: now(), scope: feed.scope, ...hello }, feed.last), false);
  if (after !== undefined) {
    const { rows, gap } = feed.after(after);
    if (gap !== 0) push(eventText("gap", { at: now(), n: gap }, rows[0]?.id ?? feed.last), false);
    for (const { id, ...row } of rows) add({ id, row });
  }
  const stop = feed.listen(add);
  const renew = setInterval(() => feed.watch(streamInterestMs), renewMs);
  const heartbeat = setInterval(() => push(": \n\n", false), heartbeatMs);
  const over = () => {
    if (isOver) return;
    isOver = true;
    stop();
    offClose();
    signal?.removeEventListener("abort", leave);
    clearInterval(renew);
    clearInterval(heartbeat);
    wake?.();
    ended?.();
  };
  const leave = () => {
    push(eventText("bye", { at: now() }), false);
    over();
  };
  const offClose = feed.closing(leave);
  signal?.addEventListener("abort", leave);
  if (signal?.aborted) leave();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (waiting.length === 0 && !isOver) {
        await new Promise<void>((resolve) => wake = resolve);
        wake = undefined;
      }
      if (waiting.length > 0) {
        const gap = lost > 0 ? eventText("gap", { at: now(), n: lost }) : "";
        lost = 0;
        controller.enqueue(encoder.encode(waiting.splice(0).join("") + gap));
      } else if (isOver) controller.close();
    },
    cancel: over,
  });
}

function eventText(type: string, told: object, id?: string): string {
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(told)}\n\n`;
}

/** The events of a row for a reader: a change is also an `item`, if requested and available. */
function eventsOf(row: FeedRow, { on, model, device }: FeedFilter): [EventType, object][] {
  const wants = (type: EventType) => type === "gap" || !on || on.has(type);
  if (row.type !== "change") return isAbout(row, device) && wants(row.type) ? [[row.type, told(row)]] : [];
  if ((model !== undefined && row.model !== model) || !isAbout(row, device)) return [];
  const { item, ...change } = told(row);
  return [
    ...(wants("change") ? [["change", change] as [EventType, object]] : []),
    ...(wants("item") && item !== undefined ? [["item", { ...change, item }] as [EventType, object]] : []),
  ];
}

function told<T extends FeedRow>({ type: _type, ...rest }: T): Omit<T, "type"> {
  return rest;
}

function isAbout(row: FeedRow, device: string | undefined): boolean {
  if (device === undefined || row.type === "gap") return true;
  if (row.type === "change") return row.by === device || row.channel === `device:${device}`;
  if (row.type === "stage" && row.stage === "logged") return row.channel === `device:${device}`;
  return row.device === device;
}

function filterOf(c: Context): FeedFilter {
  const on = c.req.query("on")?.split(",").filter((type) => type !== "");
  const unknown = on?.find((type) => !types.includes(type as typeof types[number]));
  if (unknown !== undefined) {
    throw new ApiError(400, "invalid", `there is no event ${JSON.stringify(unknown)}: ${types.join(", ")} are events`);
  }
  return { on: on && new Set(on as EventType[]), model: c.req.query("model"), device: idOf(c, "device") };
}
