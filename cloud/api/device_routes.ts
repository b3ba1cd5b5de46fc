/**
 * The routes by which operators reach a device: orders, which wait for it, and questions, which it answers at once or not.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import type { KeptName } from "../../protocol.ts";
import type { OrderContent, Orders } from "../sync/orders.ts";
import type { Registry } from "../sync/registry.ts";
import { ApiError } from "./errors.ts";
import type { Noted } from "./operations.ts";
import { checkQuery, knownDevice, pageOf } from "./query.ts";
import { readObject } from "./request.ts";

/** What the routes work on. */
export interface DeviceRoutes {
  readonly registry: Registry;
  /** What is ordered is noted before. */
  readonly noted: Noted;
  /** Absent: nothing is published here. */
  readonly orders?: Pick<Orders, "give" | "list" | "ask">;
}

const kinds = ["sync", "verify", "retry", "restore", "drop"] as const;
const tables: readonly string[] = ["rejected", "conflicts", "aside"] satisfies readonly KeptName[];
/** Tables that an order may name, and the one that it means where it names none. */
const tablesOf: Readonly<Record<string, readonly KeptName[]>> = {
  retry: ["rejected", "aside"],
  restore: ["conflicts"],
  drop: ["rejected", "conflicts"],
};

/** Adds the routes. */
export function deviceRoutes(app: Hono, { registry, orders, noted }: DeviceRoutes): void {
  const reached = () => {
    if (!orders) throw new ApiError(503, "config", "nothing is published here: a publisher is missing");
    return orders;
  };
  app.post("/api/devices/:device/orders", async (c) => {
    const deviceId = await knownDevice(registry, c.req.param("device"));
    const content = orderOf(await readObject(c.req.raw)), orders = reached();
    await noted.begin(c, `device.order ${content.do}${content.table ? ` ${content.table}` : ""}`, deviceId);
    return c.json({ order: await orders.give(deviceId, content) }, 202);
  });
  app.get("/api/devices/:device/orders", async (c) => {
    checkQuery(c, ["limit"]);
    const deviceId = await knownDevice(registry, c.req.param("device"));
    return c.json({ orders: await reached().list(deviceId, pageOf(c).limit) });
  });
  app.get("/api/devices/:device/kept", async (c) => {
    checkQuery(c, ["table", "model", "after", "limit"]);
    const deviceId = await knownDevice(registry, c.req.param("device"));
    const table = c.req.query("table") ?? "rejected";
    if (!tables.includes(table)) throw new ApiError(400, "invalid", `table is ${tables.join(", ")}`);
    const after = c.req.query("after"), model = c.req.query("model");
    const question = {
      do: "kept" as const,
      table: table as KeptName,
      limit: Math.min(pageOf(c).limit, 100),
      ...(after === undefined ? {} : { after: wholeOf(Number(after), "after") }),
      ...(model === undefined ? {} : { model }),
    };
    const info = await registry.info(deviceId), command = `twintable ${table} list --db FILE`;
    const away = (why: string) => new AwayError(`${why}: on the device, ${command} shows it`, command);
    if (info?.report && info.report.orders !== 1) {
      throw away(`not understood by agent ${info.report.agent ?? "of an older version"}`);
    }
    if (info?.connected === false) throw away("the device is not connected");
    const answer = await reached().ask(deviceId, question);
    if (!answer) throw away("the device did not answer within 2 s");
    if (answer.state === "failed") {
      throw new ApiError(502, "failed", String(answer.report.reason ?? "the device could not"));
    }
    return c.json(answer.report);
  });
}

/** The device can't be asked now: how to look there. */
class AwayError extends ApiError {
  constructor(message: string, private readonly command: string) {
    super(504, "away", message);
  }

  override get details(): Readonly<Record<string, unknown>> {
    return { command: this.command };
  }
}

/** @throws ApiError 400 for what is no order */
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
