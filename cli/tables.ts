/**
 * Opens the tables in `--table` for a command: a wrong URL is wrong usage, and a missing folder of an embedded table is
 * created.
 *
 * @module
 */
import { dirname } from "node:path";
import { openTables as open } from "../cloud/open_tables.ts";
import type { Tables } from "../cloud/table/port.ts";
import type { Schema, SyncError } from "../schema.ts";
import { UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { makeStateFolder } from "./dev_state.ts";
import { fileExists } from "./device_file.ts";

/** Open tables; the caller closes them. */
export interface OpenTables extends Tables {
  close(): Promise<void>;
  /** Embedded: resolves when the file was deleted or replaced while it is served. */
  readonly lost?: Promise<SyncError>;
  /** DynamoDB: creates what is missing, returns what it did. */
  create?(): Promise<string[]>;
  /** DynamoDB: the differences from the schema. */
  check?(): Promise<string[]>;
}

/** Options of {@link openTables}. */
export interface OpenTablesOptions {
  readonly schema: Schema;
  /** Opens an embedded table beside the process that serves it, without its stream. */
  readonly shared?: boolean;
  /** An embedded table must exist: a mistyped path must not become an empty cloud. */
  readonly existing?: boolean;
}

/**
 * @throws {UsageError} for a URL that names no table; {CommandError} if an `existing` one is missing; SyncError if the
 * tables can't be opened
 */
export async function openTables(url: string, { schema, shared, existing }: OpenTablesOptions): Promise<OpenTables> {
  const path = /^embedded:(.+)$/.exec(url)?.[1];
  if (existing && path !== undefined && !fileExists(path)) throw new CommandError(`${path} does not exist`);
  if (path !== undefined && path !== ":memory:" && !shared) await makeStateFolder(dirname(path));
  try {
    return await open(url, { schema, shared, now: Date.now });
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new UsageError(`--table: ${error.message}`);
    throw error;
  }
}
