/**
 * `mod.ts device`: who may log in. The registry is in the cloud's log table, so `--table` selects the cloud; by default
 * that of `dev`. An embedded table is opened beside the process that serves it: an added device may log in at once, and
 * a device that is revoked or whose token has expired loses its connection within a minute. `--broker` updates a broker
 * that checks tokens itself.
 *
 * @module
 */
import { join } from "node:path";
import { Claims } from "../cloud/identity/claims.ts";
import { Audit } from "../cloud/operations/audit.ts";
import { Erasure, type ErasureState } from "../cloud/operations/erasure.ts";
import { Registry } from "../cloud/sync/registry.ts";
import { addCommands, removeCommands } from "../cloud/broker_config/mosquitto.ts";
import { checkFormer } from "../cloud/sync/former_certificates.ts";
import { schema as exampleSchema } from "../examples/schema.ts";
import { checkId, compileSchema } from "../schema.ts";
import type { Schema } from "../schema/model.ts";
import { UsageError } from "./args.ts";
import { auditDays, auditOf } from "./audit_note.ts";
import { controlOf } from "./broker_control.ts";
import { CommandError, defineCommand } from "./command.ts";
import { consoleAt, devicePage } from "./console_link.ts";
import { addBatch } from "./device_batch.ts";
import { showDevice } from "./device_show.ts";
import { caCommand, certificateFlags, issueFor } from "./device_certificate.ts";
import { listDevices } from "./device_list.ts";
import { durationOf } from "./duration.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { type OpenTables, openTables } from "./tables.ts";
import { say } from "./terminal.ts";

const actions = ["add", "rotate", "certify", "show", "list", "revoke", "decommission", "claim-code", "ca"];

/** Erases completely; says why it takes a while. @returns the receipt */
async function erased(erasure: Erasure, device: string): Promise<ErasureState> {
  for (let isSaid = false;;) {
    const state = await erasure.run(device);
    if (!state) throw new CommandError(`there is no device "${device}"`);
    if (state.done !== undefined) return state;
    if (state.waitsUntil === undefined) continue;
    if (!isSaid) say(`device: writes under way may still arrive: waits until ${state.waitsUntil}`);
    isSaid = true;
    await new Promise((resolve) => setTimeout(resolve, Math.max(100, Date.parse(state.waitsUntil!) - Date.now())));
  }
}

/** Adds the devices of a file. The exit code is 1 if some exist already. */
async function addMany(
  registry: Registry,
  { from, to, account }: { readonly from?: string; readonly to?: string; readonly account?: string },
  { validMs, note }: { validMs: number | undefined; note: (action: string, target: string) => Promise<void> },
  print: (line: string) => void,
): Promise<number> {
  const batch = { registry, from: from!, to: to!, account, validMs, note: (what: string) => note("device.add", what) };
  const { added, before, exist } = await addBatch(batch);
  print(`${added} added${before > 0 ? `, ${before} were added before` : ""}; their tokens are in ${to}`);
  if (exist.length === 0) return 0;
  print(
    `${exist.length} exist already and were left alone: ${exist.slice(0, 5).join(", ")}${
      exist.length > 5 ? ", …" : ""
    }`,
  );
  return 1;
}

