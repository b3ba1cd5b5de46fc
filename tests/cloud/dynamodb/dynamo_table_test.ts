/** The table's dealing with what DynamoDB rarely does: throttling, leaving keys unprocessed, not answering. */
import assert from "node:assert/strict";
import { BatchGetItemCommand, ConditionalCheckFailedException } from "@aws-sdk/client-dynamodb";
import { absent, all, any, equals } from "../../../cloud/table/condition.ts";
import { ConditionTooLargeError } from "../../../cloud/table/condition_limit.ts";
import type { Connection } from "../../../cloud/dynamodb/client.ts";
import { DynamoTable } from "../../../cloud/dynamodb/dynamo_table.ts";
import { dataShape } from "../../../cloud/dynamodb/keys.ts";
import { withRetries } from "../../../cloud/dynamodb/retry.ts";
import type { Write } from "../../../cloud/table/port.ts";
import type { SyncError } from "../../../schema.ts";
import { schema, thing } from "./fixture.ts";

/** A table over a function in DynamoDB's place, with time that its waits move. */
function tableOver(answer: (command: { readonly input: Record<string, unknown> }) => unknown) {
  let nowMs = 1_000_000;
  const policy = {
    now: () => nowMs,
    random: () => 0.5,
    sleep: (ms: number) => {
      nowMs += ms;
      return Promise.resolve();
    },
    retryForMs: 5000,
  };
  const sent: Record<string, unknown>[] = [];
  const send = (command: { readonly input: Record<string, unknown> }, options?: { beforeAttempt?: () => void }) =>
    withRetries(async () => {
      options?.beforeAttempt?.();
      sent.push(command.input);
      return await answer(command);
    }, policy);
  const connection = { policy, concurrency: 4, send, sendToStream: send, close() {} } as unknown as Connection;
  return {
    table: new DynamoTable(connection, dataShape(schema, "fleet")),
    sent,
    policy,
    later: (ms: number) => nowMs += ms,
  };
}

function awsError(name: string, status?: number, message = name): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });
}

const put: Write = { op: "put", item: thing("1") };

Deno.test("dynamo table: a write that is throttled to the end is throttled, and says nothing about the others", async () => {
  const { table, policy } = tableOver(({ input }) => {
    const id = (input.Item as { id: { S: string } }).id.S;
    if (id === "1") throw awsError("ThrottlingException", 400);
    return {};
  });
  const began = policy.now();
  const results = await table.write([put, { op: "put", item: thing("2") }]);
  assert.deepEqual(results.map(({ outcome }) => outcome), ["throttled", "written"]);
  assert.ok(policy.now() - began <= 5000);
});

Deno.test("dynamo table: a fault that passes is not seen", async () => {
  const faults = [awsError("InternalServerError", 500), awsError("ECONNRESET"), awsError("ThrottlingException", 400)];
  const { table, sent } = tableOver(() => {
    const fault = faults.shift();
    if (fault) throw fault;
    return { Attributes: { pk: { S: "x" } } };
  });
  assert.deepEqual(await table.write([put]), [{ outcome: "written", old: { pk: "x" } }]);
  assert.equal(sent.length, 4);
});

Deno.test("dynamo table: a table that does not answer is unavailable, retryable", async () => {
  const { table } = tableOver(() => Promise.reject(awsError("ECONNREFUSED")));
  for (const call of [() => table.write([put]), () => table.get([["a", "b"]]), () => table.scan({ limit: 1 })]) {
    await assert.rejects(call(), (error: SyncError) => error.code === "unavailable" && error.retryable);
  }
});

Deno.test("dynamo table: the deadline is looked at before each attempt", async () => {
  const { table, sent, later, policy } = tableOver(() => {
    later(300);
    throw awsError("ThrottlingException", 400);
  });
  assert.deepEqual(await table.write([put], { deadline: policy.now() + 500 }), [{ outcome: "late" }]);
  assert.equal(sent.length, 2);
});

Deno.test("dynamo table: an item that can't be stored is answered without asking, a bad one by what DynamoDB says", async () => {
  const { table, sent } = tableOver(() => {
    throw awsError("ValidationException", 400, "Type mismatch for Index Key gs1pk");
  });
  const results = await table.write([
    { op: "put", item: thing("1", { big: "x".repeat(500_000) }) },
    { op: "put", item: thing("1", { n: { $n: "1e200" } }) },
    { op: "put", item: thing("1", { sk: "" }) },
    { op: "put", item: thing("1", { sk: "x".repeat(2000) }) },
    { op: "put", item: { other: 1 } },
    { op: "delete", key: ["", ""] },
    put,
  ]);
  assert.deepEqual(results.map(({ outcome }) => outcome), [
    "too-large",
    ...Array.from({ length: 6 }, () => "invalid"),
  ]);
  assert.match((results[6] as { message: string }).message, /Type mismatch/);
  assert.equal(sent.length, 1);
});

Deno.test("dynamo table: conditions beyond the limits are named before anything is written", async () => {
  const { table, sent } = tableOver(() => ({}));
  const wide = all(...Array.from({ length: 200 }, (_, i) => equals(`a${i}`, i)));
  const writes: Write[] = [put, { ...put, condition: wide }, put, { ...put, condition: wide }];
  await assert.rejects(table.write(writes), (error) => {
    assert.ok(error instanceof ConditionTooLargeError);
    assert.deepEqual(error.at, [1, 3]);
    return true;
  });
  assert.equal(sent.length, 0);
});

