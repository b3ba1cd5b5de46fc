/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The console: pages that people look at, beside the API that programs use. Served by a worker and by a handler, at `/`.
 *
 * Each page is a function from a request to a description of it (`pages/`); this module signs people in, checks what browsers
 * send (`guard.ts`), and puts pages together (`layout.tsx`). All text is escaped by JSX: there is no other way into a page.
 *
 * @module
 */
import { Hono, type MiddlewareHandler } from "npm:hono@^4.13.19";
import { deleteCookie, getCookie, setCookie } from "npm:hono@^4.13.19/cookie";
import { ApiError } from "../api/errors.ts";
import { assetAt } from "./assets.ts";
import type { ConsoleEnv, ConsoleOptions, Page, PageContext } from "./context.ts";
import { eventStream } from "./event_stream.ts";
import { formOf, textOf } from "./forms.ts";
import { checkRequest, isCrossSite, securityHeaders } from "./guard.ts";
import { document } from "./layout.tsx";
import { pageModules } from "./pages/index.ts";
import { errorPage } from "./pages/error.tsx";
import { loginPage, ownPath } from "./pages/login.tsx";
import { fitsForm, openSession, type Session, sessionIn, sessionMs, signIn } from "./session.ts";
import { Throttle } from "./throttle.ts";

/** What a page module adds its routes with. */
export interface Routes {
  /** A page, or a part of one where `htmx` asks for it (`HX-Target`'s id is `part`). */
  page(path: string, show: (c: PageContext) => Page | Response | Promise<Page | Response>): void;
  /** What a form or `htmx` sends: checked against the session's token, and that it may write. */
  action(path: string, take: (c: PageContext, form: FormData) => Page | Response | Promise<Page | Response>): void;
  readonly options: ConsoleOptions;
}

/** An answer is with its browser by then. */
const afterAnswerMs = 500;
const themes = ["light", "dark"] as const;

