/**
 * The routes by which operators reach a device: orders, which wait for the device; questions, which it answers at once
 * or not at all; and verifications.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import { type KeptName, runningStart } from "../../protocol.ts";
import type { OrderContent, Orders } from "../sync/orders.ts";
import type { CloudService } from "../sync/service.ts";
import type { Registry } from "../sync/registry.ts";
import { ApiError } from "./errors.ts";
import { askKept } from "./kept.ts";
import type { Noted } from "./operations.ts";
import { checkQuery, knownDevice, pageOf } from "./query.ts";
import { readObject } from "./request.ts";

/** What the routes work on. */
export interface DeviceRoutes {
  readonly registry: Registry;
  /** The audit notes an order before it is given. */
  readonly noted: Noted;
  /** Absent: nothing is published here. */
  readonly service?: { readonly orders: Pick<Orders, "give" | "list" | "ask"> } & Pick<CloudService, "requestVerify">;
}

const kinds = ["sync", "verify", "retry", "restore", "drop", "rotate"] as const;
const tables: readonly string[] = ["rejected", "conflicts", "aside"] satisfies readonly KeptName[];
/** Tables that an order may name, and its default. */
const tablesOf: Readonly<Record<string, readonly KeptName[]>> = {
  retry: ["rejected", "aside"],
  restore: ["conflicts"],
  drop: ["rejected", "conflicts"],
};

/** Adds the routes. */
export function deviceRoutes(app: Hono, routes: DeviceRoutes): void {
  orderRoutes(app, routes);
  verifyRoutes(app, routes);
}

/** @throws ApiError 503 if nothing is published here */
function reached<T>(service: T | undefined): T {
  if (!service) throw new ApiError(503, "config", "nothing is published here: a publisher is missing");
  return service;
}

function verifyRoutes(app: Hono, { registry, service, noted }: DeviceRoutes): void {
  app.post("/api/devices/:device/verify", async (c) => {
    const deviceId = await knownDevice(registry, c.req.param("device"));
    const { repair = false, keysPerSecond } = await readObject(c.req.raw);
    if (typeof repair !== "boolean") throw new ApiError(400, "invalid", "repair is true or false");
    const rate = keysPerSecond === undefined ? {} : { keysPerSecond: wholeOf(keysPerSecond, "keysPerSecond") };
    const asked = reached(service);
    await noted.begin(c, repair ? "device.verify and repair" : "device.verify", deviceId);
    return c.json({ request: await asked.requestVerify(deviceId, { repair, ...rate }) }, 202);
  });
  app.get("/api/devices/:device/verify", async (c) => {
    const report = await registry.report(await knownDevice(registry, c.req.param("device")));
    if (!report) throw new ApiError(404, "not-found", "the device has reported no verification");
    const { request, atMs, report: running } = report;
    if (!request.startsWith(runningStart)) return c.json(report);
    return c.json({ request: request.slice(runningStart.length), atMs, running });
  });
}

function orderRoutes(app: Hono, { registry, service, noted }: DeviceRoutes): void {
  app.post("/api/devices/:device/orders", async (c) => {
    const deviceId = await knownDevice(registry, c.req.param("device"));
    const content = orderOf(await readObject(c.req.raw)), { orders } = reached(service);
    await noted.begin(c, `device.order ${content.do}${content.table ? ` ${content.table}` : ""}`, deviceId);
    return c.json({ order: await orders.give(deviceId, content) }, 202);
  });
  app.get("/api/devices/:device/orders", async (c) => {
    checkQuery(c, ["limit"]);
    const deviceId = await knownDevice(registry, c.req.param("device"));
    return c.json({ orders: await reached(service).orders.list(deviceId, pageOf(c).limit) });
  });
  app.get("/api/devices/:device/kept", async (c) => {
    checkQuery(c, ["table", "model", "after", "limit"]);
    const deviceId = await knownDevice(registry, c.req.param("device"));
    const table = c.req.query("table") ?? "rejected";
    if (!tables.includes(table)) throw new ApiError(400, "invalid", `table is ${tables.join(", ")}`);
    const after = c.req.query("after"), model = c.req.query("model");
    const question = {
      table: table as KeptName,
      limit: pageOf(c).limit,
      ...(after === undefined ? {} : { after: wholeOf(Number(after), "after") }),
      ...(model === undefined ? {} : { model }),
    };
    return c.json(await askKept(reached(service).orders, deviceId, await registry.info(deviceId), question));
  });
}

/** @throws ApiError 400 for an invalid order */
function orderOf(
  { do: kind, table, id, model, all, force, repair, keysPerSecond, ...rest }: Record<string, unknown>,
): OrderContent {
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new ApiError(400, "invalid", `an order has no ${JSON.stringify(unknown)}`);
  if (!kinds.includes(kind as typeof kinds[number])) throw new ApiError(400, "invalid", `do is ${kinds.join(", ")}`);
  const order = kind as typeof kinds[number], allowed = tablesOf[order] ?? [];
  const named = table ?? (allowed.length === 1 || order === "retry" ? allowed[0] : undefined);
  if (allowed.length > 0 ? !allowed.includes(named as KeptName) : table !== undefined) {
    throw new ApiError(
      400,
      "invalid",
      allowed.length > 0 ? `table is ${allowed.join(" or ")}` : `${order} has no table`,
    );
  }
  const several = all === true || model !== undefined;
  if (allowed.length > 0 && named !== "aside" && (id === undefined) === !several) {
    throw new ApiError(400, "invalid", `${order} needs one of id, model and "all": true`);
  }
  if (id !== undefined && several) throw new ApiError(400, "invalid", "either id, or model or all");
  if (model !== undefined && (typeof model !== "string" || model === "")) {
    throw new ApiError(400, "invalid", "model is a model's name");
  }
  for (const [name, flag] of Object.entries({ all, force, repair })) {
    if (flag !== undefined && typeof flag !== "boolean") throw new ApiError(400, "invalid", `${name} is true or false`);
  }
  return {
    do: order,
    ...(named === undefined ? {} : { table: named as KeptName }),
    ...(id === undefined ? {} : { id: wholeOf(id, "id") }),
    ...(model === undefined ? {} : { model: model as string }),
    ...(force === true ? { force } : {}),
    ...(repair === true ? { repair } : {}),
    ...(keysPerSecond === undefined ? {} : { keysPerSecond: wholeOf(keysPerSecond, "keysPerSecond") }),
  };
}

function wholeOf(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && Number(value) > 0) return Number(value);
  throw new ApiError(400, "invalid", `${name} is a whole number above 0`);
}
