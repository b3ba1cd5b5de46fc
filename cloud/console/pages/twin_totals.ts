/**
 * How many items the cloud has of each model, for the tabs of the Twin page's right side: counted by reading them, up to
 * as many as a side shows, and remembered for a moment, because the page is asked for at each change.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { listItems } from "../../api/items.ts";
import type { ConsoleOptions } from "../context.ts";
import type { LocalDevice } from "../local_device.ts";

/** Rows of a side. */
export const rowsMax = 100;
/** How old a count may be, ms. */
const freshMs = 2_000;

/** The owner of the device's items of the model. */
export function scopeOf(model: Model, { deviceId, accountId }: LocalDevice): { deviceId?: string; accountId?: string } {
  if (model.scope === "device") return { deviceId };
  return model.scope === "account" ? { accountId } : {};
}

/** See the module. */
export class CloudTotals {
  readonly #known = new Map<string, { readonly atMs: number; readonly text: Promise<string> }>();

  constructor(private readonly options: ConsoleOptions) {}

  /** `12`, or `100+`. */
  async of(model: Model, device: LocalDevice): Promise<string> {
    const key = `${device.deviceId} ${model.name}`, now = this.options.now(), known = this.#known.get(key);
    if (known && now - known.atMs < freshMs) return await known.text;
    const text = listItems(this.options.items, { model, ...scopeOf(model, device), limit: rowsMax }).then(totalOf);
    text.catch(() => this.#known.delete(key));
    this.#known.set(key, { atMs: now, text });
    return await text;
  }
}

/** A listing's count. */
export function totalOf({ items, next }: { readonly items: readonly unknown[]; readonly next?: string }): string {
  return next === undefined ? String(items.length) : `${rowsMax}+`;
}
