/**
 * The `Table` port over one DynamoDB table. Each write is one conditional `PutItem` or `DeleteItem` that returns the
 * old or the current item, so that nothing is read before or after; if an item that was expected to be new already
 * exists, two. Reads are strongly consistent, except when a secondary index selects keys.
 *
 * A request without an answer is sent again, and may have succeeded the first time: a condition then fails on the
 * write's own result, which callers recognise by version (ingest) or tolerate (the channel log appends the entry once
 * more).
 *
 * @module
 */
import {
  BatchGetItemCommand,
  type BatchGetItemCommandOutput,
  ConditionalCheckFailedException,
  DeleteItemCommand,
  type DeleteItemCommandOutput,
  DescribeTableCommand,
  type DescribeTableCommandOutput,
  PutItemCommand,
  type PutItemCommandOutput,
  QueryCommand,
  type QueryCommandOutput,
  ScanCommand,
  type ScanCommandOutput,
  type TableDescription,
} from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import type { Key } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Item } from "../../schema/values.ts";
import { mapBounded } from "../sync/bounded.ts";
import { absent } from "../table/condition.ts";
import { ConditionTooLargeError } from "../table/condition_limit.ts";
import { findsNothing, itemBytesMax, itemSizeBytes, returnedBytes } from "../table/item_size.ts";
import type { ItemPage, Query, Table, Write, WriteOptions, WriteResult } from "../table/port.ts";
import { type AttributeValues, fromAttributeValues, toAttributeValues } from "./attribute_value.ts";
import type { Command, Connection, SendOptions } from "./client.ts";
import { compileCondition } from "./expression.ts";
import { faultOf, syncErrorOf } from "./faults.ts";
import { keyAttribute, keyOfItem, keyProblem, type TableShape, toKey } from "./keys.ts";
import { decodeToken, encodeToken, foreignToken } from "./page_token.ts";
import { sortCondition } from "./sort_condition.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { requestBackoff } from "./retry.ts";

/** DynamoDB: BatchGetItem takes 100 keys. */
const batchGetMax = 100;
/** How long the state of an index is cached: it may be recreated. */
const indexKnownMs = 60_000;
/** The code of a write that would start too late. */
const lateCode = "late";

/** `first` is sent for an item that is probably new, and `command` if it is not. */
type PreparedWrite =
  | { readonly result: WriteResult }
  | { readonly first?: Command; readonly command: Command };

/** The state of a secondary index. */
interface KnownIndex {
  readonly atMs: number;
  readonly projectsAll: boolean;
  readonly isWhole: boolean;
}

/** One DynamoDB table. Closing it does not close the connection, which it shares. */
export class DynamoTable implements Table {
  readonly #connection: Connection;
  readonly #shape: TableShape;
  readonly #indexes = new Map<string, KnownIndex>();
  readonly #onClose: () => void;
  #closed = false;

  constructor(connection: Connection, shape: TableShape, onClose: () => void = () => {}) {
    this.#connection = connection;
    this.#shape = shape;
    this.#onClose = onClose;
  }

