/**
 * The connections to DynamoDB and its streams: endpoints, credentials, and one bounded path for all requests to tables.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { homedir, release } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { DynamoDBClient } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { DynamoDBStreamsClient } from "npm:@aws-sdk/client-dynamodb-streams@^3.1000.0";
import { Log } from "../../protocol/log.ts";
import { Outage } from "../../protocol/outage.ts";
import { pause } from "../../protocol/within.ts";
import { SyncError } from "../../schema/errors.ts";
import { Semaphore } from "../sync/bounded.ts";
import type { ConsumedUnits } from "../table/port.ts";
import { faultOf, isPassing, syncErrorOf } from "./faults.ts";
import { carryProtoNames } from "./proto_names.ts";
import { type RetryPolicy, withRetries } from "./retry.ts";
import { askingForUnits, UnitMeter } from "./units.ts";
import { type DynamoUrl, parseDynamoUrl } from "./url.ts";

/** Credentials given by hand, instead of the AWS default chain. */
export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Connection options. Everything has a default. */
export interface ConnectOptions {
  /** The clock, ms since 1970. Default `Date.now`. */
  readonly now?: () => number;
  /** Uniform in [0, 1), for jitter. Default `Math.random`. */
  readonly random?: () => number;
  /** Default: the AWS default chain; on a loopback endpoint with nothing configured, `local`/`local`. */
  readonly credentials?: Credentials;
  /** Requests to tables under way at once, over both tables. Default 32: at 10 ms each about 3,000 requests a second. */
  readonly concurrency?: number;
  /** How long throttled, failed and unanswered requests are tried again, ms. Default 5000. */
  readonly retryForMs?: number;
  /** How long one attempt may take, ms. Default 5000. */
  readonly attemptMs?: number;
}

/** Options of a single request. */
export interface SendOptions {
  readonly signal?: AbortSignal;
  /** Called before each attempt; an error that it throws ends the request. */
  readonly beforeAttempt?: () => void;
}

/** A command of the AWS SDK. The caller names its output's type: the SDK ties it to its own client types. */
// deno-lint-ignore no-explicit-any
export type Command = any;

/** One connection, shared by both tables, the stream and the administration. */
export interface Connection {
  readonly url: DynamoUrl;
  readonly policy: RetryPolicy;
  /** Requests to tables under way at once. */
  readonly concurrency: number;
  /**
   * Sends a command to DynamoDB: waits for a slot, limits each attempt's time, retries transient faults. @throws the
   * SDK's error of the last attempt, or the signal's reason.
   */
  send<Output>(command: Command, options?: SendOptions): Promise<Output>;
  /** As `send`, to the streams' endpoint and without a slot: the stream's reader must not wait for writers. */
  sendToStream<Output>(command: Command, options?: SendOptions): Promise<Output>;
  /** What requests to the tables have consumed, as DynamoDB says. A refused condition's write is not told. */
  units(): ConsumedUnits;
  /** Ends the connections; later requests fail (SyncError `closed`). */
  close(): void;
}

/**
 * Prepares connections; nothing is sent yet.
 *
 * @throws RangeError for a bad URL; SyncError `denied` or `no-region` if permissions or the AWS configuration lack
 * something.
 */
