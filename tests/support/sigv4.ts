/**
 * Signature Version 4 as AWS describes it, written anew: a double of an AWS service refuses what AWS would.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";

/** A request as it came over the wire. */
export interface SignedRequest {
  readonly method: string;
  /** Path and query, not decoded. */
  readonly target: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** Who may sign, and for what. */
export interface Signing {
  readonly host: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly service: string;
}

const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Uint8Array, text: string) => createHmac("sha256", key).update(text).digest();

/** Fails unless the request is signed so. */
export function assertSigned({ method, target, headers, body }: SignedRequest, signing: Signing): void {
  const authorization = headers.get("authorization") ?? "";
  const [, id, date, region, service, signed, given] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/
      .exec(authorization) ?? assert.fail(`authorization: ${authorization}`);
  assert.deepEqual([id, region, service], [signing.accessKeyId, signing.region, signing.service]);
  const names = signed!.split(";");
  assert.deepEqual(names, [...names].sort());
  const needed = ["host", "x-amz-date", ...(headers.has("x-amz-security-token") ? ["x-amz-security-token"] : [])];
  for (const name of needed) assert.ok(names.includes(name), `${name} is signed`);
  const [path, query] = target.split("?");
  // Each segment is encoded once more than it was sent.
  const canonicalPath = path!.split("/").map((segment) => encodeURIComponent(segment)).join("/");
  const canonical = [
    method,
    canonicalPath,
    query ?? "",
    ...names.map((name) => `${name}:${(name === "host" ? signing.host : headers.get(name)!).trim()}`),
    "",
    signed,
    sha256(body),
  ].join("\n");
  const toSign = [
    "AWS4-HMAC-SHA256",
    headers.get("x-amz-date"),
    `${date}/${region}/${service}/aws4_request`,
    sha256(canonical),
  ].join("\n");
  const key = [region!, service!, "aws4_request"].reduce(
    (key, part) => hmac(key, part),
    hmac(`AWS4${signing.secretAccessKey}`, date!),
  );
  assert.equal(given, hmac(key, toSign).toString("hex"), "the signature is the one of this request");
}
