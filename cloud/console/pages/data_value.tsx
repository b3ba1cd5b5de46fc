/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A value as it is shown, wherever items are.
 *
 * @module
 */
import type { Child } from "npm:hono@^4.13.19/jsx";

/** Longer texts are cut in lists. */
const shownMax = 60;

/** A value as it is: null, empty and absent are words of their own. */
export function Value({ value, has, whole }: { value: unknown; has: boolean; whole?: boolean }): Child {
  if (!has || value === undefined) return <span class="nothing">absent</span>;
  if (value === null) return <span class="nothing">null</span>;
  if (value === "") return <span class="nothing">empty</span>;
  if (typeof value === "boolean") return <span class="chip quiet">{String(value)}</span>;
  if (typeof value === "object") {
    const text = JSON.stringify(value);
    return <code title={text}>{whole || text.length <= shownMax ? text : `${text.slice(0, shownMax)}…`}</code>;
  }
  const text = String(value);
  return whole || text.length <= shownMax ? text : <span title={text}>{`${text.slice(0, shownMax)}…`}</span>;
}
