/**
 * The cloud's table as a program of somebody else reaches it: DynamoDB by its HTTP API and AWS's SDK, the embedded table by
 * plain SQL from the `sqlite3` shell. It reads all items, writes them raw, and tells each key's history.
 *
 * @module
 */
import { DeleteItemCommand, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { Av, AvItem } from "./canon.ts";
import { itemOfTagged, taggedOfItem } from "./tagged.ts";
import { textSql } from "./values.ts";

/** A state that a key had, in their order: an item, or none. */
export interface Version {
  readonly key: string;
  readonly item: AvItem | undefined;
}

/** See the module. */
export interface RawTable {
  put(item: AvItem): Promise<void>;
  remove(hash: string, sort: string): Promise<void>;
  items(): Promise<AvItem[]>;
  /** Everything that ever stood in the table, by key in order. */
  history(): Promise<Version[]>;
  /** Works while nobody else writes raw. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** Keeps the state of now. */
  keep(): Promise<void>;
  /** The table is what was kept; no worker runs. @returns what stood in it since */
  restore(): Promise<Version[]>;
  close(): void;
}

/** Raw writes one after the other. */
class Turns {
  #turn: Promise<unknown> = Promise.resolve();

  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

/** A key as one text. */
export const keyText = (hash: string, sort: string) => JSON.stringify([hash, sort]);

/** The key of an item. */
export const keyOfItem = (item: AvItem) =>
  keyText((item.pk as { S: string } | undefined)?.S ?? "", (item.sk as { S: string } | undefined)?.S ?? "");

const region = "us-east-1";

/** A table of an emulator. A restore makes another table, under another name, as in AWS. */
export class DynamoTable extends Turns implements RawTable {
  readonly #client: DynamoDBClient;
  /** What stood in the tables before this one, up to the restored time. */
  #before: Version[] = [];
  #kept: Version[] = [];
  #restores = 0;

  constructor(readonly endpoint: string, public name: string) {
    super();
    const credentials = { accessKeyId: "local", secretAccessKey: "local" };
    this.#client = new DynamoDBClient({ endpoint, region, credentials, maxAttempts: 3 });
  }

  async put(item: AvItem): Promise<void> {
    const bytes = (av: Av): unknown =>
      "B" in av
        ? { B: Uint8Array.fromBase64(av.B) }
        : "L" in av
        ? { L: av.L.map(bytes) }
        : "M" in av
        ? { M: mapped(av.M, bytes) }
        : av;
    const Item = mapped(item, bytes) as never;
    await this.alone(() => this.#client.send(new PutItemCommand({ TableName: this.name, Item })));
  }

  async remove(hash: string, sort: string): Promise<void> {
    const Key = { pk: { S: hash }, sk: { S: sort } };
    await this.alone(() => this.#client.send(new DeleteItemCommand({ TableName: this.name, Key })));
  }

  async keep(): Promise<void> {
    this.#kept = await this.history();
  }

  /** As a point-in-time recovery leaves it: without a stream, which `cloud table create` switches on again. */
  async restore(): Promise<Version[]> {
    const known = Map.groupBy(this.#kept, ({ key }) => key), now = await this.history();
    const { Table } = await this.#ask("DynamoDB_20120810.DescribeTable", { TableName: this.name });
    const { KeySchema, AttributeDefinitions, GlobalSecondaryIndexes } = Table as Record<string, unknown>;
    const indexes = (GlobalSecondaryIndexes as Record<string, unknown>[] | undefined)?.map((index) => ({
      IndexName: index.IndexName,
      KeySchema: index.KeySchema,
      Projection: index.Projection,
    }));
    this.name = `${this.name.replace(/-r\d+$/, "")}-r${++this.#restores}`;
    await this.#ask("DynamoDB_20120810.CreateTable", {
      TableName: this.name,
      ...{ KeySchema, AttributeDefinitions, BillingMode: "PAY_PER_REQUEST" },
      ...(indexes ? { GlobalSecondaryIndexes: indexes } : {}),
    });
    for (const versions of known.values()) {
      const { item: Item } = versions.at(-1)!;
      if (Item) await this.#ask("DynamoDB_20120810.PutItem", { TableName: this.name, Item });
    }
    this.#before = this.#kept;
    return [...Map.groupBy(now, ({ key }) => key)].flatMap(([key, list]) => list.slice(known.get(key)?.length ?? 0));
  }

  async items(): Promise<AvItem[]> {
    const found: AvItem[] = [];
    let after: unknown;
    do {
      const page = await this.#ask("DynamoDB_20120810.Scan", {
        TableName: this.name,
        ConsistentRead: true,
        ...(after ? { ExclusiveStartKey: after } : {}),
      });
      found.push(...page.Items as AvItem[]);
      after = page.LastEvaluatedKey;
    } while (after);
    return found;
  }

  async history(): Promise<Version[]> {
    const { Table } = await this.#ask("DynamoDB_20120810.DescribeTable", { TableName: this.name });
    const StreamArn = (Table as { LatestStreamArn: string }).LatestStreamArn;
    const stream = (call: string, body: unknown) => this.#ask(`DynamoDBStreams_20120810.${call}`, body);
    const { StreamDescription } = await stream("DescribeStream", { StreamArn });
    const found: Version[] = [...this.#before];
    for (const { ShardId } of (StreamDescription as { Shards: { ShardId: string }[] }).Shards) {
      const from = { StreamArn, ShardId, ShardIteratorType: "TRIM_HORIZON" };
      let at = (await stream("GetShardIterator", from)).ShardIterator;
      // An open shard has no last page: it is read until it gives nothing, twice.
      for (let empty = 0; at && empty < 2;) {
        const page = await stream("GetRecords", { ShardIterator: at, Limit: 1000 });
        const records = page.Records as { dynamodb: { Keys: AvItem; NewImage?: AvItem } }[];
        for (const { dynamodb: { Keys, NewImage } } of records) found.push({ key: keyOfItem(Keys), item: NewImage });
        empty = records.length === 0 ? empty + 1 : 0;
        at = page.NextShardIterator;
      }
    }
    return found;
  }

  // Not by the SDK, which returns an attribute named `__proto__` as undefined.
  async #ask(target: string, body: unknown): Promise<Record<string, unknown>> {
    const signer = `AWS4-HMAC-SHA256 Credential=local/20260101/${region}/dynamodb/aws4_request`;
    const response = await fetch(this.endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": target,
        "authorization": `${signer}, SignedHeaders=host, Signature=0`,
        "x-amz-date": "20260101T000000Z",
      },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${target}: ${JSON.stringify(answer)}`);
    return answer;
  }

  close(): void {
    this.#client.destroy();
  }
}

function mapped(map: { readonly [name: string]: Av }, of: (av: Av) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.keys(map).map((name) => [name, of(map[name]!)]));
}

/** The embedded table, whose file another process serves. */
export class EmbeddedTable extends Turns implements RawTable {
  constructor(readonly path: string) {
    super();
  }

  /** Notes all that stands in it from now on, in a table beside it: what the worker has passed on it forgets. */
  watch(): void {
    const note = (event: string, sort: string, item: string) =>
      `CREATE TRIGGER fuzz_${event} AFTER ${event} ON items BEGIN
        INSERT INTO fuzz_history(hash, sort, item) VALUES (${sort}.hash, ${sort}.sort, ${item}); END;`;
    this.#use((db) =>
      db.exec(`CREATE TABLE fuzz_history(n INTEGER PRIMARY KEY, hash TEXT, sort TEXT, item TEXT);
        ${note("insert", "new", "new.item")} ${note("update", "new", "new.item")} ${note("delete", "old", "NULL")}`)
    );
  }

  #use<T>(use: (db: DatabaseSync) => T): T {
    const db = new DatabaseSync(this.path, { timeout: 30_000 });
    try {
      return use(db);
    } finally {
      db.close();
    }
  }

  async put(item: AvItem): Promise<void> {
    const [hash, sort] = JSON.parse(keyOfItem(item)) as [string, string];
    await this.alone(() =>
      this.#shell(
        `INSERT OR REPLACE INTO items(hash, sort, item) VALUES (${textSql(hash)}, ${textSql(sort)}, ${
          textSql(taggedOfItem(item))
        })`,
      )
    );
  }

  async remove(hash: string, sort: string): Promise<void> {
    await this.alone(() => this.#shell(`DELETE FROM items WHERE hash = ${textSql(hash)} AND sort = ${textSql(sort)}`));
  }

  async #shell(sql: string): Promise<void> {
    const args = ["-batch", "-bail", "-cmd", ".timeout 30000", this.path];
    const child = new Deno.Command("sqlite3", { args, stdin: "piped", stdout: "null", stderr: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${sql};\n`));
    await writer.close();
    const { code, stderr } = await child.output();
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  }

  items(): Promise<AvItem[]> {
    return Promise.resolve(
      this.#use((db) => db.prepare("SELECT item FROM items").all().map(({ item }) => itemOfTagged(String(item)))),
    );
  }

  history(): Promise<Version[]> {
    return Promise.resolve(
      this.#use((db) =>
        db.prepare("SELECT hash, sort, item FROM fuzz_history ORDER BY n").all().map(({ hash, sort, item }) => ({
          key: keyText(String(hash), String(sort)),
          item: item === null ? undefined : itemOfTagged(String(item)),
        }))
      ),
    );
  }

  keep(): Promise<void> {
    rmSync(`${this.path}.older`, { force: true });
    return Promise.resolve(this.#use((db) => db.exec(`VACUUM INTO '${this.path}.older'`)));
  }

  async restore(): Promise<Version[]> {
    const now = await this.history();
    Deno.copyFileSync(`${this.path}.older`, this.path);
    for (const end of ["-wal", "-shm"]) rmSync(this.path + end, { force: true });
    const known = await this.history();
    return now.slice(known.length);
  }

  /** Removes all entries of the channel logs, and what is known of them; with `epochs`, the epochs as well. */
  loseLog(epochs: boolean): void {
    const more = epochs ? " OR hash = 'epoch'" : "";
    this.#use((db) => db.exec(`DELETE FROM log WHERE hash LIKE 'log#%' OR hash LIKE 'floor#%'${more}`));
  }

  close(): void {}
}
