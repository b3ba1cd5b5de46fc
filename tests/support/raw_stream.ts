/**
 * A table's stream as it comes over the wire: the records that Lambda and EventBridge Pipes hand on, byte for byte, which the
 * AWS SDK would turn into its own types.
 *
 * @module
 */

/** A stream record in AWS's JSON. */
export interface RawRecord {
  readonly eventID: string;
  readonly eventName: string;
  readonly dynamodb: { readonly SequenceNumber: string; readonly Keys: Record<string, { S: string }> };
}

/** Reads all shards of a table's stream from its beginning, page by page. */
export class RawStream {
  #arn: string | undefined;
  /** The next iterator of each shard; null: read to its end. */
  readonly #iterators = new Map<string, string | null>();

  constructor(readonly endpoint: string, readonly table: string) {}

  /** The records that came since the last call, one list a shard, in the shard's order. */
  async read(): Promise<RawRecord[][]> {
    this.#arn ??=
      (await this.#call("DynamoDB_20120810.DescribeTable", { TableName: this.table })).Table.LatestStreamArn;
    const { StreamDescription } = await this.#call("DynamoDBStreams_20120810.DescribeStream", { StreamArn: this.#arn });
    const shards: RawRecord[][] = [];
    for (const { ShardId } of StreamDescription.Shards) {
      let iterator = this.#iterators.get(ShardId);
      if (iterator === null) continue;
      iterator ??= (await this.#call("DynamoDBStreams_20120810.GetShardIterator", {
        StreamArn: this.#arn,
        ShardId,
        ShardIteratorType: "TRIM_HORIZON",
      })).ShardIterator as string;
      const page = await this.#call("DynamoDBStreams_20120810.GetRecords", { ShardIterator: iterator });
      this.#iterators.set(ShardId, page.NextShardIterator ?? null);
      if (page.Records.length > 0) shards.push(page.Records);
    }
    return shards;
  }

  // deno-lint-ignore no-explicit-any
  async #call(target: string, body: unknown): Promise<any> {
    const response = await fetch(this.endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": target,
        // Emulators look at the key and the region alone.
        "authorization":
          "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        "x-amz-date": "20260101T000000Z",
      },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${target}: ${response.status} ${await response.text()}`);
    return await response.json();
  }
}
