/**
 * A proxy in front of a DynamoDB emulator that makes it unreachable, throttles, and counts what each request costs. It may
 * alter requests, since emulators check no signatures.
 *
 * @module
 */
import { freePort } from "./mosquitto.ts";

/** What a request to DynamoDB cost. */
export interface Exchange {
  /** The operation: `PutItem`, `BatchGetItem`, `GetRecords`, … */
  readonly operation: string;
  readonly table: string | undefined;
  /** The hash value of the item or key that a write or a query names. */
  readonly hash: string | undefined;
  /** The sort value of the item that a write of the log table names. */
  readonly sort: string | undefined;
  /** Capacity units by the emulator's own reckoning; 0 where it says nothing (streams, administration). */
  readonly units: number;
  readonly status: number;
}

/** Operations that are asked for the capacity that they consume. */
const metered: ReadonlySet<string> = new Set([
  "PutItem",
  "DeleteItem",
  "UpdateItem",
  "GetItem",
  "BatchGetItem",
  "BatchWriteItem",
  "Query",
  "Scan",
]);

/** See the module. Use with `await using`. */
export class FaultProxy implements AsyncDisposable {
  /** Requests that were let through since the last {@link take}. */
  #exchanges: Exchange[] = [];
  /** `throttle`: every second request is refused as above the table's capacity. */
  mode: "pass" | "throttle" = "pass";
  throttled = 0;
  #requests = 0;
  #server: Deno.HttpServer | undefined;
  #stop = new AbortController();

  private constructor(readonly target: string, readonly port: number) {}

  /** Starts a proxy on a free port. */
  static async open(target: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, await freePort());
    proxy.mend();
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Cuts every connection; new ones are refused until {@link mend}. */
  async cut(): Promise<void> {
    this.#stop.abort();
    await this.#server?.finished;
    this.#server = undefined;
  }

  /** Lets connections in again. */
  mend(): void {
    this.#stop = new AbortController();
    this.#server = Deno.serve(
      { port: this.port, hostname: "127.0.0.1", signal: this.#stop.signal, onListen: () => {} },
      (request) => this.#answer(request),
    );
  }

  /** What was let through since the last call. */
  take(): Exchange[] {
    const exchanges = this.#exchanges;
    this.#exchanges = [];
    return exchanges;
  }

  async #answer(request: Request): Promise<Response> {
    const operation = request.headers.get("x-amz-target")?.split(".")[1] ?? "";
    const text = await request.text();
    if (this.mode === "throttle" && ++this.#requests % 2 === 0) {
      this.throttled++;
      return Response.json({
        __type: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        message: "by the test",
      }, { status: 400, headers: { "content-type": "application/x-amz-json-1.0" } });
    }
    const body = metered.has(operation) ? { ...JSON.parse(text), ReturnConsumedCapacity: "TOTAL" } : JSON.parse(text);
    const headers = new Headers(request.headers);
    for (const name of ["host", "content-length", "connection", "accept-encoding"]) headers.delete(name);
    const answer = await fetch(this.target, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.text();
    const consumed = metered.has(operation) ? JSON.parse(said).ConsumedCapacity : undefined;
    const units = [consumed ?? []].flat().reduce((sum: number, { CapacityUnits }) => sum + CapacityUnits, 0);
    const table = body.TableName ?? Object.keys(body.RequestItems ?? {})[0];
    this.#exchanges.push({
      operation,
      table,
      hash: hashOf(body),
      sort: body.Item?.sort?.S,
      units,
      status: answer.status,
    });
    return new Response(said, {
      status: answer.status,
      headers: { "content-type": answer.headers.get("content-type") ?? "application/x-amz-json-1.0" },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server) await this.cut();
  }
}

// deno-lint-ignore no-explicit-any
function hashOf({ Item, Key, ExpressionAttributeValues, RequestItems }: any): string | undefined {
  // deno-lint-ignore no-explicit-any
  const [read] = Object.values<any>(RequestItems ?? {});
  const named = Item ?? Key ?? read?.Keys?.[0];
  return (named?.hash ?? named?.pk ?? ExpressionAttributeValues?.[":h"])?.S;
}
