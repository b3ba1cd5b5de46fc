/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/login`: the API's token, once, for a session of 12 hours.
 *
 * @module
 */
import type { Page } from "../context.ts";
import { Logo } from "../icons.tsx";

/** The requested page, if it is one of ours: nobody is redirected elsewhere. */
export function ownPath(text: string | undefined): string {
  // Browsers read \ as /, and drop tabs and line ends: //evil in any of these forms is not a path.
  if (text === undefined || !/^\/(?![/\\])[\x21-\x7e]*$/.test(text) || text.includes("\\")) return "/";
  return text.startsWith("/login") || text.startsWith("/logout") ? "/" : text;
}

/** The form, and what was wrong with the last try. */
export function loginPage({ next, wrong, waitSeconds }: { next: string; wrong?: string; waitSeconds?: number }): Page {
  return {
    title: "Sign in",
    status: waitSeconds ? 429 : wrong ? 403 : 200,
    body: (
      <div class="login card">
        <h1>
          <Logo />Twintable
        </h1>
        <form method="post" action="/login">
          <input type="hidden" name="next" value={next} />
          <label for="token">Token</label>
          <div class="secret">
            <input
              id="token"
              name="token"
              type="password"
              required
              autofocus
              autocomplete="current-password"
              spellcheck={false}
              aria-describedby={wrong ? "wrong" : "which"}
              aria-invalid={wrong ? "true" : undefined}
            />
            <button class="btn js" type="button" data-show="token" aria-pressed="false">Show</button>
          </div>
          {wrong ? <p id="wrong" class="state bad" role="alert">{wrong}</p> : null}
          <p id="which" class="muted">
            The worker's <code>--token</code>, or one of its <code>--tokens</code> that may read.
          </p>
          <button class="btn primary" type="submit">Sign in</button>
        </form>
      </div>
    ),
  };
}
