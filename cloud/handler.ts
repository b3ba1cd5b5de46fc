/**
 * The cloud as a handler, in the shape that Deno Deploy and `deno serve` run: `deno serve -A cloud/handler.ts`. It keeps no
 * state: any number of instances may run side by side. Its configuration is the environment's: see `handler_config.ts`.
 *
 * Run as the main module it is checked at once, and does not start where something is missing or wrong. Nothing is opened
 * before the first request. SIGTERM and SIGINT let the requests under way end, close what was opened, and end the process.
 *
 * @module
 */
import { CloudMetrics } from "./api/metrics.ts";
import { randomBytes } from "node:crypto";
import process from "node:process";
import { SyncError } from "../schema.ts";
import { Log } from "../protocol/log.ts";
import { createHandler } from "./api/app.ts";
import { errorResponse } from "./api/errors.ts";
import { type ApiToken, tokenHash } from "./api/tokens.ts";
import { type Environment, type HandlerConfig, readHandlerConfig } from "./handler_config.ts";
import { logToStderr } from "./handler_log.ts";
import { Feed } from "./feed/feed.ts";
import { FeedWatcher } from "./feed/watcher.ts";
import { openTables } from "./open_tables.ts";
import { type OpenPublisher, openPublisher } from "./publishers/open.ts";
import { bothObservers } from "./sync/observer.ts";
import { Registry } from "./sync/registry.ts";
import { CloudService } from "./sync/service.ts";

export { createHandler, type HandlerOptions } from "./api/app.ts";
export type { Environment } from "./handler_config.ts";

const logger = new Log("handler");

/** A handler and what it opened. */
export interface ConfiguredHandler extends AsyncDisposable {
  /** Answers a request; never throws. */
  readonly fetch: (request: Request) => Promise<Response>;
}

/**
 * Opens a handler as the environment says; see `handler_config.ts` for the variables.
 *
 * @throws SyncError `config` naming what is missing or wrong; what tables and publisher throw where they can't be opened.
 */
export async function handlerFromEnvironment(env: Environment): Promise<ConfiguredHandler> {
  return await openHandler(await readHandlerConfig(env), []);
}

/** @param own tokens beside the configured ones */
async function openHandler(config: HandlerConfig, own: readonly ApiToken[]): Promise<ConfiguredHandler> {
  const { schema, table, tokens, prefix, retentionMs, streamTimeoutMs, auditDays } = config;
  const now = () => Date.now(), random = Math.random;
  // Beside the process that serves an embedded table, if there is one: this one leaves the stream to it.
  const tables = await openTables(table, { schema, now, shared: true }).catch((cause) => {
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause;
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}`, { cause });
  });
  const registry = new Registry(tables.log, { now });
  // By hand, not on an AsyncDisposableStack: Node 22 has none.
  const publisher = await openPublisherOf(config, random).catch(async (cause) => {
    await tables.close();
    throw cause;
  });
  const metrics = new CloudMetrics({ schema: schema.version });
  // What this instance handles: no instance hears another, nor any device's presence.
  const feed = new Feed({ now, random });
  const handler = createHandler({
    schema,
    tables,
    registry,
    feed,
    metrics,
    ...(publisher && {
      service: new CloudService({
        ...{ schema, tables, registry, publisher, now, random, retentionMs },
        observer: bothObservers(metrics, new FeedWatcher(schema, feed, now)),
      }),
      counters: () => ({ publishedBytes: publisher.counters.publishedBytes }),
    }),
    tokens: () => [...tokens(), ...own],
    prefix,
    streamTimeoutMs,
    auditDays,
    now,
    random,
  });
  logger.info("opened {table}, {reach}", {
    table: table.split("?")[0],
    reach: publisher ? "with a publisher" : "the API alone",
  });
  return {
    fetch: handler,
    async [Symbol.asyncDispose]() {
      feed.close();
      await publisher?.close();
      await tables.close();
    },
  };
}

async function openPublisherOf(config: HandlerConfig, random: () => number): Promise<OpenPublisher | undefined> {
  const { publisher, mqtt, prefix, payloadBytesMax } = config;
  return publisher === undefined
    ? undefined
    : await openPublisher(publisher, { ...mqtt, prefix, payloadBytesMax, random });
}

/** What this process hands to its own routes shows this: `lambda.ts`. Nobody else can know it. */
export const ownToken: string = randomBytes(32).toString("base64url");

/** The handler of this process, opened by its first request. */
class ProcessHandler {
  #opening: Promise<ConfiguredHandler> | undefined;
  #running = 0;
  #idle: (() => void) | undefined;

  async fetch(request: Request): Promise<Response> {
    const opening = this.#opening ??= this.#open();
    this.#running++;
    try {
      return await (await opening).fetch(request);
    } catch (error) {
      // Tried again with the next request: a table may not have been there yet.
      if (this.#opening === opening) this.#opening = undefined;
      return errorResponse(error);
    } finally {
      this.#running--;
      if (this.#running === 0) this.#idle?.();
    }
  }

  async #open(): Promise<ConfiguredHandler> {
    await logToStderr(process.env.TWINTABLE_LOG);
    const config = await readHandlerConfig((name) => process.env[name]);
    return await openHandler(config, [{ name: "lambda", hash: tokenHash(ownToken), scopes: ["forward"] }]);
  }

  /** Lets what is under way end, for a bounded time, and closes. */
  async close(): Promise<void> {
    if (this.#running > 0) {
      const limit = new Promise<void>((resolve) => setTimeout(resolve, closeMs));
      await Promise.race([limit, new Promise<void>((resolve) => this.#idle = resolve)]);
    }
    // One that could not be opened has nothing to close.
    await (await this.#opening?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}

/** What platforms grant between SIGTERM and SIGKILL is 10 s or more. */
const closeMs = 8_000;
const own = new ProcessHandler();

export default {
  /** Answers a request; where the configuration is wrong, with 500 and the reason in the log. */
  fetch: (request: Request): Promise<Response> => own.fetch(request),
};

/** How long the start waits for a table, ms: beyond, it counts as away. */
const checkTablesMs = 5_000;

/**
 * Reads from both tables, so that one that is not there, or closed to us, ends the start and is named. One that is away does
 * not: that passes. An embedded table is another process's to open.
 *
 * @throws SyncError `config`
 */
async function checkTables({ schema, table }: HandlerConfig): Promise<void> {
  if (!table.startsWith("dynamodb:")) return;
  const tables = await openTables(table, { schema, now: () => Date.now() }).catch((cause) => {
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}`, { cause });
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, checkTablesMs));
  const probe = Promise.all([tables.data, tables.log].map((one) => one.get([["twintable#probe", "probe"]])));
  try {
    await Promise.race([probe, late]);
  } catch (cause) {
    if (!(cause instanceof SyncError) || cause.retryable) return;
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}${cause.hint ? `; ${cause.hint}` : ""}`, { cause });
  } finally {
    clearTimeout(timer);
    // A request that is late fails with the connection.
    probe.catch(() => {});
    await tables.close();
  }
}

/** Checks the configuration and the tables, and listens for the end. */
async function startProcess(): Promise<void> {
  try {
    await logToStderr(process.env.TWINTABLE_LOG);
    await checkTables(await readHandlerConfig((name) => process.env[name]));
  } catch (error) {
    console.error(`twintable: ${(error as Error).message}`);
    process.exit(1);
  }
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      own.close().then(() => process.exit(0), (error) => {
        logger.error("closing failed: {error}", { error });
        process.exit(1);
      });
    });
  }
}

if (import.meta.main) await startProcess();
