/** Making tables while DynamoDB is slow: a table in the making is waited for, whatever passes in between. */
import assert from "node:assert/strict";
import { CreateTableCommand, DescribeTableCommand, DescribeTimeToLiveCommand } from "@aws-sdk/client-dynamodb";
import { createTables } from "../../../cloud/dynamodb/admin.ts";
import type { Connection } from "../../../cloud/dynamodb/client.ts";
import { withRetries } from "../../../cloud/dynamodb/retry.ts";
import type { SyncError } from "../../../schema.ts";
import { schema } from "./fixture.ts";

function awsError(name: string): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode: 400 } });
}

/** A DynamoDB whose tables are made a while after they were asked for; until then `meanwhile` answers what asks for them. */
function slowDynamo(makingMs: number, meanwhile: () => unknown) {
  let nowMs = 0;
  const made = new Map<string, { readonly at: number; readonly description: object }>();
  const policy = {
    now: () => nowMs,
    random: () => 0.5,
    sleep: (ms: number) => {
      nowMs += ms;
      return Promise.resolve();
    },
    retryForMs: 5_000,
  };
  // deno-lint-ignore no-explicit-any
  const answer = (command: any): unknown => {
    const { TableName: name, ...more } = command.input;
    if (command instanceof CreateTableCommand) {
      made.set(name, { at: nowMs, description: { ...more, TableStatus: "ACTIVE" } });
      return {};
    }
    if (command instanceof DescribeTimeToLiveCommand) return {};
    if (!(command instanceof DescribeTableCommand)) return {};
    const table = made.get(name);
    if (!table) throw awsError("ResourceNotFoundException");
    return nowMs - table.at < makingMs ? meanwhile() : { Table: table.description };
  };
  const send = (command: unknown) => withRetries(() => Promise.resolve().then(() => answer(command)), policy);
  const url = { table: "fleet", log: "fleet-log" };
  return { connection: { url, policy, concurrency: 4, send } as unknown as Connection, policy };
}

const created = 'created the table "fleet"';

Deno.test("admin: while a table is being made, being throttled for a minute is waited out", async () => {
  const { connection } = slowDynamo(60_000, () => {
    throw awsError("ThrottlingException");
  });
  const done = await createTables(connection, schema);
  assert.ok(done[0]!.startsWith(created), done.join("; "));
  assert.equal(done.length, 4);
});

Deno.test("admin: a table that is still being made after ten minutes is said to be, and what does not pass at once", async () => {
  const slow = slowDynamo(3600_000, () => ({ Table: { TableStatus: "CREATING" } }));
  await assert.rejects(createTables(slow.connection, schema), (error: SyncError) => {
    return error.code === "unavailable" && /still being created after 10 minutes/.test(error.message);
  });
  const closed = slowDynamo(60_000, () => {
    throw awsError("AccessDeniedException");
  });
  await assert.rejects(createTables(closed.connection, schema), (error: SyncError) => error.code === "denied");
  assert.ok(closed.policy.now() < 1000);
});

Deno.test("admin: where one of the tables can't be completed, nothing of either is altered", async () => {
  const { connection } = slowDynamo(0, () => ({})), commands: unknown[] = [];
  const keys = (hash: string, sort: string) => ({
    KeySchema: [{ AttributeName: hash, KeyType: "HASH" }, { AttributeName: sort, KeyType: "RANGE" }],
    AttributeDefinitions: [hash, sort].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    TableStatus: "ACTIVE",
  });
  // The data table could be completed; the log table has other keys, and comes second.
  const found: Record<string, object> = { fleet: keys("pk", "sk"), "fleet-log": keys("id", "at") };
  const send = (command: { readonly input: { readonly TableName: string } }) => {
    commands.push(command);
    return Promise.resolve(command instanceof DescribeTableCommand ? { Table: found[command.input.TableName] } : {});
  };
  const over = { ...connection, send } as unknown as Connection;
  await assert.rejects(createTables(over, schema), { code: "table-mismatch" });
  assert.ok(commands.every((command) => command instanceof DescribeTableCommand));
});
