/**
 * `key rotate`: changes the key of an encrypted database in one transaction: a crash leaves the old key or the new one.
 *
 * @module
 */
import { ffiDriver, rotateKey } from "../agent/sqlite/driver_ffi.ts";
import { faultOf } from "../agent/sqlite/driver.ts";
import { takeLease } from "../agent/sqlite/lease.ts";
import { UsageError } from "./args.ts";
import { CommandError, defineCommand } from "./command.ts";
import { readDevice } from "./device_file.ts";
import { chosenDriver, driverFlags, ffiOptionsOf, readKey } from "./driver_flags.ts";

/** The `key` command. */
export const keyCommand = defineCommand({
  name: "key",
  summary: "change the key of an encrypted database",
  usage: ["rotate --db FILE --key-file OLD --new-key-file NEW [--sqlite-library FILE]"],
  about: [
    "The database is encrypted again: no agent may run on it and no application may have it open meanwhile. Keep the old\n" +
    "key for backups: they are not changed.",
  ],
  flags: {
    db: { type: "string", value: "FILE", summary: "the device's database", required: true },
    "new-key-file": { type: "string", value: "FILE", summary: "the new key", required: true },
    ...driverFlags,
  },
  operands: [1, 1],
  async run({ flags, operands, print }) {
    if (operands[0] !== "rotate") throw new UsageError(`key ${operands[0]}? rotate`);
    const chosen = await chosenDriver(flags);
    if (chosen.databaseKey === undefined) throw new UsageError("--key-file names the present key of the database");
    const key = await readKey("new-key-file", flags["new-key-file"]);
    readDevice(flags.db, () => undefined, ffiDriver(ffiOptionsOf(chosen)));
    using lease = takeLease(flags.db);
    try {
      rotateKey(flags.db, ffiOptionsOf(chosen), key);
    } catch (cause) {
      lease.left();
      if (faultOf(cause) !== "busy") throw cause;
      throw new CommandError(`${flags.db} is in use by an application: close it first`, { cause });
    }
    lease.ended();
    print(`${flags.db}: encrypted with the key in ${flags["new-key-file"]}`);
    return 0;
  },
});
