/**
 * `mod.ts cloud`: the cloud's worker as a process (table, stream, MQTT, HTTP), `cloud table create|check` for DynamoDB, and
 * `cloud table restored` after a restore.
 * Several workers may run on one DynamoDB table with one broker; they share the work.
 *
 * @module
 */
import { Log, Sentence, withoutSecrets } from "../protocol/log.ts";
import { ChannelLog } from "../cloud/sync/channel_log.ts";
import { startCloud } from "../cloud/worker.ts";
import { type Schema, SyncError } from "../schema.ts";
import { portRange, UsageError } from "./args.ts";
import { auditDays, auditOf } from "./audit_note.ts";
import { readAuthority } from "./authority_files.ts";
import { readDeviceJwt } from "./device_jwt.ts";
import { defineCommand } from "./command.ts";
import { connectionFlags, connectionOf, readFlagFile } from "./connection.ts";
import { Lifetime } from "./lifetime.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { readSecret, secretFlags, secretOf, warnOfWeakTls } from "./secret.ts";
import { singleToken } from "../cloud/api/tokens.ts";
import { openTokens } from "../cloud/api/tokens_file.ts";
import { placeOf } from "../cloud/open_tables.ts";
import { type OpenTables, openTables } from "./tables.ts";

const log = new Log("cloud");

/** Addresses that only this machine can reach: HTTP without a token listens on no others. */
const loopback = new Set(["127.0.0.1", "localhost", "::1"]);

const flags = {
  schema: { type: "string", value: "FILE", summary: "the schema: .json5, .json or .ts", required: true },
  table: {
    type: "string",
    value: "URL",
    summary: "embedded:PATH or dynamodb://TABLE[?region=…&endpoint=…]",
    required: true,
  },
  mqtt: { type: "string", value: "URL", summary: "the broker: mqtt://HOST:PORT or mqtts://HOST:PORT" },
  broker: { type: "boolean", summary: "run the embedded broker instead; --cert and --key make it mqtts" },
  "mqtt-port": { type: "integer", value: "N", summary: "the embedded broker's port", default: 1883, ...portRange },
  port: { type: "integer", value: "N", summary: "the HTTP API's port; without it there is none", ...portRange },
  host: { type: "string", value: "ADDRESS", summary: "where HTTP and the broker listen", default: "127.0.0.1" },
  ...secretFlags("token", "T", "the HTTP API's bearer token; needed beyond loopback"),
  tokens: {
    type: "string",
    value: "FILE",
    summary: "several tokens with scopes and expiry; read again when it changes",
  },
  "device-ca": {
    type: "string",
    value: "DIR",
    summary: "the devices' authority (device ca init): its certificates let devices in, and are renewed",
  },
  "device-ca-passphrase-file": { type: "string", value: "FILE", summary: "of its key: the file's first line" },
  "device-jwt": {
    type: "string",
    value: "FILE",
    summary: "--broker: devices may log in by a JWT; issuer, audience and keys as JSON (docs/identity.md)",
  },
  "share-group": {
    type: "string",
    value: "NAME",
    summary: "the group in which workers share messages; default: derived from the password",
  },
  "broker-admin": { type: "string", value: "U", summary: "Mosquitto's administrator", default: "twintable-admin" },
  "broker-admin-password-file": {
    type: "string",
    value: "FILE",
    summary: "with it, the worker disables devices that flood Mosquitto, for a minute",
  },
  "audit-days": { type: "integer", value: "N", summary: "how long the audit keeps entries", ...auditDays },
  "notify-secret-file": {
    type: "string",
    value: "FILE",
    summary: "what webhooks of notify are signed with; a secret a line, each signs",
  },
  since: { type: "string", value: "TIME", summary: "table restored: the time that the table was restored to" },
  ...connectionFlags,
} as const;

/** A time as people write it: ISO, or ms since 1970. Not in the future. */
function timeOf(text: string | undefined): number {
  if (text === undefined) {
    throw new UsageError("cloud table restored needs --since TIME: what the table was restored to");
  }
  const ms = /^\d{12,14}$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isNaN(ms)) throw new UsageError(`--since ${text} is not a time: 2026-03-01T12:00:00Z is one`);
  if (ms > Date.now()) throw new UsageError(`--since ${text} is in the future`);
  return ms;
}

