/**
 * An SQLite library of this machine, loaded over FFI: only the functions of its C interface that the driver uses.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";

const symbols = {
  sqlite3_libversion_number: { parameters: [], result: "i32" },
  sqlite3_open_v2: { parameters: ["buffer", "buffer", "i32", "pointer"], result: "i32" },
  sqlite3_close_v2: { parameters: ["pointer"], result: "i32" },
  sqlite3_errmsg: { parameters: ["pointer"], result: "pointer" },
  sqlite3_extended_errcode: { parameters: ["pointer"], result: "i32" },
  sqlite3_errstr: { parameters: ["i32"], result: "pointer" },
  sqlite3_get_autocommit: { parameters: ["pointer"], result: "i32" },
  sqlite3_changes: { parameters: ["pointer"], result: "i32" },
  sqlite3_exec: { parameters: ["pointer", "buffer", "pointer", "pointer", "pointer"], result: "i32" },
  sqlite3_prepare_v2: { parameters: ["pointer", "buffer", "i32", "buffer", "pointer"], result: "i32" },
  sqlite3_finalize: { parameters: ["pointer"], result: "i32" },
  sqlite3_step: { parameters: ["pointer"], result: "i32" },
  sqlite3_reset: { parameters: ["pointer"], result: "i32" },
  sqlite3_clear_bindings: { parameters: ["pointer"], result: "i32" },
  sqlite3_bind_parameter_count: { parameters: ["pointer"], result: "i32" },
  sqlite3_bind_null: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_bind_int64: { parameters: ["pointer", "i32", "i64"], result: "i32" },
  sqlite3_bind_double: { parameters: ["pointer", "i32", "f64"], result: "i32" },
  sqlite3_bind_text: { parameters: ["pointer", "i32", "buffer", "i32", "pointer"], result: "i32" },
  sqlite3_bind_blob: { parameters: ["pointer", "i32", "buffer", "i32", "pointer"], result: "i32" },
  sqlite3_column_count: { parameters: ["pointer"], result: "i32" },
  sqlite3_column_name: { parameters: ["pointer", "i32"], result: "pointer" },
  sqlite3_column_type: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_column_int64: { parameters: ["pointer", "i32"], result: "i64" },
  sqlite3_column_double: { parameters: ["pointer", "i32"], result: "f64" },
  sqlite3_column_text: { parameters: ["pointer", "i32"], result: "pointer" },
  sqlite3_column_blob: { parameters: ["pointer", "i32"], result: "pointer" },
  sqlite3_column_bytes: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_backup_init: { parameters: ["pointer", "buffer", "pointer", "buffer"], result: "pointer" },
  sqlite3_backup_step: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_backup_finish: { parameters: ["pointer"], result: "i32" },
  // SQLCipher's: https://www.zetetic.net/sqlcipher/sqlcipher-api/
  sqlite3_key: { parameters: ["pointer", "buffer", "i32"], result: "i32", optional: true },
  sqlite3_rekey: { parameters: ["pointer", "buffer", "i32"], result: "i32", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** The library's functions. */
export type SqliteSymbols = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** The oldest SQLite that a device's database supports: its DDL uses nothing newer (STRICT tables, `->>`). */
const versionMin = 3_038_000;

/** The names under which the system's loader finds SQLite. */
const systemLibraries: readonly string[] = globalThis.Deno?.build.os === "darwin"
  ? ["libsqlite3.dylib"]
  : ["libsqlite3.so.0", "libsqlite3.so"];

const loaded = new Map<string, SqliteSymbols>();

function versionText(version: number): string {
  return `${Math.floor(version / 1_000_000)}.${Math.floor(version / 1000) % 1000}.${version % 1000}`;
}

function fault(message: string, hint: string, cause?: unknown): SyncError {
  return new SyncError("driver", message, { cause, hint });
}

function open(path: string): SqliteSymbols {
  try {
    return Deno.dlopen(path, symbols).symbols;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) {
      throw fault(
        `the SQLite library ${path} may not be loaded: this program has no permission for native code`,
        "a binary is made with it by deno task compile:ffi; from source it is --allow-ffi",
        cause,
      );
    }
    const { message } = cause as Error;
    const isOther = /sqlite3_\w+/.test(message);
    throw fault(
      `the SQLite library ${path} can't be ${isOther ? "used" : "loaded"}: ${message}`,
      isOther ? "it is not SQLite, or one that lacks this function" : "install it, or name one that is there",
      cause,
    );
  }
}

/**
 * Loads a library.
 *
 * @param path default: the system's
 * @throws SyncError `driver` with the reason why it can't be used
 */
export function loadLibrary(path?: string): SqliteSymbols {
  if (!globalThis.Deno?.dlopen) {
    throw fault("the driver ffi needs Deno", "leave it out: the runtime has SQLite built in");
  }
  const known = loaded.get(path ?? "");
  if (known) return known;
  let library: SqliteSymbols | undefined, first: unknown;
  for (const name of path === undefined ? systemLibraries : [path]) {
    try {
      library = open(name);
      break;
    } catch (error) {
      first ??= error;
    }
  }
  if (!library) throw first;
  const version = library.sqlite3_libversion_number();
  if (version < versionMin) {
    throw fault(
      `the SQLite library ${path ?? "of the system"} is ${versionText(version)}: ${
        versionText(versionMin)
      } or later is needed`,
      "Debian's SQLCipher, for one, is too old: build a newer one",
    );
  }
  loaded.set(path ?? "", library);
  return library;
}
