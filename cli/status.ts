/**
 * `mod.ts status`: show the sync state of a device's database, read through SQLite (read-only) from outside the agent's
 * process. The lease shows whether an agent runs, because a killed agent could not record that it was disconnected.
 *
 * @module
 */
import { type Database, type Driver, openDatabase } from "../agent/sqlite/driver.ts";
import type { Problem } from "../agent/upkeep/problems.ts";
import { painted } from "./colour.ts";
import { defineCommand } from "./command.ts";
import { linkLines } from "./console_link.ts";
import { isLeased, readDevice } from "./device_file.ts";
import { durationOf } from "./duration.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";
import { Lifetime } from "./lifetime.ts";

/** What `status --json` prints. Times are ISO texts or null. */
export interface FileStatus {
  readonly device: string;
  readonly account: string;
  /** An agent has the file open. */
  readonly running: boolean;
  readonly connected: boolean;
  /** What is wrong now, in sentences, the most important first. */
  readonly problem: string | null;
  /** The problems one by one: name, sentence, since when (ms since 1970 by the device's clock). */
  readonly problems: readonly Problem[];
  readonly outbox: number;
  /** When the oldest pending change was made. */
  readonly oldest: string | null;
  /** The outbox is full: writes to synced models are refused. */
  readonly full: boolean;
  /** Unsent rows of models with `keep: 'newest'` that were dropped. */
  readonly dropped: number;
  /** Changes that were sent and not answered. */
  readonly inflight: number;
  readonly rejected: number;
  readonly conflicts: number;
  /** Items that their table could not accept; they are tried again. */
  readonly aside: number;
  readonly cursors: Record<string, { epoch: string; seq: number } | null>;
  readonly lastAck: string | null;
  readonly lastSync: string | null;
  readonly lastError: string | null;
  readonly lastErrorAt: string | null;
  /** When the database was last recognised as a restored copy. */
  readonly restoredAt: string | null;
}

/** @throws {CommandError} if the file is missing or not a device database */
export function readStatus(path: string, driver: Driver = openDatabase): FileStatus {
  return readDevice(path, (db) => {
    const row = db.prepare("SELECT * FROM _status").get()!;
    const channels = db.prepare("SELECT channel, epoch, seq FROM _sync_channels ORDER BY channel").all();
    const running = isLeased(path);
    const text = (name: string) => (row[name] ?? null) as string | null;
    return {
      device: String(row.device),
      account: String(row.account),
      running,
      connected: running && row.connected === 1,
      problem: text("problem"),
      problems: problemsOf(db),
      outbox: Number(row.outbox),
      oldest: text("oldest"),
      full: row.full === 1,
      dropped: Number(row.dropped ?? 0),
      inflight: Number(row.inflight),
      rejected: Number(row.rejected),
      conflicts: Number(row.conflicts),
      aside: Number(row.aside),
      cursors: Object.fromEntries(channels.map(({ channel, epoch, seq }) => [
        String(channel),
        epoch === null || seq === null ? null : { epoch: String(epoch), seq: Number(seq) },
      ])),
      lastAck: text("last_ack"),
      lastSync: text("last_sync"),
      lastError: text("last_error"),
      lastErrorAt: text("last_error_at"),
      restoredAt: text("restored_at"),
    };
  }, driver);
}

function problemsOf(db: Database): Problem[] {
  const text = db.prepare("SELECT value FROM _sync WHERE name = 'problems'").get()?.value;
  return typeof text === "string" ? JSON.parse(text) : [];
}

/** The problems, as sentences; none: all is well. */
export function faultsOf(status: FileStatus, maxLagMs: number | undefined, nowMs: number): string[] {
  const lagMs = status.oldest === null ? 0 : nowMs - Date.parse(status.oldest);
  return [
    ...(status.running ? [] : ["no agent is running"]),
    // Being offline is ordinary: how long changes may wait says from when on it is wrong.
    ...status.problems.flatMap(({ name, sentence }) => name === "offline" ? [] : [sentence]),
    ...(maxLagMs !== undefined && lagMs > maxLagMs
      ? [`the oldest change waits since ${status.oldest}${status.connected ? "" : `: ${offline(status)}`}`]
      : []),
  ];
}

