/**
 * The checks of `doctor` on a device: its file, the agent, the schema, the clock.
 *
 * @module
 */
import { presentSchema } from "../../agent/migration/transition.ts";
import type { Database, Driver } from "../../agent/sqlite/driver.ts";
import { findDamage } from "../../agent/store/damage.ts";
import type { Schema } from "../../schema.ts";
import { describeFault } from "../command.ts";
import { isLeased, readDevice } from "../device_file.ts";
import { type FileStatus, readStatus } from "../status.ts";
import { type Finding, ok, unknown, wrong } from "./finding.ts";

/** No genuine device is older. */
const eraMs = Date.UTC(2024, 0, 1);
/**
 * A clock that is further off causes trouble with certificates, and with conflicts before the cloud's time is known.
 */
const skewMaxMs = 60_000;

/** What `doctor` found out about a device's database. */
export interface ExaminedDevice {
  readonly findings: Finding[];
  /** Absent: the file can't be read. */
  readonly status?: FileStatus;
  /** The database's own; absent: it can't be read. */
  readonly schema?: Schema;
}

/** Checks a device's file, and the agent's schema, if given. */
export function examineDevice(path: string, driver: Driver, schema: Schema | undefined): ExaminedDevice {
  let status: FileStatus;
  try {
    status = readStatus(path, driver);
  } catch (error) {
    const hint = "name the device's database, check the modes of it and its folder, or restore a backup";
    return { findings: [wrong("database", describeFault(error), hint)] };
  }
  const present = readDevice(path, presentSchema, driver);
  return {
    status,
    ...(present ? { schema: present } : {}),
    findings: [
      ...pagesOf(path, driver),
      writable(path, driver),
      agentOf(path, status),
      ...schemaOf(present, schema),
      ...status.problems.map(({ sentence }) => wrong("problem", sentence)),
      waiting(status),
      clockOf(),
    ],
  };
}

function pagesOf(path: string, driver: Driver): Finding[] {
  const { damage, complaints } = readDevice(path, findDamage, driver);
  if (damage.length > 0) {
    return [wrong("database", `${path} is damaged: ${damage[0]}`, "restore a backup: the command restore")];
  }
  return [ok("database", `every page of ${path} is sound`), ...complaints.map((text) => wrong("content", text))];
}

function writable(path: string, driver: Driver): Finding {
  let db: Database | undefined;
  try {
    db = driver(path, { busyTimeoutMs: 2_000 });
    // Where a file may only be read, SQLite begins a read transaction and says nothing.
    db.exec("BEGIN IMMEDIATE; DELETE FROM _outbox WHERE 0; ROLLBACK");
    return ok("permissions", "the file can be written");
  } catch (error) {
    const text = describeFault(error);
    return /lock/.test(text)
      ? wrong("permissions", `the file is locked: ${text}`, "an application holds a write transaction open: end it")
      : wrong("permissions", `the file can't be written: ${text}`, "check the modes of the file and of its folder");
  } finally {
    db?.close();
  }
}

function agentOf(path: string, status: FileStatus): Finding {
  if (!isLeased(path)) return wrong("agent", "none is running", "start it: the command agent, or its service");
  if (status.connected) {
    return ok("agent", `it is running and connected; last heard from the cloud at ${status.lastSync ?? "no time yet"}`);
  }
  const why = status.lastError ? `: ${status.lastError} (${status.lastErrorAt})` : "";
  return wrong("agent", `it is running, and not connected${why}`, "see the lines about the broker");
}

function schemaOf(present: Schema | undefined, wanted: Schema | undefined): Finding[] {
  if (!present) {
    return [unknown("schema", "the stored one can't be compiled by this version", "start the agent of this version")];
  }
  if (!wanted) return [ok("schema", `version ${present.version}, ${present.models.size} models`)];
  return [
    wanted.fingerprint === present.fingerprint
      ? ok("schema", `version ${present.version}, as in the file that was given`)
      : wrong(
        "schema",
        `the database has version ${present.version}, another than the file that was given (${wanted.version})`,
        "start the agent with that file: it migrates the database",
      ),
  ];
}

function waiting({ outbox, oldest, rejected, aside }: FileStatus): Finding {
  const says = `${outbox} changes wait${
    oldest === null ? "" : ` (the oldest since ${oldest})`
  }, ${rejected} were rejected, ${aside} items are set aside`;
  if (rejected > 0) return wrong("changes", says, "rejected list shows why; rejected retry sends them again");
  if (aside > 0) return wrong("changes", says, "aside list shows why");
  return ok("changes", says);
}

function clockOf(): Finding {
  const now = Date.now();
  return now < eraMs
    ? wrong("clock", `it says ${new Date(now).toISOString()}`, "set it: no TLS certificate is valid yet")
    : ok("clock", `it says ${new Date(now).toISOString()}`);
}

/** Compares the device's clock with another. @param otherMs the other clock's time at this moment */
export function clockAgainst(otherMs: number, whose: string): Finding {
  const offMs = Date.now() - otherMs;
  if (Math.abs(offMs) <= skewMaxMs) return ok("clock", `within a minute of ${whose}`);
  const says = `${Math.round(Math.abs(offMs) / 1000)} s ${offMs > 0 ? "ahead of" : "behind"} ${whose}`;
  return wrong("clock", says, "set it (NTP): syncing corrects for it, certificates do not");
}