/** Tells all devices, by a new epoch, that the table was restored: each offers its newer items (docs/cloud.md). */
async function restoredCommand(
  url: string,
  schema: Schema,
  sinceMs: number,
  print: (line: string) => void,
): Promise<number> {
  // Not shared: an embedded table that a process serves is refused. Whether workers run on DynamoDB cannot be seen from
  // here.
  const tables = await openTables(url, { schema, existing: true });
  try {
    const random = () => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
    const log = new ChannelLog(tables.log, { now: Date.now, random });
    await auditOf(tables.log)("cloud.table.restored", new Date(sinceMs).toISOString());
    const epoch = await log.restored(sinceMs);
    print(`the table was restored to ${new Date(sinceMs).toISOString()}: epoch ${epoch}`);
    print("start the workers now; each device offers its newer items when it connects");
    return 0;
  } finally {
    await tables.close();
  }
}

async function tableCommand(
  action: string,
  url: string,
  schema: Schema,
  print: (line: string) => void,
): Promise<number> {
  if (action !== "create" && action !== "check") {
    throw new UsageError(`cloud table ${action}? create, check or restored`);
  }
  const tables = await openTables(url, { schema });
  try {
    if (!tables.create || !tables.check) {
      print("an embedded table is created when it is used; there is nothing to do");
      return 0;
    }
    const lines = await tables[action]!();
    if (lines.length === 0) {
      print(action === "create" ? "everything exists already" : "the tables match the schema");
    }
    lines.forEach(print);
    return action === "check" && lines.length > 0 ? 1 : 0;
  } finally {
    await tables.close();
  }
}

/** Reads from both tables, so that a missing or forbidden one ends the start with a clear line. */
async function probe({ data, log }: OpenTables): Promise<void> {
  await Promise.all([data, log].map((table) => table.get([["twintable#probe", "probe"]])));
}

/**
 * The differences from the schema; a worker without the permission to check (DescribeTable and similar) works without.
 */
async function differences(tables: OpenTables): Promise<string[]> {
  try {
    return await tables.check?.() ?? [];
  } catch (error) {
    if (error instanceof SyncError && error.code === "denied") return [];
    throw error;
  }
}

/** The `cloud` command. */
export const cloudCommand = defineCommand({
  name: "cloud",
  summary: "the cloud's worker: table, stream, MQTT and HTTP",
  log: (operands) => operands.length === 0 ? "journal" : "errors",
  usage: [
    "--schema FILE --table URL [--mqtt URL | --broker --mqtt-port N] [--port N]",
    "table create|check --schema FILE --table URL",
    "table restored --since TIME --schema FILE --table URL",
  ],
  about: ["AWS credentials come from the AWS default chain. table create creates what is missing in DynamoDB."],
  flags,
  operands: [0, 2],
  async run({ flags, operands, print, given }) {
    if (operands.length > 0 && (operands[0] !== "table" || operands.length !== 2)) {
      throw new UsageError(`cloud ${operands.join(" ")}? cloud table create, check or restored`);
    }
    if (operands[1] === "restored") {
      const sinceMs = timeOf(flags.since);
      return await restoredCommand(flags.table, await loadSchemaFile(flags.schema), sinceMs, print);
    }
    if (flags.since !== undefined) throw new UsageError("--since goes with cloud table restored");
    if (operands.length === 2) {
      return await tableCommand(operands[1]!, flags.table, await loadSchemaFile(flags.schema), print);
    }
    checkBroker(flags, given);
    if (flags.tokens !== undefined && (flags.token ?? flags["token-file"]) !== undefined) {
      throw new UsageError("give --tokens or --token, not both");
    }
    const token = flags.tokens === undefined ? await secretOf(flags, "token") : undefined;
    const tokens = flags.tokens === undefined ? undefined : await openTokens(flags.tokens);
    if (given.has("port") && !token && !tokens && !loopback.has(flags.host)) {
      throw new UsageError(`--host ${flags.host} opens the HTTP API to others: it needs a --token`);
    }
    warnOfWeakTls((line) => log.warn("{line}", { line: new Sentence(line) }));
    const authority = { ...await authorityOf(flags, flags.broker), ...await jwtOf(flags) };
    const broker = flags.mqtt === undefined ? await brokerOf(flags) : await brokerAdminOf(flags);
    const connection = flags.mqtt === undefined ? {} : await connectionOf(flags.mqtt, flags);
    const schema = await loadSchemaFile(flags.schema);
    for (const warning of schema.warnings) log.warn("schema: {warning}", { warning: new Sentence(warning) });
    using lifetime = new Lifetime();
    await using opened = new AsyncDisposableStack();
    const tables = await openTables(flags.table, { schema });
    opened.defer(() => tables.close());
    await probe(tables);
    for (const difference of await differences(tables)) {
      log.warn("{difference}", { difference: new Sentence(difference) });
    }
    const cloud = opened.use(
      await startCloud({
        schema,
        table: tables,
        prefix: flags.prefix,
        shareGroup: flags["share-group"],
        notifySecrets: await secretsOf(flags["notify-secret-file"]),
        notifyReaders: tokens ?? (token === undefined ? undefined : () => singleToken(token)),
        ...broker,
        ...connection,
        ...authority,
      }),
    );
    const http = flags.port === undefined ? undefined : await cloud.serveHttp({
      ...{ host: flags.host, port: flags.port, token, tokens },
      ...placeOf(flags.table),
      auditDays: flags["audit-days"],
    });
    const mqtt = flags.mqtt === undefined
      ? `broker ${flags.host}:${cloud.mqttPort}`
      : `broker ${new URL(flags.mqtt).host}`;
    print(
      `cloud: ${withoutSecrets(flags.table)}, ${mqtt}${http === undefined ? "" : `, http://${flags.host}:${http}`}`,
    );
    const fault = await Promise.race([lifetime.stopped, ...(tables.lost ? [tables.lost] : [])]);
    await opened.disposeAsync();
    if (fault) throw fault;
    print("cloud: closed");
    return 0;
  },
});

