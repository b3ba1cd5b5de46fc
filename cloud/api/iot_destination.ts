/**
 * AWS IoT Core only sends to an HTTPS destination that has confirmed itself: it first posts `{"messageType":
 * "DestinationConfirmation", "arn", "confirmationToken", "enableUrl"}`, without the rule's headers, and so without the
 * token, and waits for a GET of `enableUrl`
 * (https://docs.aws.amazon.com/iot/latest/developerguide/http-rule-action.html).
 *
 * Anybody may post such a request. So `enableUrl` is called only if it is AWS IoT's own address for that, one at a time
 * and rarely: what a stranger's destination sends afterwards lacks the token and is refused as usual. A request with
 * the token may name any address.
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
 * The confirmation in a request; undefined: it is not one. AWS marks it by a header; without a token, the body is read
 * as well, because the request would be refused anyway.
 *
 * @throws ApiError 400, 413 for an unreadable one
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
   * @throws ApiError 400 if it names none, 429 if there are too many, 502 if AWS does not accept it
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
      // The caller may be anybody: names of this network's resolver or proxy are for the log.
      logger.warn("AWS IoT can't be reached to confirm {arn}: {error}", { arn: String(arn), error: cause });
      throw new ApiError(502, "unavailable", "AWS IoT can't be reached to confirm; the log says why");
    }
    if (!response.ok) {
      throw new ApiError(502, "unavailable", `AWS IoT answered the confirmation with ${response.status}`);
    }
    logger.info("confirmed the destination {arn} to AWS IoT", { arn: String(arn) });
  }
}
