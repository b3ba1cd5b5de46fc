/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Who gets in: what browsers may send at all (`guard.ts`), who is signed in, signing in and out, and that a form is the
 * session's own.
 *
 * @module
 */
import type { Hono, MiddlewareHandler } from "npm:hono@^4.13.19";
import { ApiError } from "../api/errors.ts";
import type { ConsoleEnv, ConsoleOptions, Page, PageContext } from "./context.ts";
import { dropSessionCookie, sessionCookie, setSessionCookie, turnTheme } from "./cookies.ts";
import { formOf, textOf } from "./forms.ts";
import { checkRequest, isCrossSite, securityHeaders } from "./guard.ts";
import { loginPage, ownPath } from "./pages/login.tsx";
import { EndedSessions } from "./ended_sessions.ts";
import { fitsForm, openSession, type Session, sessionIn, signIn } from "./session.ts";
import { Throttle } from "../api/throttle.ts";

/** What each route passes. */
export interface Doors {
  /** The console's routes. */
  readonly guarded: MiddlewareHandler<ConsoleEnv>;
  /** Signed in, or sent to sign in. */
  readonly signedIn: MiddlewareHandler<ConsoleEnv>;
  /** Whether a request's session is valid, now and later: for what goes on after its answer began. */
  readonly stands: (c: PageContext) => Promise<boolean>;
  readonly ended: EndedSessions;
}

/** Makes the doors of a console. */
export function doorsOf({ tokens, hosts, now, tables }: ConsoleOptions): Doors {
  const open = tokens ? undefined : { hosts: hosts ?? [] }, ended = new EndedSessions(tables.log, now);
  const sessionOf = async (c: PageContext): Promise<Session | undefined> => {
    if (!tokens) return openSession();
    const session = sessionIn(sessionCookie(c), tokens(), now());
    return session && !await ended.has(session) ? session : undefined;
  };
  return {
    ended,
    // An outage of the table ends nobody's session.
    stands: (c) => sessionOf(c).then((session) => session !== undefined, () => true),
    guarded: async (c, next) => {
      for (const [name, value] of Object.entries(securityHeaders)) c.header(name, value);
      c.header("cache-control", "no-store");
      checkRequest(c.req.raw, open);
      await next();
    },
    signedIn: async (c, next) => {
      const session = await sessionOf(c);
      if (session) {
        c.set("session", session);
        return await next();
      }
      if (c.req.method !== "GET" || c.req.header("hx-request")) {
        c.header("hx-redirect", "/login");
        throw new ApiError(403, "unauthorized", "You are not signed in, or your session is over: sign in again.");
      }
      // A browser leaves a strict cookie out when it follows a link from elsewhere: the page requests itself again.
      if (isCrossSite(c.req.raw.headers)) return c.html(<Again />);
      const { pathname, search } = new URL(c.req.url);
      return c.redirect(`/login?next=${encodeURIComponent(pathname + search)}`, 303);
    },
  };
}

/** Adds the routes of signing in and out, and of the theme. */
export function mountDoors(
  app: Hono<ConsoleEnv>,
  { tokens, now, failed }: ConsoleOptions,
  { guarded, signedIn, ended }: Doors,
  show: (c: PageContext, page: Page) => Response | Promise<Response>,
): void {
  const throttle = new Throttle();
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
      failed.failed("console", address, "too many tries");
      c.header("retry-after", String(waitSeconds));
      const wrong = `Too many tries: wait ${waitSeconds} s.`;
      return show(c, loginPage({ next, wrong, waitSeconds }));
    }
    const cookie = signIn(textOf(form, "token") ?? "", tokens(), now());
    if (cookie === undefined) {
      failed.failed("console", address, "a wrong token");
      return show(c, loginPage({ next, wrong: "That is not the token." }));
    }
    throttle.succeeded(address);
    const session = sessionIn(cookie, tokens(), now());
    // None, if its token has expired at this moment.
    if (session) ended.began(session);
    setSessionCookie(c, cookie);
    return c.redirect(next, 303);
  });
  app.post("/logout", guarded, signedIn, async (c) => {
    const session = c.get("session");
    checkForm(await formOf(c), session);
    dropSessionCookie(c);
    // Its streams end with the next check. A page that learns of it before this answer goes to the sign-in page, and keeps
    // a cookie that opens nothing.
    if (tokens) await ended.end(session);
    return c.redirect(tokens ? "/login" : "/", 303);
  });
  app.post("/console/theme", guarded, signedIn, async (c) => {
    const form = await formOf(c);
    checkForm(form, c.get("session"));
    turnTheme(c);
    return c.redirect(ownPath(textOf(form, "back")), 303);
  });
}

/** @throws ApiError 403 where the form is not the session's */
export function checkForm(form: FormData, session: Session): void {
  if (fitsForm(session, textOf(form, "_form"))) return;
  throw new ApiError(403, "stale", "This page was made for another session: load it again.");
}

/** @throws ApiError 403 where the session's token may not do that */
export function checkMay({ name, mayWrite, isAdmin }: Session, scope: "write" | "admin"): void {
  if (!mayWrite) throw new ApiError(403, "forbidden", `The token "${name}" may only read.`);
  if (scope === "admin" && !isAdmin) {
    throw new ApiError(403, "forbidden", `The token "${name}" may not do this: it needs a token of scope admin.`);
  }
}

function Again() {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="refresh" content="0" />
        <link rel="icon" href="data:," />
        <title>Twintable</title>
      </head>
      <body></body>
    </html>
  );
}
