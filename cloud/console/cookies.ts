/**
 * The console's cookies: the session's, and the theme's.
 *
 * @module
 */
import { deleteCookie, getCookie, setCookie } from "npm:hono@^4.13.19/cookie";
import type { PageContext } from "./context.ts";
import { isTls } from "./guard.ts";
import { sessionMs } from "./session.ts";

export const themes = ["light", "dark"] as const;
const themeCookie = "twintable_theme", yearSeconds = 31_536_000;

/** By port, because another worker on this machine has its own: cookies ignore ports. */
function sessionName(c: PageContext): string {
  return isTls(c.req.raw) ? "__Host-twintable" : `twintable_${new URL(c.req.url).port || 80}`;
}

function sessionFlags(c: PageContext) {
  return { httpOnly: true, sameSite: "Strict", path: "/", secure: isTls(c.req.raw) } as const;
}

/** The session that the browser sends, unchecked. */
export function sessionCookie(c: PageContext): string | undefined {
  return getCookie(c, sessionName(c));
}

export function setSessionCookie(c: PageContext, cookie: string): void {
  setCookie(c, sessionName(c), cookie, { ...sessionFlags(c), maxAge: sessionMs / 1000 });
}

export function dropSessionCookie(c: PageContext): void {
  deleteCookie(c, sessionName(c), sessionFlags(c));
}

/** The theme that was chosen; undefined: the system's. */
export function themeOf(c: PageContext): typeof themes[number] | undefined {
  const chosen = getCookie(c, themeCookie);
  return themes.find((one) => one === chosen);
}

/** To the next one: light, dark, the system's. */
export function turnTheme(c: PageContext): void {
  const current = themeOf(c), next = themes[current === undefined ? 0 : themes.indexOf(current) + 1];
  if (next) setCookie(c, themeCookie, next, { path: "/", sameSite: "Lax", maxAge: yearSeconds });
  else deleteCookie(c, themeCookie, { path: "/" });
}
