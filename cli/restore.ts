/**
 * `mod.ts restore`: brings a copy of a device's database back. The copy is written through SQLite, in one transaction:
 * applications that have the database open see the new content at once. No agent may run meanwhile.
 *
 * The next agent recognises the copy (agent/upkeep/generation.ts), takes a snapshot, and sends the copy's unsent
 * changes; the cloud recognises those that it already has. Unsent changes made after the copy are lost, and the
 * overwritten file may contain some: hence `--force`, which never overwrites another device's file. A damaged file,
 * whose owner is unknown, is moved aside.
 *
 * @module
 */
import { renameSync } from "node:fs";
import { type Database, type Driver, faultOf, openDatabase } from "../agent/sqlite/driver.ts";
import { type Lease, takeLease } from "../agent/sqlite/lease.ts";
import { complaintsText, findDamage } from "../agent/store/damage.ts";
import { createPrivately } from "../agent/sqlite/private_file.ts";
import { applicationId } from "../agent/store/tables.ts";
import { CommandError, defineCommand } from "./command.ts";
import { SyncError } from "../schema.ts";
import { fileExists, readDevice } from "./device_file.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";

/** Whose database it is. */
interface Owner {
  readonly device: string;
  readonly account: string;
}

/** The owner of a copy, and the file that it replaces. */
export interface RestoredCopy extends Owner {
  /** How many unsent changes the overwritten file had. */
  readonly unsent: number;
  /** Where the damaged file was moved; undefined: there was none. */
  readonly aside: string | undefined;
}

function readCopy(path: string, driver: Driver): Owner {
  return readDevice(path, (db) => {
    const { damage } = findDamage(db);
    if (damage.length > 0) throw new CommandError(`${path} is damaged: ${complaintsText(damage)}`);
    const { device, account } = db.prepare("SELECT device, account FROM _status").get()!;
    return { device: String(device), account: String(account) };
  }, driver);
}

function hasTable(db: Database, name: string): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?").get(name) !== undefined;
}

/** Refuses a file of another device. An empty file and a reset one belong to nobody. */
function checkOwner(db: Database, path: string, copy: Owner): void {
  const refuse = (reason: string): never => {
    throw new CommandError(
      `${path} ${reason}: it is not overwritten, not even with --force; name another file, or delete it first`,
    );
  };
  const isEmpty = db.prepare("SELECT 1 FROM sqlite_schema").get() === undefined;
  const isReset = db.prepare("PRAGMA application_id").get()!.application_id === applicationId;
  if (!hasTable(db, "_sync")) return isEmpty || isReset ? undefined : refuse("is a database, but no device's");
  const fact = (name: string) => db.prepare("SELECT value FROM _sync WHERE name = ?").get(name)?.value;
  const device = fact("device"), account = fact("account");
  if (device === undefined || (device === copy.device && account === copy.account)) return;
  refuse(
    `belongs to the device ${device} of account ${account}, the copy to the device ${copy.device} of account ${copy.account}`,
  );
}

/**
 * How many unsent changes the present file has; `damaged`: SQLite can't read it. @throws {CommandError} if the file is
 * another device's or application's, or can't be read now
 */
function readTarget(path: string, copy: Owner, driver: Driver): number | "damaged" {
  let db: Database | undefined;
  try {
    db = driver(path, { readOnly: true });
    checkOwner(db, path, copy);
    return hasTable(db, "_outbox") ? Number(db.prepare("SELECT count(*) AS n FROM _outbox").get()!.n) : 0;
  } catch (cause) {
    // A key that does not open the file proves no damage.
    if (cause instanceof CommandError || cause instanceof SyncError) throw cause;
    const { message } = cause as Error;
    // A format that SQLite never had means a damaged header, too.
    const isDamaged = ["not-a-database", "corrupt"].includes(faultOf(cause)) || /unsupported file format/.test(message);
    if (isDamaged) return "damaged";
    throw new CommandError(`${path} can't be read: ${message}`, { cause });
  } finally {
    db?.close();
  }
}

/**
 * Moves a damaged file aside, with its WAL. Only renamed, never opened: see `device_file.ts`. The file itself goes
 * last: a crash before that leaves the damaged file for the next restore, and no WAL that could be mistaken for the new
 * file's.
 */
function moveAside(path: string): string {
  const aside = `${path}.damaged-${new Date().toISOString().replace(/[:.]/g, "-")}`;
  for (const end of ["-wal", "-shm", ""]) {
    if (fileExists(path + end)) renameSync(path + end, aside + end);
  }
  return aside;
}

/** {@link readTarget}; if it refuses, nothing has happened. */
function checkTarget(path: string, copy: Owner, lease: Lease, driver: Driver): number | "damaged" {
  try {
    return readTarget(path, copy, driver);
  } catch (refusal) {
    lease.left();
    throw refusal;
  }
}

async function writeCopy(from: string, to: string, driver: Driver): Promise<void> {
  createPrivately(to);
  const source = driver(from, { readOnly: true });
  try {
    await source.copyTo(to);
  } catch (cause) {
    throw new CommandError(`${to} can't be written: ${(cause as Error).message}`, { cause });
  } finally {
    source.close();
  }
}

/**
 * Restores a copy.
 *
 * @param force overwrite a database of the same device, or replace a damaged file @throws {CommandError} if the copy is
 * not one, or if the target needs `force`, or must not be overwritten at all
 * @throws SyncError `in-use` if an agent runs on the database
 */
export async function restoreDevice(
  from: string,
  to: string,
  force: boolean,
  driver: Driver = openDatabase,
): Promise<RestoredCopy> {
  const copy = readCopy(from, driver);
  const exists = fileExists(to);
  if (!force && exists) {
    throw new CommandError(`${to} exists: --force overwrites it, with all changes since the copy was made`);
  }
  using lease = takeLease(to);
  // SQLite keeps the WAL beside the file itself, not beside a link to it.
  const path = exists ? Deno.realPathSync(to) : to;
  const found = exists ? checkTarget(path, copy, lease, driver) : 0;
  // First: after a crash, the file is then recognised as not the one that ran here.
  lease.renew(`restoring ${crypto.randomUUID()}`);
  const aside = found === "damaged" ? moveAside(path) : undefined;
  await writeCopy(from, path, driver);
  return { ...copy, unsent: found === "damaged" ? 0 : found, aside };
}

/** The `restore` command. */
export const restoreCommand = defineCommand({
  name: "restore",
  summary: "restore a device's database from a copy",
  usage: ["--from FILE --db FILE [--force]"],
  flags: {
    from: { type: "string", value: "FILE", summary: "the copy that backup made", required: true },
    db: { type: "string", value: "FILE", summary: "the device's database; no agent may run on it", required: true },
    force: { type: "boolean", summary: "overwrite the device's present database; a damaged one is moved aside" },
    ...driverFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    const { device, account, unsent, aside } = await restoreDevice(
      flags.from,
      flags.db,
      flags.force,
      await driverOf(flags),
    );
    print(
      `${flags.db}: restored for the device ${device} of account ${account}; its next agent takes a snapshot` +
        (unsent > 0 ? `; unsent changes in the overwritten file: ${unsent}` : "") +
        (aside === undefined ? "" : `; the damaged file is now ${aside}`),
    );
    return 0;
  },
});