/** The console's routes. */
export function consoleRoutes(options: ConsoleOptions): Hono<ConsoleEnv> {
  const { tokens, hosts, now } = options;
  const open = tokens ? undefined : { hosts: hosts ?? [] };
  const app = new Hono<ConsoleEnv>();
  const throttle = new Throttle();
  const ends = new Map<string, Set<AbortController>>();
  const links = pageModules.flatMap(({ link }) => !link || link.isThere?.(options) === false ? [] : [link]);

  const show = (c: PageContext, page: Page | Response, session?: Session, after?: string) => {
    if (page instanceof Response) return page;
    const theme = themes.find((one) => one === getCookie(c, "twintable_theme"));
    return c.html(
      document(page, { options, links, path: new URL(c.req.url).pathname, session, theme, after }),
      page.status,
    );
  };
  app.onError((error, c) => show(c, errorPage(error, c.req.path), c.get("session")));

  /** Everything of the console: what a browser may ask, and what it is told. */
  const guarded: MiddlewareHandler<ConsoleEnv> = async (c, next) => {
    for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
    c.header("cache-control", "no-store");
    checkRequest(c.req.raw, open);
    await next();
  };
  /** Signed in, or sent to sign in. */
  const signedIn: MiddlewareHandler<ConsoleEnv> = async (c, next) => {
    const session = tokens ? sessionIn(getCookie(c, cookieName(c)), tokens(), now()) : openSession();
    if (session) {
      c.set("session", session);
      return await next();
    }
    if (c.req.method !== "GET" || c.req.header("hx-request")) {
      c.header("hx-redirect", "/login");
      throw new ApiError(403, "unauthorized", "You are not signed in, or your session is over: sign in again.");
    }
    // From a link elsewhere a strict cookie is left out: the page asks again by itself, as its own.
    if (isCrossSite(c.req.raw.headers)) return c.html(<Again />);
    const { pathname, search } = new URL(c.req.url);
    return c.redirect(`/login?next=${encodeURIComponent(pathname + search)}`, 303);
  };

  app.get("/console/assets/:file", guarded, (c) => {
    const asset = assetAt(c.req.path);
    if (!asset) throw new ApiError(404, "not-found", "There is no such file.");
    c.header("cache-control", "public, max-age=31536000, immutable");
    return c.body(asset.text, 200, { "content-type": asset.type });
  });
  app.get("/", guarded, (c) => c.redirect(options.travels ? "/twin" : "/fleet", 302));
  app.get("/login", guarded, (c) => {
    const next = ownPath(c.req.query("next"));
    if (!tokens) return c.redirect(next, 303);
    return show(c, loginPage({ next }));
  });
  app.post("/login", guarded, async (c) => {
    if (!tokens) return c.redirect("/", 303);
    const form = await formOf(c);
    const next = ownPath(textOf(form, "next")), address = c.env?.address ?? "";
    const waitSeconds = throttle.tried(address, now());
    if (waitSeconds > 0) {
      c.header("retry-after", String(waitSeconds));
      const wrong = `Too many tries: wait ${waitSeconds} s.`;
      return show(c, loginPage({ next, wrong, waitSeconds }));
    }
    const cookie = signIn(textOf(form, "token") ?? "", tokens(), now());
    if (cookie === undefined) return show(c, loginPage({ next, wrong: "That is not the token." }));
    throttle.succeeded(address);
    setCookie(c, cookieName(c), cookie, { ...cookieFlags(c), maxAge: sessionMs / 1000 });
    return c.redirect(next, 303);
  });
  app.post("/logout", guarded, signedIn, async (c) => {
    checkForm(await formOf(c), c.get("session"));
    const streams = [...ends.get(c.get("session").formToken) ?? []];
    // After the answer: a page that hears of it first leaves for the sign-in page, and the answer that takes the cookie away
    // is dropped with the page's request.
    setTimeout(() => streams.forEach((end) => end.abort()), afterAnswerMs);
    deleteCookie(c, cookieName(c), cookieFlags(c));
    return c.redirect(tokens ? "/login" : "/", 303);
  });
  app.post("/console/theme", guarded, signedIn, async (c) => {
    const form = await formOf(c);
    checkForm(form, c.get("session"));
    const at = themes.indexOf(getCookie(c, "twintable_theme") as typeof themes[number]) + 1;
    if (at < themes.length) {
      setCookie(c, "twintable_theme", themes[at]!, { path: "/", sameSite: "Lax", maxAge: 31536000 });
    } else deleteCookie(c, "twintable_theme", { path: "/" });
    return c.redirect(ownPath(textOf(form, "back")), 303);
  });
  app.get("/console/events", guarded, signedIn, (c) => {
    const { events } = options, session = c.get("session");
    if (!events) throw new ApiError(404, "not-found", "There are no events here: ask again.");
    const end = new AbortController();
    const over = session.untilMs === Infinity ? undefined : setTimeout(() => end.abort(), session.untilMs - now());
    const streams = ends.get(session.formToken) ?? new Set();
    ends.set(session.formToken, streams.add(end));
    const ended = () => {
      clearTimeout(over);
      streams.delete(end);
      if (streams.size === 0) ends.delete(session.formToken);
    };
    const topics = (c.req.query("on") ?? "").split(",").filter((topic) => topic !== "").slice(0, 200);
    const lastEventId = c.req.header("last-event-id") ?? c.req.query("after");
    return c.body(eventStream({ hub: events, topics, lastEventId, signal: end.signal, ended }), 200, {
      "content-type": "text/event-stream; charset=utf-8",
      // nginx would collect events otherwise.
      "x-accel-buffering": "no",
    });
  });
  const routes: Routes = {
    options,
    page: (path, make) => {
      app.get(path, guarded, signedIn, async (c) => {
        // Before the page is made: what happens until its stream is open is told then.
        const after = options.events && `${options.events.life}-${options.events.seq}`;
        return show(c, await make(c), c.get("session"), after);
      });
    },
    action: (path, take) => {
      app.post(path, guarded, signedIn, async (c) => {
        const form = await formOf(c), session = c.get("session");
        checkForm(form, session);
        if (!session.mayWrite) throw new ApiError(403, "forbidden", `The token "${session.name}" may only read.`);
        await options.audit.note({ who: session.name, via: "console", action: c.req.path, target: targetOf(form) });
        return show(c, await take(c, form), session);
      });
    },
  };
  for (const { mount } of pageModules) mount(routes);
  return app;
}

/** What of a form says to whom something is done; contents and secrets have other names. */
const named: readonly string[] = ["do", "device", "id", "account", "model", "key", "all", "q", "repair"];

function targetOf(form: FormData): string {
  return [...form].flatMap(([name, value]) =>
    named.includes(name) && typeof value === "string" && value !== "" ? [`${name}=${value}`] : []
  ).join(" ");
}

/** By port, where another worker on this machine has its own: cookies know no ports. */
function cookieName(c: PageContext): string {
  return isTls(c) ? "__Host-twintable" : `twintable_${new URL(c.req.url).port || 80}`;
}

function isTls(c: PageContext): boolean {
  return c.req.header("x-forwarded-proto")?.split(",")[0]?.trim() === "https" || c.req.url.startsWith("https:");
}

function cookieFlags(c: PageContext) {
  return { httpOnly: true, sameSite: "Strict", path: "/", secure: isTls(c) } as const;
}

function checkForm(form: FormData, session: Session): void {
  if (fitsForm(session, textOf(form, "_form"))) return;
  throw new ApiError(403, "stale", "This page was made for another session: load it again.");
}

function Again() {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="refresh" content="0" />
        <title>Twintable</title>
      </head>
      <body></body>
    </html>
  );
}
