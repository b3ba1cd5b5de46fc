/**
 * The entry point of the DynamoDB adapter: both tables of a cloud at one `dynamodb://` URL. Loading this module loads
 * the AWS SDK; the command line imports it only for such a URL.
 *
 * What a worker must be allowed in IAM: on both tables BatchGetItem, PutItem, DeleteItem, Query, Scan, DescribeTable;
 * on the data table's indexes Query; on its stream DescribeStream, GetShardIterator, GetRecords. `create` and `check`
 * also need DescribeTimeToLive, and `create` CreateTable, UpdateTable, UpdateTimeToLive.
 *
 * @module
 */
import type { Schema } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type {
  ChangeStream,
  DataTable,
  StreamOptions,
  Tables,
  Write,
  WriteOptions,
  WriteResult,
} from "../table/port.ts";
import { checkTables, createTables } from "./admin.ts";
import { connectDynamo, type Connection, type ConnectOptions } from "./client.ts";
import { DynamoTable } from "./dynamo_table.ts";
import { dataShape, logShape, type TableShape } from "./keys.ts";
import { wantedImages } from "./records.ts";
import { StreamTailer, type TailerOptions } from "./stream.ts";
import { AwsStreamSource } from "./stream_source.ts";

/** Options of {@link openDynamo}. */
export interface DynamoOptions extends ConnectOptions {
  readonly schema: Schema;
  /** Options of the stream's reader. */
  readonly tailer?: Partial<Pick<TailerOptions, "leaseMs" | "pollMs" | "idlePollMs" | "idleAfterMs" | "readersMax">>;
}

/** A cloud's tables in DynamoDB, with their administration. */
export interface DynamoTables extends Tables {
  /** Creates and completes both tables; see `createTables` in `admin.ts`. Returns what it did, a sentence each. */
  create(): Promise<string[]>;
  /** The differences from the schema, a sentence each; empty: none. */
  check(): Promise<string[]>;
  /** Closes both tables and the connections. Idempotent. */
  close(): Promise<void>;
}

/**
 * Opens the tables of a `dynamodb://` URL. Nothing is sent yet: a missing table is noticed at its first use (SyncError
 * `no-table`). The connections end when both tables are closed.
 *
 * @throws RangeError for a bad URL; SyncError `no-region`, `denied` if the AWS configuration lacks something.
 */
export async function openDynamo(url: string, options: DynamoOptions): Promise<DynamoTables> {
  const connection = await connectDynamo(url, options);
  const shape = dataShape(options.schema, connection.url.table);
  let open = 2;
  const closed = () => {
    if (--open === 0) connection.close();
  };
  const log = new DynamoTable(connection, logShape(connection.url.log), closed);
  const data = new DynamoDataTable(connection, shape, log, options, closed);
  return {
    data,
    log,
    units: () => connection.units(),
    create: () => createTables(connection, options.schema),
    check: () => checkTables(connection, options.schema),
    async close() {
      await data.close();
      await log.close();
    },
  };
}

/**
 * The data table: wakes the stream's reader at each write, so that changes made here are fanned out without a polling
 * delay.
 */
class DynamoDataTable extends DynamoTable implements DataTable {
  readonly #tailerOf: (options: StreamOptions) => StreamTailer;
  readonly #typeOf: (item: Item) => unknown;
  /** The stream that was last requested, and what it leaves out. */
  #tailer: StreamTailer | undefined;
  #unwanted: ReadonlySet<unknown> = new Set();

  constructor(
    connection: Connection,
    shape: TableShape,
    log: DynamoTable,
    options: DynamoOptions,
    closed: () => void,
  ) {
    super(connection, shape, closed);
    const { now, random, sleep } = connection.policy;
    const { typeField } = options.schema;
    this.#typeOf = (item) => item[typeField];
    this.#tailerOf = ({ unwanted = [] }) =>
      new StreamTailer({
        source: new AwsStreamSource(connection, shape, wantedImages(typeField, unwanted)),
        log,
        table: shape.name,
        now,
        random,
        sleep,
        ...options.tailer,
      });
  }

  override async write(
    writes: readonly Write[],
    options?: WriteOptions,
  ): Promise<WriteResult[]> {
    const results = await super.write(writes, options);
    const isWanted = (write: Write) => write.op === "delete" || !this.#unwanted.has(this.#typeOf(write.item));
    if (results.some(({ outcome }, i) => outcome === "written" && isWanted(writes[i]!))) this.#tailer?.wake();
    return results;
  }

  stream(options: StreamOptions = {}): ChangeStream {
    this.#unwanted = new Set(options.unwanted);
    return this.#tailer = this.#tailerOf(options);
  }
}
