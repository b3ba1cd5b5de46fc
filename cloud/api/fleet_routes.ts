/**
 * The routes that list devices: `/api/devices`, `/api/devices/DEVICE`, and `/api/unidentified`, the items of none.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import { type Fleet, stateOf } from "../sync/fleet.ts";
import type { Registry } from "../sync/registry.ts";
import { queryFleet } from "./devices.ts";
import { ApiError } from "./errors.ts";
import type { ItemsContext } from "./items.ts";
import { checkQuery, pageOf, withToken } from "./query.ts";
import { listUnidentified } from "./unidentified.ts";

/** What the routes list. */
export interface FleetRoutes {
  readonly registry: Registry;
  readonly fleet: Fleet;
  readonly items: ItemsContext;
}

/** Adds the routes. */
export function fleetRoutes(app: Hono, { registry, fleet, items }: FleetRoutes): void {
  app.get("/api/unidentified", async (c) => {
    checkQuery(c, ["limit", "next"]);
    return c.json(withToken(await listUnidentified(items, pageOf(c))));
  });
  app.get("/api/devices", async (c) => {
    checkQuery(c, ["limit", "next", "q", "sort"]);
    const { limit, next } = pageOf(c);
    const q = c.req.query("q"), sort = c.req.query("sort");
    if (q === undefined && sort === undefined) return c.json(withToken(await registry.list({ limit, after: next })));
    return c.json(withToken(await queryFleet(fleet, { q, sort, limit, after: next })));
  });
  app.get("/api/devices/:device", async (c) => {
    const info = await registry.info(c.req.param("device"));
    if (!info) throw new ApiError(404, "not-found", `there is no device "${c.req.param("device")}"`);
    await fleet.attention?.refresh();
    return c.json({ ...info, ...stateOf(info, items.now(), fleet.attention) });
  });
}
