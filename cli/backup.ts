/**
 * `mod.ts backup`: a copy of a device's database, taken while the agent and applications work on it. One read transaction
 * of SQLite sees all of it at one moment; writers are not held up. The copy has its name only when it is whole and on the
 * disk.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { createPrivately } from "../agent/sqlite/private_file.ts";
import { CommandError, defineCommand } from "./command.ts";
import { fileExists, readDevice } from "./device_file.ts";

/** Marks the copy, so that an agent that is started on it sees what it is. */
const markSql = "INSERT OR REPLACE INTO _sync(name, value) VALUES ('generation', 'backup')";

/** Copies a device's database. @throws {CommandError} where it can't be read, or the copy can't be made */
export function backupDevice(from: string, to: string): void {
  if (fileExists(to)) throw new CommandError(`${to} exists`);
  const part = `${to}.part`;
  rmSync(part, { force: true });
  try {
    createPrivately(part);
    readDevice(from, (db) => db.prepare("VACUUM INTO ?").run(part));
    const copy = new DatabaseSync(part);
    try {
      copy.exec(markSql);
      const [found] = copy.prepare("PRAGMA quick_check(1)").all();
      if (found?.quick_check !== "ok") throw new CommandError(`${from} is damaged: ${found?.quick_check}`);
    } finally {
      copy.close();
    }
    // On the disk before it has its name: VACUUM INTO itself may leave that to the system.
    using file = Deno.openSync(part, { read: true, write: true });
    file.syncSync();
    Deno.renameSync(part, to);
  } finally {
    rmSync(part, { force: true });
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
  },
  operands: [0, 0],
  // deno-lint-ignore require-await -- a command resolves to its exit code; copying is synchronous
  async run({ flags, print }) {
    backupDevice(flags.db, flags.to);
    print(`${flags.to}: ${Deno.statSync(flags.to).size} bytes, checked`);
    return 0;
  },
});
