/**
 * The part of DynamoDB Streams that the reader needs, as a port, and the port over the AWS SDK. Tests drive the reader
 * with a source that splits, expires and trims at will.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { buffer } from "node:stream/consumers";
import { DescribeTableCommand, type DescribeTableCommandOutput } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import {
  DescribeStreamCommand,
  type DescribeStreamCommandOutput,
  GetRecordsCommand,
  type GetRecordsCommandOutput,
  GetShardIteratorCommand,
  type GetShardIteratorCommandOutput,
} from "npm:@aws-sdk/client-dynamodb-streams@^3.1000.0";
import { SyncError } from "../../schema/errors.ts";
import type { StreamRecord } from "../table/port.ts";
import type { Command, Connection } from "./client.ts";
import { syncErrorOf } from "./faults.ts";
import type { TableShape } from "./keys.ts";
import { type StreamImages, toStreamRecord } from "./records.ts";

/** A shard, and its parent, which may already be trimmed. */
export interface Shard {
  readonly id: string;
  readonly parent?: string;
}

/** The result of one read of a shard. */
export interface ShardPage {
  readonly records: readonly StreamRecord[];
  /** Why others could not be read. */
  readonly unreadable?: readonly string[];
  /** How many records there were, including unwanted ones that were left out; absent: none were left out. */
  readonly count?: number;
  /** Their size, by the stream's own reckoning; absent if it says nothing. */
  readonly bytes?: number;
  /** The sequence number of the last record; absent if there is none. */
  readonly last?: string;
  /** When the last record was written, ms since 1970, rounded down by up to a minute. */
  readonly lastAt?: number;
  /** Where to continue; absent at the end of a closed shard. */
  readonly next?: string;
}

/**
 * A table's stream. Faults are SyncErrors; in addition to the common ones: `trimmed` (the position is older than what
 * the stream retains) and `iterator-expired` (iterators live 15 minutes).
 */
export interface StreamSource {
  /** The name of the table's current stream. @throws SyncError `no-stream` if it has none with both images. */
  stream(signal: AbortSignal): Promise<string>;
  /** All shards of a stream that are still retained, open and closed. */
  shards(stream: string, signal: AbortSignal): Promise<Shard[]>;
  /** An iterator after a sequence number, or at the oldest retained record. */
  iterator(stream: string, shard: string, after: string | undefined, signal: AbortSignal): Promise<string>;
  /** At most `limit` records, 1–1000. */
  read(iterator: string, limit: number, signal: AbortSignal): Promise<ShardPage>;
}

/**
 * The stream of a table over the AWS SDK. Records that `isWanted` refuses are left out before the SDK converts them,
 * which is the most expensive step.
 */
export class AwsStreamSource implements StreamSource {
  constructor(
    private readonly connection: Connection,
    private readonly shape: TableShape,
    private readonly isWanted: (images: StreamImages) => boolean = () => true,
  ) {}

  async stream(signal: AbortSignal): Promise<string> {
    const { name } = this.shape;
    const { Table: table } = await this.connection.send<DescribeTableCommandOutput>(
      new DescribeTableCommand({ TableName: name }),
      { signal },
    ).catch((error) => {
      throw signal.aborted ? error : syncErrorOf(error, `describing the table "${name}"`);
    });
    const specification = table?.StreamSpecification;
    if (!table?.LatestStreamArn || !specification?.StreamEnabled) throw noStream(name, "has no stream");
    if (specification.StreamViewType !== "NEW_AND_OLD_IMAGES") {
      throw noStream(name, `has a stream of ${specification.StreamViewType}, not of NEW_AND_OLD_IMAGES`);
    }
    return table.LatestStreamArn;
  }

