/**
 * The configuration of a handler, read from variables and files and checked before anything is opened or connected.
 *
 * | variable | meaning |
 * | --- | --- |
 * | `TWINTABLE_SCHEMA` | the schema's file; required |
 * | `TWINTABLE_TABLE` | `dynamodb://TABLE[?region=…&endpoint=…]`, or `embedded:PATH` beside the process that serves it; required |
 * | `TWINTABLE_…_FILE` | for `TOKEN`, `PUBLISHER` and `NOTIFY_SECRET`: in its place, the file that holds it |
 * | `TWINTABLE_TOKEN` | the bearer token of everything but `/healthz`; this or the next is required |
 * | `TWINTABLE_TOKENS` | in its place several, each with a name, scopes and expiry: a file as of `cloud --tokens`, read again when it changes; or the list itself |
 * | `TWINTABLE_PUBLISHER` | how devices are reached: `mqtts://USER:PASSWORD@HOST`, `iot-data://ENDPOINT?region=…`, `emqx+https://KEY:SECRET@HOST/api/v5/publish`; without it there is no `/stream`, `/up` and `/sync` |
 * | `TWINTABLE_MQTT_CA`, `…_CERT`, `…_KEY` | PEM files for `mqtts://` |
 * | `TWINTABLE_MQTT_VERSION` | `4` (default: MQTT 3.1.1) or `5` |
 * | `TWINTABLE_PREFIX` | topic prefix; default `tt` |
 * | `TWINTABLE_PAYLOAD_BYTES_MAX` | bytes of one MQTT payload; default 131072 |
 * | `TWINTABLE_RETENTION_HOURS` | how long the channel logs keep entries; default 168 |
 * | `TWINTABLE_AUDIT_DAYS` | how long the audit keeps entries; default 90 |
 * | `TWINTABLE_STREAM_TIMEOUT_MS` | how long `/stream` may take; default 4000 |
 * | `TWINTABLE_NOTIFY_SECRET` | what webhooks of `notify` are signed with; several, by spaces, while they are exchanged |
 * | `TWINTABLE_LOG` | `debug`, `info` (default), `warning` or `error` |
 *
 * AWS credentials come from the AWS default chain.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { payloadBytesMin } from "../protocol/codec.ts";
import { topics } from "../protocol.ts";
import { loadSchema, type Schema, SyncError } from "../schema.ts";
import { type ApiToken, singleToken } from "./api/tokens.ts";
import { openTokens, parseTokens } from "./api/tokens_file.ts";
import { checkSecrets } from "./notify/receivers.ts";
import { checkPublisherUrl } from "./publishers/open.ts";

/** Where the configuration is read from: a variable's value, undefined if it is not set. */
export type Environment = (name: string) => string | undefined;

/** How a handler's parts are opened. */
export interface HandlerConfig {
  readonly schema: Schema;
  readonly table: string;
  readonly tokens: () => readonly ApiToken[];
  readonly publisher: string | undefined;
  readonly prefix: string | undefined;
  readonly payloadBytesMax: number | undefined;
  readonly retentionMs: number | undefined;
  readonly streamTimeoutMs: number | undefined;
  readonly auditDays: number | undefined;
  readonly notifySecrets: readonly string[];
  readonly mqtt: {
    readonly protocolVersion: 4 | 5;
    readonly ca: string | undefined;
    readonly cert: string | undefined;
    readonly key: string | undefined;
  };
}

/**
 * Reads a handler's configuration; see the module's text for the variables.
 *
 * @throws SyncError `config` naming what is missing or wrong; errors of the schema's file
 */
export async function readHandlerConfig(env: Environment): Promise<HandlerConfig> {
  const tokens = await apiTokens(env);
  const schemaFile = required(env, "TWINTABLE_SCHEMA"), prefix = env("TWINTABLE_PREFIX") || undefined;
  const table = required(env, "TWINTABLE_TABLE");
  if (!/^(embedded:|dynamodb:\/\/)./.test(table)) {
    const text = JSON.stringify(table);
    throw new SyncError(
      "config",
      `TWINTABLE_TABLE is embedded:PATH or dynamodb://TABLE[?region=…&endpoint=…], not ${text}`,
    );
  }
  const publisher = (await secret(env, "TWINTABLE_PUBLISHER"))?.trim();
  if (publisher) await named("TWINTABLE_PUBLISHER", () => checkPublisherUrl(publisher));
  await named("TWINTABLE_PREFIX", () => topics(prefix));
  const retentionHours = wholeNumber(env, "TWINTABLE_RETENTION_HOURS", 1, 10 * 366 * 24);
  const notifySecrets = (await secret(env, "TWINTABLE_NOTIFY_SECRET"))?.split(/\s+/).filter(Boolean) ?? [];
  return {
    tokens,
    table,
    publisher,
    prefix,
    // MQTT itself has payloads of 256 MB at most.
    payloadBytesMax: wholeNumber(env, "TWINTABLE_PAYLOAD_BYTES_MAX", payloadBytesMin, 256 * 1024 * 1024),
    retentionMs: retentionHours === undefined ? undefined : retentionHours * 3600_000,
    streamTimeoutMs: wholeNumber(env, "TWINTABLE_STREAM_TIMEOUT_MS", 1, 3600_000),
    auditDays: wholeNumber(env, "TWINTABLE_AUDIT_DAYS", 1, 10 * 366),
    notifySecrets: await named("TWINTABLE_NOTIFY_SECRET", () => checkSecrets(notifySecrets)),
    mqtt: await mqttOptions(env),
    schema: await named("TWINTABLE_SCHEMA", () => loadSchema(schemaFile)),
  };
}

