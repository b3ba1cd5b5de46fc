/**
 * `mod.ts device`: who may log in. The registry stands in the cloud's log table, so that `--table` says which cloud is meant;
 * by default the one of `dev`. An embedded table is opened beside the process that serves it: a device that is added may log
 * in at once, and one that is revoked or whose token has ended loses its connection within a minute. A broker that checks
 * tokens itself is told by `--broker`.
 *
 * @module
 */
import { join } from "node:path";
import { Erasure, type ErasureState } from "../cloud/operations/erasure.ts";
import { Registry } from "../cloud/sync/registry.ts";
import { addCommands, removeCommands } from "../cloud/broker_config/mosquitto.ts";
import { schema as exampleSchema } from "../examples/schema.ts";
import { checkId, compileSchema } from "../schema.ts";
import { UsageError } from "./args.ts";
import { auditDays, auditOf } from "./audit_note.ts";
import { sendControl } from "./broker_control.ts";
import { CommandError, defineCommand } from "./command.ts";
import { durationOf } from "./duration.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { openTables } from "./tables.ts";

const actions = ["add", "rotate", "list", "revoke", "decommission"];

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}

async function list(registry: Registry, print: (line: string) => void): Promise<void> {
  let after: string | undefined, count = 0;
  do {
    const page = await registry.list({ after });
    count += page.devices.length;
    for (const { deviceId, accountId, createdMs, seenMs, connected, untilMs, beforeUntilMs } of page.devices) {
      const seen = seenMs === undefined ? "never seen" : `seen ${dateOf(seenMs)}`;
      const notes = [
        ...(untilMs === undefined ? [] : [`${untilMs > Date.now() ? "expires" : "expired"} ${dateOf(untilMs)}`]),
        ...(beforeUntilMs !== undefined && beforeUntilMs > Date.now()
          ? [`old token until ${dateOf(beforeUntilMs)}`]
          : []),
      ];
      print(
        [
          deviceId,
          `account ${accountId}`,
          `added ${dateOf(createdMs).slice(0, 10)}`,
          connected ? "connected" : seen,
          ...notes,
        ].join("  "),
      );
    }
    after = page.next;
  } while (after !== undefined);
  if (count === 0) print("no devices; add one with device add DEVICE --account ID");
}

/** Erases to the end; says why it takes a while. @returns the receipt */
async function erased(erasure: Erasure, device: string): Promise<ErasureState> {
  for (let isSaid = false;;) {
    const state = await erasure.run(device);
    if (!state) throw new CommandError(`there is no device "${device}"`);
    if (state.done !== undefined) return state;
    if (state.waitsUntil === undefined) continue;
    if (!isSaid) console.error(`device: what was under way may still be written: waits until ${state.waitsUntil}`);
    isSaid = true;
    await new Promise((resolve) => setTimeout(resolve, Math.max(100, Date.parse(state.waitsUntil!) - Date.now())));
  }
}

/** The `device` command. */
export const deviceCommand = defineCommand({
  name: "device",
  summary: "give, rotate, list and revoke the credentials of devices; erase devices",
  usage: [
    "add DEVICE --account ID [--expires 90d]",
    "rotate DEVICE [--grace 24h] [--expires 90d]",
    "list",
    "revoke DEVICE",
    "decommission DEVICE --erase",
  ],
  about: [
    "add prints the device's token: its password at the broker, the device's id being the user name. The token can't be\n" +
    "shown again. rotate prints another one; the old one stays valid for --grace, so that the device is never without.\n" +
    "Without --table the cloud of dev is meant.",
    "decommission --erase revokes the device and deletes its items and what the cloud keeps of it, twice within a minute,\n" +
    "and prints a receipt: what was deleted, what remains and until when. Ended half-way, it goes on when called again.",
    "--broker tells Mosquitto's dynamic-security plugin at once (see mod.ts broker config mosquitto). It knows one password\n" +
    "a device: a rotated token is the only one there from then on.",
  ],
  flags: {
    account: { type: "string", value: "ID", summary: "add: the account that the device belongs to" },
    expires: { type: "string", value: "TIME", summary: "add, rotate: how long the token is valid; default for ever" },
    grace: { type: "string", value: "TIME", summary: "rotate: how long the old token is valid", default: "24h" },
    erase: { type: "boolean", summary: "decommission: delete the device's items and everything about it" },
    "audit-days": { type: "integer", value: "N", summary: "how long the audit keeps who did what", ...auditDays },
    table: { type: "string", value: "URL", summary: "embedded:PATH or dynamodb://TABLE?…; default DIR/cloud.db" },
    dir: { type: "string", value: "DIR", summary: "the folder of dev", default: ".twintable" },
    schema: { type: "string", value: "FILE", summary: "the cloud's schema; default the example's" },
    broker: { type: "string", value: "URL", summary: "Mosquitto, mqtt(s)://HOST:PORT, to be told as well" },
    "broker-username": { type: "string", value: "U", summary: "its administrator", default: "twintable-admin" },
    "broker-password-file": { type: "string", value: "FILE", summary: "whose password is the file's first line" },
    "broker-ca": { type: "string", value: "FILE", summary: "PEM: authorities that are trusted" },
    prefix: { type: "string", value: "TEXT", summary: "topic prefix", default: "tt" },
  },
  operands: [1, 2],
  async run({ flags, operands, print }) {
    const [action, device] = operands as [string, string | undefined];
    if (!actions.includes(action)) throw new UsageError(`device ${action}? ${actions.join(", ")}`);
    if ((device === undefined) !== (action === "list")) {
      throw new UsageError(action === "list" ? "device list takes no device" : `device ${action} needs a device id`);
    }
    // Before anything is opened: what is wrong with the command line is said first.
    if (action === "add" && flags.account === undefined) throw new UsageError("device add needs --account ID");
    if ((action === "decommission") !== flags.erase) {
      throw new UsageError("device decommission needs --erase, and only it does; revoke leaves the device's items");
    }
    if (device !== undefined) checkId("device", device);
    if (flags.account !== undefined) checkId("account", flags.account);
    const validMs = durationOf("expires", flags.expires), graceMs = durationOf("grace", flags.grace);
    const tell = await sendControl(flags);
    const schema = flags.schema === undefined ? compileSchema(exampleSchema) : await loadSchemaFile(flags.schema);
    const url = flags.table ?? `embedded:${join(flags.dir, "cloud.db")}`;
    const tables = await openTables(url, { schema, shared: true, existing: action !== "add" });
    try {
      const registry = new Registry(tables.log, { now: Date.now });
      if (action === "list") {
        await list(registry, print);
        return 0;
      }
      // Before it is done, and whatever comes of it.
      await auditOf(tables.log, flags["audit-days"])(`device.${action}`, device!);
      if (action === "decommission") {
        await tell(removeCommands(device!));
        const erasure = new Erasure({ schema, tables, registry, now: Date.now, days: flags["audit-days"] });
        print(JSON.stringify(await erased(erasure, device!), null, 2));
        return 0;
      }
      if (action === "revoke") {
        const was = await registry.revoke(device!);
        await tell(removeCommands(device!));
        if (!was) throw new CommandError(`there is no device "${device}"`);
        print(`${device} is revoked`);
        return 0;
      }
      const token = action === "add"
        ? await registry.add(device!, flags.account!, { validMs })
        : await registry.rotate(device!, { validMs, graceMs });
      // The token first: should the broker be away, it is not lost, and the broker can be told again.
      print(token);
      const identity = (await registry.identityOf(device!))!;
      await tell(addCommands(identity, token, flags.prefix));
      return 0;
    } finally {
      await tables.close();
    }
  },
});
