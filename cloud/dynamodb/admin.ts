/**
 * Creates, completes and checks the tables: keys and indexes from the schema, on-demand billing, a stream with both
 * images, expiry of items. It completes existing tables and never destroys anything. Some differences that cannot be
 * altered without harm are tolerable (another expiry, an index's projection): it reports them and leaves them. For the
 * others (keys, local indexes, another kind of stream), it reports them and does nothing.
 *
 * @module
 */
import {
  type AttributeDefinition,
  CreateTableCommand,
  DescribeTableCommand,
  type DescribeTableCommandOutput,
  DescribeTimeToLiveCommand,
  type DescribeTimeToLiveCommandOutput,
  type KeySchemaElement,
  type Projection,
  type TableDescription,
  UpdateTableCommand,
  UpdateTimeToLiveCommand,
} from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { SyncError } from "../../schema/errors.ts";
import type { Index, Schema } from "../../schema/model.ts";
import type { Command, Connection } from "./client.ts";
import { faultOf, syncErrorOf } from "./faults.ts";
import { dataShape, logShape, logTtlAttribute, type TableShape } from "./keys.ts";

/** A table as it should be. */
interface Wanted {
  readonly shape: TableShape;
  readonly indexes: readonly WantedIndex[];
  readonly stream: boolean;
  readonly ttlAttribute?: string;
}

interface WantedIndex extends Index {
  readonly local: boolean;
  readonly projection: Projection;
}

/** A difference, and the request that corrects it, if that is possible without harm. */
interface Difference {
  readonly text: string;
  readonly repair?: { readonly done: string; run(): Promise<void> };
  /** Everything works in spite of it, if less well. */
  readonly tolerable?: boolean;
}

/** An index over a large table takes hours to fill; the command waits no longer than this. */
const activeWithinMs = 10 * 60_000;
const askEveryMs = 500;

/**
 * Creates the data table and the log table, or completes existing ones. Idempotent. @returns a sentence for each thing
 * that it did, and for each difference that it left; empty: everything was right. @throws SyncError `table-mismatch`,
 * before it alters anything, if an existing table has a difference that cannot be changed.
 */
export async function createTables(connection: Connection, schema: Schema): Promise<string[]> {
  const admin = new Admin(connection);
  const wanted = wantedTables(connection, schema);
  const found: { want: Wanted; table: TableDescription | undefined }[] = [];
  for (const want of wanted) found.push({ want, table: await admin.describe(want.shape.name) });
  const before = found.flatMap(({ want, table }) => table ? admin.compare(want, table) : []);
  const blocked = before.filter(({ repair, tolerable }) => !repair && !tolerable).map(({ text }) => text);
  if (blocked.length > 0) {
    throw new SyncError("table-mismatch", blocked.join("; "), {
      hint: "use another table, or change this one by hand; nothing was altered",
    });
  }
  const done: string[] = [];
  for (const { want, table } of found) {
    if (!table) done.push(await admin.create(want));
    const now = await admin.whenActive(want.shape.name);
    // Index by index: DynamoDB makes one at a time.
    for (const { text, repair } of [...admin.compare(want, now), ...await admin.compareTtl(want)]) {
      await repair?.run();
      done.push(repair?.done ?? `${text}: left as it is`);
    }
  }
  return done;
}

/** The differences from the schema, a sentence each; empty: none. Alters nothing. */
export async function checkTables(connection: Connection, schema: Schema): Promise<string[]> {
  const admin = new Admin(connection);
  const texts: string[] = [];
  for (const want of wantedTables(connection, schema)) {
    const table = await admin.describe(want.shape.name);
    if (!table) texts.push(`the table "${want.shape.name}" does not exist`);
    else texts.push(...[...admin.compare(want, table), ...await admin.compareTtl(want)].map(({ text }) => text));
  }
  return texts;
}

function wantedTables(connection: Connection, schema: Schema): Wanted[] {
  const { table, log } = connection.url;
  const shape = dataShape(schema, table);
  const ttlAttribute = ttlAttributeOf(schema);
  return [
    {
      shape,
      indexes: shape.indexes.map((index) => wantedIndex(schema, index)),
      stream: true,
      ...(ttlAttribute === undefined ? {} : { ttlAttribute }),
    },
    // The log table is never streamed: a fan-out of the fan-out's own entries would not end.
    { shape: logShape(log), indexes: [], stream: false, ttlAttribute: logTtlAttribute },
  ];
}

/** A table expires by one attribute: if models name several, none is chosen, and they are still synced as data. */
function ttlAttributeOf(schema: Schema): string | undefined {
  const names = new Set<string>();
  for (const { fields } of schema.models.values()) {
    for (const field of fields) if (field.ttl) names.add(field.attribute);
  }
  return names.size === 1 ? [...names][0] : undefined;
}

