/**
 * `mod.ts broker config`: writes the configuration of another broker than the embedded one, so that it separates
 * devices in the same way.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { awsIotPolicies } from "../cloud/broker_config/aws_iot.ts";
import { emqxAcl } from "../cloud/broker_config/emqx.ts";
import { certificateLines, dynamicSecurity, mosquittoConf } from "../cloud/broker_config/mosquitto.ts";
import { type BrokerCredential, Registry } from "../cloud/sync/registry.ts";
import { schema as exampleSchema } from "../examples/schema.ts";
import { compileSchema } from "../schema.ts";
import { portRange, UsageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { writeNew } from "./authority_files.ts";
import { makeStateFolder } from "./dev_state.ts";
import { loadSchemaFile } from "./schema_file.ts";
import { openTables } from "./tables.ts";

const kinds = ["mosquitto", "aws-iot", "emqx"];
const workerName = "twintable-cloud", adminName = "twintable-admin";

async function devicesOf(url: string | undefined, schemaFile: string | undefined): Promise<BrokerCredential[]> {
  if (url === undefined) throw new UsageError("--table URL says whose devices are meant");
  const schema = schemaFile === undefined ? compileSchema(exampleSchema) : await loadSchemaFile(schemaFile);
  const tables = await openTables(url, { schema, shared: true, existing: true });
  try {
    const registry = new Registry(tables.log, { now: Date.now });
    const devices: BrokerCredential[] = [];
    let after: string | undefined;
    do {
      const page = await registry.brokerCredentials(after);
      devices.push(...page.devices);
      after = page.next;
    } while (after !== undefined);
    return devices;
  } finally {
    await tables.close();
  }
}

const newPassword = () => randomBytes(24).toString("base64url");

interface MosquittoFlags {
  readonly out?: string;
  readonly prefix: string;
  readonly plugin: string;
  readonly port: number;
  readonly "worker-port": number;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly "require-certificate": boolean;
}

/** The devices' listener. */
function deviceListener({ port, ca, cert, key, "require-certificate": isRequired }: MosquittoFlags): string[] {
  if ((cert === undefined) !== (key === undefined)) throw new UsageError("--cert and --key go together");
  if (isRequired && (cert === undefined || ca === undefined)) {
    throw new UsageError(
      "--require-certificate needs --cert and --key for TLS, and --ca: the devices' authority (ca.pem)",
    );
  }
  if (cert === undefined || key === undefined) return [`listener ${port} 127.0.0.1`];
  return [
    `listener ${port}`,
    ...(ca ? [`cafile ${resolve(ca)}`] : []),
    `certfile ${resolve(cert)}`,
    `keyfile ${resolve(key)}`,
    ...(isRequired ? [...certificateLines] : []),
  ];
}

async function writeMosquitto(
  flags: MosquittoFlags,
  devices: readonly BrokerCredential[],
  print: (line: string) => void,
): Promise<void> {
  const { out, prefix, plugin } = flags;
  if (out === undefined) throw new UsageError("--out DIR says where the files go");
  const listener = deviceListener(flags);
  const dir = resolve(out), byCertificate = flags["require-certificate"];
  await makeStateFolder(dir);
  const worker = { username: workerName, password: newPassword() },
    admin = { username: adminName, password: newPassword() };
  const state = JSON.stringify(dynamicSecurity({ devices, worker, admin, prefix, byCertificate }), null, 2) + "\n";
  const conf = mosquittoConf({
    plugin,
    stateFile: join(dir, "dynamic-security.json"),
    devices: listener,
    workers: [`listener ${flags["worker-port"]} 127.0.0.1`],
  });
  await writeNew(join(dir, "dynamic-security.json"), state);
  await writeNew(join(dir, "mosquitto.conf"), conf);
  await writeNew(join(dir, "worker-password"), `${worker.password}\n`);
  await writeNew(join(dir, "admin-password"), `${admin.password}\n`);
  print(
    `${dir}: mosquitto.conf, dynamic-security.json (which Mosquitto's user must own), worker-password, admin-password`,
  );
  print(
    `workers: mod.ts cloud --mqtt mqtt://127.0.0.1:${
      flags["worker-port"]
    } --username ${workerName} --password-file ${dir}/worker-password --broker-admin-password-file ${dir}/admin-password`,
  );
  print(
    `devices: mod.ts device add … --broker mqtt://127.0.0.1:${
      flags["worker-port"]
    } --broker-password-file ${dir}/admin-password`,
  );
  const former = devices.filter(({ formerMs }) => byCertificate && formerMs !== undefined).map(({ deviceId }) =>
    deviceId
  );
  if (former.length > 0) {
    print(
      `${former.length} devices can't log in there, because a former device of the same name has a valid certificate: ${
        former.slice(0, 10).join(", ")
      }`,
    );
  }
  const without = devices.filter(({ password, certified }) => !password && !certified).map(({ deviceId }) => deviceId);
  if (without.length > 0) {
    print(
      `${without.length} devices were added by an older build and can't log in there before device rotate: ${
        without.slice(0, 10).join(", ")
      }`,
    );
  }
}

