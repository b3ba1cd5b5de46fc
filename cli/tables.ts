/**
 * The tables that `--table` names, opened for a command: a wrong URL is wrong usage, and the folder of an embedded table is
 * made if it is missing.
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

/** Open tables; closing them is the caller's. */
export interface OpenTables extends Tables {
  close(): Promise<void>;
  /** Embedded: resolves when the file was deleted or replaced while it is served. */
  readonly lost?: Promise<SyncError>;
  /** DynamoDB: makes what is missing, says what it did. */
  create?(): Promise<string[]>;
  /** DynamoDB: what differs from what the schema wants. */
  check?(): Promise<string[]>;
}

/** Options of {@link openTables}. */
export interface OpenTablesOptions {
  readonly schema: Schema;
  /** Opens an embedded table beside the process that serves it, without its stream. */
  readonly shared?: boolean;
  /** An embedded table must be there: a mistyped path must not become an empty cloud. */
  readonly existing?: boolean;
}

/**
 * @throws {UsageError} for a URL that names no table; {CommandError} for an `existing` one that is not there; SyncError where
 *   the tables can't be opened
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