/** Kind and projection of an index as OneTable's `createTable` makes them (`type: 'local'`, `project`). */
function wantedIndex(schema: Schema, index: Index): WantedIndex {
  const source = (schema.source.indexes as Readonly<Record<string, unknown>> | undefined)?.[index.name];
  const { type, hash, project } = (source ?? {}) as { readonly type?: unknown; hash?: unknown; project?: unknown };
  const { primary } = schema;
  let projection: Projection = { ProjectionType: "ALL" };
  if (project === "keys") projection = { ProjectionType: "KEYS_ONLY" };
  if (Array.isArray(project)) {
    const attributes = project.map(String).filter((name) => name !== primary.hash && name !== primary.sort);
    projection = { ProjectionType: "INCLUDE", NonKeyAttributes: attributes };
  }
  return { ...index, local: type === "local" || hash === undefined, projection };
}

class Admin {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The table's description; undefined if there is none. */
  async describe(name: string): Promise<TableDescription | undefined> {
    try {
      const command = new DescribeTableCommand({ TableName: name });
      return (await this.#connection.send<DescribeTableCommandOutput>(command)).Table;
    } catch (error) {
      if (faultOf(error) === "missing") return undefined;
      throw syncErrorOf(error, `describing the table "${name}"`);
    }
  }

  /** Waits until the table and all its indexes are active. */
  async whenActive(name: string): Promise<TableDescription> {
    const { now, sleep } = this.#connection.policy;
    const end = now() + activeWithinMs;
    for (;;) {
      const table = await this.describe(name).catch((error) => {
        // The loop asks again anyway, so it also outlasts a transient fault.
        if (error instanceof SyncError && error.retryable && now() <= end) return undefined;
        throw error;
      });
      const states = [table?.TableStatus, ...(table?.GlobalSecondaryIndexes ?? []).map((index) => index.IndexStatus)];
      if (table && states.every((state) => state === undefined || state === "ACTIVE")) return table;
      if (now() > end) {
        throw new SyncError("unavailable", `the table "${name}" is still being created after 10 minutes`, {
          retryable: true,
          hint: "run the same command again later",
        });
      }
      await sleep(askEveryMs);
    }
  }

  /** Creates a table. If it was created in the meantime, that is fine. */
  async create(want: Wanted): Promise<string> {
    const { name, primary } = want.shape;
    const part = (local: boolean) =>
      want.indexes.filter((index) => index.local === local).map((index) => indexDefinition(index));
    const global = part(false), local = part(true);
    try {
      await this.#connection.send(
        new CreateTableCommand({
          TableName: name,
          BillingMode: "PAY_PER_REQUEST",
          KeySchema: keySchema(primary),
          AttributeDefinitions: definitions(want.shape, [primary, ...want.indexes]),
          ...(global.length > 0 ? { GlobalSecondaryIndexes: global } : {}),
          ...(local.length > 0 ? { LocalSecondaryIndexes: local } : {}),
          ...(want.stream ? { StreamSpecification: bothImages } : {}),
        }),
      );
    } catch (error) {
      if ((error as Error)?.name === "ResourceInUseException") return `found the table "${name}" in the making`;
      throw syncErrorOf(error, `creating the table "${name}"`);
    }
    const with_ = [
      ...want.indexes.map((index) => `the index "${index.name}"`),
      ...(want.stream ? ["a stream of new and old images"] : []),
    ];
    return `created the table "${name}"${with_.length > 0 ? ` with ${with_.join(", ")}` : ""}`;
  }

  /** Differences of keys, indexes and stream. */
  compare(want: Wanted, table: TableDescription): Difference[] {
    const { name, primary } = want.shape;
    const differences: Difference[] = [];
    const keys = keyText(keySchema(primary), definitions(want.shape, [primary]));
    const has = keyText(table.KeySchema, table.AttributeDefinitions);
    if (has !== keys) return [{ text: `the table "${name}" has the key ${has}, the schema wants ${keys}` }];
    for (const index of want.indexes) differences.push(...this.#compareIndex(want.shape, index, table));
    if (want.stream) differences.push(...this.#compareStream(name, table));
    return differences;
  }

  async compareTtl({ shape: { name }, ttlAttribute }: Wanted): Promise<Difference[]> {
    if (ttlAttribute === undefined) return [];
    const command = new DescribeTimeToLiveCommand({ TableName: name });
    const { TimeToLiveDescription: ttl } = await this.#send<DescribeTimeToLiveCommandOutput>(
      `describing the expiry of the table "${name}"`,
      command,
    );
    const on = ttl?.TimeToLiveStatus === "ENABLED" || ttl?.TimeToLiveStatus === "ENABLING";
    if (on && ttl?.AttributeName === ttlAttribute) return [];
    if (on) {
      // Somebody chose it: it can be changed only by switching it off for up to an hour, which is their decision.
      return [{
        text: `the table "${name}" expires items by "${ttl?.AttributeName}", the schema wants "${ttlAttribute}"`,
        tolerable: true,
      }];
    }
    const run = async () => {
      await this.#send(
        `setting the expiry of the table "${name}"`,
        new UpdateTimeToLiveCommand({
          TableName: name,
          TimeToLiveSpecification: { Enabled: true, AttributeName: ttlAttribute },
        }),
      );
    };
    const done = `items of the table "${name}" now expire by "${ttlAttribute}"`;
    return [{ text: `items of the table "${name}" don't expire by "${ttlAttribute}"`, repair: { done, run } }];
  }