/** Why there is no connection, as far as it is known. */
function offline({ problems }: FileStatus): string {
  return problems.find(({ name }) => name === "offline")?.sentence ?? "there is no connection";
}

function lines(status: FileStatus): string[] {
  const state = status.connected
    ? painted("connected", "green")
    : painted(status.running ? "not connected" : "no agent is running", "yellow");
  const cursors = Object.entries(status.cursors).map(([channel, cursor]) =>
    `cursor     ${channel}: ${cursor ? `${cursor.seq} (epoch ${cursor.epoch})` : "none yet"}`
  );
  return [
    `device     ${status.device} of account ${status.account}: ${state}`,
    ...status.problems.map(({ sentence }) => painted(`problem    ${sentence}`, "red")),
    `outbox     ${status.outbox}, in flight ${status.inflight}${status.dropped ? `, dropped ${status.dropped}` : ""}`,
    ...(status.oldest ? [`waiting    since ${status.oldest}`] : []),
    `rejected   ${status.rejected}, conflicts ${status.conflicts}, set aside ${status.aside}`,
    ...cursors,
    `last ack   ${status.lastAck ?? "never"}`,
    `last sync  ${status.lastSync ?? "never"}`,
    ...(status.lastError
      ? [`last error ${status.lastError}${status.lastErrorAt ? ` at ${status.lastErrorAt}` : ""}`]
      : []),
  ];
}

const watchMs = 1_000;
/** Moves to the upper left and clears the screen below. */
const clearScreen = "\x1b[H\x1b[J";

/** On a terminal, the screen is redrawn; elsewhere, each changed state is printed after the one before. */
async function watch(path: string, driver: Driver, json: boolean, print: (line: string) => void): Promise<number> {
  using lifetime = new Lifetime();
  const isScreen = Deno.stdout.isTerminal() && !json;
  for (let before = ""; !lifetime.signal.aborted;) {
    const status = readStatus(path, driver), text = json ? JSON.stringify(status) : lines(status).join("\n");
    if (isScreen) print(`${clearScreen}${text}\n\n${new Date().toISOString()}, every second; Ctrl-C ends it`);
    else if (text !== before) print(text);
    before = text;
    await lifetime.pause(watchMs);
  }
  return 0;
}

/** The `status` command. */
export const statusCommand = defineCommand({
  name: "status",
  summary: "show the sync state of a device's database",
  usage: ["--db FILE [--json]", "--db FILE --watch", "--db FILE --check [--max-lag TIME] [--json]"],
  about: [
    "--check is for a supervisor or a probe: it prints what is wrong, one line each, and exits with 1; with nothing to print it\n" +
    "exits with 0. Wrong is a present problem, or that no agent runs. Being offline is not; --max-lag bounds how long\n" +
    "changes may wait.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "the device's database", required: true },
    json: { type: "boolean", summary: "print JSON" },
    watch: { type: "boolean", summary: "show it again each second, until Ctrl-C" },
    check: { type: "boolean", summary: "print only what is wrong, and exit with 1 if anything is" },
    "max-lag": { type: "string", value: "TIME", summary: "check: the oldest change may wait for 30m, 12h, 2d" },
    ...driverFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    const maxLagMs = durationOf("max-lag", flags["max-lag"]);
    const driver = await driverOf(flags);
    if (flags.watch) return await watch(flags.db, driver, flags.json, print);
    const status = readStatus(flags.db, driver);
    if (flags.check) {
      const faults = faultsOf(status, maxLagMs, Date.now());
      if (flags.json) print(JSON.stringify({ ok: faults.length === 0, faults }, null, 2));
      else faults.forEach(print);
      return faults.length > 0 ? 1 : 0;
    }
    if (flags.json) print(JSON.stringify(status, null, 2));
    else {
      lines(status).forEach(print);
      (await linkLines(flags.db, driver)).forEach(print);
    }
    return 0;
  },
});
