/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * How far an item's last change got: saved, logged, on the device.
 *
 * @module
 */
import type { Model } from "../../../schema/model.ts";
import { keyIn, whereIs } from "../../api/trace.ts";
import type { ConsoleOptions, PageContext } from "../context.ts";
import { Check, Ring } from "../icons.tsx";
import type { PlainItem } from "../local_device.ts";
import { itemHref } from "./data_query.ts";

/** Where the part is asked for. */
export function farHref(model: Model, item: PlainItem): string {
  return itemHref(model, item).replace("/item?", "/far?");
}

/** Before it is known. */
export function Far({ model }: { model: Model }) {
  return (
    <span class="muted">
      {`Saved in the cloud; looking for it in ${model.scope === "device" ? "the device's" : "the"} log…`}
    </span>
  );
}

/** Saved, logged, on the device: asked of the log and of the devices. */
export async function farPart(options: ConsoleOptions, c: PageContext, model: Model): Promise<Response> {
  const where = await whereIs(options.items, model, keyIn(c.req.query("key")), { waitMs: 1_500 });
  const { logged, devices, channel } = where;
  const isEverywhere = devices !== undefined && devices.online > 0 && devices.have === devices.online;
  return c.html(
    <span class="stages far">
      <Stage isDone={where.item !== null} name={where.item ? "saved" : "removed"} />
      {channel === undefined
        ? <span class="muted">{" · it stays in the cloud: this model is not sent to devices"}</span>
        : (
          <>
            <em></em>
            <Stage
              isDone={logged !== undefined}
              name={logged ? `logged ${channel}/${logged.seq}` : "not in the last entries of the log"}
            />
            <em></em>
            <Stage
              isDone={isEverywhere}
              name={onDevices(devices)}
            />
          </>
        )}
    </span>,
  );
}

/** How many of those that read the channel have it. */
function onDevices(devices: { total: number; online: number; have: number } | undefined): string {
  if (!devices || devices.total === 0) return "no device reads this channel";
  const { total, online, have } = devices;
  if (total === 1) return online === 0 ? "device is offline" : have === 1 ? "on device" : "not on the device yet";
  return `on ${have} of ${online} online devices${total > online ? `, ${total - online} offline` : ""}`;
}

function Stage({ isDone, name }: { isDone: boolean; name: string }) {
  return (
    <span class={isDone ? "on" : undefined}>
      {isDone ? <Check /> : <Ring />}
      {name}
    </span>
  );
}