  #compareIndex(shape: TableShape, index: WantedIndex, table: TableDescription): Difference[] {
    const { name } = shape;
    const keys = keyText(keySchema(index, shape.primary), definitions(shape, [index, shape.primary]));
    const list = [...table.GlobalSecondaryIndexes ?? [], ...table.LocalSecondaryIndexes ?? []];
    const found = list.find((one) => one.IndexName === index.name);
    if (found) {
      const that = `the index "${index.name}" of the table "${name}"`;
      const has = keyText(found.KeySchema, table.AttributeDefinitions);
      if (has !== keys) return [{ text: `${that} has the key ${has}, the schema wants ${keys}` }];
      const holds = projectionText(found.Projection), wanted = projectionText(index.projection);
      // Only recreating it would change it, and meanwhile nothing could be listed by it. Missing attributes are read
      // from the table.
      return holds === wanted ? [] : [{ text: `${that} holds ${holds}, the schema wants ${wanted}`, tolerable: true }];
    }
    const text = `the table "${name}" has no index "${index.name}"`;
    if (index.local) return [{ text: `${text}, and a local index can't be added to an existing table` }];
    const run = async () => {
      await this.#send(
        `adding the index "${index.name}" to the table "${name}"`,
        new UpdateTableCommand({
          TableName: name,
          AttributeDefinitions: definitions(shape, [shape.primary, index]),
          GlobalSecondaryIndexUpdates: [{ Create: indexDefinition(index) }],
        }),
      );
      await this.whenActive(name);
    };
    return [{ text, repair: { done: `added the index "${index.name}" to the table "${name}"`, run } }];
  }

  #compareStream(name: string, table: TableDescription): Difference[] {
    const stream = table.StreamSpecification;
    if (stream?.StreamEnabled && stream.StreamViewType === "NEW_AND_OLD_IMAGES") return [];
    if (stream?.StreamEnabled) {
      return [{
        text: `the table "${name}" has a stream of ${stream.StreamViewType}, wanted is NEW_AND_OLD_IMAGES: ` +
          "switching it off breaks its other readers, so do it by hand",
      }];
    }
    const run = async () => {
      await this.#send(
        `enabling the stream of the table "${name}"`,
        new UpdateTableCommand({ TableName: name, StreamSpecification: bothImages }),
      );
      await this.whenActive(name);
    };
    const done = `enabled the stream of the table "${name}", of new and old images`;
    return [{ text: `the table "${name}" has no stream`, repair: { done, run } }];
  }

  async #send<Output>(doing: string, command: Command): Promise<Output> {
    try {
      return await this.#connection.send<Output>(command);
    } catch (error) {
      throw syncErrorOf(error, doing);
    }
  }
}

const bothImages = { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" } as const;

function keySchema({ hash, sort }: Index, primary?: Index): KeySchemaElement[] {
  return [
    // A local index shares the table's hash key and may leave it out.
    { AttributeName: hash || primary?.hash, KeyType: "HASH" },
    ...(sort === undefined ? [] : [{ AttributeName: sort, KeyType: "RANGE" as const }]),
  ];
}

function indexDefinition(index: WantedIndex) {
  return { IndexName: index.name, KeySchema: keySchema(index), Projection: index.projection };
}

function definitions(shape: TableShape, indexes: readonly Index[]): AttributeDefinition[] {
  const names = new Set(indexes.flatMap(({ hash, sort }) => [hash, sort]).filter((name) => name !== undefined));
  return [...names].map((name) => ({ AttributeName: name, AttributeType: shape.keyTypes.get(name) ?? "S" }));
}

/** A key as text to compare and to show: `pk (S), sk (S)`. */
function keyText(keys: readonly KeySchemaElement[] = [], types: readonly AttributeDefinition[] = []): string {
  return keys.map(({ AttributeName: name }) => {
    return `${name} (${types.find((one) => one.AttributeName === name)?.AttributeType})`;
  }).join(", ");
}

/** An index's projection, as text to compare and to show. */
function projectionText({ ProjectionType: type, NonKeyAttributes: names = [] }: Projection = {}): string {
  if (type === "ALL") return "all attributes";
  return type === "KEYS_ONLY" ? "the keys alone" : `the keys and ${[...names].sort().join(", ")}`;
}
