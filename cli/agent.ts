/**
 * `mod.ts agent`: one device's agent as a process. It opens or creates the database, syncs it with the cloud, and at
 * SIGINT or SIGTERM sends pending changes (for a bounded time) and closes. kill -9 loses nothing: unacknowledged
 * changes are in the outbox.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { openAgent } from "../agent/open.ts";
import type { Migration } from "../agent/migration/migrate.ts";
import { defaultLimits } from "../agent/sync/context.ts";
import { tokenPath } from "../agent/credentials/token_file.ts";
import { MqttLink, payloadBytesMin } from "../agent/link.ts";
import { Log, Sentence } from "../protocol/log.ts";
import { checkId } from "../schema.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { connectionFlags, connectionOf } from "./connection.ts";
import { chosenDriver, driverFlags } from "./driver_flags.ts";
import { Lifetime } from "./lifetime.ts";
import { checkSchemaFlag, loadSchemaFile } from "./schema_file.ts";
import { hasSecret, secretFlags, secretOf, warnOfWeakTls } from "./secret.ts";
import { closeAgent, firstRefusal } from "./session.ts";

const log = new Log("agent");

/** A missing database is created, but not its folder: a mistyped path must not become an empty device. */
function checkFolder(path: string): void {
  const folder = dirname(resolve(path));
  try {
    if (Deno.statSync(folder).isDirectory) return;
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory)) throw cause;
  }
  throw new CommandError(`--db ${path}: there is no folder ${folder}`);
}

/** What a start recreated, and what had been written without it. */
function restoredLines({ restored, noticed }: Migration): string[] {
  if (restored.length === 0) return [];
  const rows = (n: number) => `${n} ${n === 1 ? "row" : "rows"}`;
  return [
    `recreated what somebody had dropped or altered: ${restored.join(", ")}`,
    ...noticed.map(({ model, sent, missing }) =>
      `${model}, written meanwhile: ${rows(sent)} differ from their last synced versions and are sent` +
      (missing > 0 ? `; ${rows(missing)} that are gone come back from the cloud` : "")
    ),
  ];
}

