/**
 * `mod.ts verify`: compares a device's database with the cloud's table, and repairs differences on request. On the
 * device: by the agent that runs on the file, or otherwise by one of its own. In the cloud: by asking devices over its
 * HTTP API.
 *
 * @module
 */
import { openAgent } from "../agent/open.ts";
import { type Driver, openDatabase } from "../agent/sqlite/driver.ts";
import { ffiDriver } from "../agent/sqlite/driver_ffi.ts";
import { tokenPath } from "../agent/credentials/token_file.ts";
import { MqttLink } from "../agent/link.ts";
import {
  askVerify,
  type Difference,
  differences,
  lastReport,
  nextVerify,
  type VerifyOptions,
  type VerifyReport,
  verifyReport,
} from "../agent/verify/report.ts";
import type { FlagValues } from "./args.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { painted } from "./colour.ts";
import { type CloudApi, openCloudApi } from "./cloud_api.ts";
import { connectionFlags, connectionOf } from "./connection.ts";
import { consoleAt, devicePage, linkLines } from "./console_link.ts";
import { isLeased, readDevice } from "./device_file.ts";
import { type ChosenDriver, chosenDriver, driverFlags, ffiOptionsOf } from "./driver_flags.ts";
import { Lifetime } from "./lifetime.ts";
import { hasSchema, loadSchemaFile } from "./schema_file.ts";
import { secretFlags, secretOf } from "./secret.ts";
import { firstRefusal } from "./session.ts";
import { VerifyProgress } from "./verify_progress.ts";
import { say as tell } from "./terminal.ts";

type Found = VerifyReport & { readonly found: readonly Difference[] };

/** How often a verification is looked at, and how often its progress is printed. */
const usualPace: Pace = { pollMs: 250, progressMs: Deno.stderr.isTerminal() ? 2_000 : 5_000 };

/** How a command waits, and where it says how far it is. */
export interface Pace {
  readonly pollMs: number;
  readonly progressMs: number;
  readonly say?: (line: string) => void;
}

const flags = {
  db: { type: "string", value: "FILE", summary: "the device's database" },
  model: { type: "string", value: "M,…", summary: "these models only" },
  repair: { type: "boolean", summary: "repair differences by the conflict rules" },
  rate: {
    type: "integer",
    value: "N",
    summary: "repair at most this many keys a second",
    default: 50,
    min: 1,
    max: 100_000,
  },
  timeout: {
    type: "integer",
    value: "SECONDS",
    summary: "stop waiting after this time; the agent continues",
    default: 3600,
    min: 1,
    max: 1_000_000,
  },
  json: { type: "boolean", summary: "print JSON" },
  schema: { type: "string", value: "FILE", summary: "the schema, if no agent runs on the file" },
  mqtt: { type: "string", value: "URL", summary: "the broker, if no agent runs on the file" },
  ...connectionFlags,
  ...driverFlags,
  cloud: { type: "string", value: "URL", summary: "from the cloud: its HTTP API" },
  ...secretFlags("token", "TOKEN", "from the cloud: its bearer token"),
  device: { type: "string", value: "ID", summary: "from the cloud: this device" },
  all: { type: "boolean", summary: "from the cloud: every device that is connected" },
  table: { type: "boolean", summary: "from the cloud: list the table's items that reach no device" },
} as const;

type VerifyFlags = FlagValues<typeof flags>;

