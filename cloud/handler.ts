/**
 * The cloud as a handler, in the shape that Deno Deploy and `deno serve` run: `deno serve -A cloud/handler.ts`. It
 * keeps no state: any number of instances may run side by side. The environment configures it: see `handler_config.ts`.
 * Run as the main module, it checks its configuration at once, and does not start if something is missing or wrong.
 * Nothing is opened before the first request. SIGTERM and SIGINT let the requests under way end, close what was opened,
 * and end the process.
 *
 * @module
 */
import { CloudMetrics } from "./api/metrics.ts";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { SyncError } from "../schema.ts";
import { pause, within } from "../protocol/within.ts";
import { Log } from "../protocol/log.ts";
import { createHandler, type RequestInfo } from "./api/app.ts";
import { errorResponse } from "./api/errors.ts";
import { type ApiToken, tokenHash } from "./api/tokens.ts";
import { type Environment, type HandlerConfig, readHandlerConfig } from "./handler_config.ts";
import { logToStderr } from "./handler_log.ts";
import { Feed } from "./feed/feed.ts";
import { FeedWatcher } from "./feed/watcher.ts";
import { Notifier } from "./notify/notifier.ts";
import { openTables, placeOf } from "./open_tables.ts";
import { type OpenPublisher, openPublisher } from "./publishers/open.ts";
import { measured } from "./operations/field_metrics.ts";
import { bothObservers } from "./sync/observer.ts";
import { Registry } from "./sync/registry.ts";
import { traceObserver } from "./sync/tracing.ts";
import { CloudService } from "./sync/service.ts";

export { createHandler, type HandlerOptions, type RequestInfo } from "./api/app.ts";
export type { Environment } from "./handler_config.ts";

const logger = new Log("handler");

/** A handler and what it opened. */
export interface ConfiguredHandler extends AsyncDisposable {
  /** Answers a request; never throws. */
  readonly fetch: (request: Request, info?: RequestInfo) => Promise<Response>;
}

/**
 * Opens a handler as the environment says; see `handler_config.ts` for the variables.
 *
 * @throws SyncError `config` naming what is missing or wrong; errors of tables and publisher that can't be opened.
 */
export async function handlerFromEnvironment(env: Environment): Promise<ConfiguredHandler> {
  return await openHandler(await readHandlerConfig(env), []);
}

