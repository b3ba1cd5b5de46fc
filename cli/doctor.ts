/**
 * `mod.ts doctor`: checks everything that syncing needs, in the order in which it is needed, and says what is wrong and
 * what to do. It alters nothing.
 *
 * @module
 */
import type { Schema } from "../schema.ts";
import { UsageError } from "./args.ts";
import { openCloudApi } from "./cloud_api.ts";
import { CommandError, defineCommand, describeFault } from "./command.ts";
import { painted } from "./colour.ts";
import { connectionFlags, connectionOf } from "./connection.ts";
import { consoleAt } from "./console_link.ts";
import { type CloudFlags, cloudFlags } from "./data/flags.ts";
import { examineBroker, examineName } from "./doctor/broker.ts";
import { clockAgainst, examineDevice } from "./doctor/device.ts";
import { type Finding, ok, unknown, wrong } from "./doctor/finding.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";
import { hasSchema, loadSchemaFile } from "./schema_file.ts";
import { secretOf } from "./secret.ts";

/** The `doctor` command. */
export const doctorCommand = defineCommand({
  name: "doctor",
  summary: "check everything that syncing needs, and say what is wrong",
  usage: [
    "--db FILE [--schema FILE] [--mqtt URL --password-file FILE …] [--json]",
    "--cloud URL [--token-file FILE] [--json]",
    "--table URL --schema FILE [--json]",
  ],
  about: [
    "On a device: its file, permissions, agent, schema, problems and clock; with --mqtt the broker's name, connection,\n" +
    "credentials and subscriptions, and whether a worker answers (not beside a running agent, which answers instead).\n" +
    "In the cloud: the API, what it can reach and its schema (--cloud), the tables (--table). They go together. The exit code is 1 if\n" +
    "anything is wrong.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "a device's database" },
    schema: { type: "string", value: "FILE", summary: "the schema that it should have" },
    mqtt: { type: "string", value: "URL", summary: "the broker: mqtt://HOST:PORT or mqtts://HOST:PORT" },
    ...connectionFlags,
    ...cloudFlags,
    table: { type: "string", value: "URL", summary: "the cloud's tables: embedded:PATH or dynamodb://TABLE" },
    json: { type: "boolean", summary: "print JSON" },
    ...driverFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    const { db, cloud, table, mqtt } = flags;
    if (db === undefined && cloud === undefined && table === undefined) {
      throw new UsageError("--db, --cloud or --table is required");
    }
    if (mqtt !== undefined && db === undefined) throw new UsageError("--mqtt goes with --db: which device connects?");
    const schema = hasSchema(flags.schema) ? await loadSchemaFile(flags.schema) : undefined;
    const findings: Finding[] = [];
    let present: Schema | undefined;
    if (db !== undefined) {
      const driver = await driverOf(flags), examined = examineDevice(db, driver, schema);
      findings.push(...examined.findings);
      present = examined.schema;
      const { status } = examined;
      if (mqtt !== undefined && status) {
        const connection = await connectionOf(mqtt, flags), name = await examineName(mqtt);
        findings.push(name);
        if (status.running) findings.push(unknown("broker", "not tried: the running agent is asked instead"));
        else if (name.state === "ok") {
          const asker = { path: db, driver, deviceId: status.device, accountId: status.account };
          findings.push(...await examineBroker(connection, asker));
        }
      }
    }
    if (cloud !== undefined) findings.push(...await examineCloud(flags, present ?? schema));
    const page = await consoleAt({ cloud, db });
    if (page !== undefined) findings.push(ok("console", `${page}/`));
    if (table !== undefined) findings.push(...await examineTables(table, schema));
    if (flags.json) print(JSON.stringify(findings, null, 2));
    else for (const finding of findings) for (const line of linesOf(finding)) print(line);
    const isWrong = findings.some(({ state }) => state === "wrong");
    if (!flags.json) print(isWrong ? "" : "nothing is wrong");
    return isWrong ? 1 : 0;
  },
});

async function examineCloud(flags: CloudFlags, own: Schema | undefined): Promise<Finding[]> {
  const token = await secretOf(flags, "token");
  using api = await openCloudApi(flags.cloud!, { token, ca: flags.ca });
  try {
    const ready = await api.request("/readyz", { answers: [503], text: true });
    const problems = String(ready.body).split("\n").filter((line) => line !== "");
    const findings = [
      ...(ready.status === 503
        ? problems.map((text) => wrong("cloud", text, "the worker can't work: see its log"))
        : [ok("cloud", "the worker reaches its broker and its tables")]),
      ...(ready.date === undefined ? [] : [clockAgainst(ready.date.getTime(), "the cloud")]),
    ];
    const devices = await api.request("/api/devices?limit=1", { answers: [401, 403] });
    findings.push(
      devices.status === 200
        ? ok("token", token === undefined ? "none is needed here" : "it is valid")
        : wrong("token", `the API refuses it (${devices.status})`, "give the worker's --token, or one of its --tokens"),
    );
    if (own && devices.status === 200) findings.push(schemaAgainst(own, (await api.call("/api/openapi.json")).body));
    return findings;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return [wrong("cloud", describeFault(error), "check the URL, --ca, and that the worker runs with --port")];
  }
}

/** Compares a schema, a device's or a file's, with the one that the cloud says it has. */
function schemaAgainst({ version, fingerprint }: Schema, document: unknown): Finding {
  const its = (document as { info?: { "x-schema"?: { version: string; fingerprint: string } } }).info?.["x-schema"];
  if (!its) return unknown("schema", "the cloud does not say which one it has", "update it");
  if (its.fingerprint === fingerprint) return ok("schema", `version ${version}, in the cloud as here`);
  return wrong(
    "schema",
    `the cloud has version ${its.version}, another than the one here (${version})`,
    "give both sides the same: changes of models that differ wait until then",
  );
}

async function examineTables(url: string, schema: Schema | undefined): Promise<Finding[]> {
  if (!schema) throw new UsageError("--schema FILE is required with --table");
  if (Deno.build.standalone) throw new CommandError("this program is for devices: look at tables from source");
  // Its name is computed, so that a device's program does not contain the AWS SDK.
  const file = new URL("./doctor/tables.ts", import.meta.url).href;
  const examine: (url: string, schema: Schema) => Promise<Finding[]> = (await import(file)).examineTables;
  return await examine(url, schema);
}

const marks = { ok: "ok     ", wrong: "WRONG  ", unknown: "?      " };
const colours = { ok: "green", wrong: "red", unknown: "yellow" } as const;

function linesOf({ what, state, says, advice }: Finding): string[] {
  return [
    `${painted(marks[state], colours[state])}${what.padEnd(12)}${says}`,
    ...(advice === undefined ? [] : [`${" ".repeat(19)}→ ${advice}`]),
  ];
}