/** The `verify` command. */
export const verifyCommand = defineCommand({
  name: "verify",
  log: "warnings",
  summary: "find and repair differences between a device and the cloud",
  usage: [
    "--db FILE [--model M,…] [--repair] [--json]",
    "--db FILE --schema FILE --mqtt URL [--password P …] [--repair]",
    "--cloud URL [--token-file FILE] (--device ID | --all) [--repair] [--json]",
    "--cloud URL [--token-file FILE] --table [--json]",
  ],
  about: [
    "Both sides compare digests of key ranges and look closer only where these differ. If an agent runs on the file, it\n" +
    "does the work; otherwise give the flags that an agent needs. The exit code is 0 if both sides are equal in the end.",
    "For models that only sync up, only rows that the device still has are compared.",
  ],
  flags,
  operands: [0, 0],
  async run({ flags, print }) {
    if ((flags.db === undefined) === (flags.cloud === undefined)) {
      throw new UsageError("either --db or --cloud is required");
    }
    const options: VerifyOptions = {
      repair: flags.repair,
      keysPerSecond: flags.rate,
      ...(flags.model === undefined ? {} : { models: flags.model.split(",").map((name) => name.trim()) }),
    };
    if (flags.cloud !== undefined) return await verifyFromCloud(flags, options, print);
    const chosen = await chosenDriver(flags);
    const driver = chosen.driver === "ffi" ? ffiDriver(ffiOptionsOf(chosen)) : openDatabase;
    const running = readDevice(flags.db!, () => isLeased(flags.db!), driver);
    const report = running
      ? await byAgent(flags.db!, options, flags.timeout, driver)
      : await byOwnAgent(flags, options, chosen, driver);
    if (flags.json) print(JSON.stringify(report, null, 2));
    else {
      linesOf(report).forEach(print);
      if (!isEqual(report)) (await linkLines(flags.db!, driver)).forEach(print);
    }
    return isEqual(report) ? 0 : 1;
  },
});

/** The running agent finds the request in the file, and stores there how far it is. */
export async function byAgent(
  path: string,
  options: VerifyOptions,
  timeoutS: number,
  driver: Driver,
  pace: Pace = usualPace,
): Promise<Found> {
  const db = driver(path), progress = new VerifyProgress(() => performance.now());
  try {
    if (db.sql("SELECT 1 FROM sqlite_schema WHERE name = '_sync_verify'").get() === undefined) {
      throw new CommandError(`the agent on ${path} is of an older version: start it again with this one`);
    }
    const unknown = options.models?.find((name) =>
      db.sql("SELECT 1 FROM _sync_models WHERE name = ?").get(name) === undefined
    );
    if (unknown !== undefined) throw new UsageError(`there is no model "${unknown}" in ${path}`);
    const id = askVerify(db, options);
    await waiting(timeoutS, pace, () => {
      const report = verifyReport(db, id);
      if (report.state === "done") return undefined;
      if (!isLeased(path)) throw new CommandError(`the agent on ${path} has ended; its next start continues with this`);
      if (report.state === "running") return progress.text(report);
      const { id: first } = nextVerify(db) ?? { id };
      return first < id
        ? "waiting for a verification before this one"
        : "waiting for the agent, which is not connected";
    });
    return { ...verifyReport(db, id), found: differences(db) };
  } finally {
    db.close();
  }
}

async function byOwnAgent(
  flags: VerifyFlags,
  options: VerifyOptions,
  chosen: ChosenDriver,
  driver: Driver,
): Promise<Found> {
  const path = flags.db!;
  if (!hasSchema(flags.schema) || flags.mqtt === undefined) {
    throw new UsageError(`no agent runs on ${path}: start it, or give --schema and --mqtt (and --password …)`);
  }
  const { mqtt, ...connection } = await connectionOf(flags.mqtt, flags);
  const schema = await loadSchemaFile(flags.schema);
  const [device, account] = readDevice(path, (db) => {
    const row = db.prepare("SELECT device, account FROM _status").get()!;
    return [String(row.device), String(row.account)] as const;
  }, driver);
  const identity = { deviceId: device, accountId: account };
  const link = new MqttLink({ ...connection, url: mqtt, identity, tokenFile: tokenPath(path) });
  using lifetime = new Lifetime();
  await using agent = await openAgent({ schema, device, account, path, mqtt: link, ...chosen });
  const ended = new AbortController();
  const refusal = firstRefusal(link, `the broker ${new URL(mqtt).host}`, lifetime.signal);
  void refusal.then((refused) => refused && ended.abort(refused));
  const signal = AbortSignal.any([ended.signal, lifetime.signal]);
  const shown = new VerifyProgress(() => performance.now());
  const timer = setInterval(() => {
    const report = lastReport(agent.store.db);
    tell(report?.state === "running" ? shown.text(report) : `waiting for the broker ${new URL(mqtt).host}`);
  }, usualPace.progressMs);
  try {
    return await agent.verify({ ...options, signal, timeoutMs: flags.timeout * 1000 });
  } finally {
    clearInterval(timer);
  }
}

