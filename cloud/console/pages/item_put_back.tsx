/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * Putting an earlier version of an item back: an edit, refused if the item has changed since the page was made.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import type { PageContext } from "../context.ts";
import type { PlainItem } from "../local_device.ts";
import { FormToken } from "../parts.tsx";
import type { Seen } from "../save.ts";

/** A form that writes a version's values again; where they are the present ones, that is said. */
export function PutBack({ c, model, seen, item }: { c: PageContext; model: Model; seen: Seen; item: PlainItem }) {
  const names = Object.keys({ ...seen.item, ...item }).filter((name) => name !== model.updatedField);
  if (names.every((name) => isSame(item[name], seen.item[name]))) return <span class="chip ok">as it is now</span>;
  const { mayWrite, formToken } = c.get("session");
  if (!mayWrite) return null;
  return (
    <form method="post" action={`/data/${encodeURIComponent(model.name)}/undo`}>
      <FormToken token={formToken} />
      <input type="hidden" name="old" value={JSON.stringify(item)} />
      <input type="hidden" name="seen" value={JSON.stringify(seen.item)} />
      <input type="hidden" name="digest" value={seen.digest} />
      <button class="btn small" type="submit">Put this back</button>
    </form>
  );
}

/** Whether two values are written alike. */
export function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
