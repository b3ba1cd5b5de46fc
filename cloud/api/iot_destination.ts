/**
 * AWS IoT Core sends to an HTTPS destination only what is confirmed to want it: it posts once
 * `{"messageType": "DestinationConfirmation", "arn", "confirmationToken", "enableUrl"}`, without the rule's headers and so without the
 * token, and waits for a GET of `enableUrl`
 * (https://docs.aws.amazon.com/iot/latest/developerguide/http-rule-action.html).
 *
 * Anybody may post such a thing. So `enableUrl` is asked only where it is AWS IoT's own address for that, one at a time and seldom:
 * what a stranger's destination then sends here lacks the token and is refused as ever. A request that bears the token may name
 * any address.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { ApiError } from "./errors.ts";
import { readJson } from "./request.ts";

const awsUrl = /^https:\/\/iot\.[a-z0-9-]+\.amazonaws\.com(\.cn)?\/confirmdestination\/[\w.~%=+-]+$/;
const messageType = "DestinationConfirmation";
/** Bytes of a confirmation: an ARN, a token and a URL. */
const confirmationBytesMax = 8 * 1024;
/** From one without the token to the next, ms. */
const strangersGapMs = 2_000;
const timeoutMs = 4_000;
const logger = new Log("api");

/**
 * The confirmation that a request carries; undefined: it is none. AWS names it in a header; the body is looked at also where there
 * is no token, with which a request is refused anyway.
 *
 * @throws ApiError 400, 413 for one that can't be read
 */
export async function confirmationIn(request: Request): Promise<unknown> {
  const isNamed = request.headers.get("x-amz-rules-engine-message-type") === messageType;
  const bytes = Number(request.headers.get("content-length") ?? NaN);
  if (!isNamed && (request.headers.has("authorization") || !(bytes <= confirmationBytesMax))) return undefined;
  try {
    const body = await readJson(request, confirmationBytesMax) as { messageType?: unknown } | null;
    return body?.messageType === messageType ? body : undefined;
  } catch (error) {
    if (isNamed) throw error;
    return undefined;
  }
}

/** Answers confirmation requests. */
export class IotDestinations {
  #nextMs = -Infinity;

  constructor(private readonly now: () => number, private readonly get: typeof fetch = (...args) => fetch(...args)) {}

  /**
   * Confirms the destination that a body names.
   *
   * @throws ApiError 400 where it names none, 429 where there are too many, 502 where AWS does not take it
   */
  async confirm(body: unknown, bearsToken: boolean): Promise<void> {
    const { arn, enableUrl } = (body ?? {}) as Record<string, unknown>;
    const url = typeof enableUrl === "string" && URL.canParse(enableUrl) ? enableUrl : undefined;
    if (!url || !(awsUrl.test(url) || bearsToken && /^https?:/.test(url))) {
      throw new ApiError(400, "invalid", "enableUrl is not an address of AWS IoT at which a destination is confirmed");
    }
    if (!bearsToken) {
      if (this.now() < this.#nextMs) throw new ApiError(429, "throttled", "too many confirmations");
      this.#nextMs = this.now() + strangersGapMs;
    }
    let response: Response;
    try {
      response = await this.get(url, { redirect: "error", signal: AbortSignal.timeout(timeoutMs) });
      await response.body?.cancel();
    } catch (cause) {
      throw new ApiError(502, "unavailable", `AWS IoT can't be reached to confirm: ${(cause as Error).message}`);
    }
    if (!response.ok) {
      throw new ApiError(502, "unavailable", `AWS IoT answered the confirmation with ${response.status}`);
    }
    logger.info("confirmed the destination {arn} to AWS IoT", { arn: String(arn) });
  }
}