/** The `device` command. */
export const deviceCommand = defineCommand({
  name: "device",
  summary: "add devices; rotate, list and revoke their credentials; erase devices; the devices' authority",
  usage: [
    "add DEVICE --account ID [--expires 90d]",
    "add --from FILE --to FILE [--account ID] [--expires 90d]",
    "add DEVICE --account ID (--cert | --csr FILE) [--expires 90d] [--ca-dir DIR]",
    "claim-code [DEVICE] --account ID [--expires 24h]",
    "rotate DEVICE [--grace 24h] [--expires 90d]",
    "certify DEVICE (--cert | --csr FILE) [--expires 90d] [--ca-dir DIR]",
    "show DEVICE",
    "list",
    "revoke DEVICE",
    "decommission DEVICE --erase",
    "ca init [--ca-dir DIR] [--passphrase-file FILE] [--expires 3650d]",
    "ca server NAME [NAME …] [--out DIR] [--expires 825d]",
  ],
  about: [
    "add prints the device's token: its password at the broker, the device's id being the user name. The token can't be\n" +
    "shown again. rotate prints a new one; the old one stays valid for --grace, so that the device always has a valid token.\n" +
    "Without --table: the cloud of dev.",
    "With --cert or --csr, a device gets a certificate instead of a token, from the authority that ca init makes. The agent\n" +
    "renews it over its connection, if a worker has the authority's key (cloud --device-ca). certify issues another one by\n" +
    "hand: if the old one has expired, or in addition to a token.",
    "claim-code prints a code that a device exchanges for credentials, once (twintable claim): for that device, or for any\n" +
    "new device of the account.",
    "decommission --erase revokes the device and deletes its items and what the cloud stores about it, in two passes within a minute,\n" +
    "and prints a receipt: what was deleted, what remains and until when. If it was interrupted, run it again to continue.",
    "--broker updates Mosquitto's dynamic-security plugin at once (see mod.ts broker config mosquitto). It has one password\n" +
    "for each device: after a rotation only the new token is valid there.",
  ],
  flags: {
    account: { type: "string", value: "ID", summary: "add, claim-code: the account that the device belongs to" },
    from: { type: "string", value: "FILE", summary: "add: devices and accounts, as CSV or JSONL: device, account" },
    to: { type: "string", value: "FILE", summary: "add: where their tokens are written (0600), as CSV or JSONL" },
    expires: {
      type: "string",
      value: "TIME",
      summary: "how long it is valid; default for ever, a certificate 90d, a code 24h, an authority 3650d",
    },
    ...certificateFlags,
    grace: { type: "string", value: "TIME", summary: "rotate: how long the old token is valid", default: "24h" },
    erase: { type: "boolean", summary: "decommission: delete the device's items and everything about it" },
    "audit-days": { type: "integer", value: "N", summary: "how long the audit keeps entries", ...auditDays },
    table: { type: "string", value: "URL", summary: "embedded:PATH or dynamodb://TABLE?…; default DIR/cloud.db" },
    dir: { type: "string", value: "DIR", summary: "the folder of dev", default: ".twintable" },
    schema: { type: "string", value: "FILE", summary: "the cloud's schema; default the example's" },
    broker: { type: "string", value: "URL", summary: "Mosquitto, mqtt(s)://HOST:PORT, to be updated as well" },
    "broker-username": { type: "string", value: "U", summary: "its administrator", default: "twintable-admin" },
    "broker-password-file": { type: "string", value: "FILE", summary: "whose password is the file's first line" },
    "broker-ca": { type: "string", value: "FILE", summary: "PEM: authorities that are trusted" },
    prefix: { type: "string", value: "TEXT", summary: "topic prefix", default: "tt" },
  },
  operands: [1, 64],
  async run({ flags, operands, print }) {
    const [action, device, ...more] = operands as [string, string | undefined, ...string[]];
    if (!actions.includes(action)) throw new UsageError(`device ${action}? ${actions.join(", ")}`);
    if (action === "ca") return await caCommand(flags, operands.slice(1), print);
    // Before anything is opened, so that errors of the command line come first.
    checkUsage(action, device, more, flags);
    const tell = await controlOf(flags);
    const schema = flags.schema === undefined ? compileSchema(exampleSchema) : await loadSchemaFile(flags.schema);
    const url = flags.table ?? `embedded:${join(flags.dir, "cloud.db")}`;
    const isNew = action === "add" || action === "claim-code";
    const tables = await openTables(url, { schema, shared: true, existing: !isNew });
    try {
      const registry = new Registry(tables.log, { now: Date.now });
      if (action === "list") {
        await listDevices(registry, print);
        return 0;
      }
      if (action === "show") {
        (await showDevice(registry, device!, Date.now())).forEach(print);
        const at = await consoleOf(flags);
        if (at) print(`${"console".padEnd(12)}${devicePage(at, device!)}`);
        return 0;
      }
      if (isBatchOf(action, flags)) {
        const validMs = durationOf("expires", flags.expires);
        return await addMany(registry, flags, { validMs, note: auditOf(tables.log, flags["audit-days"]) }, print);
      }
      const parts = { schema, tables, registry, tell, flags, print, note: auditOf(tables.log, flags["audit-days"]) };
      await acts[action]!(device!, parts);
      if (action === "add" || action === "rotate") {
        const at = await consoleOf(flags);
        // Beside the token, which a script takes from standard output.
        if (at) say(`device: its page in the console: ${devicePage(at, device!)}`);
      }
      return 0;
    } finally {
      await tables.close();
    }
  },
});

/** Of `dev` by its folder; of another cloud by the variable alone. */
function consoleOf({ table, dir }: Pick<DeviceFlags, "dir"> & { table?: string }): Promise<string | undefined> {
  return consoleAt(table === undefined ? { db: join(dir, "cloud.db") } : {});
}

/** Whether the devices are those of a file. */
function isBatchOf(action: string, { from }: DeviceFlags): boolean {
  return action === "add" && from !== undefined;
}