/** The `broker` command. */
export const brokerCommand = defineCommand({
  name: "broker",
  summary: "configure another broker so that it isolates devices",
  usage: [
    "config mosquitto --table URL --schema FILE --out DIR [--cert FILE --key FILE [--ca FILE --require-certificate]]",
    "config emqx --table URL --schema FILE",
    "config aws-iot --region REGION --aws-account NUMBER",
  ],
  about: [
    "mosquitto: a configuration with the dynamic-security plugin, which also checks subscriptions, for the registered\n" +
    "devices; device add, rotate and revoke with --broker update it. emqx and aws-iot: access rules and policies, printed.",
    "--require-certificate takes a device's name from its certificate. Mosquitto accepts a certificate until it expires: a\n" +
    "revoked device may connect, but has no rights, and its name is not used again there before that.",
  ],
  flags: {
    table: { type: "string", value: "URL", summary: "whose devices: embedded:PATH or dynamodb://TABLE?…" },
    schema: { type: "string", value: "FILE", summary: "the cloud's schema; default the example's" },
    out: { type: "string", value: "DIR", summary: "mosquitto: the folder for its files" },
    plugin: {
      type: "string",
      value: "FILE",
      summary: "mosquitto: its plugin",
      default: "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so",
    },
    port: { type: "integer", value: "N", summary: "mosquitto: the devices' port", default: 8883, ...portRange },
    "worker-port": {
      type: "integer",
      value: "N",
      summary: "mosquitto: the workers' port",
      default: 1884,
      ...portRange,
    },
    ca: { type: "string", value: "FILE", summary: "mosquitto: PEM of the authority" },
    cert: { type: "string", value: "FILE", summary: "mosquitto: PEM; without it devices can connect only on loopback" },
    key: { type: "string", value: "FILE", summary: "mosquitto: PEM" },
    "require-certificate": {
      type: "boolean",
      summary: "mosquitto: devices come by certificates of --ca (device ca init), and by no password",
    },
    region: { type: "string", value: "REGION", summary: "aws-iot: the AWS region" },
    "aws-account": { type: "string", value: "NUMBER", summary: "aws-iot: the AWS account" },
    prefix: { type: "string", value: "TEXT", summary: "topic prefix", default: "tt" },
  },
  operands: [2, 2],
  async run({ flags, operands, print }) {
    const [action, kind] = operands as [string, string];
    if (action !== "config" || !kinds.includes(kind)) {
      throw new UsageError(`broker ${action} ${kind}? broker config ${kinds.join("|")}`);
    }
    if (kind === "aws-iot") {
      const { region, "aws-account": awsAccount, prefix } = flags;
      if (region === undefined || !/^[a-z0-9-]{2,32}$/.test(region)) {
        throw new UsageError("broker config aws-iot needs --region");
      }
      if (awsAccount === undefined || !/^[0-9]{12}$/.test(awsAccount)) {
        throw new UsageError("--aws-account is 12 digits");
      }
      print(JSON.stringify(awsIotPolicies({ region, awsAccount, prefix }), null, 2));
      return 0;
    }
    const devices = await devicesOf(flags.table, flags.schema);
    if (kind === "emqx") print(emqxAcl({ worker: workerName, devices, prefix: flags.prefix }));
    else await writeMosquitto(flags, devices, print);
    return 0;
  },
});