export async function connectDynamo(url: string, options: ConnectOptions = {}): Promise<Connection> {
  const parsed = parseDynamoUrl(url);
  checkPermissions();
  const concurrency = options.concurrency ?? 32;
  const { tables, streams } = makeClients(parsed, options.credentials, concurrency);
  await checkConfiguration(tables);
  const limiter = new Semaphore(concurrency);
  const policy: RetryPolicy = {
    now: options.now ?? Date.now,
    random: options.random ?? Math.random,
    sleep: pause,
    retryForMs: options.retryForMs ?? 5000,
  };
  const attemptMs = options.attemptMs ?? 5000;
  const meter = new UnitMeter();
  const away = { tables: outageOf(`DynamoDB's table ${parsed.table}`), streams: outageOf("DynamoDB's change stream") };
  let closed = false;
  const attempt = (client: DynamoDBClient | DynamoDBStreamsClient, command: Command, options: SendOptions) => {
    // The SDK's `destroy` closes sockets and would open new ones at the next request.
    if (closed) throw new SyncError("closed", `the connection to the table "${parsed.table}" is closed`);
    options.beforeAttempt?.();
    const send = (abortSignal: AbortSignal) => (client as DynamoDBClient).send(command, { abortSignal });
    return bounded(attemptMs, options.signal, send) as Promise<never>;
  };
  return {
    url: parsed,
    policy,
    concurrency,
    send: (command, options = {}) =>
      meter.count(
        command,
        watched(
          away.tables,
          options.signal,
          (seen) =>
            withRetries(
              () => limiter.run(() => seen(() => attempt(tables, askingForUnits(command), options))),
              policy,
              options.signal,
            ),
        ),
      ),
    units: () => meter.units,
    sendToStream: (command, options = {}) =>
      // An attempt that can't start rejects, like one that fails.
      watched(away.streams, options.signal, (seen) =>
        withRetries(
          () => seen(async () => await attempt(streams, command, options)),
          policy,
          options.signal,
        )),
    close() {
      closed = true;
      tables.destroy();
      streams.destroy();
    },
  };
}

const log = new Log("table");
/** What a retry heals within so long is no outage. */
const patienceMs = 1_000;

function outageOf(what: string): Outage {
  return new Outage(log, what, { patienceMs });
}

/** Tells an outage of each attempt of a request, and of its end. */
async function watched<Output>(
  outage: Outage,
  signal: AbortSignal | undefined,
  request: (seen: (attempt: () => Promise<Output>) => Promise<Output>) => Promise<Output>,
): Promise<Output> {
  const failed = (error: unknown, begunMs: number, final: boolean) => {
    const kind = faultOf(error), counts = isPassing(kind) || (final && kind === "denied");
    if (counts && error instanceof Error && !signal?.aborted) outage.failed(error, { kind, final, begunMs });
  };
  let begunMs = performance.now();
  try {
    return await request(async (attempt) => {
      begunMs = performance.now();
      try {
        const output = await attempt();
        outage.over();
        return output;
      } catch (error) {
        failed(error, begunMs, false);
        throw error;
      }
    });
  } catch (error) {
    failed(error, begunMs, true);
    throw error;
  }
}

/** What the SDK has to say goes where everything does. */
const sdkLog = {
  trace() {},
  debug() {},
  info() {},
  warn: (...said: unknown[]) => log.debug("{said}", { said: said.map(String).join(" ") }),
  error: (...said: unknown[]) => log.debug("{said}", { said: said.map(String).join(" ") }),
};

/** The SDK's clients for the tables and for their streams. */
function makeClients(
  url: DynamoUrl,
  credentials: Credentials | undefined,
  concurrency: number,
): { tables: DynamoDBClient; streams: DynamoDBStreamsClient } {
  const endpoint = url.endpoint ?? environment("AWS_ENDPOINT_URL_DYNAMODB") ?? environment("AWS_ENDPOINT_URL");
  const isBare = endpoint !== undefined && isLoopback(endpoint) && !hasAwsConfiguration();
  const configured = credentials ?? (isBare ? localCredentials : undefined);
  const region = url.region ?? environment("AWS_REGION") ?? environment("AWS_DEFAULT_REGION") ??
    (isBare ? localRegion : undefined);
  const common = {
    ...(region === undefined ? {} : { region }),
    ...(configured === undefined ? {} : { credentials: configured }),
    // Our retries have deadlines; the SDK's retries must not multiply them.
    maxAttempts: 1,
    logger: sdkLog,
  };
  // Connections are kept alive; the SDK's default of 50 would silently be the limit of a higher concurrency.
  const sockets = { keepAlive: true, maxSockets: concurrency };
  const tables = new DynamoDBClient({
    ...common,
    ...(endpoint === undefined ? {} : { endpoint }),
    requestHandler: { httpAgent: sockets, httpsAgent: sockets, logger: sdkLog },
  });
  const streamsEndpoint = environment("AWS_ENDPOINT_URL_DYNAMODB_STREAMS") ?? streamsEndpointOf(endpoint);
  const streams = new DynamoDBStreamsClient({
    ...common,
    ...(streamsEndpoint === undefined ? {} : { endpoint: streamsEndpoint }),
    requestHandler: { logger: sdkLog },
  });
  for (const client of [tables, streams]) {
    trim(client);
    // Their stacks differ only in the types of commands.
    carryProtoNames(client as DynamoDBClient);
  }
  return { tables, streams };
}

