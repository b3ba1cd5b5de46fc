/**
 * `POST /api/devices`: adds a device, as `device add` does. The answer has its token, which nobody can get again.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import { isId } from "../../schema.ts";
import type { Registry } from "../sync/registry.ts";
import { ApiError } from "./errors.ts";
import type { Noted } from "./operations.ts";
import { readObject } from "./request.ts";

/** Ten years. */
const validSecondsMax = 315_360_000;

/** Adds the route. Wants the scope admin: whoever adds a device can act as one. */
export function deviceAddRoute(app: Hono, { registry, noted }: { registry: Registry; noted: Noted }): void {
  app.post("/api/devices", async (c) => {
    noted.requireAdmin(c);
    const { deviceId, accountId, validSeconds } = newDeviceOf(await readObject(c.req.raw));
    await noted.begin(c, "device.add", deviceId);
    const token = await registry.add(
      deviceId,
      accountId,
      validSeconds === undefined ? {} : { validMs: validSeconds * 1000 },
    );
    const untilMs = (await registry.info(deviceId))?.untilMs;
    c.header("cache-control", "no-store");
    return c.json({ deviceId, accountId, token, ...(untilMs === undefined ? {} : { untilMs }) }, 201);
  });
}

/** @throws ApiError 400 */
function newDeviceOf({ deviceId, accountId, validSeconds, ...rest }: Record<string, unknown>) {
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new ApiError(400, "invalid", `a new device has no ${JSON.stringify(unknown)}`);
  const id = (name: string, value: unknown): string => {
    if (typeof value === "string" && isId(value)) return value;
    throw new ApiError(400, "invalid", `${name} is 1 to 128 of A-Z a-z 0-9 _ . : -`);
  };
  const ids = { deviceId: id("deviceId", deviceId), accountId: id("accountId", accountId) };
  if (validSeconds === undefined) return { ...ids, validSeconds: undefined };
  if (Number.isSafeInteger(validSeconds) && Number(validSeconds) > 0 && Number(validSeconds) <= validSecondsMax) {
    return { ...ids, validSeconds: Number(validSeconds) };
  }
  throw new ApiError(400, "invalid", `validSeconds is a whole number from 1 to ${validSecondsMax}`);
}
