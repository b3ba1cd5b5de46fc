/**
 * The actions of the Twin page: change a value or add an item on either side, cut and restore the link, undo a change.
 * Each answers with the page as it is then.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { fieldOf } from "../../../schema.ts";
import { ApiError } from "../../api/errors.ts";
import type { ConsoleOptions, PageContext } from "../context.ts";
import { textOf } from "../forms.ts";
import { insertSql, ownIds, updateSql } from "../lines.ts";
import type { LocalDevice, PlainItem } from "../local_device.ts";
import type { Routes } from "../mod.tsx";
import { readItem, removeItem, saveItem } from "../save.ts";
import { chosen, twinHref } from "./twin_query.ts";
import { equalItems, identityOf } from "./twin_side.tsx";
import { valueOf } from "../typed.ts";

/** Adds the routes. */
export function mountActions({ action, options }: Routes): void {
  action("/twin/link", (c, form) => {
    const { device, model } = chosenIn(options, form), isCut = textOf(form, "offline") === "yes";
    if (isCut !== (device.status().pausedMs !== undefined)) {
      if (isCut) device.pause();
      else device.resume();
      options.travels!.plugged(device, !isCut);
    }
    return c.redirect(twinHref(device, model), 303);
  });
  action("/twin/device", (c, form) => {
    const { device, model } = chosenIn(options, form);
    const { item, field, value } = editIn(model, form);
    onDevice(device, updateSql({ model, item, field, value }));
    return c.redirect(twinHref(device, model), 303);
  });
  action("/twin/cloud", async (c, form) => {
    const { device, model } = chosenIn(options, form);
    const { item, field, value } = editIn(model, form);
    const seen = await readItem(options.items, model, { ...ownIds(model, identityOf(device)), ...item });
    if (!seen) throw new ApiError(404, "not-found", "The item is gone.");
    await saveItem(options.items, model, { ...seen.item, [field]: value }, seen);
    return c.redirect(twinHref(device, model), 303);
  });
  action("/twin/new", async (c, form) => await addNew(options, c, form));
  action("/twin/undo", async (c, form) => await undo(options, c, form));
}

function chosenIn(options: ConsoleOptions, form: FormData): { device: LocalDevice; model: Model } {
  const query = new URLSearchParams();
  for (const name of ["device", "model"]) query.set(name, textOf(form, name) ?? "");
  return chosen(options, query);
}

/** The value typed into a cell. */
export function editIn(
  model: Model,
  form: FormData | URLSearchParams,
): { item: PlainItem; field: string; value: unknown } {
  const field = fieldOf(model, textOf(form, "field") ?? "");
  if (!field) throw new ApiError(400, "invalid", "There is no such field.");
  const item = keyIn(model, textOf(form, "key"));
  return { item, field: field.name, value: valueOf(field, textOf(form, "value") ?? "") };
}

function keyIn(model: Model, text: string | undefined): PlainItem {
  try {
    const values: unknown = JSON.parse(text ?? "");
    if (Array.isArray(values) && values.length === model.keyFields.length) {
      return Object.fromEntries(model.keyFields.map((name, i) => [name, values[i]]));
    }
  } catch {
    // Falls through: a text that is not JSON is not a key.
  }
  throw new ApiError(400, "invalid", "That is no key of an item.");
}

/** Like `sqlite3`: the person gets SQLite's message. */
function onDevice(device: LocalDevice, sql: string): void {
  try {
    device.write(sql);
  } catch (error) {
    throw new ApiError(400, "sqlite", `SQLite refuses it: ${(error as Error).message}`);
  }
}

async function addNew(options: ConsoleOptions, c: PageContext, form: FormData): Promise<Response> {
  const { device, model } = chosenIn(options, form);
  const item: Record<string, unknown> = {};
  for (const [name, value] of form) {
    const field = name.startsWith("field.") ? fieldOf(model, name.slice(6)) : undefined;
    if (field && typeof value === "string") item[field.name] = valueOf(field, value);
  }
  if (textOf(form, "side") === "device") onDevice(device, insertSql(model, item));
  else await saveItem(options.items, model, { ...ownIds(model, identityOf(device)), ...item }, undefined);
  return c.redirect(twinHref(device, model), 303);
}

/** Puts the old image back, if nothing has changed since. */
async function undo(options: ConsoleOptions, c: PageContext, form: FormData): Promise<Response> {
  const { device, model } = chosenIn(options, form), id = Number(textOf(form, "travel"));
  const travel = options.travels!.of(device.deviceId).find((one) => one.id === id);
  const image = travel?.now ?? travel?.old;
  if (!travel || !image) throw new ApiError(404, "not-found", "That change is no longer remembered.");
  const seen = await readItem(options.items, model, image);
  if (travel.now ? !seen || !equalItems(model, travel.now, seen.item) : seen !== undefined) {
    throw new ApiError(409, "changed", "It was changed since: undo the newer change first.");
  }
  if (travel.old) await saveItem(options.items, model, travel.old, seen);
  else await removeItem(options.items, model, image, seen);
  return c.redirect(twinHref(device, model), 303);
}
