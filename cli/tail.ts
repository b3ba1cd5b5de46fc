/**
 * `mod.ts tail`: live events on a device: changes from the cloud, sent and acknowledged changes, what is refused, loses
 * a conflict or is set aside, problems that come and go. Read through SQLite, beside a running agent. With `--cloud`,
 * those of the whole fleet: `tail_cloud.ts`.
 *
 * @module
 */
import type { Database } from "../agent/sqlite/driver.ts";
import { printable } from "../protocol/log.ts";
import { UsageError } from "./args.ts";
import { openCloudApi } from "./cloud_api.ts";
import { type Colour, painted } from "./colour.ts";
import { cloudFlags } from "./data/flags.ts";
import { secretOf } from "./secret.ts";
import { tailCloud } from "./tail_cloud.ts";
import { defineCommand } from "./command.ts";
import { isLeased, readDeviceSlowly } from "./device_file.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";
import { Lifetime } from "./lifetime.ts";

/** Between two reads: short for a person, and no load for a device. */
const lookMs = 200;
/** Lines of one read for each kind; the rest is counted. */
const linesMax = 100;

/** One thing that happened. */
export interface Happening {
  /** ISO text. */
  readonly at: string;
  /** `in` came from the cloud; `sent`: entries were acknowledged; the rest are tables' names and states. */
  readonly kind:
    | "in"
    | "sent"
    | "waiting"
    | "rejected"
    | "conflict"
    | "aside"
    | "problem"
    | "solved"
    | "link"
    | "skipped";
  readonly text: string;
}

/** Follows a device's database from now on, or from the retained past. */
export class Tail {
  #sequence: number;
  #rejected: number;
  #conflicts: number;
  #aside: ReadonlySet<string>;
  #outbox: number;
  #problems: ReadonlySet<string> = new Set();
  #link = "";

  /** @param past how many earlier changes to show first */
  constructor(private readonly db: Database, private readonly path: string, past: number) {
    this.#sequence = Math.max(0, this.#number("SELECT coalesce(max(sequence), 0) AS n FROM _changes") - past);
    this.#rejected = this.#number("SELECT coalesce(max(id), 0) AS n FROM _rejected");
    this.#conflicts = this.#number("SELECT coalesce(max(id), 0) AS n FROM _conflicts");
    this.#aside = this.#asides();
    this.#outbox = this.#number("SELECT outbox AS n FROM _status");
  }

  /** Events since the last read. */
  look(): Happening[] {
    const now = new Date().toISOString(), happened: Happening[] = [];
    const tell = (kind: Happening["kind"], text: string, at = now) => happened.push({ at, kind, text });
    this.#came(tell);
    this.#sent(tell);
    this.#kept("_rejected", "rejected", tell);
    this.#kept("_conflicts", "conflict", tell);
    const aside = this.#asides();
    for (const text of aside) if (!this.#aside.has(text)) tell("aside", text);
    this.#aside = aside;
    this.#states(tell);
    return happened;
  }

  #came(tell: Tell): void {
    const rows = this.db.prepare(
      `SELECT sequence, model, key, op, time FROM _changes WHERE sequence > ? ORDER BY sequence LIMIT ${linesMax + 1}`,
    ).all(this.#sequence);
    for (const { sequence, model, key, op, time } of rows.slice(0, linesMax)) {
      tell("in", `${op} ${model} ${key}`, new Date(Number(time)).toISOString());
      this.#sequence = Number(sequence);
    }
    if (rows.length <= linesMax) return;
    const newest = this.#number("SELECT max(sequence) AS n FROM _changes");
    tell("skipped", `${newest - this.#sequence} more came at once`);
    this.#sequence = newest;
  }

  #sent(tell: Tell): void {
    const outbox = this.#number("SELECT outbox AS n FROM _status");
    if (outbox < this.#outbox) tell("sent", `${this.#outbox - outbox} acknowledged, ${outbox} wait`);
    else if (outbox > this.#outbox) tell("waiting", `${outbox} changes wait`);
    this.#outbox = outbox;
  }

  #kept(table: "_rejected" | "_conflicts", kind: "rejected" | "conflict", tell: Tell): void {
    const from = table === "_rejected" ? this.#rejected : this.#conflicts;
    const why = table === "_rejected" ? "code || coalesce(': ' || reason, '')" : "why";
    const rows = this.db.prepare(
      `SELECT id, model, key, op, ${why} AS why, time FROM ${table} WHERE id > ? ORDER BY id LIMIT ${linesMax}`,
    ).all(from);
    for (const { id, model, key, op, why, time } of rows) {
      tell(kind, `${op} ${model} ${key}: ${why} (number ${id})`, new Date(Number(time)).toISOString());
    }
    const last = Number(rows.at(-1)?.id ?? from);
    if (table === "_rejected") this.#rejected = last;
    else this.#conflicts = last;
  }

  #asides(): Set<string> {
    const rows = this.db.prepare(
      `SELECT m.name AS model, a.hash, a.sort, a.error FROM _sync_aside AS a LEFT JOIN _sync_models AS m ON m.number = a.model
       ORDER BY a.time LIMIT ${linesMax}`,
    ).all();
    return new Set(rows.map(({ model, hash, sort, error }) => `${model} ${sort || hash}: ${error}`));
  }

