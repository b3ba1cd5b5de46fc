/**
 * The API's routes for operators: the audit, and decommissioning devices. The audit notes each write before it is done;
 * for a route without its own note, it notes the path.
 *
 * @module
 */
import type { Context, Hono } from "npm:hono@^4.13.19";
import { Log } from "../../protocol/log.ts";
import { isId } from "../../schema.ts";
import { type Audit, type AuditEntry, auditTime } from "../operations/audit.ts";
import type { Erasure } from "../operations/erasure.ts";
import type { Registry } from "../sync/registry.ts";
import { ApiError } from "./errors.ts";
import type { Bearer } from "./tokens.ts";

const log = new Log("api");

/** The context of an admitted request. */
interface Asked {
  readonly who: string;
  readonly isAdmin: boolean;
  noted?: AuditEntry;
}

/** Who asks, and what the audit notes. */
export class Noted {
  readonly #asked = new WeakMap<Request, Asked>();

  constructor(private readonly audit: Audit) {}

  /** Notes an admitted request (without a bearer, the API is open on loopback), then runs it. */
  async run(c: Context, bearer: Bearer | undefined, next: () => Promise<void>): Promise<void> {
    const asked: Asked = { who: bearer?.name ?? "loopback", isAdmin: bearer?.may("admin") ?? true };
    this.#asked.set(c.req.raw, asked);
    await next();
    if (c.req.method === "GET" || c.req.method === "HEAD") return;
    const failed = c.res.status >= 400, entry: AuditEntry | undefined = asked.noted;
    if (entry && failed) await this.#afterwards({ ...entry, outcome: String(c.res.status) });
    else if (!entry && !failed) {
      await this.#afterwards({ who: asked.who, via: "api", action: `${c.req.method} ${c.req.path}` });
    }
  }

  /** Notes the act that follows. @throws SyncError `unavailable`: then the act must not happen */
  async begin(c: Context, action: string, target: string): Promise<void> {
    const asked = this.#of(c), entry: AuditEntry = { who: asked.who, via: "api", action, target };
    await this.audit.note(entry);
    asked.noted = entry;
  }

  /** {@link begin} of this request. */
  of(c: Context): (action: string, target: string) => Promise<void> {
    return (action, target) => this.begin(c, action, target);
  }

  /** @throws ApiError 403 */
  requireAdmin(c: Context): void {
    if (!this.#of(c).isAdmin) throw new ApiError(403, "forbidden", "this token may not admin");
  }

  #of(c: Context): Asked {
    const asked = this.#asked.get(c.req.raw);
    if (!asked) throw new Error(`nobody was let in to ${c.req.path}`);
    return asked;
  }

  /** The act is done, even if this cannot be noted. */
  async #afterwards(entry: AuditEntry): Promise<void> {
    await this.audit.note(entry).catch((error) =>
      log.error("the audit lacks that {action} by {who} came to {outcome}: {error}", { ...entry, error })
    );
  }
}

/** The context of {@link addOperations}. */
export interface OperationsContext {
  readonly audit: Audit;
  readonly erasure: Erasure;
  readonly noted: Noted;
  readonly registry: Registry;
  /** Clears what the broker retains of erased devices, if there is a way to it from here. */
  readonly clearRetained: () => Promise<void>;
}

/** Adds the routes. */
export function addOperations(
  app: Hono,
  { audit, erasure, noted, registry, clearRetained }: OperationsContext,
): void {
  app.get("/api/audit", async (c) => {
    noted.requireAdmin(c);
    const { from, to, who, limit, next } = queryOf(c, ["from", "to", "who", "limit", "next"]);
    if (next !== undefined && !/^[\dT:.Z-]{24}#\w{1,20}$/.test(next)) {
      throw new ApiError(400, "invalid", "next is not an entry's id");
    }
    return c.json(
      await audit.list({
        fromMs: timeOf("from", from),
        toMs: timeOf("to", to),
        who,
        after: next,
        limit: limit === undefined ? 100 : limitOf(limit),
      }),
    );
  });
  app.delete("/api/devices/:device", async (c) => {
    const { erase } = queryOf(c, ["erase"]), deviceId = deviceOf(c);
    if (erase === undefined) {
      await noted.begin(c, "device.revoke", deviceId);
      if (!await registry.revoke(deviceId)) throw unknown(deviceId);
      return c.json({ revoked: deviceId });
    }
    if (erase !== "" && erase !== "true") throw new ApiError(400, "invalid", "erase takes no value");
    noted.requireAdmin(c);
    await noted.begin(c, "device.erase", deviceId);
    const state = await erasure.run(deviceId);
    if (!state) throw unknown(deviceId);
    if (state.done) await clearRetained();
    return c.json(state, state.done ? 200 : 202);
  });
  app.get("/api/devices/:device/erasure", async (c) => {
    const state = await erasure.state(deviceOf(c));
    if (!state) throw new ApiError(404, "not-found", "the device was not erased");
    return c.json(state);
  });
}

function deviceOf(c: Context): string {
  const deviceId = c.req.param("device") ?? "";
  if (!isId(deviceId)) throw unknown(deviceId);
  return deviceId;
}

function unknown(deviceId: string): ApiError {
  return new ApiError(404, "not-found", `there is no device "${deviceId}"`);
}

function queryOf<N extends string>(c: Context, known: readonly N[]): { readonly [name in N]?: string } {
  const query = c.req.query();
  const unknown = Object.keys(query).find((name) => !(known as readonly string[]).includes(name));
  if (unknown !== undefined) throw new ApiError(400, "invalid", `unknown parameter ${JSON.stringify(unknown)}`);
  return query as { readonly [name in N]?: string };
}

function timeOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = auditTime(text);
  if (ms !== undefined) return ms;
  throw new ApiError(400, "invalid", `${name} is not a time: 2026-01-31 or 2026-01-31T12:00:00Z is`);
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (Number.isSafeInteger(limit) && limit >= 1) return Math.min(limit, 1_000);
  throw new ApiError(400, "invalid", "limit is not a whole number above 0");
}
