/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The frame of each page: the top bar with the navigation, the finder, the mark that says whether events arrive, the
 * help on keys. Everything works as links and forms without JavaScript.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import { html } from "npm:hono@^4.13.19/html";
import { assetPath } from "./assets.ts";
import type { ConsoleOptions, Page, PageLink } from "./context.ts";
import { grouped } from "./format.ts";
import { Dot, HalfMoon, Lens, Logo, Triangle } from "./icons.tsx";
import { FormToken } from "./parts.tsx";
import type { Session } from "./session.ts";

/** The request's part of a layout. */
export interface LayoutOptions {
  readonly options: ConsoleOptions;
  readonly links: readonly PageLink[];
  /** The path that is shown: marks its link. */
  readonly path: string;
  readonly session?: Session;
  readonly theme?: string;
  /** The last event before the page was made. */
  readonly after?: string;
  /** What is wrong with the cloud itself. */
  readonly troubles: readonly string[];
}

const htmxConfig = JSON.stringify({
  includeIndicatorCSS: false,
  defaultTimeout: 30_000,
  history: true,
  // What a person has opened stays open when a part of the page is renewed.
  morphIgnore: ["data-htmx-powered", "open"],
});

/** A whole document. */
export function document(page: Page, layout: LayoutOptions) {
  return html`<!doctype html>${<Document page={page} {...layout} />}`;
}

function Document({ page, options, links, path, session, theme, after, troubles }: LayoutOptions & { page: Page }) {
  // With an event stream if there is one; a page without events does not connect.
  const stream = session && page.on !== undefined && options.events
    ? { "hx-sse:connect": `/console/events?on=${encodeURIComponent(page.on)}${after ? `&after=${after}` : ""}` }
    : {};
  return (
    <html lang="en" data-theme={theme}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="htmx-config" content={htmxConfig} />
        <title>{`${page.title} · Twintable`}</title>
        <link
          rel="icon"
          href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 26 26'%3E%3Crect x='1.5' y='5' width='12' height='16' rx='3' fill='none' stroke='%230b6b57' stroke-width='3'/%3E%3Ccircle cx='17' cy='13' r='7.5' fill='none' stroke='%234a41c4' stroke-width='3'/%3E%3C/svg%3E"
        />
        <link rel="stylesheet" href={assetPath("console.css")} />
        <script src={assetPath("base.js")} defer></script>
        {page.scripts?.map((name) => <script src={assetPath(name)} defer></script>)}
        {/* Last: it opens the stream of events at once, and listeners must exist before the first event. */}
        <script src={assetPath("htmx.js")} defer></script>
      </head>
      <body data-form-token={session?.formToken} data-polls={session && !options.events ? "10" : undefined} {...stream}>
        <a class="skip" href="#main">Skip to content</a>
        {session ? <TopBar {...{ options, links, path, session }} isLive={page.on !== undefined} /> : null}
        <main id="main" tabindex={-1}>
          {session ? <Troubles troubles={troubles} /> : null}
          {page.body}
        </main>
        <div id="toast" class="toast" role="alert" hidden>
          <span id="toast-text"></span>
          <a class="btn small" id="toast-retry" href="" hidden>Retry</a>
          <button class="btn small" type="button">Close</button>
        </div>
        <div id="said" class="sr" role="status" aria-live="polite"></div>
        {session ? <Help links={links} /> : null}
      </body>
    </html>
  );
}

/** What is wrong with the cloud itself, on every page while it is: asked for again each minute. */
export function Troubles({ troubles }: { troubles: readonly string[] }) {
  return (
    <div
      id="troubles"
      role="status"
      hx-get="/console/troubles"
      hx-swap="outerMorph"
      hx-trigger="every 60s"
      class={troubles.length > 0 ? "problem" : undefined}
    >
      {troubles.length > 0
        ? (
          <>
            <span class="state bad">
              <Triangle />
              {troubles.join(" ")}
            </span>
            <a class="btn small" href="/metrics-view">Metrics</a>
          </>
        )
        : null}
    </div>
  );
}

function TopBar(
  { options, links, path, session, isLive }: Omit<LayoutOptions, "session" | "troubles"> & {
    session: Session;
    isLive: boolean;
  },
) {
  return (
    <header class="top">
      <a class="brand" href="/" aria-label="Twintable, start">
        <Logo />
        <span>Twintable</span>
      </a>
      <span class="env">{options.travels ? "dev" : options.label ?? "cloud"}</span>
      <nav aria-label="Main">
        {links.map((link) => <NavLink {...{ link, options, path }} />)}
      </nav>
      <div class="right">
        {isLive ? <LiveMark polls={!options.events} /> : null}
        <form class="find" action="/console/find" role="search">
          <Lens />
          <input
            name="q"
            type="search"
            placeholder="Find…"
            aria-label="Find a device, an item or a page"
            autocomplete="off"
          />
          <kbd aria-hidden="true">/</kbd>
        </form>
        <form method="post" action="/console/theme" class="theme">
          <FormToken token={session.formToken} />
          <input type="hidden" name="back" value={path} />
          <button class="icon" type="submit" aria-label="Theme: light, dark, or as the system" title="Theme">
            <HalfMoon />
          </button>
        </form>
        {options.tokens
          ? (
            <form method="post" action="/logout" class="logout">
              <FormToken token={session.formToken} />
              <button class="btn quiet small" type="submit">Sign out</button>
            </form>
          )
          : null}
      </div>
    </header>
  );
}

function NavLink({ link, options, path }: { link: PageLink; options: ConsoleOptions; path: string }) {
  const isHere = path === link.path || path.startsWith(`${link.path}/`);
  const counted = link.count?.(options);
  return (
    <a href={link.path} aria-current={isHere ? "page" : undefined} data-key={link.key}>
      {link.name}
      {counted
        ? (
          <span class={`count ${counted.tone}`}>
            {grouped(counted.number)}
            <span class="sr">{" open"}</span>
          </span>
        )
        : null}
    </a>
  );
}

/** Whether events arrive. `assets/base.js` keeps it true. */
function LiveMark({ polls }: { polls: boolean }) {
  return (
    <span class="live" id="live" data-state={polls ? "polls" : "starts"}>
      <Dot />
      <span class="word">{polls ? "Every 10 s" : "Live"}</span>
    </span>
  );
}

const keys: readonly (readonly [key: string, what: string])[] = [
  ["/", "find a device, an item or a page"],
  ["j k", "next and previous row"],
  ["Enter", "open the row"],
  ["x", "select the row"],
  ["e", "edit"],
  ["p", "pause what moves"],
  ["Ctrl+Enter", "save"],
  ["Esc", "back"],
  ["?", "this help"],
];

function Help({ links }: { links: readonly PageLink[] }) {
  return (
    <dialog id="help" aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <dl>
        {keys.map(([key, what]) => <Key press={key}>{what}</Key>)}
        {links.map(({ key, name }) => <Key press={`g ${key}`}>{name}</Key>)}
      </dl>
      <p>
        <label>
          <input type="checkbox" id="keys-off" /> No single-letter keys
        </label>
      </p>
      <form method="dialog">
        <button class="btn" type="submit">Close</button>
      </form>
    </dialog>
  );
}

function Key({ press, children }: { press: string; children?: Child }) {
  return (
    <>
      <dt>
        {press.split(" ").map((one) => <kbd>{one}</kbd>)}
      </dt>
      <dd>{children}</dd>
    </>
  );
}
