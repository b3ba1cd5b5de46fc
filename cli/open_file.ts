/**
 * Opens a device's database for commands that work with its items, with the identity and the schema stored in it.
 *
 * @module
 */
import { presentSchema } from "../agent/migration/transition.ts";
import type { Database, Driver } from "../agent/sqlite/driver.ts";
import type { Identity, Schema } from "../schema/model.ts";
import { CommandError } from "./command.ts";
import { readDevice } from "./device_file.ts";

/** A device's database, open for writing beside its agent. */
export interface OpenFile {
  readonly db: Database;
  readonly identity: Identity;
  /** The schema that is stored in it; undefined: one that this version can't compile. */
  readonly schema: Schema | undefined;
}

/** Opens it; the caller closes it. @throws {CommandError} as {@link readDevice} */
export function openFile(path: string, driver: Driver): OpenFile {
  const identity = readDevice(path, (db) => {
    const row = db.prepare("SELECT device, account FROM _status").get()!;
    return { deviceId: String(row.device), accountId: String(row.account) };
  }, driver);
  const db = driver(path);
  try {
    return { db, schema: presentSchema(db), identity };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The file with its schema. @throws {CommandError} if this version can't compile that */
export function withSchema(file: OpenFile): OpenFile & { readonly schema: Schema } {
  const { schema } = file;
  if (schema) return { ...file, schema };
  throw new CommandError(
    "the schema that is stored in the file can't be compiled by this version of Twintable: start its agent with a schema first",
  );
}
