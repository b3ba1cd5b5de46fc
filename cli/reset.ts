/**
 * `mod.ts reset`: removes the sync state from a device's database. The next agent onboards the remaining rows like
 * existing ones; with `--rows`, the file is as good as new, for another device or account, or to be given away.
 *
 * @module
 */
import { type Driver, openDatabase } from "../agent/sqlite/driver.ts";
import { takeLease } from "../agent/sqlite/lease.ts";
import { resetDatabase, unsentEntries, wipeDatabase } from "../agent/migration/reset.ts";
import { CommandError, defineCommand } from "./command.ts";
import { readDevice } from "./device_file.ts";
import { driverFlags, driverOf } from "./driver_flags.ts";

/** Resets a device's database. @throws {CommandError} if changes that were not sent would be lost, without `force` */
export function resetDevice(
  path: string,
  { rows, force }: { readonly rows: boolean; readonly force: boolean },
  driver: Driver = openDatabase,
): void {
  readDevice(path, () => undefined, driver);
  using lease = takeLease(path);
  const db = driver(path);
  try {
    const unsent = unsentEntries(db);
    // If the rows stay, only deletions are lost: rows are sent again.
    if (unsent > 0 && !force) {
      lease.left();
      throw new CommandError(
        `${path} has ${unsent} changes that the cloud does not have: connect its agent until they are sent, or --force`,
      );
    }
    // Rows that are gone must not remain in free pages: the file may be given away.
    if (rows) wipeDatabase(db);
    else resetDatabase(db, { rows });
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    lease.ended();
  } finally {
    db.close();
  }
}

/** The `reset` command. */
export const resetCommand = defineCommand({
  name: "reset",
  summary: "remove the sync state from a device's database",
  usage: ["--db FILE [--rows] [--force]"],
  about: [
    "Rows stay, and the next agent sends them: each is as old as its 'updated' says, and a newer item of the cloud wins.\n" +
    "With --rows they are deleted, too: to move a device to another account, revoke it, reset --rows, add it there, start its agent.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "the device's database; no agent may run on it", required: true },
    rows: { type: "boolean", summary: "delete the rows of every model, too" },
    force: { type: "boolean", summary: "even if changes were not sent" },
    ...driverFlags,
  },
  operands: [0, 0],
  async run({ flags, print }) {
    resetDevice(flags.db, flags, await driverOf(flags));
    print(
      flags.rows ? `${flags.db} is empty, for any device` : `${flags.db} belongs to no device any more; its rows stay`,
    );
    return 0;
  },
});