/** What `look` returns; an error of its own names the variable that it is about. */
async function named<T>(name: string, look: () => T | Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (cause) {
    const { hint, details } = cause instanceof SyncError ? cause : {} as SyncError;
    const code = cause instanceof SyncError ? cause.code : "config";
    throw new SyncError(code, `${name}: ${(cause as Error).message}`, { cause, hint, details });
  }
}

async function apiTokens(env: Environment): Promise<() => readonly ApiToken[]> {
  const list = env("TWINTABLE_TOKENS");
  if (!list) {
    const token = (await secret(env, "TWINTABLE_TOKEN"))?.trim();
    const single = singleToken(token ?? required(env, "TWINTABLE_TOKEN"));
    return () => single;
  }
  if (env("TWINTABLE_TOKEN") || env("TWINTABLE_TOKEN_FILE")) {
    throw new SyncError("config", "TWINTABLE_TOKEN and TWINTABLE_TOKENS are one too many");
  }
  if (!list.trimStart().startsWith("[")) return await openTokens(list, "TWINTABLE_TOKENS");
  const parsed = parseTokens(list, "TWINTABLE_TOKENS");
  return () => parsed;
}

/** A secret, which stands in the variable or in the file that `…_FILE` names; undefined: in neither. */
async function secret(env: Environment, name: string): Promise<string | undefined> {
  const value = env(name), file = env(`${name}_FILE`);
  if (!file) return value || undefined;
  if (value) throw new SyncError("config", `${name} and ${name}_FILE are one too many`);
  const text = await contentOf(`${name}_FILE`, file);
  if (text.trim() === "") throw new SyncError("config", `${name}_FILE: ${file} is empty`);
  return text;
}

async function contentOf(name: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new SyncError("config", `${name}: ${file} can't be read: ${(cause as Error).message}`, { cause });
  }
}

function required(env: Environment, name: string): string {
  const value = env(name);
  if (!value) throw new SyncError("config", `the environment variable ${name} is missing`);
  return value;
}

function wholeNumber(env: Environment, name: string, least: number, most: number): number | undefined {
  const text = env(name);
  if (!text) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new SyncError(
    "config",
    `the environment variable ${name} is ${JSON.stringify(text)}: a whole number from ${least} to ${most} is required`,
  );
}

/** A PEM file of that kind; undefined: the variable is not set. */
async function pem(env: Environment, name: string, kind: "CERTIFICATE" | "PRIVATE KEY"): Promise<string | undefined> {
  const file = env(name);
  if (!file) return undefined;
  const text = await contentOf(name, file);
  if (new RegExp(`^-----BEGIN ([A-Z]+ )*${kind}-----`, "m").test(text)) return text;
  throw new SyncError("config", `${name}: ${file} has no ${kind} in PEM`);
}

async function mqttOptions(env: Environment) {
  const version = env("TWINTABLE_MQTT_VERSION") || "4";
  if (version !== "4" && version !== "5") {
    throw new SyncError("config", `TWINTABLE_MQTT_VERSION is ${JSON.stringify(version)}: 4 or 5 is required`);
  }
  const cert = await pem(env, "TWINTABLE_MQTT_CERT", "CERTIFICATE");
  const key = await pem(env, "TWINTABLE_MQTT_KEY", "PRIVATE KEY");
  if ((cert === undefined) !== (key === undefined)) {
    throw new SyncError("config", "TWINTABLE_MQTT_CERT and TWINTABLE_MQTT_KEY are given together");
  }
  return {
    protocolVersion: version === "5" ? 5 as const : 4 as const,
    ca: await pem(env, "TWINTABLE_MQTT_CA", "CERTIFICATE"),
    cert,
    key,
  };
}
