/**
 * The SQLite libraries that the FFI driver is tried with: the system's, and SQLCipher's where `TWINTABLE_SQLCIPHER` names it.
 *
 * @module
 */
import { loadLibrary } from "../../agent/sqlite/ffi_library.ts";
import { noted } from "./tools.ts";

function missingSystem(): string | undefined {
  try {
    loadLibrary();
    return undefined;
  } catch (error) {
    return `no SQLite library for the FFI driver: ${(error as Error).message}`;
  }
}

/** Whether the system has a library. Else why not is told. */
export const systemSqlite: boolean = !noted(missingSystem());

/** SQLCipher's file; undefined: none is named, which is told. */
export const sqlcipher: string | undefined = Deno.env.get("TWINTABLE_SQLCIPHER") || undefined;

noted(sqlcipher ? undefined : "TWINTABLE_SQLCIPHER names no library; .ci/run builds one");
