/**
 * Amazon EventBridge in the test's process, as strict as AWS documents it (API reference of PutEvents,
 * PutEventsRequestEntry and PutEventsResultEntry; "Calculating PutEvents event entry size" in its guide), and as
 * careless: it answers an event for a bus that does not exist with an event id, and drops it.
 *
 * @module
 */
import { serveHttp } from "../../../cloud/api/http_server.ts";
import { assertSigned } from "../../support/sigv4.ts";

/** An entry of PutEvents, as it comes. */
export interface PutEntry {
  readonly Source?: string;
  readonly DetailType?: string;
  readonly Detail?: string;
  readonly EventBusName?: string;
  /** Seconds since 1970. */
  readonly Time?: number;
  readonly Resources?: readonly string[];
}

/** Entries of a request, and bytes of all of them: fewer than that. */
export const entriesMax = 10, requestBytesMax = 256 * 1024;
const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret/with+signs" }, region = "eu-west-1";
const bytes = (text = "") => new TextEncoder().encode(text).length;

/** AWS' own rule: 14 for the time, and the UTF-8 of the rest; the bus has no part in it. */
export function entrySize({ Time, Source, DetailType, Detail, Resources = [] }: PutEntry): number {
  const sum = Resources.reduce((sum, resource) => sum + bytes(resource), 0);
  return (Time === undefined ? 0 : 14) + bytes(Source) + bytes(DetailType) + bytes(Detail) + sum;
}

class Fault extends Error {
  constructor(readonly type: string, message: string, readonly status = 400) {
    super(message);
  }
}

/** See the module. Use with `await using`; the SDK finds it by the environment meanwhile. */
export class EventBridgeDouble implements AsyncDisposable {
  /** Events that a bus took. */
  readonly taken: PutEntry[] = [];
  /** Events that nobody will ever see, though they were answered as if. */
  readonly dropped: PutEntry[] = [];
  readonly requests: string[] = [];
  /** Names and ARNs. */
  readonly buses = new Set(["default"]);
  /** Codes of the next entries' faults; undefined: none. */
  readonly entryFaults: (string | undefined)[] = [];
  /** Of the next requests, before they are looked at. */
  readonly requestFaults: { readonly type: string; readonly status: number }[] = [];
  /** The caller may not ask whether there is a bus. */
  maySeeBuses = true;
  readonly #before: (readonly [string, string | undefined])[];

  private constructor(private readonly server: Awaited<ReturnType<typeof serveHttp>>) {
    const env = {
      AWS_ENDPOINT_URL_EVENTBRIDGE: `http://127.0.0.1:${server.port}`,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    };
    this.#before = Object.keys(env).map((name) => [name, Deno.env.get(name)] as const);
    for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  }

  static async open(...buses: readonly string[]): Promise<EventBridgeDouble> {
    const here: { double?: EventBridgeDouble } = {};
    const server = await serveHttp((request) => here.double!.#answer(request), { host: "127.0.0.1", port: 0 });
    const double = here.double = new EventBridgeDouble(server);
    for (const bus of buses) double.buses.add(bus);
    return double;
  }

  async #answer(request: Request): Promise<Response> {
    const target = request.headers.get("x-amz-target") ?? "", body = new Uint8Array(await request.arrayBuffer());
    this.requests.push(target);
    try {
      const url = new URL(request.url), host = `127.0.0.1:${this.server.port}`;
      if (request.method !== "POST" || url.pathname !== "/") throw new Fault("UnknownOperationException", "", 404);
      if (request.headers.get("content-type") !== "application/x-amz-json-1.1") {
        throw new Fault("SerializationException", "the content type is not application/x-amz-json-1.1");
      }
      const signed = { method: request.method, target: "/", headers: request.headers, body };
      assertSigned(signed, { host, ...credentials, region, service: "events" });
      const fault = this.requestFaults.shift();
      if (fault) throw new Fault(fault.type, "asked for by the test", fault.status);
      const input = JSON.parse(new TextDecoder().decode(body));
      if (target === "AWSEvents.PutEvents") return json(this.#put(input.Entries));
      if (target === "AWSEvents.DescribeEventBus") return json(this.#describe(input.Name));
      throw new Fault("UnknownOperationException", target);
    } catch (error) {
      const { type, message, status } = error instanceof Fault
        ? error
        : new Fault("InvalidSignatureException", (error as Error).message, 403);
      return json({ __type: type, message }, status);
    }
  }

  #describe(name = "default"): unknown {
    if (!this.maySeeBuses) {
      throw new Fault("AccessDeniedException", "not authorized to perform events:DescribeEventBus");
    }
    if (!this.buses.has(name)) throw new Fault("ResourceNotFoundException", `Event bus ${name} does not exist.`);
    return { Name: name, Arn: `arn:aws:events:${region}:123456789012:event-bus/${name}` };
  }

  #put(entries: unknown): unknown {
    if (!Array.isArray(entries)) throw new Fault("ValidationException", "Value null at 'entries' must not be null");
    if (entries.length < 1 || entries.length > entriesMax) {
      const rule = entries.length < 1 ? "greater than or equal to 1" : `less than or equal to ${entriesMax}`;
      throw new Fault("ValidationException", `Value at 'entries' must have length ${rule}`);
    }
    for (const entry of entries as PutEntry[]) checkTypes(entry);
    const size = (entries as PutEntry[]).reduce((sum, entry) => sum + entrySize(entry), 0);
    if (size >= requestBytesMax) {
      throw new Fault("ValidationException", "Total size of the entries in the request is over the limit.");
    }
    const answers = (entries as PutEntry[]).map((entry) => {
      const fault = this.entryFaults.shift() ?? faultOf(entry);
      if (fault) return { ErrorCode: fault, ErrorMessage: `${fault}, says the double` };
      (this.buses.has(entry.EventBusName ?? "default") ? this.taken : this.dropped).push(entry);
      return { EventId: crypto.randomUUID() };
    });
    return { FailedEntryCount: answers.filter((answer) => "ErrorCode" in answer).length, Entries: answers };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [name, value] of this.#before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    this.server.destroy();
    await this.server.shutdown().catch(() => {});
  }
}

function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/x-amz-json-1.1" } });
}

/** What is wrong with the whole request, whichever entry has it. */
function checkTypes({ Time, EventBusName, ...rest }: PutEntry): void {
  if (Time !== undefined && typeof Time !== "number") throw new Fault("SerializationException", "Time is no number");
  const texts = [rest.Source, rest.DetailType, rest.Detail, EventBusName];
  if (texts.some((text) => text !== undefined && typeof text !== "string")) {
    throw new Fault("SerializationException", "a text is none");
  }
  if (EventBusName !== undefined && !/^(arn:[\d\w:/.-]+)?[/.\-_A-Za-z0-9]{1,1600}$/.test(EventBusName)) {
    throw new Fault("ValidationException", "Value at 'entries.1.member.eventBusName' failed to satisfy constraint");
  }
}

/** What is wrong with one entry. */
function faultOf({ Source, DetailType, Detail }: PutEntry): string | undefined {
  if (!Source || !DetailType || !Detail || bytes(Source) > 256 || bytes(DetailType) > 128) return "InvalidArgument";
  if (Source.startsWith("aws.")) return "NotAuthorizedForSourceException";
  try {
    const detail: unknown = JSON.parse(Detail);
    return typeof detail === "object" && detail !== null && !Array.isArray(detail) ? undefined : "MalformedDetail";
  } catch {
    return "MalformedDetail";
  }
}
