/**
 * `mod.ts device add|list|revoke`: credentials in the registry, which stands in the cloud's log table. It works beside a
 * running cloud; a revoked device is let in nowhere after a few seconds, at its next connection.
 *
 * @module
 */
import { join } from "node:path";
import { Registry } from "../cloud/sync/registry.ts";
import { schema as exampleSchema } from "../examples/schema.ts";
import { checkId, compileSchema, identityProblem } from "../schema.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { openTables } from "./tables.ts";

async function list(registry: Registry, print: (line: string) => void): Promise<void> {
  let after: string | undefined, count = 0;
  do {
    const page = await registry.list({ after });
    count += page.devices.length;
    for (const { deviceId, accountId, createdMs, seenMs, connected } of page.devices) {
      const seen = seenMs === undefined ? "never seen" : `seen ${new Date(seenMs).toISOString()}`;
      const since = new Date(createdMs).toISOString().slice(0, 10);
      print(`${deviceId}  account ${accountId}  added ${since}  ${connected ? "connected" : seen}`);
    }
    after = page.next;
  } while (after !== undefined);
  if (count === 0) print("no devices; add one with device add DEVICE --account ID");
}

async function revoke(registry: Registry, device: string): Promise<string> {
  if (!await registry.revoke(device)) throw new CommandError(`there is no device "${device}"`);
  return `${device} is revoked`;
}

/** The `device` command. */
export const deviceCommand = defineCommand({
  name: "device",
  summary: "give, list and revoke the credentials of devices",
  usage: ["add DEVICE --account ID", "list", "revoke DEVICE"],
  about: [
    "add prints the device's token: its password at the broker, the device's id being the user name. The token can't be\n" +
    "shown again. Without --table the cloud of dev is meant.",
  ],
  flags: {
    account: { type: "string", value: "ID", summary: "add: the account that the device belongs to" },
    table: { type: "string", value: "URL", summary: "embedded:PATH or dynamodb://TABLE?…; default DIR/cloud.db" },
    dir: { type: "string", value: "DIR", summary: "the folder of dev", default: ".twintable" },
    schema: { type: "string", value: "FILE", summary: "the cloud's schema; default the example's" },
  },
  operands: [1, 2],
  async run({ flags, operands, print }) {
    const [action, device] = operands as [string, string | undefined];
    if (!["add", "list", "revoke"].includes(action)) throw new UsageError(`device ${action}? add, list or revoke`);
    if ((device === undefined) !== (action === "list")) {
      throw new UsageError(action === "list" ? "device list takes no device" : `device ${action} needs a device id`);
    }
    // Before anything is opened: what is wrong with the command line is said first.
    if (action === "add" && flags.account === undefined) throw new UsageError("device add needs --account ID");
    if (device !== undefined) checkId("device", device);
    if (flags.account !== undefined) checkId("account", flags.account);
    const schema = flags.schema === undefined ? compileSchema(exampleSchema) : await loadSchemaFile(flags.schema);
    const unfit = action === "add"
      ? identityProblem(schema, { deviceId: device, accountId: flags.account })
      : undefined;
    if (unfit !== undefined) throw new UsageError(unfit);
    const url = flags.table ?? `embedded:${join(flags.dir, "cloud.db")}`;
    const tables = await openTables(url, { schema, shared: true, existing: action !== "add" });
    try {
      const registry = new Registry(tables.log, { now: Date.now });
      if (action === "list") await list(registry, print);
      else if (action === "add") print(await registry.add(device!, flags.account!));
      else print(await revoke(registry, device!));
      return 0;
    } finally {
      await tables.close();
    }
  },
});
