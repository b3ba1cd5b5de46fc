/**
 * A broker's HTTP API, in the test's process: keeps what it is sent, refuses what AWS IoT Core (on `/topics/`) or EMQX
 * (elsewhere) would refuse, and answers the rest as it is told.
 *
 * @module
 */

/** A request as it came over the wire. */
export interface Received {
  readonly method: string;
  /** Path and query, not decoded. */
  readonly target: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** See the module. Use with `await using`. */
export class BrokerDouble implements AsyncDisposable {
  readonly requests: Received[] = [];
  answer: (() => Response | Promise<Response>) | undefined;
  readonly #server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const body = new Uint8Array(await request.arrayBuffer());
    const received = { method: request.method, target: pathname + search, headers: request.headers, body };
    this.requests.push(received);
    const isIot = pathname.startsWith("/topics/");
    const refusal = isIot ? iotRefusal(received) : emqxRefusal(received);
    return refusal ?? await (this.answer ?? (isIot ? iotAnswer : emqxAnswer))();
  });

  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** The most bytes of a payload of AWS IoT Core; its topics have 256 bytes and 7 slashes at most. */
export const iotPayloadMax = 128 * 1024;
const iotTopicMax = 256, iotSlashesMax = 7;
const bytes = (text: string) => new TextEncoder().encode(text).length;

const iotAnswer = () => Response.json({ message: "OK", traceId: "00000000-0000-0000-0000-000000000000" });
/** What EMQX answers if somebody subscribes. */
export const emqxAnswer = () => Response.json({ id: "000600D09A099053F445000014C30000" });

function iotRefusal({ method, target, body }: Received): Response | undefined {
  const refused = (status: number, message: string) => Response.json({ message }, { status });
  const [path, query] = target.split("?"), params = new URLSearchParams(query);
  const segments = path!.slice("/topics/".length).split("/");
  if (method !== "POST") return refused(405, "method");
  // A slash of the topic is encoded: the topic is one segment.
  if (segments.length !== 1) return refused(404, "path");
  const topic = decodeURIComponent(segments[0]!);
  if (topic === "" || bytes(topic) > iotTopicMax || topic.split("/").length - 1 > iotSlashesMax) {
    return refused(400, "topic too long");
  }
  if (/[+#]/.test(topic) || topic.startsWith("$")) return refused(400, "invalid topic");
  if (!["0", "1"].includes(params.get("qos") ?? "0")) return refused(400, "invalid qos");
  if (!["true", "false"].includes(params.get("retain") ?? "false")) return refused(400, "invalid retain");
  return body.length > iotPayloadMax ? refused(413, "payload too large") : undefined;
}

function emqxRefusal({ method, headers, body }: Received): Response | undefined {
  const refused = (status: number, message: string) => Response.json({ code: "BAD_REQUEST", message }, { status });
  if (method !== "POST") return refused(405, "method");
  if (!/^Basic [A-Za-z0-9+/]+=*$/.test(headers.get("authorization") ?? "")) return refused(401, "no API key");
  const { topic, qos, retain, payload, payload_encoding: encoding } = JSON.parse(new TextDecoder().decode(body));
  if (typeof topic !== "string" || topic === "" || /[+#]/.test(topic)) return refused(400, "topic_name_invalid");
  if (![0, 1, 2].includes(qos) || typeof retain !== "boolean") return refused(400, "qos or retain");
  if (typeof payload !== "string" || !["plain", "base64"].includes(encoding)) return refused(400, "payload");
  const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(payload);
  return encoding === "base64" && !isBase64 ? refused(400, "bad base64") : undefined;
}
