/**
 * A sample of a DynamoDB table: its indexes, and some items.
 *
 * @module
 */
import {
  DescribeTableCommand,
  type DescribeTableCommandOutput,
  type KeySchemaElement,
  ScanCommand,
  type ScanCommandOutput,
} from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { type AttributeValues, fromAttributeValues } from "../cloud/dynamodb/attribute_value.ts";
import { connectDynamo } from "../cloud/dynamodb/client.ts";
import type { Item } from "../schema.ts";
import { UsageError } from "./args.ts";

/** The most items to read. */
const itemsMax = 1_000;

/** Indexes by name as a schema has them, and items. Costs the read units of {@link itemsMax} items. */
export async function sampleTable(
  url: string,
): Promise<{ items: Item[]; indexes: Record<string, { hash: string; sort?: string }> }> {
  const connection = await connectDynamo(url).catch((error) => {
    throw error instanceof RangeError ? new UsageError(`--table: ${error.message}`) : error;
  });
  try {
    const { table } = connection.url;
    const { Table } = await connection.send<DescribeTableCommandOutput>(new DescribeTableCommand({ TableName: table }));
    const indexes: Record<string, { hash: string; sort?: string }> = { primary: indexOf(Table?.KeySchema) };
    for (const index of [...(Table?.GlobalSecondaryIndexes ?? []), ...(Table?.LocalSecondaryIndexes ?? [])]) {
      indexes[index.IndexName!] = indexOf(index.KeySchema);
    }
    const items: Item[] = [];
    let after: AttributeValues | undefined;
    do {
      const page: ScanCommandOutput = await connection.send<ScanCommandOutput>(
        new ScanCommand({ TableName: table, Limit: 250, ExclusiveStartKey: after }),
      );
      for (const item of page.Items ?? []) items.push(fromAttributeValues(item));
      after = page.LastEvaluatedKey;
    } while (after !== undefined && items.length < itemsMax);
    return { items, indexes };
  } finally {
    connection.close();
  }
}

function indexOf(keys: readonly KeySchemaElement[] | undefined): { hash: string; sort?: string } {
  const named = (type: string) => keys?.find(({ KeyType }) => KeyType === type)?.AttributeName;
  const sort = named("RANGE");
  return { hash: named("HASH") ?? "pk", ...(sort === undefined ? {} : { sort }) };
}
