/**
 * HTTP events of a Lambda function (payload format 2.0: an HTTP API or a function URL) as requests, and responses as their
 * answers. AWS keeps cookies apart from the other headers, both ways, and has the stage's name in the path, unless the stage
 * is `$default`. Whatever a caller sends is answered: an exception would count as a fault of the function.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { ApiError, errorResponse } from "./api/errors.ts";

/** The used part of an HTTP event. */
export interface HttpEvent {
  readonly version: "2.0";
  readonly rawPath: string;
  readonly rawQueryString?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly cookies?: readonly string[];
  readonly body?: string;
  readonly isBase64Encoded?: boolean;
  readonly requestContext: {
    readonly stage?: string;
    readonly http: { readonly method: string; readonly sourceIp?: string };
  };
}

/** An answer in payload format 2.0. */
export interface HttpAnswer {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly cookies?: readonly string[];
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

/** AWS takes 6 MB of a function's answer, its JSON included. */
const answerBytesMax = 5_900_000;

/** The path without the stage's name. */
function pathOf({ rawPath, requestContext: { stage } }: HttpEvent): string {
  const prefix = `/${stage}`;
  if (stage === undefined || stage === "$default") return rawPath;
  return rawPath === prefix || rawPath.startsWith(`${prefix}/`) ? rawPath.slice(prefix.length) || "/" : rawPath;
}

/** The request of an event. @throws ApiError 400 if there can be no such request */
export function requestOf(event: HttpEvent): Request {
  const { rawQueryString, headers, cookies, body, isBase64Encoded, requestContext } = event;
  const url = `https://lambda${pathOf(event)}${rawQueryString ? `?${rawQueryString}` : ""}`;
  const { method } = requestContext.http;
  try {
    const given = new Headers();
    for (const [name, value] of Object.entries(headers ?? {})) if (value !== undefined) given.append(name, value);
    if (cookies && cookies.length > 0) given.set("cookie", cookies.join("; "));
    if (body === undefined || method === "GET" || method === "HEAD") {
      return new Request(url, { method, headers: given });
    }
    return new Request(url, { method, headers: given, body: isBase64Encoded ? Buffer.from(body, "base64") : body });
  } catch (error) {
    // A method or a header that the runtime's own types refuse.
    throw new ApiError(400, "invalid", `no such request can be handled: ${(error as Error).message}`);
  }
}

/** The answer of a response. */
export async function answerOf(response: Response): Promise<HttpAnswer> {
  const type = response.headers.get("content-type") ?? "text/";
  if (type.startsWith("text/event-stream")) {
    // It has no end, and a function's answer is sent when it is whole.
    await response.body?.cancel();
    const why = "a function sends no stream of events: `cloud`, or a server that runs the handler, does";
    return await answerOf(errorResponse(new ApiError(501, "not-here", why)));
  }
  const body = Buffer.from(await response.arrayBuffer());
  // Only text is passed as text; anything else is base64.
  const isText = /^(text\/|application\/json)|charset=/.test(type);
  const text = body.toString(isText ? "utf8" : "base64");
  if (text.length > answerBytesMax || body.length > answerBytesMax) {
    const why = `the answer has ${body.length} bytes: a function's may have some 6 MB; ask for less, or a server`;
    return await answerOf(errorResponse(new ApiError(501, "too-large", why)));
  }
  const cookies = response.headers.getSetCookie();
  return {
    statusCode: response.status,
    headers: Object.fromEntries([...response.headers].filter(([name]) => name !== "set-cookie")),
    ...(cookies.length > 0 && { cookies }),
    body: text,
    isBase64Encoded: !isText,
  };
}
