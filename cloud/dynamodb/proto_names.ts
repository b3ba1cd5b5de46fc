/**
 * Lets the AWS SDK carry attributes named `__proto__`. It builds objects by assignment, where that name sets a
 * prototype: a request loses the attribute, an answer has it as `undefined`. So requests and answers have the name
 * under an alias while the SDK holds them as objects, and as itself on the wire.
 *
 * Linear in the size of a message, and only a scan if the name does not occur.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { buffer } from "node:stream/consumers";
import type { DynamoDBClient } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { protoAlias } from "./attribute_value.ts";

/** As names are in JSON: in a value a quote is escaped, so it can't be confused with a name's. */
const alias = `"${protoAlias}":`, name = /"__proto__"\s*:/g;
const needleOut = Buffer.from(alias), needleIn = Buffer.from('"__proto__"');

/** The bytes of a body, without a copy. */
function bytesOf(body: string | Uint8Array): Buffer {
  return typeof body === "string" ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

/** Installs the two translations in a client. */
export function carryProtoNames(client: Pick<DynamoDBClient, "middlewareStack">): void {
  client.middlewareStack.add((next) => (args) => {
    const request = args.request as { body?: string | Uint8Array };
    const bytes = request.body === undefined ? undefined : bytesOf(request.body);
    if (bytes?.includes(needleOut)) request.body = bytes.toString().replaceAll(alias, '"__proto__":');
    return next(args);
  }, { step: "serialize", priority: "low", name: "protoNamesOut" });
  client.middlewareStack.add((next) => async (args) => {
    const result = await next(args);
    const response = result.response as { body: unknown };
    const bytes = response.body instanceof Uint8Array
      ? bytesOf(response.body)
      : await buffer(response.body as AsyncIterable<Uint8Array>);
    response.body = bytes.includes(needleIn) ? Buffer.from(bytes.toString().replace(name, alias)) : bytes;
    return result;
  }, { step: "deserialize", priority: "low", name: "protoNamesIn" });
}