/** @throws {UsageError} for flags of one broker that are given with the other */
function checkBroker(
  flags: {
    readonly mqtt?: string;
    readonly broker: boolean;
    readonly username?: string;
    readonly password?: string;
    readonly "password-file"?: string;
    readonly "broker-admin-password-file"?: string;
  },
  given: ReadonlySet<string>,
): void {
  if ((flags.mqtt !== undefined) === flags.broker) throw new UsageError("either --mqtt URL or --broker");
  if (flags.broker && (flags.username || flags.password || flags["password-file"])) {
    throw new UsageError("--username and --password are for --mqtt; devices of the embedded broker have tokens");
  }
  if (flags.broker && flags["broker-admin-password-file"] !== undefined) {
    throw new UsageError("--broker-admin-password-file is for Mosquitto: give --mqtt");
  }
  if (!flags.broker && given.has("mqtt-port")) {
    throw new UsageError("--mqtt-port is the embedded broker's: add --broker");
  }
}

async function brokerAdminOf(flags: {
  readonly "broker-admin": string;
  readonly "broker-admin-password-file"?: string;
}) {
  const { "broker-admin": username, "broker-admin-password-file": file } = flags;
  if (file === undefined) return {};
  return { brokerAdmin: { username, password: await readSecret("broker-admin-password-file", file) } };
}

/** The lines of a file of secrets. */
async function secretsOf(file: string | undefined): Promise<string[] | undefined> {
  return file === undefined
    ? undefined
    : (await readFlagFile("notify-secret-file", file)).split("\n").map((line) => line.trim()).filter(Boolean);
}

interface BrokerFlags {
  readonly host: string;
  readonly "mqtt-port": number;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
}

interface AuthorityFlags extends Pick<BrokerFlags, "cert" | "ca"> {
  readonly "device-ca"?: string;
  readonly "device-ca-passphrase-file"?: string;
}

/** The devices' authority. Without its key in the folder its certificates are accepted, and others renew them. */
async function authorityOf(flags: AuthorityFlags, isOwnBroker: boolean) {
  const { "device-ca": dir, "device-ca-passphrase-file": passphraseFile } = flags;
  if (dir === undefined) {
    if (passphraseFile !== undefined) throw new UsageError("--device-ca-passphrase-file goes with --device-ca");
    return {};
  }
  if (isOwnBroker && flags.ca !== undefined) throw new UsageError("give --ca or --device-ca, not both");
  if (isOwnBroker && flags.cert === undefined) {
    throw new UsageError("--device-ca needs --cert and --key: devices show certificates over TLS alone");
  }
  return { deviceAuthority: await readAuthority(dir, passphraseFile) };
}

async function jwtOf({ "device-jwt": file, broker }: { readonly "device-jwt"?: string; readonly broker: boolean }) {
  if (file === undefined) return {};
  if (!broker) throw new UsageError("--device-jwt goes with --broker: another broker checks JWTs itself");
  return { deviceJwt: await readDeviceJwt(file) };
}

async function brokerOf(flags: BrokerFlags) {
  const { host, cert, key, ca } = flags;
  if ((cert === undefined) !== (key === undefined)) throw new UsageError("--cert and --key go together");
  const tls = cert === undefined ? {} : {
    tls: {
      cert: await readFlagFile("cert", cert),
      key: await readFlagFile("key", key!),
      // With an authority, a device may show a certificate instead of its token.
      ...(ca === undefined ? {} : { ca: await readFlagFile("ca", ca), requestCert: true }),
    },
  };
  return { broker: { host, port: flags["mqtt-port"], ...tls } };
}