/**
 * Removes work that nobody here needs from each request: a copy of it and of its answer for a logger that does not
 * exist, and a look-up of the operating system's name. Together they are a tenth of the SDK's time for a put.
 */
function trim(client: DynamoDBClient | DynamoDBStreamsClient): void {
  client.middlewareStack.remove("loggerMiddleware");
  const { defaultUserAgentProvider } = client.config;
  let userAgent: ReturnType<typeof defaultUserAgentProvider> | undefined;
  client.config.defaultUserAgentProvider = (...args) => userAgent ??= defaultUserAgentProvider(...args);
}

/** DynamoDB Local and similar emulators accept any. They separate tables by region and key. */
const localCredentials: Credentials = { accessKeyId: "local", secretAccessKey: "local" };
const localRegion = "us-east-1";

/**
 * Runs one attempt with a time limit. Not by `AbortSignal.any`, because `AbortSignal.any` over a signal that lives as
 * long as the process would collect one listener a request.
 */
async function bounded<T>(
  limitMs: number,
  signal: AbortSignal | undefined,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  const timer = setTimeout(() => controller.abort(), limitMs);
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort();
  try {
    return await attempt(controller.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/**
 * The SDK requests these permissions where an error cannot be caught (an unhandled rejection), so this requests them
 * first.
 */
function checkPermissions(): void {
  try {
    process.geteuid?.();
    homedir();
    release();
  } catch (cause) {
    throw new SyncError("denied", `the AWS SDK can't be used: ${(cause as Error).message}`, {
      cause,
      hint: "it needs --allow-net, --allow-sys, and for the AWS configuration --allow-env and --allow-read",
    });
  }
}

/**
 * Resolves region and credentials at once, so that a missing one gives one clear line at the start, not at the first
 * write.
 */
async function checkConfiguration(client: DynamoDBClient): Promise<void> {
  try {
    await client.config.region();
  } catch (cause) {
    client.destroy();
    throw new SyncError("no-region", "the AWS region is not known", {
      cause,
      hint: "add ?region=… to the table's URL, or set AWS_REGION",
    });
  }
  try {
    await client.config.credentials();
  } catch (cause) {
    client.destroy();
    throw syncErrorOf(cause, "looking for AWS credentials");
  }
}

/**
 * The streams' endpoint that belongs to a table endpoint: an emulator serves both; AWS has another host for streams, which
 * the SDK knows by itself.
 */
function streamsEndpointOf(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const { hostname } = new URL(endpoint);
  return /(^|\.)(amazonaws\.com(\.cn)?|api\.aws)$/.test(hostname) ? undefined : endpoint;
}

function isLoopback(endpoint: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(endpoint).hostname);
}

/**
 * Whether this machine has an AWS configuration at all. Only then is the default chain used on a loopback endpoint:
 * without a configuration, it would try the EC2 metadata service, which costs seconds on a laptop.
 */
function hasAwsConfiguration(): boolean {
  const variables = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  ];
  if (variables.some((name) => environment(name) !== undefined)) return true;
  try {
    const folder = join(homedir(), ".aws");
    return [
      environment("AWS_SHARED_CREDENTIALS_FILE") ?? join(folder, "credentials"),
      environment("AWS_CONFIG_FILE") ?? join(folder, "config"),
    ].some((file) => existsSync(file));
  } catch {
    // Without the permission to check, this process has no configuration.
    return false;
  }
}

function environment(name: string): string | undefined {
  return process.env[name] || undefined;
}