  async get(keys: readonly Key[]): Promise<(Item | undefined)[]> {
    const found = new Map<string, Item>();
    const wanted = new Map<string, AttributeValues>();
    for (const key of keys) {
      // An impossible key would fail the whole batch, so it counts as absent. A duplicate key would fail it, too.
      if (keyProblem(this.#shape, key) === undefined) wanted.set(JSON.stringify(key), toKey(this.#shape, key));
    }
    const chunks = chunksOf([...wanted.values()], batchGetMax);
    await mapBounded(chunks, this.#connection.concurrency, async (chunk) => {
      for (const item of await this.#getChunk(chunk)) found.set(JSON.stringify(keyOfItem(this.#shape, item)), item);
    });
    return keys.map((key) => found.get(JSON.stringify(key)));
  }

  async write(
    writes: readonly Write[],
    { deadline, signal, returnedBytesMax = Infinity }: WriteOptions = {},
  ): Promise<WriteResult[]> {
    const tooLarge: number[] = [];
    const prepared = writes.map((write, at) => this.#prepare(write) ?? (tooLarge.push(at), undefined));
    if (tooLarge.length > 0) throw new ConditionTooLargeError(tooLarge);
    const { now } = this.#connection.policy;
    const options: SendOptions = {
      signal,
      beforeAttempt: () => {
        if (deadline !== undefined && now() > deadline) throw new SyncError(lateCode, "the write's deadline is over");
      },
    };
    let returned = 0;
    return await mapBounded(prepared, this.#connection.concurrency, async (write) => {
      const step = write!;
      if ("result" in step) return step.result;
      if (returned > returnedBytesMax) return { outcome: "throttled" };
      const first = step.first && await this.#writeOne(step.first, options);
      const result = first && first.outcome !== "refused" ? first : await this.#writeOne(step.command, options);
      if (returnedBytesMax < Infinity) returned += returnedBytes(result);
      return result;
    });
  }

  async query(query: Query): Promise<ItemPage> {
    const index = query.index === "primary"
      ? this.#shape.primary
      : this.#shape.indexes.find((one) => one.name === query.index);
    if (!index) throw new RangeError(`the table "${this.#shape.name}" has no index "${query.index}" in the schema`);
    const hash = keyAttribute(this.#shape, index.hash, query.hash);
    const sort = sortCondition(this.#shape, index, query);
    if (!hash || query.hash === "" || sort === "nothing" || findsNothing(query)) return { items: [] };
    const primary = query.index === "primary";
    // Before the listing: an index that is complete after it may not have been complete before.
    const areWhole = primary || await this.#holdsWholeItems(index.name);
    const output = await this.#page<QueryCommandOutput>(
      query.after,
      new QueryCommand({
        TableName: this.#shape.name,
        ...(primary ? { ConsistentRead: true } : { IndexName: index.name }),
        KeyConditionExpression: `#h=:h${sort === undefined ? "" : ` AND ${sort.expression}`}`,
        ExpressionAttributeNames: { "#h": index.hash, ...(sort === undefined ? {} : { "#s": index.sort! }) },
        ExpressionAttributeValues: { ":h": hash, ...sort?.values },
        ScanIndexForward: !query.reverse,
        Limit: pageLimit(query.limit),
        ...(query.after === undefined ? {} : { ExclusiveStartKey: decodeToken(query.after) }),
      }),
    );
    const listed = itemsOf(output, this.#shape.name).map(fromAttributeValues);
    const page = listed.filter((item) => sort?.excludes(item) !== true);
    const items = areWhole ? page : await this.#wholeItems(page);
    return { items, ...(output.LastEvaluatedKey ? { next: encodeToken(output.LastEvaluatedKey) } : {}) };
  }

  async scan({ limit, after }: { limit: number; after?: string }): Promise<ItemPage> {
    const output = await this.#page<ScanCommandOutput>(
      after,
      new ScanCommand({
        TableName: this.#shape.name,
        ConsistentRead: true,
        Limit: pageLimit(limit),
        ...(after === undefined ? {} : { ExclusiveStartKey: decodeToken(after) }),
      }),
    );
    return {
      items: itemsOf(output, this.#shape.name).map(fromAttributeValues),
      ...(output.LastEvaluatedKey ? { next: encodeToken(output.LastEvaluatedKey) } : {}),
    };
  }

  close(): Promise<void> {
    if (!this.#closed) this.#onClose();
    this.#closed = true;
    return Promise.resolve();
  }

  /** The command of a write, or its result if no request is needed; undefined if its condition is too large. */
  #prepare(write: Write): PreparedWrite | undefined {
    const { hash } = this.#shape.primary;
    const expression = write.condition && compileCondition(write.condition, hash);
    if (write.condition && !expression) return undefined;
    const common = {
      TableName: this.#shape.name,
      ReturnValues: "ALL_OLD" as const,
      ...(expression ? { ...expression, ReturnValuesOnConditionCheckFailure: "ALL_OLD" as const } : {}),
    };
    const key = write.op === "delete" ? write.key : keyOfItem(this.#shape, write.item);
    const problem = key === undefined ? "the item has no key" : keyProblem(this.#shape, key);
    if (problem !== undefined) return { result: { outcome: "invalid", message: problem } };
    if (write.op === "delete") {
      return { command: new DeleteItemCommand({ ...common, Key: toKey(this.#shape, write.key) }) };
    }
    // Counted here as well, so that an item of megabytes is refused without being sent.
    const bytes = itemSizeBytes(write.item);
    if (bytes > itemBytesMax) {
      return { result: { outcome: "too-large", message: `the item has ${bytes} bytes, more than ${itemBytesMax}` } };
    }
    try {
      const item = toAttributeValues(write.item);
      const first = write.isNew && new PutItemCommand({
        TableName: this.#shape.name,
        Item: item,
        ...compileCondition(absent, hash),
      });
      return { command: new PutItemCommand({ ...common, Item: item }), ...(first ? { first } : {}) };
    } catch (cause) {
      if (cause instanceof RangeError) return { result: { outcome: "invalid", message: cause.message } };
      throw cause;
    }
  }

  async #writeOne(command: Command, options: SendOptions): Promise<WriteResult> {
    try {
      const { Attributes: old } = await this.#connection.send<PutItemCommandOutput | DeleteItemCommandOutput>(
        command,
        options,
      );
      return { outcome: "written", old: old && fromAttributeValues(old) };
    } catch (error) {
      return this.#failedWrite(error, options.signal);
    }
  }

  #failedWrite(error: unknown, signal: AbortSignal | undefined): WriteResult {
    if (error instanceof ConditionalCheckFailedException) {
      return { outcome: "refused", current: error.Item && fromAttributeValues(error.Item) };
    }
    if (error instanceof SyncError && error.code === lateCode) return { outcome: "late" };
    if (signal?.aborted) throw error;
    const message = (error as Error)?.message ?? "";
    const name = (error as Error)?.name;
    switch (faultOf(error)) {
      case "throttled":
      case "transient":
        return { outcome: "throttled" };
      case "invalid":
        return /size has exceeded/i.test(message) ? { outcome: "too-large", message } : { outcome: "invalid", message };
      default:
        // 10 GB of items under one hash value in a table with a local index: refused until others are removed.
        if (name === "ItemCollectionSizeLimitExceededException") return { outcome: "too-large", message };
        throw syncErrorOf(error, `writing to the table "${this.#shape.name}"`);
    }
  }

  /** At most 100 distinct keys. DynamoDB answers at most 16 MB; the rest, and throttled keys, stay unprocessed. */
  async #getChunk(keys: readonly AttributeValues[]): Promise<Item[]> {
    const { name } = this.#shape;
    const { now, random, sleep, retryForMs } = this.#connection.policy;
    const items: Item[] = [];
    const end = now() + retryForMs;
    let left: readonly AttributeValues[] = keys;
    for (let fruitless = 0; left.length > 0;) {
      const output = await this.#send<BatchGetItemCommandOutput>(
        "reading items",
        new BatchGetItemCommand({ RequestItems: { [name]: { Keys: [...left], ConsistentRead: true } } }),
      );
      // Without any part that names keys, it is not an answer, and proves no absence.
      if (!output.Responses && !output.UnprocessedKeys?.[name]) throw unfinished(name);
      const found = output.Responses?.[name] ?? [];
      for (const item of found) items.push(fromAttributeValues(item));
      left = output.UnprocessedKeys?.[name]?.Keys ?? [];
      if (left.length === 0) break;
      // If something came, the limit was the 16 MB; if nothing came, it was throttled.
      if (found.length > 0) fruitless = 0;
      else {
        const waitMs = backoffMs(++fruitless, random, requestBackoff);
        if (now() + waitMs > end) {
          throw new SyncError("throttled", `reading items of the table "${name}": DynamoDB is throttling`, {
            retryable: true,
          });
        }
        await sleep(waitMs);
      }
    }
    return items;
  }

  /** Replaces an index's copies by the items, from strong reads; items that are gone since drop out. */
  async #wholeItems(page: readonly Item[]): Promise<Item[]> {
    const keys = page.map((item) => keyOfItem(this.#shape, item)).filter((key) => key !== undefined);
    return (await this.get(keys)).filter((item) => item !== undefined);
  }

  /**
   * Whether an index projects all attributes. An index that is not active, or still being filled, is incomplete, and is
   * not used. Checked once a minute.
   *
   * @throws SyncError `unavailable`, retryable
   */
  async #holdsWholeItems(name: string): Promise<boolean> {
    const known = this.#indexes.get(name), sinceMs = this.#connection.policy.now() - indexKnownMs;
    const index = known && known.atMs > sinceMs ? known : await this.#lookAt(name);
    if (index.isWhole) return index.projectsAll;
    throw new SyncError("unavailable", `the index "${name}" of the table "${this.#shape.name}" is not ready`, {
      retryable: true,
      hint: "it is being created or filled: see `cloud table check`",
    });
  }

  /** How many items there are, as DynamoDB counted them within the last six hours. */
  async size(): Promise<number> {
    return (await this.#describe())?.ItemCount ?? 0;
  }

  async #describe(): Promise<TableDescription | undefined> {
    const command = new DescribeTableCommand({ TableName: this.#shape.name });
    return (await this.#send<DescribeTableCommandOutput>("describing the table", command)).Table;
  }

  async #lookAt(name: string): Promise<KnownIndex> {
    const table = await this.#describe();
    const global = table?.GlobalSecondaryIndexes?.find((one) => one.IndexName === name);
    const found = global ?? table?.LocalSecondaryIndexes?.find((one) => one.IndexName === name);
    const index: KnownIndex = {
      atMs: this.#connection.policy.now(),
      projectsAll: found?.Projection?.ProjectionType === "ALL",
      // A local index has no state of its own: it came with the table.
      isWhole: found !== undefined && (global?.IndexStatus ?? "ACTIVE") === "ACTIVE" && global?.Backfilling !== true,
    };
    // An incomplete index is checked each time.
    if (index.isWhole) this.#indexes.set(name, index);
    return index;
  }

  /** Asks for a page. With a token, a request that DynamoDB calls invalid has a foreign token. */
  async #page<Output>(after: string | undefined, command: Command): Promise<Output> {
    try {
      return await this.#connection.send<Output>(command);
    } catch (error) {
      if (after !== undefined && faultOf(error) === "invalid") throw foreignToken(error);
      throw syncErrorOf(error, `listing items of the table "${this.#shape.name}"`);
    }
  }

  async #send<Output>(doing: string, command: Command): Promise<Output> {
    try {
      return await this.#connection.send<Output>(command);
    } catch (error) {
      throw syncErrorOf(error, `${doing} of the table "${this.#shape.name}"`);
    }
  }
}

/** The items of a listing's answer: an answer without the list is not an answer, and not the end of the listing. */
function itemsOf({ Items: items }: { readonly Items?: AttributeValues[] }, table: string): AttributeValues[] {
  if (!items) throw unfinished(table);
  return items;
}

function unfinished(table: string): SyncError {
  return new SyncError("unavailable", `the table "${table}" gave an answer that is not valid`, { retryable: true });
}

function chunksOf<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));
}

function pageLimit(limit: number): number {
  if (!Number.isInteger(limit) || limit < 1) throw new RangeError(`a page's limit is a positive integer, not ${limit}`);
  return limit;
}