interface ClaimFlags {
  readonly device: string;
  readonly account: string;
  readonly claim?: string;
  readonly "claim-file"?: string;
  readonly cloud?: string;
  readonly ca?: string;
  readonly insecure: boolean;
  readonly "password-file"?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** At its first start a device claims what it logs in with. @returns false: it was told to end before */
async function claimFirst(flags: ClaimFlags): Promise<boolean> {
  if (hasSecret(flags, "claim") !== (flags.cloud !== undefined)) {
    throw new UsageError("--claim or --claim-file goes with --cloud");
  }
  if (flags.cloud === undefined) return true;
  const { checkClaim, claim, hasCredentials } = await import("./claim.ts");
  const { device: deviceId, account: accountId, cloud, ca, insecure, "password-file": passwordFile, cert, key } = flags;
  const options = { deviceId, accountId, cloud, ca, insecure, passwordFile, cert, key };
  checkClaim(options);
  if (hasCredentials(options)) return true;
  using lifetime = new Lifetime();
  return await claim((await secretOf(flags, "claim"))!, options, lifetime.signal);
}

/** The `agent` command. */
export const agentCommand = defineCommand({
  name: "agent",
  summary: "sync a device's database with the cloud",
  log: "journal",
  usage: ["--device ID --account ID --schema FILE --db FILE --mqtt URL [flags]"],
  about: [
    "Applications open the database file and use plain SQL. If the broker refuses the credentials at the first\n" +
    "connection, the command ends; it retries after any other fault of the network.",
  ],
  flags: {
    device: { type: "string", value: "ID", summary: "this device", required: true },
    account: { type: "string", value: "ID", summary: "the account it belongs to", required: true },
    schema: {
      type: "string",
      value: "FILE",
      summary: "the schema: .json5, .json or .ts; needed where none is built in",
    },
    db: { type: "string", value: "FILE", summary: "the SQLite database; created if missing", required: true },
    mqtt: {
      type: "string",
      value: "URL",
      summary: "the broker: mqtt://HOST:PORT or mqtts://HOST:PORT",
      required: true,
    },
    ...connectionFlags,
    ...secretFlags(
      "claim",
      "CODE",
      "while --password-file, or --cert and --key, are not there: claim them with this code",
    ),
    cloud: { type: "string", value: "URL", summary: "claim: at this HTTP API of the cloud, https://HOST" },
    group: { type: "boolean", summary: "let the database's group read and write it (0660), not only its owner" },
    synchronous: {
      type: "string",
      value: "MODE",
      summary: "normal is faster and may lose the last commits in a power cut",
      choices: ["full", "normal"],
      default: "full",
    },
    ...driverFlags,
    "payload-max": {
      type: "integer",
      value: "BYTES",
      summary: "of one MQTT message, if the broker accepts less than 128 KB; larger ones travel in parts",
      min: payloadBytesMin,
      max: 128 * 1024,
    },
    "outbox-max": {
      type: "integer",
      value: "N",
      summary: "the most pending changes; then writes are refused, or keep: 'newest' drops the oldest",
      default: defaultLimits.outboxMax,
      min: 100,
      max: 1_000_000_000,
    },
    "db-max-mb": {
      type: "integer",
      value: "MB",
      summary: "size of the database at which the same happens; default none",
      min: 1,
      max: 1_000_000_000,
    },
  },
  operands: [0, 0],
  async run({ flags, print }) {
    checkSchemaFlag(flags.schema);
    const identity = { deviceId: flags.device, accountId: flags.account };
    checkId("device", identity.deviceId);
    checkId("account", identity.accountId);
    warnOfWeakTls((line) => log.warn("{line}", { line: new Sentence(line) }));
    if (!await claimFirst(flags)) return 1;
    const { mqtt, ...connection } = await connectionOf(flags.mqtt, flags);
    const schema = await loadSchemaFile(flags.schema);
    for (const warning of schema.warnings) log.warn("schema: {warning}", { warning: new Sentence(warning) });
    checkFolder(flags.db);
    const payloadBytesMax = flags["payload-max"];
    const link = new MqttLink({ ...connection, url: mqtt, identity, payloadBytesMax, tokenFile: tokenPath(flags.db) });
    using lifetime = new Lifetime();
    const agent = await openAgent({
      schema,
      device: flags.device,
      account: flags.account,
      path: flags.db,
      mqtt: link,
      group: flags.group,
      synchronous: flags.synchronous as "full" | "normal",
      ...await chosenDriver(flags),
      limits: {
        outboxMax: flags["outbox-max"],
        ...(payloadBytesMax === undefined
          ? {}
          : { batchBytesMax: Math.min(defaultLimits.batchBytesMax, payloadBytesMax) }),
        ...(flags["db-max-mb"] === undefined ? {} : { databaseBytesMax: flags["db-max-mb"] * 1_000_000 }),
      },
    });
    const where = `the broker ${new URL(mqtt).host}`;
    print(`agent ${flags.device} of account ${flags.account}: ${flags.db}, ${where}`);
    if (agent.restored) print(`agent ${flags.device}: ${flags.db} is a restored copy; a snapshot brings it up to date`);
    for (const line of restoredLines(agent.store.migration)) print(`agent ${flags.device}: ${line}`);
    const refused = await firstRefusal(link, where, lifetime.signal);
    const fault = refused ? undefined : await Promise.race([lifetime.stopped, agent.closed]);
    if (fault) throw fault;
    const left = await closeAgent(agent);
    if (refused) throw refused;
    print(`agent ${flags.device}: closed${left ? `; ${left} entries of the outbox wait for the next start` : ""}`);
    return 0;
  },
});
