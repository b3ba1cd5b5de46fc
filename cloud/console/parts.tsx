/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Shared parts of pages: states, times, empty tables, errors.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";
import type { DeviceState } from "../sync/fleet.ts";
import { ago, unknown } from "./format.ts";
import { CopyIcon, Dashed, Dot, Half, Triangle } from "./icons.tsx";

/** States by their shape, word and colour. */
export const states: Readonly<Record<DeviceState, { word: string; tone: string; Icon: () => Child }>> = {
  trouble: { word: "Trouble", tone: "bad", Icon: Triangle },
  lagging: { word: "Lagging", tone: "warn", Icon: Half },
  silent: { word: "Silent", tone: "quiet", Icon: Dashed },
  online: { word: "Online", tone: "ok", Icon: Dot },
};

/** A device's state: shape and word, then colour. */
export function State({ of, as = "state" }: { of: DeviceState; as?: "state" | "chip" }) {
  const { word, tone, Icon } = states[of];
  return (
    <span class={`${as} ${tone}`}>
      <Icon />
      {word}
    </span>
  );
}

/** How long ago; the absolute time on hover. `assets/base.js` counts on. */
export function Time({ at, now }: { at: number | undefined; now: number }) {
  if (at === undefined) return <span class="muted">{unknown}</span>;
  const iso = new Date(at).toISOString();
  return <time datetime={iso} title={iso.replace("T", " ").replace(/\.\d+Z/, " UTC")}>{ago(now - at)}</time>;
}

/** Why a list is empty, and what to do next. */
export function Empty({ title, children }: { title: string; children?: Child }) {
  return (
    <div class="empty">
      <p>
        <b>{title}</b>
      </p>
      {children}
    </div>
  );
}

/** What went wrong, with its code, and a way on. The rest of the page stays usable. */
export function Problem({ message, code, retry }: { message: string; code?: string; retry?: string }) {
  return (
    <div class="problem" role="alert">
      <span class="state bad">
        <Triangle />
        {message}
      </span>
      {code ? <code>{code}</code> : null}
      {retry ? <a class="btn small" href={retry}>Retry</a> : null}
    </div>
  );
}

/** Copies a text: `assets/base.js` does it, and removes the button if it can't. */
export function Copy({ from, label = "Copy" }: { from: string; label?: string }) {
  return (
    <button class="btn small js" type="button" data-copy={from}>
      <CopyIcon />
      {label}
    </button>
  );
}

/** Hidden fields of every form. */
export function FormToken({ token }: { token: string }) {
  return <input type="hidden" name="_form" value={token} />;
}
