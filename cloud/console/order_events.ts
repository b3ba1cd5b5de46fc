/**
 * What devices say of their orders, as events for open pages: `job`, on the device's topic.
 *
 * @module
 */
import type { Orders } from "../sync/orders.ts";
import type { EventHub } from "./event_hub.ts";

/** Tells the hub, until that closes. */
export function tellOfOrders(orders: Pick<Orders, "listen">, hub: EventHub): void {
  const release = orders.listen((deviceId, { order, state }) =>
    hub.publish({ name: "job", topic: `device:${deviceId}`, data: { order, state } })
  );
  hub.closing.addEventListener("abort", release, { once: true });
}
