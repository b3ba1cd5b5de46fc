/** The adapter on real emulators: the table contract, and what only DynamoDB has. */
import assert from "node:assert/strict";
import {
  BatchWriteItemCommand,
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  ExecuteStatementCommand,
  PutItemCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { equals, evaluate } from "../../../cloud/table/condition.ts";
import { type DynamoOptions, openDynamo } from "../../../cloud/dynamodb/tables.ts";
import type { Condition, StreamRecord } from "../../../cloud/table/port.ts";
import { compileSchema, type Item, type Json, type Schema, SyncError } from "../../../schema.ts";
import { type Emulator, emulators } from "../../support/dynamo.ts";
import { until } from "../../support/until.ts";
import { contractSchema, tableContract } from "../table_contract.ts";
import { schema, thing } from "./fixture.ts";

const credentials = { accessKeyId: "local", secretAccessKey: "local" };
let tableNumber = 0;

for (const kind of await emulators()) {
  const ignore = kind.missing !== undefined;
  if (ignore) console.log(`skipped: ${kind.missing}`);
  let running: Emulator | undefined;
  Deno.test.beforeAll(async () => {
    if (!ignore) running = await kind.start();
  });
  Deno.test.afterAll(() => running?.stop());

  const newName = () => `table-${++tableNumber}`;
  const open = (name: string, options: Partial<DynamoOptions> & { schema: Schema }) =>
    openDynamo(`dynamodb://${name}?region=us-east-1&endpoint=${running!.endpoint}`, { credentials, ...options });
  const connect = () => new DynamoDBClient({ region: "us-east-1", endpoint: running!.endpoint, credentials });
  /** DynamoDB Local makes indexes the slower the more tables it has: minutes with a hundred of them. */
  const drop = async (name: string) => {
    const client = connect();
    for (const TableName of [name, `${name}-log`]) await client.send(new DeleteTableCommand({ TableName }));
    client.destroy();
  };
  /** Made tables, and a client that knows nothing of us. */
  const withTables = async (
    body: (world: { name: string; tables: Awaited<ReturnType<typeof open>>; client: DynamoDBClient }) => Promise<void>,
    options: Partial<DynamoOptions> = {},
  ) => {
    const name = newName();
    const tables = await open(name, { schema, ...options });
    const client = connect();
    try {
      await tables.create();
      await body({ name, tables, client });
    } finally {
      await tables.close();
      client.destroy();
      await drop(name);
    }
  };
  const test = (sentence: string, fn: () => Promise<void>) =>
    Deno.test({ name: `${kind.name}: ${sentence}`, ignore, sanitizeOps: false, sanitizeResources: false, fn });

  tableContract(kind.name, async () => {
    const name = newName();
    const tables = await open(name, { schema: contractSchema });
    await tables.create();
    return { tables, dispose: () => tables.close().then(() => drop(name)) };
  }, { ignore });

  test("create makes both tables, says what it did, and the second time nothing", async () => {
    const name = newName();
    const tables = await open(name, { schema });
    assert.deepEqual(await tables.check(), [
      `the table "${name}" does not exist`,
      `the table "${name}-log" does not exist`,
    ]);
    assert.deepEqual(await tables.create(), [
      `created the table "${name}" with the index "gs1", the index "gs2", a stream of new and old images`,
      `items of the table "${name}" now expire by "gone"`,
      `created the table "${name}-log"`,
      `items of the table "${name}-log" now expire by "expires"`,
    ]);
    assert.deepEqual(await tables.create(), []);
    assert.deepEqual(await tables.check(), []);
    await tables.close();
    await drop(name);
  });

  test("create completes a table that exists, and leaves its items and settings", async () => {
    const name = newName();
    const client = connect();
    await client.send(
      new CreateTableCommand({
        TableName: name,
        BillingMode: "PAY_PER_REQUEST",
        KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
        AttributeDefinitions: [
          { AttributeName: "pk", AttributeType: "S" },
          { AttributeName: "sk", AttributeType: "S" },
        ],
      }),
    );
    await client.send(new PutItemCommand({ TableName: name, Item: { pk: { S: "device#d1" }, sk: { S: "thing#0" } } }));
    const tables = await open(name, { schema });
    assert.deepEqual(await tables.check(), [
      `the table "${name}" has no index "gs1"`,
      `the table "${name}" has no index "gs2"`,
      `the table "${name}" has no stream`,
      `items of the table "${name}" don't expire by "gone"`,
      `the table "${name}-log" does not exist`,
    ]);
    assert.deepEqual(await tables.create(), [
      `added the index "gs1" to the table "${name}"`,
      `added the index "gs2" to the table "${name}"`,
      `enabled the stream of the table "${name}", of new and old images`,
      `items of the table "${name}" now expire by "gone"`,
      `created the table "${name}-log"`,
      `items of the table "${name}-log" now expire by "expires"`,
    ]);
    assert.deepEqual(await tables.check(), []);
    assert.deepEqual(await tables.data.get([["device#d1", "thing#0"]]), [{ pk: "device#d1", sk: "thing#0" }]);
    await tables.close();
    client.destroy();
    await drop(name);
  });

  const plainSchema = compileSchema({ ...schema.source, indexes: { primary: { hash: "pk", sort: "sk" } } });
  test("a table with another key is refused before anything is altered; another expiry is only told", async () => {
    const client = connect();
    const bare = (TableName: string, hash: string) =>
      client.send(
        new CreateTableCommand({
          TableName,
          BillingMode: "PAY_PER_REQUEST",
          KeySchema: [{ AttributeName: hash, KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
          AttributeDefinitions: [hash, "sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" as const })),
        }),
      );
    const other = newName();
    await bare(other, "id");
    const tables = await open(other, { schema: plainSchema });
    const mismatch = `the table "${other}" has the key id (S), sk (S), the schema wants pk (S), sk (S)`;
    assert.deepEqual((await tables.check())[0], mismatch);
    await assert.rejects(tables.create(), (error: SyncError) => {
      assert.equal(error.code, "table-mismatch");
      assert.equal(error.message, mismatch);
      return true;
    });
    const { Table: table } = await client.send(new DescribeTableCommand({ TableName: other }));
    assert.equal(table?.StreamSpecification, undefined);
    assert.equal((await tables.check()).at(-1), `the table "${other}-log" does not exist`);
    await tables.close();

    const expiring = newName();
    await bare(expiring, "pk");
    await client.send(
      new UpdateTimeToLiveCommand({
        TableName: expiring,
        TimeToLiveSpecification: { Enabled: true, AttributeName: "ttl" },
      }),
    );
    const second = await open(expiring, { schema: plainSchema });
    const told = `the table "${expiring}" expires items by "ttl", the schema wants "gone"`;
    assert.ok((await second.create()).includes(`${told}: left as it is`));
    assert.deepEqual(await second.check(), [told]);
    assert.deepEqual(await second.create(), [`${told}: left as it is`]);
    await second.close();
    client.destroy();
  });

  test("an index that holds other attributes than the schema wants is told and left; another key of it is refused", async () => {
    const name = newName();
    const tables = await open(name, { schema });
    await tables.create();
    await tables.close();
    const withIndexes = (indexes: object) => compileSchema({ ...schema.source, indexes });
    const { primary, gs1, gs2 } = schema.source.indexes as Record<string, object>;
    const all = await open(name, { schema: withIndexes({ primary, gs1, gs2: { ...gs2, project: "all" } }) });
    const told = `the index "gs2" of the table "${name}" holds the keys and label, the schema wants all attributes`;
    assert.deepEqual(await all.check(), [told]);
    assert.deepEqual(await all.create(), [`${told}: left as it is`]);
    await all.close();
    const other = await open(name, { schema: withIndexes({ primary, gs1: { hash: "gs1pk", sort: "id" }, gs2 }) });
    await assert.rejects(
      other.create(),
      /has the key gs1pk \(S\), gs1sk \(S\), the schema wants gs1pk \(S\), id \(S\)/,
    );
    await other.close();
    await drop(name);
  });

  test("a table that does not exist is named, with the way out", async () => {
    const tables = await open(newName(), { schema });
    for (
      const call of [
        () => tables.data.get([["a", "b"]]),
        () => tables.data.write([{ op: "put", item: thing("1") }]),
        () => tables.data.scan({ limit: 1 }),
        () => tables.data.stream().batches(new AbortController().signal)[Symbol.asyncIterator]().next(),
      ]
    ) {
      await assert.rejects(call(), (error: SyncError) => {
        assert.equal(error.code, "no-table");
        assert.match(error.hint ?? "", /cloud table create/);
        return true;
      });
    }
    await tables.close();
  });

  test("random conditions mean on the table what they mean in the embedded one", () =>
    withTables(async ({ tables }) => {
      const runs = kind.name === "dynoxide" ? 150 : 60;
      await fc.assert(
        fc.asyncProperty(fc.option(randomAttributes), randomCondition, async (attributes, condition) => {
          const item = attributes && thing("1", attributes);
          if (item) await tables.data.write([{ op: "put", item }]);
          else await tables.data.write([{ op: "delete", key: ["device#d1", "thing#1"] }]);
          const [result] = await tables.data.write([{ op: "put", item: thing("1", { z: 1 }), condition }]);
          const holds = evaluate(condition, item ?? undefined);
          assert.equal(result?.outcome, holds ? "written" : "refused");
        }),
        { numRuns: runs },
      );
    }));

  test("a query by prefix and lower bound gives what a filter would, in both directions, page by page", () =>
    withTables(async ({ tables }) => {
      const ids = ["", "a", "a\u0001", "aa", "ab", "a\u{10FFFF}", "a\u{10FFFF}b", "b", "ba", "c"];
      await tables.data.write(ids.map((id) => ({ op: "put", item: thing(id) })));
      const texts = fc.option(fc.constantFrom(...ids, "aaa", "zz").map((id) => `thing#${id}`), { nil: undefined });
      await fc.assert(
        fc.asyncProperty(texts, texts, fc.boolean(), async (sortPrefix, sortAfter, reverse) => {
          const found: Item[] = [];
          let after: string | undefined;
          do {
            const page = await tables.data.query({
              index: "primary",
              hash: "device#d1",
              sortPrefix,
              sortAfter,
              reverse,
              limit: 4,
              after,
            });
            found.push(...page.items);
            after = page.next;
          } while (after !== undefined);
          const wanted = ids.map((id) => `thing#${id}`).filter((sort) =>
            sort.startsWith(sortPrefix ?? "") && (sortAfter === undefined || byBytes(sort, sortAfter) > 0)
          ).sort(byBytes);
          assert.deepEqual(found.map(({ sk }) => sk), reverse ? wanted.reverse() : wanted);
        }),
        { numRuns: 40 },
      );
    }));

  test("an index that holds only some attributes gives whole items", () =>
    withTables(async ({ tables }) => {
      await tables.data.write(["1", "2"].map((id) => ({ op: "put", item: thing(id, { label: "x", more: [id] }) })));
      const items = await until("the index has them", async () => {
        const page = await tables.data.query({ index: "gs2", hash: "things", limit: 10 });
        return page.items.length === 2 ? page.items : undefined;
      });
      assert.deepEqual(items, [thing("1", { label: "x", more: ["1"] }), thing("2", { label: "x", more: ["2"] })]);
    }));

  test("an item that the table can't hold is invalid, and the others are written", () =>
    withTables(async ({ tables }) => {
      const results = await tables.data.write([
        { op: "put", item: thing("1") },
        { op: "put", item: thing("2", { gs1pk: "" }) },
        { op: "put", item: thing("3", { gs1pk: 7 }) },
        { op: "put", item: thing("4", { sk: "" }) },
        { op: "put", item: thing("5", { n: { $n: "1".repeat(39) } }) },
        { op: "put", item: thing("6") },
      ]);
      assert.deepEqual(results.map(({ outcome }) => outcome), [
        "written",
        "invalid",
        "invalid",
        "invalid",
        "invalid",
        "written",
      ]);
    }));

  test("what both tables consume is counted, in the units that they charge", () =>
    withTables(async ({ tables }) => {
      const before = tables.units!();
      await tables.data.write([{ op: "put", item: thing("1", { label: "x".repeat(1_500) }) }]);
      await tables.log.write([{ op: "put", item: { hash: "h", sort: "s" } }]);
      const { read, write } = tables.units!();
      assert.ok(write - before.write >= 3, `${write - before.write} WCU`);
      assert.equal(read, before.read);
      await tables.log.query({ index: "primary", hash: "h", limit: 10 });
      await tables.log.get([["h", "s"]]);
      assert.equal(tables.units!().read - read, 2);
    }));

  test("a page token of another table or of nobody is refused as invalid", () =>
    withTables(async ({ tables }) => {
      await tables.data.write(["1", "2", "3"].map((id) => ({ op: "put", item: thing(id) })));
      await tables.log.write(["1", "2"].map((sort) => ({ op: "put", item: { hash: "h", sort } })));
      const { next: foreign } = await tables.log.query({ index: "primary", hash: "h", limit: 1 });
      assert.ok(foreign);
      for (const after of [foreign, "x", "", btoa("{}"), btoa('{"pk":1}'), "A".repeat(30_000)]) {
        await assert.rejects(
          tables.data.query({ index: "primary", hash: "device#d1", limit: 1, after }),
          (error: SyncError) => error instanceof SyncError && error.code === "invalid",
          after.slice(0, 40),
        );
      }
    }));

  test("an index by a number is made as such, and lists in the order of the numbers", async () => {
    const ranked = compileSchema({
      format: "onetable:1.1.0",
      version: "0.0.1",
      indexes: { primary: { hash: "pk", sort: "sk" }, byRank: { hash: "kind", sort: "rank" } },
      models: {
        Row: {
          pk: { type: String, value: "row" },
          sk: { type: String, value: "row#${id}" },
          id: { type: String, required: true },
          kind: { type: Number },
          rank: { type: Number },
        },
      },
      params: {},
      process: { Row: { sync: "up" } },
    });
    await withTables(async ({ tables }) => {
      assert.deepEqual(await tables.check(), []);
      const rows = [10, 2, 1].map((rank): Item => ({ pk: "row", sk: `row#${rank}`, kind: 7, rank, _type: "Row" }));
      await tables.data.write(rows.map((item) => ({ op: "put", item })));
      const query = { index: "byRank", hash: "7", limit: 10 };
      const items = await until("the index has them", async () => {
        const page = await tables.data.query(query);
        return page.items.length === 3 ? page.items : undefined;
      });
      assert.deepEqual(items.map(({ rank }) => rank), [1, 2, 10]);
      assert.deepEqual((await tables.data.query({ ...query, hash: "x" })).items, []);
      await assert.rejects(tables.data.query({ ...query, sortPrefix: "1" }), /is a number: it has no prefix/);
    }, { schema: ranked });
  });

  test("writes of every kind by others come by the stream, and soon", () =>
    withTables(async ({ name, tables, client }) => {
      const abort = new AbortController();
      const records: StreamRecord[] = [];
      let fault: unknown;
      const reading = (async () => {
        for await (const batch of tables.data.stream().batches(abort.signal)) {
          assert.ok(!("lost" in batch));
          records.push(...batch.records);
          await batch.checkpoint();
        }
        // Where the test fails, its tables are closed under the reading; where it doesn't, nothing is thrown.
      })().catch((error) => fault = error);
      const raw = (n: number) => ({ pk: { S: "device#d1" }, sk: { S: `thing#${n}` }, n: { N: String(n) } });
      const Put = (n: number) => ({ TableName: name, Item: raw(n) });
      let n = 0;
      const medianMs = async () => {
        const latenciesMs: number[] = [];
        for (let i = 0; i < 15; i++, n++) {
          const began = performance.now();
          await client.send(new PutItemCommand(Put(n)));
          await until("the record comes", () => records.some((record) => record.new?.n === n));
          latenciesMs.push(performance.now() - began);
        }
        return latenciesMs.sort((a, b) => a - b)[7]!;
      };
      // How soon is measured by the bench; here, that it does not wait for the slowest poll.
      const ms = await medianMs();
      assert.ok(ms <= 1_000, `median of table write to record: ${ms} ms`);

      await client.send(
        new UpdateItemCommand({
          TableName: name,
          Key: { pk: raw(0).pk, sk: raw(0).sk },
          UpdateExpression: "SET n = :n",
          ExpressionAttributeValues: { ":n": { N: "100" } },
        }),
      );
      await client.send(
        new ExecuteStatementCommand({
          Statement: `UPDATE "${name}" SET n = 101 WHERE pk = 'device#d1' AND sk = 'thing#1'`,
        }),
      );
      await client.send(new TransactWriteItemsCommand({ TransactItems: [{ Put: Put(102) }, { Put: Put(103) }] }));
      await client.send(
        new BatchWriteItemCommand({ RequestItems: { [name]: [{ PutRequest: { Item: raw(104) } }] } }),
      );
      const news = await until("all have come", () => {
        const found = records.map((record) => record.new?.n).filter((n) => Number(n) >= 100);
        return found.length === 5 ? found : undefined;
      });
      assert.deepEqual(news.sort(), [100, 101, 102, 103, 104]);
      const update = records.find((record) => record.new?.n === 100);
      assert.deepEqual([update?.key, update?.old?.n], [["device#d1", "thing#0"], 0]);
      abort.abort();
      await reading;
      assert.equal(fault, undefined);
    }));

  test("of two tailers one reads; when it falls silent the other takes over from its position", () =>
    withTables(async ({ name, tables }) => {
      // A busy machine must not keep the first from its beats for so long.
      const second = await open(name, { schema, tailer: { leaseMs: 3_000 } });
      const first = await open(name, { schema, tailer: { leaseMs: 3_000 } });
      const seen: Record<"first" | "second", unknown[]> = { first: [], second: [] };
      const abort = new AbortController();
      const read = async (who: "first" | "second", from: typeof first) => {
        for await (const batch of from.data.stream().batches(abort.signal)) {
          assert.ok(!("lost" in batch));
          seen[who].push(...batch.records.map((record) => record.new?.id));
          await batch.checkpoint();
        }
      };
      // It ends with an error when its connection is closed under it.
      const firstReading = read("first", first).catch((error) => error);
      await tables.data.write([{ op: "put", item: thing("1") }]);
      await until("the first has it", () => seen.first.length === 1);
      const secondReading = read("second", second);
      await tables.data.write([{ op: "put", item: thing("2") }]);
      await until("the first has that, too", () => seen.first.length === 2);
      assert.deepEqual(seen.second, []);
      // Silent without a release, as after a kill -9: its connections are gone, so it neither reads nor renews.
      await first.close();
      await tables.data.write([{ op: "put", item: thing("3") }]);
      await until("the second takes over", () => seen.second.includes("3"), 20_000);
      assert.deepEqual(seen.second, ["3"]);
      abort.abort();
      await secondReading;
      assert.equal((await firstReading as SyncError).code, "closed");
      await second.close();
    }));
}

Deno.test("dynamodb: an endpoint where nobody listens is unavailable and may be tried again", async () => {
  const tables = await openDynamo("dynamodb://fleet?region=us-east-1&endpoint=http://127.0.0.1:1", {
    schema,
    credentials,
    retryForMs: 100,
  });
  for (
    const call of [
      () => tables.data.get([["a", "b"]]),
      () => tables.data.write([{ op: "put", item: thing("1"), condition: equals("n", 1) }]),
      () => tables.check(),
      () => tables.create(),
    ]
  ) {
    await assert.rejects(call(), (error: SyncError) => error.code === "unavailable" && error.retryable);
  }
  await tables.close();
});

const randomValue: fc.Arbitrary<Json> = fc.constantFrom<Json>(
  0,
  5,
  -1,
  5.5,
  { $n: "12345678901234567890" },
  "",
  "a",
  "ab",
  "5",
  true,
  false,
  null,
  [],
  [5],
  {},
  { x: 5 },
  { $m: { $n: "5" } },
  { $ss: ["a", "b"] },
  { $ss: ["b", "a"] },
  { $ns: ["5"] },
  { $b: "AAE=" },
);
const attribute = fc.constantFrom("a", "b", "c");
const randomAttributes = fc.dictionary(attribute, randomValue, { maxKeys: 3, noNullPrototype: true });
const bound = fc.constantFrom<number | string>(0, 5, -1, 5.5, "", "a", "ab", "5");
const { condition: randomCondition } = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom<Condition>({ kind: "exists" }, { kind: "absent" }),
    fc.record({ kind: fc.constant("equals" as const), attribute, value: randomValue }),
    fc.record({
      kind: fc.constantFrom("less" as const, "atMost" as const, "greater" as const),
      attribute,
      value: bound,
    }),
    fc.record({ kind: fc.constantFrom("has" as const, "lacks" as const), attribute }),
    fc.record({ kind: fc.constant("beginsWith" as const), attribute, prefix: fc.constantFrom("", "a", "ab") }),
    fc.record({
      kind: fc.constantFrom("all" as const, "any" as const),
      of: fc.array(tie("condition"), { maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant("not" as const), of: tie("condition") }),
  ),
}));

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
