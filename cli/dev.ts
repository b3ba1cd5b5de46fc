/**
 * `mod.ts dev`: a cloud, a broker and devices in one process, with their state under one folder. A second start
 * continues where the first ended, however that ended. Order of the start: table and broker, then each device's
 * database (its tables exist when its agent is open), and only then the HTTP port, so that everything works once the
 * port is open. Order of the end: the demo's writers, the agents (flushed), then the cloud.
 *
 * @module
 */
import { join, relative, resolve } from "node:path";
import { type Agent, openAgent } from "../agent/open.ts";
import type { Cloud } from "../cloud/running_cloud.ts";
import { startCloud } from "../cloud/worker.ts";
import { withoutSecrets } from "../protocol/log.ts";
import { logThrough } from "../protocol/log_output.ts";
import { runDemoDevice } from "../examples/demo_device.ts";
import { schema as exampleSchema } from "../examples/schema.ts";
import { compileSchema, type Identity, type OneTableSchema, type Schema } from "../schema.ts";
import { comesDown } from "../schema/direction.ts";
import { parseDynamoUrl } from "../cloud/dynamodb/url.ts";
import { Travels } from "../cloud/console/travels.ts";
import { portRange } from "./args.ts";
import { defineCommand, describeFault } from "./command.ts";
import { consoleFile } from "./console_link.ts";
import { deviceTokens, makeStateFolder } from "./dev_state.ts";
import { Lifetime } from "./lifetime.ts";
import { Live, stdout } from "./live.ts";
import { choosePort } from "./ports.ts";
import { closeAgent } from "./session.ts";
import { openTables } from "./tables.ts";
import { tapStream } from "./tap.ts";
import { recordLine } from "./travel.ts";
import { cloudExample, curlLine, deviceExample, type Example, sqliteLine } from "./try_lines.ts";
import { openLocalDevice } from "./local_device.ts";
import { loadSchemaFile } from "./schema_file.ts";

const host = "127.0.0.1";
/** The account of `dev`'s devices. */
export const devAccount = "demo";

/** The best model of the example's schema to show. */
const demoExamples: { device: Example; cloud: Example } = {
  device: { model: "Event", values: { severity: "warn", message: "hello from sqlite3" } },
  cloud: { model: "Command", values: { name: "interval", value: 5 } },
};
/** The demo's measurements: too many to print one by one. */
const demoQuiet: ReadonlySet<string> = new Set(["Telemetry"]);

interface Device extends Identity {
  readonly path: string;
  readonly agent: Agent<OneTableSchema>;
}

/** The options of the start, and what it has opened; closed in reverse. */
interface Dev {
  readonly dir: string;
  readonly schema: Schema;
  readonly isDemo: boolean;
  readonly live: Live;
  readonly opened: AsyncDisposableStack;
  /** For the console: known when the devices are. */
  travels?: Travels;
  readonly locals: Disposable[];
}

/** The cloud, and the reason why it can't continue: its table's file was replaced. */
async function openCloud(
  dev: Dev,
  table: string,
  mqttPort: number,
): Promise<{ cloud: Cloud; lost: Promise<unknown>[] }> {
  const tables = await openTables(table, { schema: dev.schema });
  dev.opened.defer(() => tables.close());
  for (const done of await tables.create?.() ?? []) dev.live.print(done);
  const quiet = dev.isDemo ? demoQuiet : new Set<string>();
  tapStream(tables.data, (record) => {
    const line = recordLine(dev.schema, record, quiet);
    if (line !== undefined) dev.live.change(line, "to the table");
    dev.travels?.record(record);
  });
  const cloud = await startCloud({ schema: dev.schema, table: tables, broker: { host, port: mqttPort } });
  dev.opened.use(cloud);
  return { cloud, lost: tables.lost ? [tables.lost] : [] };
}