/** Polls until there is nothing to wait for. `look` returns what it waits for. */
async function waiting(
  timeoutS: number,
  { pollMs, progressMs, say = tell }: Pace,
  look: () => Promise<string | undefined> | string | undefined,
): Promise<void> {
  const startMs = performance.now();
  let toldMs = startMs;
  for (let what = await look(); what !== undefined; what = await look()) {
    const now = performance.now();
    if (now - startMs > timeoutS * 1000) throw new CommandError(`not done after ${timeoutS} s: ${what}`);
    if (now - toldMs > progressMs) {
      say(what);
      toldMs = now;
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

function isMended({ differences, mended }: Found): boolean {
  return mended >= differences;
}

/** Both sides are equal in the end. Of a key that could not be compared nobody knows. */
export function isEqual(report: Found): boolean {
  return isMended(report) && report.unsettled === 0;
}

/** What a verification found, for people. */
export function linesOf(report: Found): string[] {
  const rows = Object.entries(report.models).map(([name, { rows, differences, mended }]) =>
    [name, rows, differences, mended].map(String)
  );
  const table = [["model", "rows", "differ", "mended"], ...rows];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  const lines = table.map((row) =>
    row.map((text, i) => i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!)).join("  ")
  );
  lines.push(...differenceLines(report));
  const { unsettled } = report;
  if (unsettled > 0) lines.push(`${unsettled} keys were changing all the time, or wait, and could not be compared`);
  lines.push(
    report.differences === 0
      ? unsettled > 0 ? painted("the others are equal", "yellow") : painted("equal", "green")
      : painted(`${report.differences} differ, ${report.mended} of them mended`, isMended(report) ? "yellow" : "red"),
  );
  return lines;
}

/** The most differences of one kind that are named; `--json` has all stored ones. */
const namedMax = 3;

/** The differences, by model and kind, with a few keys of each: a schema change may affect every row. */
export function differenceLines({ found, differences }: Pick<Found, "found" | "differences">): string[] {
  const kinds = Map.groupBy(found, ({ model, what, detail }) => `${model}: ${what}: ${detail}`);
  const lines = [...kinds].map(([kind, alike]) => {
    const mended = alike.filter((one) => one.mended).length;
    const keys = alike.slice(0, namedMax).map(({ key }) => JSON.stringify(key)).join(" ");
    const more = alike.length > namedMax ? ` and ${alike.length - namedMax} more` : "";
    return `${kind}${mended > 0 ? ` (${mended} mended)` : ""}: ${keys}${more}`;
  });
  if (found.length < differences) lines.push(`${differences - found.length} more differ, which are counted only`);
  return lines;
}

interface CloudReport {
  readonly request: string;
  readonly report?: Found;
  /** How far it is; absent: the device or the cloud is of an older version. */
  readonly running?: VerifyReport;
}

async function verifyFromCloud(
  flags: VerifyFlags,
  options: VerifyOptions,
  print: (l: string) => void,
): Promise<number> {
  if ([flags.device !== undefined, flags.all, flags.table].filter(Boolean).length !== 1) {
    throw new UsageError("with --cloud, either --device, --all or --table is required");
  }
  if (options.models) throw new UsageError("--model goes with --db");
  using api = await openCloudApi(flags.cloud!, { token: await secretOf(flags, "token"), ca: flags.ca });
  if (flags.table) return await verifyTable(api, flags.json, print);
  const devices = await api.devices();
  const wanted = flags.all ? devices : devices.filter(({ deviceId }) => deviceId === flags.device);
  if (wanted.length === 0) {
    throw new CommandError(flags.all ? "there are no devices" : `there is no device "${flags.device}"`);
  }
  let code = 0;
  const reports: Record<string, unknown> = {};
  for (const { deviceId, connected } of wanted) {
    if (!connected) {
      reports[deviceId] = null;
      if (!flags.json) print(`${deviceId}: not connected`);
      code = 1;
      continue;
    }
    const report = await askOne(api, deviceId, options, flags.timeout);
    reports[deviceId] = report;
    if (!flags.json) { for (const line of linesOf(report)) print(`${deviceId}: ${line}`); }
    if (!isEqual(report)) {
      code = 1;
      const at = flags.json ? undefined : await consoleAt({ cloud: flags.cloud });
      if (at) print(`${deviceId}: console ${devicePage(at, deviceId)}`);
    }
  }
  if (flags.json) print(JSON.stringify(reports, null, 2));
  else if (wanted.length > 1) print(summaryOf(Object.values(reports) as (Found | null)[]));
  return code;
}

/** All devices in a line. */
function summaryOf(reports: readonly (Found | null)[]): string {
  const compared = reports.flatMap((report) => report ?? []), away = reports.length - compared.length;
  const equal = compared.filter(({ differences, unsettled }) => differences + unsettled === 0).length;
  const unknown = compared.filter(({ differences, unsettled }) => differences === 0 && unsettled > 0).length;
  const rest = compared.filter((report) => report.differences > 0), mended = rest.filter(isMended).length;
  const parts = [
    `${equal} equal`,
    ...(mended > 0 ? [`${mended} mended`] : []),
    ...(rest.length > mended ? [`${rest.length - mended} differ`] : []),
    ...(unknown > 0 ? [`${unknown} not compared in full`] : []),
    ...(away > 0 ? [`${away} not connected`] : []),
  ];
  return `${reports.length} devices: ${parts.join(", ")}`;
}

interface TableReport {
  readonly items: { readonly key: readonly [string, string]; readonly why: string }[];
  readonly read: number;
  readonly next?: string;
}

/** Reads the whole table for items that are meant for devices and reach none. Exits with 1 if there are any. */
async function verifyTable(api: CloudApi, json: boolean, print: (l: string) => void): Promise<number> {
  const items: TableReport["items"] = [];
  let read = 0, next: string | undefined;
  do {
    const path = `/api/unidentified${next === undefined ? "" : `?next=${encodeURIComponent(next)}`}`;
    const { status, body } = await api.call(path);
    if (status !== 200) throw new CommandError("the cloud is of a version that can't list these items: update it");
    const page = body as TableReport;
    read += page.read;
    items.push(...page.items);
    if (!json) { for (const { key, why } of page.items) print(`${JSON.stringify(key)}: ${why}`); }
    next = page.next;
  } while (next !== undefined);
  if (json) print(JSON.stringify({ read, items }, null, 2));
  else print(items.length === 0 ? `all of ${read} items are identified` : `${items.length} of ${read} reach no device`);
  return items.length > 0 ? 1 : 0;
}

/** Asks a device through the cloud, which hears from it how far it is, and shows its report. */
export async function askOne(
  api: Pick<CloudApi, "call">,
  deviceId: string,
  options: VerifyOptions,
  timeoutS: number,
  pace: Pace = usualPace,
): Promise<Found> {
  const { repair = false, keysPerSecond } = options;
  const path = `/api/devices/${deviceId}/verify`;
  const { request } = (await api.call(path, { repair, keysPerSecond })).body as { request: string };
  let found: Found | undefined;
  const progress = new VerifyProgress(() => performance.now());
  await waiting(timeoutS, pace, async () => {
    const { status, body } = await api.call(path);
    const { request: its, report, running } = body as CloudReport, isIts = status === 200 && its === request;
    if (isIts) found = report;
    if (found) return undefined;
    return isIts && running ? `${deviceId}: ${progress.text(running)}` : `waiting for ${deviceId}`;
  });
  return found!;
}
