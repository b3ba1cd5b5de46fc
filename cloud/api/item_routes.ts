/**
 * The routes of items: `/api/items`. See `items.ts` and `write.ts`.
 *
 * @module
 */
import type { Context, Hono } from "npm:hono@^4.13.19";
import { auditedTable } from "../operations/audited_table.ts";
import { ApiError } from "./errors.ts";
import { historyOf, keyIn, type TraceContext, whereIs } from "./trace.ts";
import { listItems, modelNamed } from "./items.ts";
import type { Noted } from "./operations.ts";
import { checkQuery, idOf, pageOf, withToken } from "./query.ts";
import { readObject } from "./request.ts";
import { deleteItem, type Precondition, putItem, putItems } from "./write.ts";

/** The most items that one request puts: a body has 2 MB. */
const itemsMax = 1_000;
/** A request that waits holds a connection. */
const waitMaxMs = 10_000;

/** Adds the routes. */
export function itemRoutes(app: Hono, items: TraceContext, noted: Noted): void {
  const { schema } = items;
  /** The table for this request's writes: the audit notes each write before it is made. */
  const writing = (c: Context) => ({ ...items, data: auditedTable(schema, items.data, noted.of(c)) });
  app.get("/api/size", async (c) => {
    checkQuery(c, []);
    const size = await items.data.size?.();
    return c.json(size === undefined ? {} : { items: size });
  });
  app.get("/api/items/history", async (c) => {
    checkQuery(c, ["model", "key", "next"]);
    const model = modelNamed(schema, c.req.query("model"));
    return c.json(withToken(await historyOf(items, model, keyIn(c.req.query("key")), { after: pageOf(c).next })));
  });
  app.get("/api/items/where", async (c) => {
    checkQuery(c, ["model", "key", "wait", "since"]);
    const model = modelNamed(schema, c.req.query("model")), waitMs = Number(c.req.query("wait") ?? 0);
    const since = c.req.query("since"), sinceMs = since === undefined ? -Infinity : Date.parse(since);
    if (Number.isNaN(sinceMs)) throw new ApiError(400, "invalid", "since is an ISO time: the at of a write's answer");
    if (!Number.isSafeInteger(waitMs) || waitMs < 0 || waitMs > waitMaxMs) {
      throw new ApiError(400, "invalid", `wait is 0 to ${waitMaxMs} ms`);
    }
    return c.json(await whereIs(items, model, keyIn(c.req.query("key")), { waitMs, sinceMs }));
  });
  app.get("/api/items", async (c) => {
    checkQuery(c, ["model", "device", "account", "limit", "next"]);
    const model = modelNamed(schema, c.req.query("model"));
    const listing = { model, deviceId: idOf(c, "device"), accountId: idOf(c, "account"), ...pageOf(c) };
    return c.json(withToken(await listItems(items, listing)));
  });
  app.put("/api/items", async (c) => {
    const body = await readObject(c.req.raw), model = modelNamed(schema, body.model);
    // Taken before the write, so that its log entry is later.
    const at = new Date(items.now()).toISOString();
    const keepsUnknown = keepsUnknownOf(body.unknown), precondition = preconditionOf(c);
    if (body.items === undefined) {
      const written = await putItem(writing(c), model, body.item, { keepsUnknown, precondition });
      c.header("etag", `"${written.digest}"`);
      return c.json({ ...written, at });
    }
    if (body.item !== undefined || precondition !== undefined) {
      throw new ApiError(400, "invalid", "several items are put without item, If-Match and If-None-Match");
    }
    if (!Array.isArray(body.items) || body.items.length > itemsMax) {
      throw new ApiError(400, "invalid", `items is a list of ${itemsMax} at most`);
    }
    const results = await putItems(writing(c), model, body.items, { keepsUnknown });
    return c.json({ results, at, failed: results.filter((result) => "error" in result).length });
  });
  app.delete("/api/items", async (c) => {
    const body = await readObject(c.req.raw);
    const { old = null, oldDigest } = await deleteItem(
      writing(c),
      modelNamed(schema, body.model),
      body.item,
      preconditionOf(c),
    );
    return c.json({ item: old, digest: oldDigest });
  });
}

function keepsUnknownOf(unknown: unknown): boolean {
  if (unknown === undefined || unknown === "refuse" || unknown === "keep") return unknown === "keep";
  throw new ApiError(400, "invalid", `unknown is "refuse" (default) or "keep"`);
}

/** `If-Match: DIGEST` or `*`, `If-None-Match: *`; a digest may be in quotes. @throws ApiError 400 */
function preconditionOf(c: Context): Precondition | undefined {
  const match = c.req.header("if-match")?.trim(), none = c.req.header("if-none-match")?.trim();
  if (match !== undefined && none !== undefined) {
    throw new ApiError(400, "invalid", "either If-Match or If-None-Match is wanted");
  }
  if (none !== undefined && none !== "*") throw new ApiError(400, "invalid", "If-None-Match can only be *");
  if (none !== undefined) return "none";
  if (match === undefined) return undefined;
  if (match === "*") return "any";
  const digest = /^"?([0-9a-f]{16})"?$/.exec(match)?.[1];
  if (digest === undefined) throw new ApiError(400, "invalid", "If-Match is one digest, as a list or a write tells it");
  return { digest };
}
