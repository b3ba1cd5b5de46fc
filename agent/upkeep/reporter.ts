/**
 * The agent's report to the cloud, in its presence: at each connect, one minute after a change, and otherwise every
 * five minutes. It is for people; nothing waits for it, and nothing is queued while the link is down.
 *
 * @module
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import config from "../../deno.json" with { type: "json" };
import type { DeviceReport } from "../../protocol.ts";
import type { Twin } from "../twin.ts";

/** The interval of reports with something new. */
const changedMs = 60_000;
/** The interval of reports with nothing new. */
const unchangedMs = 300_000;
/** These fields change all the time while an application works: a change of them alone is nothing new. */
const noNews: ReadonlySet<string> = new Set(["at", "db", "free", "skew", "up", "down", "oldest"]);

/** Makes a device's reports. */
export class Reporter {
  #sentMs = -Infinity;
  #news = "";
  #counted = { acknowledged: 0, applied: 0, ms: -Infinity };
  readonly #fixed: DeviceReport;
  /** Without the permission, or on a system without the call, the free disk space is unknown. */
  #knowsRoom = true;

  /** @param rotates whether an order can replace the device's token */
  constructor(private readonly twin: Twin, private readonly path: string, rotates = false) {
    const { store } = twin.context;
    const sqlite = String(store.db.sql("SELECT sqlite_version() AS version").get()!.version);
    this.#fixed = { agent: config.version, schema: store.schema.version, sqlite, runtime: runtimeName(), orders: 1 };
    if (rotates) this.#fixed = { ...this.#fixed, rotates: 1 };
  }

  /** The report, if one is due; undefined: not yet. */
  due(): DeviceReport | undefined {
    const sinceMs = this.#nowMs - this.#sentMs;
    if (sinceMs < changedMs) return undefined;
    const report = this.make();
    if (sinceMs < unchangedMs && newsOf(report) === this.#news) return undefined;
    this.sent(report);
    return report;
  }

  /** A report went out with the presence, or otherwise. */
  sent(report: DeviceReport): void {
    this.#sentMs = this.#nowMs;
    this.#news = newsOf(report);
  }

  get #nowMs(): number {
    return this.twin.context.clock.monotonicMs();
  }

  /** The present report. Counts rows: some milliseconds with millions of them. */
  make(): DeviceReport {
    const { twin } = this, { store, counters, clock } = twin.context;
    const count = (table: string) => Number(store.db.sql(`SELECT count(*) AS n FROM ${table}`).get()!.n);
    const oldest = store.db.sql("SELECT time FROM _outbox ORDER BY seq LIMIT 1").get()?.time;
    const cursors = Object.entries(twin.downlink.cursors()).flatMap(([channel, cursor]) =>
      cursor?.seq === undefined ? [] : [[channel, cursor.seq] as const]
    );
    const problem = twin.facts.get("problem"), error = twin.facts.get("lastError");
    return {
      ...this.#fixed,
      outbox: count("_outbox"),
      ...(typeof oldest === "number" ? { oldest: Math.round(oldest) } : {}),
      at: Object.fromEntries(cursors),
      rejected: count("_rejected"),
      conflicts: count("_conflicts"),
      aside: count("_sync_aside"),
      dropped: Number(store.getMeta("dropped") ?? 0),
      ...(typeof problem === "string" ? { problem } : {}),
      ...(typeof error === "string" ? { error } : {}),
      db: this.#databaseBytes(),
      ...this.#room(),
      ...(clock.offsetMs === undefined ? {} : { skew: -Math.round(clock.offsetMs) }),
      ...this.#rates(counters),
    };
  }

  /** Changes a minute since the report before. */
  #rates({ acknowledged, applied }: { acknowledged: number; applied: number }): Pick<DeviceReport, "up" | "down"> {
    const before = this.#counted, ms = this.#nowMs;
    this.#counted = { acknowledged, applied, ms };
    const minutes = (ms - before.ms) / 60_000;
    if (!Number.isFinite(minutes) || minutes <= 0) return {};
    return {
      up: Math.round((acknowledged - before.acknowledged) / minutes),
      down: Math.round((applied - before.applied) / minutes),
    };
  }

  #databaseBytes(): number {
    const { db } = this.twin.context.store;
    const pragma = (name: string) => Number(db.sql(`PRAGMA ${name}`).get()![name]);
    return pragma("page_count") * pragma("page_size");
  }

  /** From the folder's file system; nothing is opened. */
  #room(): Pick<DeviceReport, "free"> {
    if (!this.#knowsRoom || this.path === ":memory:") return {};
    try {
      const { bavail, bsize } = statfsSync(dirname(this.path));
      return { free: bavail * bsize };
    } catch {
      this.#knowsRoom = false;
      return {};
    }
  }
}

/** The fields of a report whose change is news. */
function newsOf(report: DeviceReport): string {
  return JSON.stringify(Object.entries(report).filter(([name]) => !noNews.has(name)));
}

function runtimeName(): string {
  const { process, Deno: deno } = globalThis as {
    readonly process?: { readonly version: string };
    readonly Deno?: { readonly version: { readonly deno: string } };
  };
  return deno ? `deno ${deno.version.deno}` : process ? `node ${process.version.slice(1)}` : "unknown";
}
