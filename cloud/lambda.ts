/**
 * The handler as an AWS Lambda function on Node 22 or 24: `deno task bundle:lambda` makes one file of it,
 * `dist/lambda.mjs`, whose export is `handler`. Configured by the environment, as `handler.ts`; a schema beside the
 * file is `TWINTABLE_SCHEMA=schema.json`.
 *
 * | event | what happens |
 * | --- | --- |
 * | API Gateway HTTP API (payload format 2.0), function URL | the request is answered: every route but streams of events, by its bearer token |
 * | DynamoDB stream (`Records`), EventBridge Pipes (an array) | as `POST /stream`; the answer is `batchItemFailures` |
 * | AWS IoT rule's Lambda action: `{topic, payload}` | as `POST /up` |
 *
 * IAM decides who may invoke the function with an event: these invocations need no token. An event that can't be
 * handled throws, so that AWS delivers it again.
 *
 * Between invocations, a function is frozen together with its connection to a broker: publish by `iot-data://` or
 * `emqx+https://`.
 *
 * @module
 */
import { errorResponse } from "./api/errors.ts";
import own, { ownToken } from "./handler.ts";
import { answerOf, type HttpAnswer, type HttpEvent, requestOf } from "./lambda_http.ts";

export type { HttpAnswer } from "./lambda_http.ts";

/** Handles an invocation; see the module's text. @throws {Error} for an unknown event, or one that failed */
export async function handler(event: unknown): Promise<unknown> {
  if (isHttp(event)) return await answered(event);
  if (isStream(event)) return await posted("/stream", event);
  if (isMessage(event)) return await posted("/up", event);
  throw new Error(
    `an event that is neither HTTP (payload format 2.0), nor a stream's, nor an IoT rule's: ${keysOf(event)}`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isHttp(event: unknown): event is HttpEvent {
  return isObject(event) && event.version === "2.0" && isObject(event.requestContext) &&
    isObject(event.requestContext.http);
}

function isStream(event: unknown): boolean {
  return Array.isArray(event) || isObject(event) && (Array.isArray(event.Records) || isObject(event.dynamodb));
}

function isMessage(event: unknown): boolean {
  return isObject(event) && typeof event.topic === "string" && event.payload !== undefined;
}

/** Only names: values may be anybody's data. */
function keysOf(event: unknown): string {
  return isObject(event) ? `its fields are ${Object.keys(event).slice(0, 20).join(", ")}` : `it is ${typeof event}`;
}

/** Answers a request, whatever it is like. */
async function answered(event: HttpEvent): Promise<HttpAnswer> {
  // As AWS saw the connection, and not a header that a caller may write.
  const { sourceIp: hostname } = event.requestContext.http;
  const fetched = async () => await own.fetch(requestOf(event), { remoteAddr: { hostname } });
  return await answerOf(await fetched().catch(errorResponse));
}

/** Passes an event to one of the handler's own routes. */
async function posted(path: string, event: unknown): Promise<unknown> {
  const headers = { authorization: `Bearer ${ownToken}` };
  const response = await own.fetch(
    new Request(`https://lambda${path}`, { method: "POST", headers, body: JSON.stringify(event) }),
  );
  const answer = await response.json();
  if (!response.ok) {
    throw new Error(`${path} answered ${response.status}: ${answer?.error?.message ?? JSON.stringify(answer)}`);
  }
  return answer;
}