/** @throws {UsageError} */
function checkUsage(action: string, device: string | undefined, more: readonly string[], flags: DeviceFlags): void {
  if (more.length > 0) throw new UsageError(`device ${action} takes one device, not ${1 + more.length}`);
  const isBatch = isBatchOf(action, flags);
  if (isBatch !== (flags.to !== undefined)) throw new UsageError("device add --from FILE needs --to FILE");
  if (action !== "claim-code" && (device === undefined) !== (action === "list" || isBatch)) {
    throw new UsageError(action === "list" ? "device list takes no device" : `device ${action} needs a device id`);
  }
  if (((action === "add" && !isBatch) || action === "claim-code") && flags.account === undefined) {
    throw new UsageError(`device ${action} needs --account ID`);
  }
  if ((action === "decommission") !== flags.erase) {
    throw new UsageError("device decommission needs --erase, and only it does; revoke leaves the device's items");
  }
  const certifies = flags.cert || flags.csr !== undefined;
  if (action === "certify" && !certifies) throw new UsageError("device certify needs --cert or --csr FILE");
  if (certifies && action !== "certify" && action !== "add") {
    throw new UsageError("--cert and --csr go with add and certify");
  }
  if (device !== undefined) checkId("device", device);
  if (flags.account !== undefined) checkId("account", flags.account);
  durationOf("expires", flags.expires);
  durationOf("grace", flags.grace);
}

interface DeviceFlags {
  readonly from?: string;
  readonly to?: string;
  readonly account?: string;
  readonly expires?: string;
  readonly grace: string;
  readonly erase: boolean;
  readonly cert: boolean;
  readonly csr?: string;
  readonly out: string;
  readonly "ca-dir"?: string;
  readonly "passphrase-file"?: string;
  readonly "audit-days": number;
  readonly dir: string;
  readonly prefix: string;
  readonly broker?: string;
}

/** What an action works on. */
interface Parts {
  readonly schema: Schema;
  readonly tables: OpenTables;
  readonly registry: Registry;
  readonly tell: Awaited<ReturnType<typeof controlOf>>;
  readonly flags: DeviceFlags;
  readonly print: (line: string) => void;
  /** Notes what is about to be done; without it nothing is. */
  readonly note: ReturnType<typeof auditOf>;
}

type Act = (device: string, parts: Parts) => Promise<void>;

/** Mosquitto, if it is told of the device, would take a former one of its name for it. @throws SyncError */
async function checkName(device: string, { tables, flags }: Parts): Promise<void> {
  if (flags.broker !== undefined) await checkFormer(tables.log, device, Date.now());
}

/** Gives or rotates a token. */
async function giveToken(device: string, parts: Parts, isNew: boolean): Promise<void> {
  const { registry, tell, flags, print } = parts;
  const validMs = durationOf("expires", flags.expires), graceMs = durationOf("grace", flags.grace);
  await checkName(device, parts);
  const token = isNew
    ? await registry.add(device, flags.account!, { validMs })
    : await registry.rotate(device, { validMs, graceMs });
  // The token first: should the broker be away, it is not lost, and the broker can be told again.
  print(token);
  await tell(addCommands((await registry.identityOf(device))!, token, flags.prefix));
}

/** Gives a certificate. The registry knows it before the device can have it. */
async function giveCertificate(device: string, parts: Parts, isNew: boolean): Promise<void> {
  const { registry, tell, flags, print } = parts, ready = await issueFor(device, flags);
  if (isNew) await checkName(device, parts);
  await parts.note(`device.${isNew ? "add" : "certify"}`, device);
  if (isNew) await registry.admitNew(device, flags.account!, ready.key);
  else await registry.certify(device, ready.key);
  print(await ready.write());
  if (isNew) await tell(addCommands((await registry.identityOf(device))!, undefined, flags.prefix));
}

const acts: Readonly<Record<string, Act>> = {
  async add(device, parts) {
    if (parts.flags.cert || parts.flags.csr !== undefined) return await giveCertificate(device, parts, true);
    await parts.note("device.add", device);
    await giveToken(device, parts, true);
  },
  async "claim-code"(device: string | undefined, { tables, registry, flags, print, note }) {
    await note("device.claim-code", device ?? `account ${flags.account}`);
    const claims = new Claims({
      table: tables.log,
      registry,
      audit: new Audit(tables.log, { now: Date.now }),
      now: Date.now,
    });
    const validMs = durationOf("expires", flags.expires);
    const { code, untilMs } = await claims.make({ accountId: flags.account!, deviceId: device, validMs });
    print(code);
    // Beside the code, which a script takes from standard output.
    say(
      `device: for ${device ?? `a new device of account ${flags.account}`}, until ${new Date(untilMs).toISOString()}`,
    );
  },
  certify: (device, parts) => giveCertificate(device, parts, false),
  async rotate(device, parts) {
    await parts.note("device.rotate", device);
    await giveToken(device, parts, false);
  },
  async revoke(device, { registry, tell, print, note }) {
    await note("device.revoke", device);
    const was = await registry.revoke(device);
    await tell(removeCommands(device));
    if (!was) throw new CommandError(`there is no device "${device}"`);
    print(`${device} is revoked`);
  },
  async decommission(device, { schema, tables, registry, tell, flags, print, note }) {
    await note("device.decommission", device);
    await tell(removeCommands(device));
    const erasure = new Erasure({ schema, tables, registry, now: Date.now, days: flags["audit-days"] });
    print(JSON.stringify(await erased(erasure, device), null, 2));
  },
};
