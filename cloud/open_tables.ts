/**
 * Opens the tables that a URL names: `embedded:PATH` or `dynamodb://TABLE[?region=…&endpoint=…]`. SQLite is loaded only
 * for the first (a handler may run without it), the AWS SDK only for the second.
 *
 * @module
 */
import { withoutSecrets } from "../protocol/log.ts";
import type { SyncError } from "../schema/errors.ts";
import type { Schema } from "../schema/model.ts";
import type { DynamoName } from "./console/lines.ts";
import { parseDynamoUrl } from "./dynamodb/url.ts";
import type { Synchronous } from "./embedded.ts";
import type { Tables } from "./table/port.ts";

/** Opened tables. The caller closes them. */
export interface OpenedTables extends Tables {
  /** Closes both. */
  close(): Promise<void>;
  /** For embedded tables: resolves when the file was deleted or replaced while it is served. */
  readonly lost?: Promise<SyncError>;
}

/** Options of {@link openTables}. */
export interface OpenTablesOptions {
  /** Which keys and indexes the items have. */
  readonly schema: Schema;
  /** The clock, ms since 1970. */
  readonly now: () => number;
  /** For embedded tables: `full` (default) survives a power cut, `normal` a crash. */
  readonly synchronous?: Synchronous;
  /** Opens embedded tables beside the process that serves them, without their stream. */
  readonly shared?: boolean;
}

/** What people are told of a table: its name, and where DynamoDB has it. */
export interface TablePlace {
  /** DynamoDB's name of it, or the name of its file. */
  readonly label: string;
  /** For the AWS CLI. */
  readonly dynamo?: DynamoName;
}

/** The place of a table that could be opened. Without credentials, wherever they stand. */
export function placeOf(url: string): TablePlace {
  const path = /^embedded:(.+)$/.exec(url)?.[1];
  if (path !== undefined) return { label: path.split(/[\\/]/).at(-1)! };
  const { table, region, endpoint } = parseDynamoUrl(url);
  return { label: table, dynamo: { table, region, endpoint: endpoint && withoutSecrets(endpoint) } };
}

/**
 * Opens the tables of a URL.
 *
 * @throws {TypeError} for a URL of another kind
 * @throws {RangeError} for a `dynamodb://` URL with something wrong in it
 * @throws {SyncError} if the tables can't be opened
 */
export async function openTables(url: string, options: OpenTablesOptions): Promise<OpenedTables> {
  const path = /^embedded:(.+)$/.exec(url)?.[1];
  if (path !== undefined) {
    const { openEmbedded } = await import("./embedded.ts");
    return openEmbedded(path, options);
  }
  if (!url.startsWith("dynamodb:")) {
    throw new TypeError(
      `a table is embedded:PATH or dynamodb://TABLE[?region=…&endpoint=…], not ${JSON.stringify(withoutSecrets(url))}`,
    );
  }
  const { openDynamo } = await import("./dynamodb/tables.ts");
  return await openDynamo(url, { schema: options.schema, now: options.now });
}