Deno.test("dynamo table: a failed condition gives the current item, or none", async () => {
  const current = [{ pk: { S: "x" } }, undefined];
  const { table } = tableOver(() => {
    throw new ConditionalCheckFailedException({ $metadata: {}, message: "no", Item: current.shift() });
  });
  const condition = equals("a", 1);
  assert.deepEqual(await table.write([{ ...put, condition }]), [{ outcome: "refused", current: { pk: "x" } }]);
  assert.deepEqual(await table.write([{ ...put, condition }]), [{ outcome: "refused", current: undefined }]);
});

Deno.test("dynamo table: an item held for new costs one short request, and the whole condition only where it is there", async () => {
  const whole = any(absent, equals("a", 1));
  const answers = [() => ({}), () => refused, () => ({ Attributes: { pk: { S: "x" } } })];
  const refused = new ConditionalCheckFailedException({ $metadata: {}, message: "no" });
  const { table, sent } = tableOver(() => {
    const answer = answers.shift()!();
    if (answer instanceof Error) throw answer;
    return answer;
  });
  const write: Write = { ...put, condition: whole, isNew: true };
  assert.deepEqual(await table.write([write]), [{ outcome: "written", old: undefined }]);
  assert.deepEqual(await table.write([write]), [{ outcome: "written", old: { pk: "x" } }]);
  assert.deepEqual(sent.map(({ ConditionExpression }) => ConditionExpression), [
    "attribute_not_exists(#0)",
    "attribute_not_exists(#0)",
    "(attribute_not_exists(#0) OR #1=:0)",
  ]);
});

Deno.test("dynamo table: keys that are left unprocessed are asked for again; each key is asked for once", async () => {
  const asked: number[] = [];
  const { table } = tableOver(({ input }) => {
    const { fleet } = input.RequestItems as { fleet: { Keys: { pk: { S: string } }[]; ConsistentRead: boolean } };
    asked.push(fleet.Keys.length);
    assert.equal(fleet.ConsistentRead, true);
    const [now, rest] = [fleet.Keys.slice(0, 40), fleet.Keys.slice(40)];
    return { Responses: { fleet: now }, UnprocessedKeys: rest.length > 0 ? { fleet: { Keys: rest } } : {} };
  });
  const keys = Array.from({ length: 150 }, (_, i): [string, string] => [`h${i}`, "s"]);
  const items = await table.get([...keys, ...keys]);
  assert.deepEqual(items.map((item) => item?.pk), [...keys, ...keys].map(([hash]) => hash));
  assert.deepEqual(asked.sort((a, b) => b - a), [100, 60, 50, 20, 10]);
});

Deno.test("dynamo table: keys that stay unprocessed to the end are a throttling that may be tried again", async () => {
  const { table } = tableOver((command) => {
    assert.ok(command instanceof BatchGetItemCommand);
    return { UnprocessedKeys: command.input.RequestItems };
  });
  await assert.rejects(table.get([["a", "b"]]), (error: SyncError) => error.code === "throttled" && error.retryable);
});

Deno.test("dynamo table: no more than the connection's slots are used by one call", async () => {
  let running = 0, most = 0;
  const { table } = tableOver(async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running--;
    return {};
  });
  const ids = Array.from({ length: 20 }, (_, i) => i);
  await table.write(ids.map((id) => ({ op: "put", item: thing(String(id)) })));
  assert.equal(most, 4);
});

Deno.test("dynamo table: an answer without its list, and an index that is not whole, are no answers", async () => {
  const unready = (error: SyncError) => error.code === "unavailable" && error.retryable;
  const get = tableOver(() => ({}));
  await assert.rejects(get.table.get([["device#d1", "thing#1"]]), unready);
  await assert.rejects(get.table.scan({ limit: 10 }), unready);
  await assert.rejects(get.table.query({ index: "primary", hash: "device#d1", limit: 10 }), unready);

  const { name } = dataShape(schema, "fleet").indexes[0]!;
  let state: Record<string, unknown> | undefined = { IndexStatus: "CREATING", Backfilling: true };
  const { table, sent, later } = tableOver(({ input }) => {
    if ("KeyConditionExpression" in input) return { Items: [] };
    const index = { IndexName: name, Projection: { ProjectionType: "ALL" }, ...state };
    return { Table: { GlobalSecondaryIndexes: state ? [index] : [] } };
  });
  const list = () => table.query({ index: name, hash: "h", limit: 10 });
  const listings = () => sent.filter((input) => "KeyConditionExpression" in input).length;
  await assert.rejects(list(), unready);
  state = { IndexStatus: "ACTIVE", Backfilling: true };
  await assert.rejects(list(), unready);
  assert.equal(listings(), 0, "nothing is listed before it is known to be whole");
  state = { IndexStatus: "ACTIVE" };
  assert.deepEqual(await list(), { items: [] });
  state = undefined;
  assert.deepEqual(await list(), { items: [] }, "looked at a moment ago");
  later(61_000);
  await assert.rejects(list(), unready, "it was deleted");
});
