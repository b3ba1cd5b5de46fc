/**
 * `mod.ts restore`: brings a copy of a device's database back. The copy is written through SQLite, in one transaction:
 * applications that have the database open see its content from one moment to the next. No agent may run meanwhile.
 *
 * The next agent recognises the copy (agent/generation.ts), takes a snapshot, and sends what the copy still had to send:
 * what the cloud has already is recognised as such. Changes made since the copy that were not sent are lost, unless they
 * are in the file that is written over: hence `--force`.
 *
 * @module
 */
import { backup, DatabaseSync } from "node:sqlite";
import { takeLease } from "../agent/lease.ts";
import { createPrivately } from "../agent/private_file.ts";
import { CommandError, defineCommand } from "./command.ts";
import { fileExists, readDevice } from "./device_file.ts";

/** What a copy is of. */
export interface RestoredCopy {
  readonly device: string;
  readonly account: string;
}

/** Restores a copy. @throws {CommandError} where it is none, or the database is there and `force` is not given */
export async function restoreDevice(from: string, to: string, force: boolean): Promise<RestoredCopy> {
  const copy = readDevice(from, (db): RestoredCopy => {
    const [found] = db.prepare("PRAGMA quick_check(1)").all();
    if (found?.quick_check !== "ok") throw new CommandError(`${from} is damaged: ${found?.quick_check}`);
    const { device, account } = db.prepare("SELECT device, account FROM _status").get()!;
    return { device: String(device), account: String(account) };
  });
  if (!force && fileExists(to)) {
    throw new CommandError(`${to} exists: --force writes over it, with all changes since the copy was taken`);
  }
  using lease = takeLease(to);
  createPrivately(to);
  // First: whatever the file holds after a crash is then recognised as something else than what ran here.
  lease.renew(`restoring ${crypto.randomUUID()}`);
  const source = new DatabaseSync(from, { readOnly: true });
  try {
    await backup(source, to);
  } finally {
    source.close();
  }
  return copy;
}

/** The `restore` command. */
export const restoreCommand = defineCommand({
  name: "restore",
  summary: "bring a copy of a device's database back",
  usage: ["--from FILE --db FILE [--force]"],
  flags: {
    from: { type: "string", value: "FILE", summary: "the copy, as backup made it", required: true },
    db: { type: "string", value: "FILE", summary: "the device's database; no agent may run on it", required: true },
    force: { type: "boolean", summary: "write over a database that is there" },
  },
  operands: [0, 0],
  async run({ flags, print }) {
    const { device, account } = await restoreDevice(flags.from, flags.db, flags.force);
    print(`${flags.db}: restored for the device ${device} of account ${account}; its next agent takes a snapshot`);
    return 0;
  },
});
