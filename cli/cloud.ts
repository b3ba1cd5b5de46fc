/**
 * `mod.ts cloud`: the cloud's worker as a process (table, stream, MQTT, HTTP), `cloud table create|check` for DynamoDB, and
 * `cloud table restored` after a restore.
 * Several workers may run on one DynamoDB table with one broker; they share the work.
 *
 * @module
 */
import { withoutSecrets } from "../protocol/log.ts";
import { ChannelLog } from "../cloud/sync/channel_log.ts";
import { startCloud } from "../cloud/worker.ts";
import { type Schema, SyncError } from "../schema.ts";
import { portRange, UsageError } from "./args.ts";
import { auditDays, auditOf } from "./audit_note.ts";
import { defineCommand } from "./command.ts";
import { connectionFlags, connectionOf, readFlagFile } from "./connection.ts";
import { Lifetime } from "./lifetime.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { tokenOf, warnOfUncheckedTls } from "./secret.ts";
import { openTokens } from "../cloud/api/tokens_file.ts";
import { type OpenTables, openTables } from "./tables.ts";

/** Addresses that only this machine reaches: HTTP without a token listens on no other. */
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
  token: { type: "string", value: "T", summary: "the HTTP API's bearer token; needed beyond loopback" },
  "token-file": { type: "string", value: "FILE", summary: "read it from a file's first line; - is standard input" },
  tokens: {
    type: "string",
    value: "FILE",
    summary: "several tokens with scopes and expiry; read again when it changes",
  },
  "share-group": {
    type: "string",
    value: "NAME",
    summary: "what workers share messages under; default made of the password",
  },
  "audit-days": { type: "integer", value: "N", summary: "how long the audit keeps who did what", ...auditDays },
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

/** Tells all devices, by a new epoch, that the table was restored: each offers what it has that is newer (docs/cloud.md). */
async function restoredCommand(
  url: string,
  schema: Schema,
  sinceMs: number,
  print: (line: string) => void,
): Promise<number> {
  // Not shared: an embedded table that is served is refused. Whether workers run on DynamoDB nobody can see from here.
  const tables = await openTables(url, { schema, existing: true });
  try {
    const random = () => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
    const log = new ChannelLog(tables.log, { now: Date.now, random });
    await auditOf(tables.log)("cloud.table.restored", new Date(sinceMs).toISOString());
    const epoch = await log.restored(sinceMs);
    print(`the table was restored to ${new Date(sinceMs).toISOString()}: epoch ${epoch}`);
    print("start the workers now; each device offers what it has that is newer when it connects");
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
      print("an embedded table makes itself; there is nothing to do");
      return 0;
    }
    const lines = await tables[action]!();
    if (lines.length === 0) {
      print(action === "create" ? "everything was there already" : "the tables are as the schema wants");
    }
    lines.forEach(print);
    return action === "check" && lines.length > 0 ? 1 : 0;
  } finally {
    await tables.close();
  }
}

/** Reads from both tables, so that one that is missing or closed to us ends the start with its own clear line. */
async function probe({ data, log }: OpenTables): Promise<void> {
  await Promise.all([data, log].map((table) => table.get([["twintable#probe", "probe"]])));
}

/** What differs from what the schema wants; a worker that may not look (DescribeTable and its like) works without. */
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
  usage: [
    "--schema FILE --table URL [--mqtt URL | --broker --mqtt-port N] [--port N]",
    "table create|check --schema FILE --table URL",
    "table restored --since TIME --schema FILE --table URL",
  ],
  about: ["AWS credentials come from the AWS default chain. table create makes what is missing in DynamoDB."],
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
    if ((flags.mqtt !== undefined) === flags.broker) throw new UsageError("either --mqtt URL or --broker");
    if (flags.broker && (flags.username || flags.password || flags["password-file"])) {
      throw new UsageError("--username and --password are for --mqtt; devices of the embedded broker have tokens");
    }
    if (!flags.broker && given.has("mqtt-port")) {
      throw new UsageError("--mqtt-port is the embedded broker's: add --broker");
    }
    const token = await tokenOf(flags);
    if (flags.tokens !== undefined && token !== undefined) {
      throw new UsageError("give --tokens or --token, not both");
    }
    const tokens = flags.tokens === undefined ? undefined : await openTokens(flags.tokens);
    if (given.has("port") && !token && !tokens && !loopback.has(flags.host)) {
      throw new UsageError(`--host ${flags.host} opens the HTTP API to others: it needs a --token`);
    }
    warnOfUncheckedTls((line) => console.error(`cloud: ${line}`));
    const broker = flags.mqtt === undefined ? await brokerOf(flags) : {};
    const connection = flags.mqtt === undefined ? {} : await connectionOf(flags.mqtt, flags);
    const schema = await loadSchemaFile(flags.schema);
    for (const warning of schema.warnings) console.error(`cloud: schema: ${warning}`);
    using lifetime = new Lifetime();
    await using opened = new AsyncDisposableStack();
    const tables = await openTables(flags.table, { schema });
    opened.defer(() => tables.close());
    await probe(tables);
    for (const difference of await differences(tables)) console.error(`cloud: ${difference}`);
    const cloud = opened.use(
      await startCloud({
        schema,
        table: tables,
        prefix: flags.prefix,
        shareGroup: flags["share-group"],
        ...broker,
        ...connection,
      }),
    );
    const http = flags.port === undefined
      ? undefined
      : await cloud.serveHttp({ host: flags.host, port: flags.port, token, tokens, auditDays: flags["audit-days"] });
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

interface BrokerFlags {
  readonly host: string;
  readonly "mqtt-port": number;
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
}

async function brokerOf(flags: BrokerFlags) {
  const { host, cert, key, ca } = flags;
  if ((cert === undefined) !== (key === undefined)) throw new UsageError("--cert and --key go together");
  const tls = cert === undefined ? {} : {
    tls: {
      cert: await readFlagFile("cert", cert),
      key: await readFlagFile("key", key!),
      // With an authority, a device may show a certificate in place of its token.
      ...(ca === undefined ? {} : { ca: await readFlagFile("ca", ca), requestCert: true }),
    },
  };
  return { broker: { host, port: flags["mqtt-port"], ...tls } };
}