  #states(tell: Tell): void {
    const value = this.db.prepare("SELECT value FROM _sync WHERE name = 'problems'").get()?.value;
    const problems = new Set<string>(
      typeof value === "string" ? JSON.parse(value).map(({ sentence }: { sentence: string }) => sentence) : [],
    );
    for (const sentence of problems) if (!this.#problems.has(sentence)) tell("problem", sentence);
    for (const sentence of this.#problems) if (!problems.has(sentence)) tell("solved", sentence);
    this.#problems = problems;
    const { connected, last_error: error } = this.db.prepare("SELECT connected, last_error FROM _status").get()!;
    const link = !isLeased(this.path)
      ? "no agent is running"
      : connected === 1
      ? "connected"
      : `not connected${error ? `: ${error}` : ""}`;
    if (link !== this.#link) tell("link", link);
    this.#link = link;
  }

  #number(sql: string): number {
    return Number(this.db.prepare(sql).get()!.n ?? 0);
  }
}

type Tell = (kind: Happening["kind"], text: string, at?: string) => void;

const marks: Record<Happening["kind"], string> = {
  in: "←",
  sent: "→",
  waiting: "…",
  rejected: "✗ rejected",
  conflict: "✗ lost",
  aside: "✗ aside",
  problem: "! problem",
  solved: "✓ solved",
  link: "·",
  skipped: "…",
};

const colours: Partial<Record<Happening["kind"], Colour>> = {
  rejected: "red",
  conflict: "yellow",
  aside: "yellow",
  problem: "red",
  solved: "green",
  link: "dim",
};

function lineOf({ at, kind, text }: Happening): string {
  const line = `${marks[kind]} ${printable(text, 400)}`, colour = colours[kind];
  return `${at}  ${colour ? painted(line, colour) : line}`;
}

/** The `tail` command. */
export const tailCommand = defineCommand({
  name: "tail",
  summary: "follow events on a device, or in the cloud, as they happen",
  usage: ["--db FILE [--past N] [--json]", "--cloud URL [--token-file FILE] [--model M] [--device ID] [--json]"],
  about: [
    "Changes from the cloud (←), acknowledged changes (→), what is refused, lost or set aside, problems and the connection. A local\n" +
    "change is counted when it waits and when it is acknowledged. With --cloud: who writes what to the table, which devices\n" +
    "come and go, and what they keep for people. Ctrl-C ends it.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "the device's database" },
    ...cloudFlags,
    model: { type: "string", value: "M", summary: "cloud: changes of this model only" },
    device: { type: "string", value: "ID", summary: "cloud: what is about this device only" },
    past: {
      type: "integer",
      value: "N",
      summary: "first the last N changes from the cloud",
      default: 0,
      min: 0,
      max: 10_000,
    },
    json: { type: "boolean", summary: "print JSON, one object a line" },
    ...driverFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    const { db: path, cloud, model, device, json } = flags;
    if ((path === undefined) === (cloud === undefined)) throw new UsageError("either --db or --cloud is required");
    using lifetime = new Lifetime();
    const { signal } = lifetime;
    if (cloud !== undefined) {
      using api = await openCloudApi(cloud, { token: await secretOf(flags, "token"), ca: flags.ca });
      await tailCloud(api, { model, device, json, print, pause: (ms) => lifetime.pause(ms) }, signal);
      return 0;
    }
    if (model !== undefined || device !== undefined) throw new UsageError("--model and --device go with --cloud");
    await readDeviceSlowly(path!, async (db) => {
      const tail = new Tail(db, path!, flags.past);
      while (!signal.aborted) {
        for (const one of tail.look()) {
          print(json ? JSON.stringify(one) : lineOf(one));
        }
        await lifetime.pause(lookMs);
      }
    }, await driverOf(flags));
    return 0;
  },
});
