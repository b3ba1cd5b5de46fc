/**
 * `mod.ts backup`: a copy of a device's database, taken while the agent and applications work on it. One read
 * transaction of SQLite sees all of it at one moment, without holding up writers. The copy gets its name only when it
 * is complete and on the disk.
 *
 * By SQLite's backup interface, in one step: in several, each write of another process meanwhile would start it again.
 * Rejected: `VACUUM INTO`, which the runtime refuses to a program without all permissions, and the single binary only
 * has an agent's.
 *
 * @module
 */
import { closeSync, rmSync, statSync } from "node:fs";
import { syncFolder } from "../agent/credentials/whole_file.ts";
import { type Driver, openDatabase } from "../agent/sqlite/driver.ts";
import { complaintsText, findDamage } from "../agent/store/damage.ts";
import { CommandError, defineCommand } from "./command.ts";
import { readDeviceSlowly } from "./device_file.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";
import { openNew } from "./own_file.ts";

/** Marks the copy, so that an agent that is started on it recognises it. */
const markSql = "INSERT OR REPLACE INTO _sync(name, value) VALUES ('generation', 'backup')";

function removeCopy(path: string): void {
  for (const end of ["-wal", "-shm", ""]) rmSync(path + end, { force: true });
}

/** Copies a device's database. @throws {CommandError} if it can't be read, or the copy can't be made */
export async function backupDevice(from: string, to: string, driver: Driver = openDatabase): Promise<void> {
  const there = statSync(to, { throwIfNoEntry: false });
  if (there) throw new CommandError(there.isDirectory() ? `${to} is a folder: name a file in it` : `${to} exists`);
  const part = `${to}.part`;
  removeCopy(part);
  try {
    closeSync(openNew(part));
    await readDeviceSlowly(from, (db) => db.copyTo(part), driver);
    const copy = driver(part, { bare: true });
    try {
      // A single file from here on: otherwise, any reader would create a WAL beside it.
      copy.exec(`PRAGMA journal_mode = DELETE; ${markSql}`);
      const { damage } = findDamage(copy);
      if (damage.length > 0) throw new CommandError(`${from} is damaged: ${complaintsText(damage)}`);
    } finally {
      copy.close();
    }
    // Sync it to the disk before it gets its name.
    using file = Deno.openSync(part, { read: true, write: true });
    file.syncSync();
    Deno.renameSync(part, to);
    syncFolder(to);
  } finally {
    removeCopy(part);
  }
}

/** The `backup` command. */
export const backupCommand = defineCommand({
  name: "backup",
  summary: "copy a device's database while it is in use",
  usage: ["--db FILE --to FILE"],
  about: [
    "Never copy a database file that is in use by other means: the copy may be broken, and closing the file drops the\n" +
    "locks of the process that did it. restore brings a copy back.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "the device's database", required: true },
    to: { type: "string", value: "FILE", summary: "the copy; must not exist", required: true },
    ...driverFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    await backupDevice(flags.db, flags.to, await driverOf(flags));
    print(`${flags.to}: ${Deno.statSync(flags.to).size} bytes, checked`);
    return 0;
  },
});
