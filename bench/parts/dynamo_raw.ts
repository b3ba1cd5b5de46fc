/**
 * Conditional PutItem by the AWS SDK, nothing else: what a table gives to a client that does one write for each change.
 *
 * @module
 */
import process from "node:process";
import { Agent } from "node:http";
import { DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { answerCalls } from "../child.ts";
import { telemetryValues } from "../schema.ts";

let client: DynamoDBClient, table = "";

const methods = {
  open(options: { endpoint: string; table: string }) {
    table = options.table;
    client = new DynamoDBClient({
      endpoint: options.endpoint,
      region: "local",
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
      requestHandler: { httpAgent: new Agent({ keepAlive: true, maxSockets: 128 }) },
    });
  },
  /** Puts new items, so many at once; items/s. */
  async put({ from, count, inFlight }: { from: number; count: number; inFlight: number }) {
    let next = from;
    const lane = async () => {
      while (next < from + count) {
        const n = next++;
        const [, cpu, memory, state] = telemetryValues(n);
        const id = `raw-${String(n).padStart(22, "0")}`;
        const text = (S: string) => ({ S }), number = (value: number) => ({ N: String(value) });
        await client.send(
          new PutItemCommand({
            TableName: table,
            Item: {
              ...{ pk: text("device#raw"), sk: text(`telemetry#${id}`), deviceId: text("raw"), id: text(id) },
              ...{ n: number(n), cpu: number(cpu), memory: number(memory), state: text(state) },
              ...{ _type: text("Telemetry"), _source: text("raw#0123456789ab"), _stamp: number(Date.now() * 1000) },
            },
            ConditionExpression: "attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure: "ALL_OLD",
          }),
        );
      }
    };
    const start = performance.now();
    await Promise.all(Array.from({ length: inFlight }, lane));
    return count * 1000 / (performance.now() - start);
  },
  cpuMs() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

await answerCalls(methods, () => client?.destroy());