async function openDevices(dev: Dev, cloud: Cloud, count: number): Promise<Device[]> {
  const identities = Array.from({ length: count }, (_, at) => ({ deviceId: `demo-${at + 1}`, accountId: devAccount }));
  const tokens = await deviceTokens(dev.dir, identities, cloud.registry);
  const devices: Device[] = [];
  for (const identity of identities) {
    const path = join(dev.dir, `${identity.deviceId}.db`);
    const agent: Agent<OneTableSchema> = await openAgent({
      schema: dev.schema,
      device: identity.deviceId,
      account: identity.accountId,
      path,
      mqtt: `mqtt://${host}:${cloud.mqttPort}`,
      password: tokens.get(identity.deviceId)!,
    });
    dev.opened.defer(async () => {
      const left = await closeAgent(agent);
      dev.live.print(`${identity.deviceId}: closed${left ? `; ${left} outbox entries go at the next start` : ""}`);
    });
    devices.push({ ...identity, path, agent });
  }
  return devices;
}

function showArrivals(dev: Dev, { deviceId, agent }: Device): void {
  for (const model of dev.schema.models.values()) {
    if (!model.onDevice || !comesDown(model)) continue;
    agent.watch(model.name, ({ op, key }) => {
      dev.travels?.applied(deviceId, key);
      dev.live.change(
        `table → ${deviceId}  ${model.name} ${key[1] || key[0]}${op === "remove" ? " removed" : ""}`,
        "to devices",
      );
    });
  }
}

/** The devices for the console. Their files are closed last, because an agent's locks are on the same files. */
function watchTravels(dev: Dev, table: string, devices: readonly Device[]): Travels {
  const locals = devices.map((device) =>
    openLocalDevice({ ...device, shownPath: shownPath(device.path), schema: dev.schema, now: Date.now })
  );
  const travels = new Travels({
    schema: dev.schema,
    devices: locals,
    now: Date.now,
    quiet: dev.isDemo ? demoQuiet : new Set(),
    ...(table.startsWith("dynamodb:") ? { dynamo: parseDynamoUrl(table) } : {}),
  });
  dev.locals.push(...locals);
  dev.opened.defer(() => travels.close());
  return dev.travels = travels;
}

/** From here, where that is shorter. */
function shownPath(path: string): string {
  const near = relative(Deno.cwd(), path);
  return near.startsWith("..") || near.length > path.length ? path : near;
}

/** Runs the demo's writers; a device whose writer fails (a full disk) says so, and the rest continues. */
function startDemo(dev: Dev, devices: readonly Device[]): void {
  const stop = new AbortController();
  const running = devices.map(async ({ deviceId, agent }) => {
    try {
      await runDemoDevice(agent as unknown as Agent<typeof exampleSchema>, stop.signal);
    } catch (fault) {
      dev.live.print(`${deviceId}: the demo device has stopped: ${describeFault(fault)}`);
    }
  });
  dev.opened.defer(async () => {
    stop.abort();
    await Promise.all(running);
  });
}

/** What the cloud refused of a device since the last look: what, and why. */
function showRefusals(dev: Dev, { deviceId, agent }: Device, told: Map<string, number>): void {
  const after = told.get(deviceId) ?? 0;
  for (const { id, op, model, key, why, reason } of agent.rejected.list({ after, limit: 100 })) {
    told.set(deviceId, id);
    const because = reason === undefined ? why : `${why}: ${reason}`;
    dev.live.change(`${deviceId}  refused: ${op} ${model} ${JSON.stringify(key)}: ${because}`, "refused");
  }
}

function startTotals(dev: Dev, devices: readonly Device[]): void {
  const told = new Map<string, number>();
  const timer = setInterval(() => {
    const totals = devices.map(({ deviceId, agent }) => {
      const { counters, outbox, connected } = agent.status();
      const waiting = outbox > 0 ? `, ${outbox} waiting` : "";
      return `${deviceId}${connected ? "" : " (offline)"} ↑ ${counters.acknowledged} ↓ ${counters.applied}${waiting}`;
    });
    for (const device of devices) showRefusals(dev, device, told);
    dev.live.bottom(totals);
  }, 1000);
  dev.opened.defer(() => {
    clearInterval(timer);
    dev.live.bottom([]);
  });
}

/** For commands on the folder's databases, which print links to it (`console_link.ts`). */
async function noteConsole({ dir, opened }: Dev, { httpPort }: Cloud): Promise<void> {
  const file = consoleFile(dir);
  await Deno.writeTextFile(file, `http://${host}:${httpPort}\n`);
  opened.defer(() =>
    Deno.remove(file).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    })
  );
}