  async shards(stream: string, signal: AbortSignal): Promise<Shard[]> {
    const shards: Shard[] = [];
    let start: string | undefined;
    do {
      const { StreamDescription: page } = await this.#send<DescribeStreamCommandOutput>(
        new DescribeStreamCommand({
          StreamArn: stream,
          ...(start === undefined ? {} : { ExclusiveStartShardId: start }),
        }),
        signal,
      );
      for (const { ShardId: id, ParentShardId: parent } of page?.Shards ?? []) {
        if (id) shards.push({ id, ...(parent ? { parent } : {}) });
      }
      start = page?.LastEvaluatedShardId;
    } while (start !== undefined);
    return shards;
  }

  async iterator(stream: string, shard: string, after: string | undefined, signal: AbortSignal): Promise<string> {
    const { ShardIterator: iterator } = await this.#send<GetShardIteratorCommandOutput>(
      new GetShardIteratorCommand({
        StreamArn: stream,
        ShardId: shard,
        ...(after === undefined
          ? { ShardIteratorType: "TRIM_HORIZON" }
          : { ShardIteratorType: "AFTER_SEQUENCE_NUMBER", SequenceNumber: after }),
      }),
      signal,
    );
    if (!iterator) throw new SyncError("unavailable", `no iterator for the shard "${shard}"`, { retryable: true });
    return iterator;
  }

  async read(iterator: string, limit: number, signal: AbortSignal): Promise<ShardPage> {
    const command = new GetRecordsCommand({ ShardIterator: iterator, Limit: limit });
    const unwanted = emptyUnwanted(command, this.isWanted);
    const output = await this.#send<GetRecordsCommandOutput>(command, signal);
    const records = output.Records ?? [];
    const { SequenceNumber: last, ApproximateCreationDateTime: lastAt } = records.at(-1)?.dynamodb ?? {};
    const { wanted, unreadable } = this.#convert(records, unwanted);
    return {
      records: wanted,
      ...(unreadable.length > 0 ? { unreadable } : {}),
      count: records.length,
      bytes: records.reduce((sum, { dynamodb }) => sum + (dynamodb?.SizeBytes ?? 0), 0),
      ...(last ? { last } : {}),
      ...(lastAt ? { lastAt: lastAt.getTime() } : {}),
      ...(output.NextShardIterator ? { next: output.NextShardIterator } : {}),
    };
  }

  #convert(
    records: NonNullable<GetRecordsCommandOutput["Records"]>,
    unwanted: ReadonlySet<number>,
  ): { wanted: StreamRecord[]; unreadable: string[] } {
    const wanted: StreamRecord[] = [], unreadable: string[] = [];
    records.forEach(({ dynamodb, userIdentity }, i) => {
      if (unwanted.has(i)) return;
      try {
        wanted.push(toStreamRecord(this.shape, (dynamodb ?? {}) as StreamImages, userIdentity));
      } catch (error) {
        // Each by itself: otherwise one bad record would prevent all of this shard's records from being passed on.
        if (!(error instanceof SyncError) && !(error instanceof RangeError)) throw error;
        unreadable.push(error.message);
      }
    });
    return { wanted, unreadable };
  }

  #send<Output>(command: Command, signal: AbortSignal): Promise<Output> {
    return this.connection.sendToStream<Output>(command, { signal }).catch((error) => {
      throw signal.aborted ? error : streamErrorOf(error, this.shape.name);
    });
  }
}

/**
 * Has the images of unwanted records taken out of the command's answer, as it comes over the wire. Returns the set that
 * will hold the places of such records.
 */
function emptyUnwanted(command: GetRecordsCommand, isWanted: (images: StreamImages) => boolean): ReadonlySet<number> {
  const unwanted = new Set<number>();
  command.middlewareStack.add((next) => async (args) => {
    const result = await next(args);
    const response = result.response as { statusCode: number; body: unknown };
    if (response.statusCode !== 200) return result;
    const bytes = await buffer(response.body as AsyncIterable<Uint8Array>);
    response.body = bytes;
    const answer: { Records?: { dynamodb?: StreamImages }[] } = JSON.parse(bytes.toString());
    // An attempt may follow one whose answer was lost.
    unwanted.clear();
    answer.Records?.forEach((record, i) => {
      if (!record.dynamodb || isWanted(record.dynamodb)) return;
      unwanted.add(i);
      record.dynamodb = { ...record.dynamodb, Keys: undefined, OldImage: undefined, NewImage: undefined };
    });
    if (unwanted.size > 0) response.body = Buffer.from(JSON.stringify(answer));
    return result;
  }, { step: "deserialize", priority: "low", name: "emptyUnwanted" });
  return unwanted;
}

function noStream(table: string, what: string): SyncError {
  return new SyncError("no-stream", `the table "${table}" ${what}`, {
    hint: "`cloud table create` enables it; `cloud table check` says what differs",
  });
}

function streamErrorOf(error: unknown, table: string): SyncError {
  const doing = `reading the stream of the table "${table}"`;
  switch ((error as Error)?.name) {
    case "TrimmedDataAccessException":
      return new SyncError("trimmed", `${doing}: its records are no longer kept`, { retryable: true, cause: error });
    case "ExpiredIteratorException":
      return new SyncError("iterator-expired", `${doing}: the iterator has expired`, { retryable: true, cause: error });
    case "ResourceNotFoundException":
      // Of the shard (trimmed away since it was listed) or of the whole stream (disabled and gone): both are history lost.
      return new SyncError("trimmed", `${doing}: it is gone`, { retryable: true, cause: error });
    default:
      return syncErrorOf(error, doing);
  }
}
