/**
 * The routes for the state of the process: `/healthz`, `/readyz`, `/metrics`. The first two want no token, because a load
 * balancer has none: a stranger learns from `/readyz` whether, and whoever may read learns why.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import type { Access } from "./access.ts";
import type { CloudMetrics } from "./metrics.ts";
import { asked } from "./ready.ts";

/** What the routes show. */
export interface StateRoutes {
  readonly metrics: CloudMetrics;
  /** The unreachable services, a sentence each. */
  readonly lacking: () => Promise<string[]>;
  readonly access: Pick<Access, "may">;
  readonly now: () => number;
}

/** Adds the routes. */
export function stateRoutes(app: Hono, { metrics, lacking, access, now }: StateRoutes): void {
  const missingNow = asked(lacking, now);
  app.get("/healthz", (c) => c.text("ok\n"));
  app.get("/readyz", async (c) => {
    const missing = await missingNow();
    if (missing.length === 0) return c.text("ready\n");
    // The sentences are errors' texts: they name tables, hosts and paths.
    return c.text(access.may(c, "read") ? `${missing.join("\n")}\n` : "not ready\n", 503);
  });
  app.get(
    "/metrics",
    async () => new Response(await metrics.text(), { headers: { "content-type": metrics.contentType } }),
  );
}