function explain(dev: Dev, table: string, cloud: Cloud, devices: readonly Device[]): void {
  const url = `http://${host}:${cloud.httpPort}`;
  const first = devices[0]!;
  const onDevice = dev.isDemo ? demoExamples.device : deviceExample(dev.schema);
  const inCloud = dev.isDemo ? demoExamples.cloud : cloudExample(dev.schema);
  const line = (text: string) => dev.live.print(text);
  line("");
  line(`  console  ${url}/  both sides, in a browser`);
  line(`  cloud    ${url}  table ${withoutSecrets(table)}, MQTT broker ${host}:${cloud.mqttPort}`);
  for (const { deviceId, path } of devices) line(`  device   ${deviceId} of account ${devAccount}  ${path}`);
  const toPaste = (title: string, text: string) => {
    line(`\n${title}:\n`);
    dev.live.printWhole(`  ${text}`);
  };
  if (onDevice) toPaste("Write on the device, with any SQLite", sqliteLine(first.path, onDevice));
  if (inCloud) toPaste("Write in the cloud", curlLine(url, dev.schema, inCloud, first));
  line(`\nWhat travels (${dev.isDemo ? "Telemetry comes each second and is not listed; " : ""}Ctrl-C ends):\n`);
}

/** The `dev` command. */
export const devCommand = defineCommand({
  name: "dev",
  summary: "a cloud, a broker and demo devices on this machine",
  log: "warnings",
  usage: ["[flags]"],
  about: [
    "Needs no other program and no account. Keeps its state under --dir; the next start continues. Without --schema the devices\n" +
    "write this machine's own load, memory, disk and network counters.",
  ],
  flags: {
    dir: { type: "string", value: "DIR", summary: "folder of the databases", default: ".twintable" },
    port: {
      type: "integer",
      value: "N",
      summary: "HTTP port; another one if it is taken",
      default: 7300,
      ...portRange,
    },
    "mqtt-port": {
      type: "integer",
      value: "N",
      summary: "the broker's port; another one if it is taken",
      default: 1883,
      ...portRange,
    },
    devices: { type: "integer", value: "N", summary: "devices demo-1 to demo-N", default: 1, min: 1, max: 100 },
    schema: { type: "string", value: "FILE", summary: "your own schema; without the demo writer" },
    table: { type: "string", value: "URL", summary: "embedded:PATH or dynamodb://TABLE?…; default DIR/cloud.db" },
  },
  operands: [0, 0],
  async run({ flags, given }) {
    using lifetime = new Lifetime();
    const live = new Live(stdout, () => performance.now());
    // On a terminal the log's lines go above the bottom line, not into it.
    if (stdout.isTerminal && Deno.stderr.isTerminal()) logThrough((line) => live.print(line));
    const dir = resolve(flags.dir);
    const schema = flags.schema === undefined ? compileSchema(exampleSchema) : await loadSchemaFile(flags.schema);
    const httpPort = choosePort(host, flags.port, "HTTP", given.has("port"));
    const mqttPort = choosePort(host, flags["mqtt-port"], "MQTT", given.has("mqtt-port"));
    for (const { note } of [httpPort, mqttPort]) if (note) live.print(note);
    await makeStateFolder(dir);

    await using opened = new AsyncDisposableStack();
    const dev: Dev = { dir, schema, isDemo: flags.schema === undefined, live, opened, locals: [] };
    const table = flags.table ?? `embedded:${join(dir, "cloud.db")}`;
    const { cloud, lost } = await openCloud(dev, table, mqttPort.port);
    opened.defer(() => dev.locals.forEach((local) => local[Symbol.dispose]()));
    const devices = await openDevices(dev, cloud, flags.devices);
    for (const device of devices) showArrivals(dev, device);
    const travels = watchTravels(dev, table, devices);
    await cloud.serveHttp({ host, port: httpPort.port, travels });
    await noteConsole(dev, cloud);
    explain(dev, table, cloud, devices);
    startTotals(dev, devices);
    if (dev.isDemo) startDemo(dev, devices);

    // An agent that can't continue (its file was replaced) ends `dev` with its reason.
    const fault = await Promise.race([lifetime.stopped, ...lost, ...devices.map(({ agent }) => agent.closed)]);
    if (fault) throw fault;
    live.print(`stopping; the state stays in ${dir}, and the next start continues from it`);
    return 0;
  },
});
