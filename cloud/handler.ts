/**
 * The cloud as a handler, in the shape that Deno Deploy and `deno serve` run: `deno serve -A cloud/handler.ts`. It keeps no
 * state: any number of instances may run side by side.
 *
 * | variable | meaning |
 * | --- | --- |
 * | `TWINTABLE_SCHEMA` | the schema's file; required |
 * | `TWINTABLE_TABLE` | `dynamodb://TABLE[?region=…&endpoint=…]`, or `embedded:PATH` beside the process that serves it; required |
 * | `TWINTABLE_TOKEN` | the bearer token of everything but `/healthz`; required |
 * | `TWINTABLE_PUBLISHER` | how devices are reached: `mqtts://USER:PASSWORD@HOST`, `iot-data://ENDPOINT?region=…`, `emqx+https://KEY:SECRET@HOST/api/v5/publish`; without it there is no `/stream`, `/up` and `/sync` |
 * | `TWINTABLE_MQTT_CA`, `…_CERT`, `…_KEY` | PEM files for `mqtts://` |
 * | `TWINTABLE_MQTT_VERSION` | `4` (default: MQTT 3.1.1) or `5` |
 * | `TWINTABLE_PREFIX` | topic prefix; default `tt` |
 * | `TWINTABLE_PAYLOAD_BYTES_MAX` | bytes of one MQTT payload; default 131072 |
 * | `TWINTABLE_RETENTION_HOURS` | how long the channel logs keep entries; default 168 |
 * | `TWINTABLE_STREAM_TIMEOUT_MS` | how long `/stream` may take; default 4000 |
 *
 * AWS credentials come from the AWS default chain. Nothing is opened before the first request.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { loadSchema, SyncError } from "../schema.ts";
import { createHandler } from "./api/app.ts";
import { errorResponse } from "./api/errors.ts";
import { openTables } from "./open_tables.ts";
import { openPublisher } from "./publishers/open.ts";
import { Registry } from "./sync/registry.ts";
import { CloudService } from "./sync/service.ts";

export { createHandler, type HandlerOptions } from "./api/app.ts";

/** A handler and what it opened. */
export interface ConfiguredHandler extends AsyncDisposable {
  readonly fetch: (request: Request) => Promise<Response>;
}

/** Where the configuration is read from: a variable's value, undefined where it is not set. */
export type Environment = (name: string) => string | undefined;

/**
 * Opens a handler as the environment says; see the module's text for the variables.
 *
 * @throws SyncError `config` naming what is missing or wrong; what tables and publisher throw where they can't be opened.
 */
export async function handlerFromEnvironment(env: Environment): Promise<ConfiguredHandler> {
  const token = required(env, "TWINTABLE_TOKEN");
  const schemaFile = required(env, "TWINTABLE_SCHEMA");
  const table = required(env, "TWINTABLE_TABLE");
  const publisherUrl = env("TWINTABLE_PUBLISHER") || undefined;
  const prefix = env("TWINTABLE_PREFIX") || undefined;
  const payloadBytesMax = wholeNumber(env, "TWINTABLE_PAYLOAD_BYTES_MAX");
  const retentionHours = wholeNumber(env, "TWINTABLE_RETENTION_HOURS");
  const streamTimeoutMs = wholeNumber(env, "TWINTABLE_STREAM_TIMEOUT_MS");
  const mqtt = await mqttOptions(env);
  const schema = await loadSchema(schemaFile);
  const now = () => Date.now(), random = Math.random;
  await using opened = new AsyncDisposableStack();
  // Beside the process that serves an embedded table, if there is one: this one leaves the stream to it.
  const tables = await openTables(table, { schema, now, shared: true }).catch((cause) => {
    if (!(cause instanceof TypeError || cause instanceof RangeError)) throw cause;
    throw new SyncError("config", `TWINTABLE_TABLE: ${cause.message}`, { cause });
  });
  opened.defer(() => tables.close());
  const registry = new Registry(tables.log, { now });
  const publisher = publisherUrl && await openPublisher(publisherUrl, { ...mqtt, prefix, payloadBytesMax, random });
  if (publisher) opened.defer(() => publisher.close());
  const retentionMs = retentionHours === undefined ? undefined : retentionHours * 3600_000;
  const handler = createHandler({
    schema,
    tables,
    registry,
    ...(publisher && {
      service: new CloudService({ schema, tables, registry, publisher, now, random, retentionMs }),
      counters: () => ({ publishedBytes: publisher.counters.publishedBytes }),
    }),
    token,
    prefix,
    streamTimeoutMs,
    now,
    random,
  });
  const kept = opened.move();
  return { fetch: handler, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

function required(env: Environment, name: string): string {
  const value = env(name);
  if (!value) throw new SyncError("config", `the environment variable ${name} is missing`);
  return value;
}

function wholeNumber(env: Environment, name: string): number | undefined {
  const text = env(name);
  if (!text) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new SyncError(
    "config",
    `the environment variable ${name} is ${JSON.stringify(text)}: a whole number is wanted`,
  );
}

async function mqttOptions(env: Environment) {
  const version = env("TWINTABLE_MQTT_VERSION") || "4";
  if (version !== "4" && version !== "5") {
    throw new SyncError("config", `TWINTABLE_MQTT_VERSION is ${JSON.stringify(version)}: 4 or 5 is wanted`);
  }
  const pem = async (name: string) => {
    const file = env(name);
    if (!file) return undefined;
    try {
      return await readFile(file, "utf8");
    } catch (cause) {
      throw new SyncError("config", `${name}: ${file} can't be read: ${(cause as Error).message}`, { cause });
    }
  };
  return {
    protocolVersion: version === "5" ? 5 as const : 4 as const,
    ca: await pem("TWINTABLE_MQTT_CA"),
    cert: await pem("TWINTABLE_MQTT_CERT"),
    key: await pem("TWINTABLE_MQTT_KEY"),
  };
}

let handler: Promise<ConfiguredHandler> | undefined;

export default {
  /** Answers a request; where the configuration is wrong, with 500 and the reason in the log. */
  async fetch(request: Request): Promise<Response> {
    const opening = handler ??= handlerFromEnvironment((name) => process.env[name]);
    try {
      return await (await opening).fetch(request);
    } catch (error) {
      // Tried again with the next request: a schema file may not have been there yet.
      if (handler === opening) handler = undefined;
      return errorResponse(error);
    }
  },
};
