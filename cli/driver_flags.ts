/**
 * The SQLite with which a command opens a device's database: the runtime's own, or a library over FFI, with the key of
 * an encrypted file.
 *
 * @module
 */
import { type Driver, openDatabase } from "../agent/sqlite/driver.ts";
import { ffiDriver, type FfiOptions } from "../agent/sqlite/driver_ffi.ts";
import { type Flags, UsageError } from "./args.ts";
import { CommandError } from "./command.ts";

/** The flags of every command that opens a device's database. */
export const driverFlags = {
  driver: {
    type: "string",
    value: "NAME",
    summary: "the runtime's SQLite (default), or a library through FFI",
    choices: ["builtin", "ffi"],
  },
  "sqlite-library": { type: "string", value: "FILE", summary: "the library over FFI; default the system's SQLite" },
  "key-file": { type: "string", value: "FILE", summary: "the key of an encrypted database (SQLCipher); - is stdin" },
} as const satisfies Flags;

/** Values of {@link driverFlags}. */
export interface DriverFlags {
  readonly driver?: string;
  readonly "sqlite-library"?: string;
  readonly "key-file"?: string;
}

/** The flags in the form of `openAgent`'s options. */
export interface ChosenDriver {
  readonly driver: "builtin" | "ffi";
  readonly sqliteLibrary?: string;
  readonly databaseKey?: Uint8Array;
}

/**
 * A key is the file's content, without one trailing line end from an editor. @throws {CommandError} if it can't be
 * read, or is empty
 */
export async function readKey(flag: string, file: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = file === "-"
      ? new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer())
      : await Deno.readFile(file);
  } catch (cause) {
    throw new CommandError(`--${flag}: ${file} can't be read: ${(cause as Error).message}`, { cause });
  }
  const key = bytes.subarray(0, bytes.length - (bytes.at(-1) !== 0x0a ? 0 : bytes.at(-2) === 0x0d ? 2 : 1));
  if (key.length === 0) throw new CommandError(`--${flag}: ${file} is empty`);
  return key;
}

/** Reads the flags, and the key. @throws {UsageError}, {CommandError} */
export async function chosenDriver(flags: DriverFlags): Promise<ChosenDriver> {
  const library = flags["sqlite-library"], keyFile = flags["key-file"];
  if (flags.driver === "builtin" && (library !== undefined || keyFile !== undefined)) {
    throw new UsageError("--sqlite-library and --key-file go with --driver ffi");
  }
  const driver = flags.driver === "ffi" || library !== undefined || keyFile !== undefined ? "ffi" : "builtin";
  return {
    driver,
    ...(library === undefined ? {} : { sqliteLibrary: library }),
    ...(keyFile === undefined ? {} : { databaseKey: await readKey("key-file", keyFile) }),
  };
}

/** Options of the FFI driver. */
export function ffiOptionsOf({ sqliteLibrary, databaseKey }: ChosenDriver): FfiOptions {
  return { library: sqliteLibrary, key: databaseKey };
}

/** The driver that the flags name. @throws as {@link chosenDriver}; SyncError `driver` if the library can't be used */
export async function driverOf(flags: DriverFlags): Promise<Driver> {
  const chosen = await chosenDriver(flags);
  return chosen.driver === "ffi" ? ffiDriver(ffiOptionsOf(chosen)) : openDatabase;
}