/** @param own tokens in addition to the configured ones */
async function openHandler(config: HandlerConfig, own: readonly ApiToken[]): Promise<ConfiguredHandler> {
  const { schema, table, tokens, prefix, retentionMs, streamTimeoutMs, auditDays, notifySecrets: secrets } = config;
  const now = () => Date.now(), random = Math.random;
  // With an embedded table, another process may serve it: this one leaves the stream to that process.
  const tables = await openTables(table, { schema, now, shared: true }).catch((cause) => {
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause;
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}`, { cause });
  });
  const registry = new Registry(tables.log, { now });
  // Without an AsyncDisposableStack, which Node 22 does not have.
  const publisher = await openPublisherOf(config, random).catch(async (cause) => {
    await tables.close();
    throw cause;
  });
  const metrics = new CloudMetrics({ schema: schema.version });
  // Only what this instance handles: an instance hears neither other instances nor presence.
  const feed = new Feed({ now, random });
  const fieldMetrics = measured(metrics, { schema, table: tables.log, worker: randomBytes(6).toString("hex"), now });
  fieldMetrics.start();
  const notifier = publisher && new Notifier({ schema, log: tables.log, publisher, prefix, secrets, now, random });
  if (notifier) metrics.add({ labelled: () => notifier.labelled() });
  notifier?.start();
  const handler = createHandler({
    schema,
    tables,
    registry,
    feed,
    metrics,
    fieldMetrics,
    ...(publisher && {
      service: new CloudService({
        ...{ schema, tables, registry, publisher, notifier, now, random, retentionMs },
        observer: [metrics, new FeedWatcher(schema, feed, now), fieldMetrics.observer]
          .reduce(bothObservers, traceObserver(now)),
      }),
      counters: () => ({ publishedBytes: publisher.counters.publishedBytes }),
      publisher,
    }),
    tokens: () => [...tokens(), ...own],
    prefix,
    streamTimeoutMs,
    auditDays,
    ...placeOf(table),
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
      await fieldMetrics.close();
      await notifier?.close();
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

/** `lambda.ts` uses this token to call this process's own routes. Nobody else can know it. */
export const ownToken: string = randomBytes(32).toString("base64url");

/** The handler of this process, opened by its first request. */
class ProcessHandler {
  #opening: Promise<ConfiguredHandler> | undefined;
  #running = 0;
  #idle: (() => void) | undefined;
  /** Answers on their way to the caller. */
  readonly #unsent = new Set<Promise<unknown>>();
  #answered = false;

  async fetch(request: Request, info?: RequestInfo): Promise<Response> {
    const opening = this.#opening ??= this.#open();
    this.#running++;
    if (info?.completed) this.#heed(info.completed);
    try {
      return await (await opening).fetch(request, info);
    } catch (error) {
      // The next request tries again: a table may not have existed yet.
      if (this.#opening === opening) this.#opening = undefined;
      return errorResponse(error);
    } finally {
      this.#running--;
      if (this.#running === 0) this.#idle?.();
    }
  }

  /** A caller that goes away is no fault. */
  #heed(completed: Promise<unknown>): void {
    this.#answered = true;
    const sent = completed.catch(() => {}).finally(() => this.#unsent.delete(sent));
    this.#unsent.add(sent);
  }

  async #open(): Promise<ConfiguredHandler> {
    await logToStderr(process.env.TWINTABLE_LOG);
    const config = await readHandlerConfig((name) => process.env[name]);
    return await openHandler(config, [{ name: "lambda", hash: tokenHash(ownToken), scopes: ["forward"] }]);
  }

  /**
   * Waits a bounded time for requests under way, closes, and waits for what was answered to be sent: what has been done
   * would be done again by a caller that hears nothing. Closing ends streams of events.
   */
  async close(): Promise<void> {
    if (this.#running > 0) {
      await within(closeMs, new Promise<void>((resolve) => this.#idle = resolve));
    }
    // If it could not be opened, there is nothing to close.
    await (await this.#opening?.catch(() => undefined))?.[Symbol.asyncDispose]();
    if (!this.#answered) return;
    await within(sendMs, Promise.all(this.#unsent));
    await pause(flushMs);
  }
}

/** What platforms grant between SIGTERM and SIGKILL is 10 s or more. */
const closeMs = 7_000, sendMs = 1_000;
/** Deno's `completed` settles when an answer was handed over; a moment later its bytes are with the kernel. */
const flushMs = 250;
const own = new ProcessHandler();

export default {
  /**
   * Answers a request; if the configuration is wrong, with 500 and the reason in the log. Without `info`, as `Deno.serve`
   * gives it, all callers share one address's tries to sign in.
   */
  fetch: (request: Request, info?: RequestInfo): Promise<Response> => own.fetch(request, info),
};

/** How long the start waits for a table, ms: after that, the table counts as unreachable. */
const checkTablesMs = 5_000;

/**
 * Reads from both tables, so that a missing or forbidden table ends the start with its name. An unreachable table does
 * not, because that is transient. An embedded table belongs to another process, which creates it: its folder has to be there.
 *
 * @throws SyncError `config`
 */
async function checkTables({ schema, table }: HandlerConfig): Promise<void> {
  const path = /^embedded:(.+)$/.exec(table)?.[1];
  if (path !== undefined && !existsSync(dirname(path))) {
    throw new SyncError("config", `TWINTABLE_TABLE: the folder ${dirname(path)} does not exist`);
  }
  if (path !== undefined) return;
  const tables = await openTables(table, { schema, now: () => Date.now() }).catch((cause) => {
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}`, { cause });
  });
  const probe = Promise.all([tables.data, tables.log].map((one) => one.get([["twintable#probe", "probe"]])));
  try {
    await within(checkTablesMs, probe);
  } catch (cause) {
    if (!(cause instanceof SyncError) || cause.retryable) return;
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}${cause.hint ? `; ${cause.hint}` : ""}`, { cause });
  } finally {
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
