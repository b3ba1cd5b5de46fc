/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The console: pages for people, beside the API for programs. Served by a worker and by a handler, at `/`.
 *
 * Each page is a function from a request to a description of it (`pages/`); `doors.tsx` signs people in and checks what
 * browsers send, and `layout.tsx` puts pages together. All text is escaped by JSX: there is no other way into a page.
 *
 * @module
 */
import { Hono } from "npm:hono@^4.13.19";
import { ApiError } from "../api/errors.ts";
import { assetAt } from "./assets.ts";
import type { ConsoleEnv, ConsoleOptions, Page, PageContext } from "./context.ts";
import { themeOf } from "./cookies.ts";
import { checkForm, checkMay, doorsOf, mountDoors } from "./doors.tsx";
import { formOf } from "./forms.ts";
import { Jobs } from "./jobs.ts";
import { document, Troubles } from "./layout.tsx";
import { tellOfOrders } from "./order_events.ts";
import { pageModules } from "./pages/index.ts";
import { errorPage } from "./pages/error.tsx";
import type { Session } from "./session.ts";
import { Standings } from "./standing.ts";
import { eventStream } from "./event_stream.ts";

/** What a page module needs to add its routes. */
export interface Routes {
  /** A page, or a part of one if `htmx` requests it (`HX-Target`'s id is `part`). */
  page(path: string, show: (c: PageContext) => Page | Response | Promise<Page | Response>): void;
  /**
   * What a form or `htmx` sends: checked against the session's token, and that it may write; `admin` for whatever shows a
   * secret or can't be undone.
   */
  action(
    path: string,
    take: (c: PageContext, form: FormData) => Page | Response | Promise<Page | Response>,
    scope?: "write" | "admin",
  ): void;
  /** What takes longer than a request. */
  readonly jobs: Jobs;
  /** How the cloud does. */
  readonly standings: Standings;
  readonly options: ConsoleOptions;
}

/** The console's routes. */
export function consoleRoutes(options: ConsoleOptions): Hono<ConsoleEnv> {
  const app = new Hono<ConsoleEnv>();
  if (options.events && options.service) tellOfOrders(options.service.orders, options.events);
  const links = pageModules.flatMap(({ link }) => !link || link.isThere?.(options) === false ? [] : [link]);
  const standings = new Standings(options.tables.log, options.now);
  const show = async (c: PageContext, page: Page | Response, session?: Session, after?: string) => {
    if (page instanceof Response) return page;
    const path = new URL(c.req.url).pathname, troubles = session ? (await standings.read()).troubles : [];
    return c.html(document(page, { options, links, path, session, theme: themeOf(c), after, troubles }), page.status);
  };
  app.onError((error, c) => show(c, errorPage(error, c.req.path), c.get("session")));

  const doors = doorsOf(options), { guarded, signedIn } = doors;
  app.get("/console/assets/:file", guarded, (c) => {
    const asset = assetAt(c.req.path);
    if (!asset) throw new ApiError(404, "not-found", "There is no such file.");
    c.header("cache-control", "public, max-age=31536000, immutable");
    return c.body(asset.text, 200, { "content-type": asset.type });
  });
  app.get("/", guarded, (c) => c.redirect(options.travels ? "/twin" : "/fleet", 302));
  mountDoors(app, options, doors, show);
  app.get("/console/events", guarded, signedIn, (c) => openEvents(c, options, () => doors.stands(c)));

  app.get("/console/troubles", guarded, signedIn, async (c) => {
    return c.html(<Troubles troubles={(await standings.read()).troubles} />);
  });

  const routes: Routes = {
    options,
    jobs: new Jobs(options),
    standings,
    page: (path, make) => {
      app.get(path, guarded, signedIn, async (c) => {
        // Before the page is made: events until its stream is open are sent then.
        const after = options.events && `${options.events.life}-${options.events.seq}`;
        return await show(c, await make(c), c.get("session"), after);
      });
    },
    action: (path, take, scope = "write") => {
      app.post(path, guarded, signedIn, async (c) => {
        const form = await formOf(c), session = c.get("session");
        checkForm(form, session);
        checkMay(session, scope);
        await options.audit.note({ who: session.name, via: "console", action: c.req.path, target: targetOf(form) });
        return await show(c, await take(c, form), session);
      });
    },
  };
  for (const { mount } of pageModules) mount(routes);
  return app;
}

/** Topics that one page asks for at most. */
const topicsMax = 200;

/** A page's stream of events. @throws ApiError 404 where there are none, 503 where too many are open */
function openEvents(c: PageContext, { events, streams }: ConsoleOptions, stands: () => Promise<boolean>): Response {
  if (!events) throw new ApiError(404, "not-found", "There are no events here: ask again.");
  const topics = (c.req.query("on") ?? "").split(",").filter((topic) => topic !== "").slice(0, topicsMax);
  const lastEventId = c.req.header("last-event-id") ?? c.req.query("after");
  const { signal, free: ended } = streams.open({ name: c.get("session").name, stands }, c.req.raw.signal);
  return c.body(eventStream({ hub: events, topics, lastEventId, signal, ended }), 200, {
    "content-type": "text/event-stream; charset=utf-8",
    // nginx would buffer events otherwise.
    "x-accel-buffering": "no",
  });
}

/** The form's fields that name a target; contents and secrets have other names. */
const named: readonly string[] = [
  "do",
  "device",
  "id",
  "account",
  "usual",
  "model",
  "key",
  "all",
  "q",
  "repair",
  "table",
  "kept",
];

function targetOf(form: FormData): string {
  return [...form].flatMap(([name, value]) =>
    named.includes(name) && typeof value === "string" && value !== "" ? [`${name}=${value}`] : []
  ).join(" ");
}
