/**
 * The handler as a Lambda function: events in the shapes that AWS documents, with an EMQX double as publisher.
 */
import { tokenHash } from "../../cloud/api/tokens.ts";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { openEmbedded } from "../../cloud/embedded.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { encode } from "../../protocol.ts";
import { within } from "../../protocol/within.ts";
import { e2eCompiled, writeSchema } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { BrokerDouble } from "./publishers/double.ts";

const token = "s3cret";

/** An event of an HTTP API or a function URL, payload format 2.0. */
function http(
  method: string,
  path: string,
  { body, headers = {} }: { body?: string; headers?: Record<string, string> } = {},
) {
  const [rawPath, rawQueryString = ""] = path.split("?");
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath,
    rawQueryString,
    headers: { host: "x.lambda-url.eu-west-1.on.aws", ...headers },
    requestContext: { http: { method, path: rawPath, protocol: "HTTP/1.1", sourceIp: "192.0.2.1" }, stage: "$default" },
    ...(body === undefined ? {} : { body: Buffer.from(body).toString("base64"), isBase64Encoded: true }),
  };
}

/** What a caller sends is answered, and never an exception of the function. */
async function answersWhateverComes(handler: (event: unknown) => Promise<unknown>, authorization: string) {
  const call = async (event: unknown) =>
    await handler(event) as { statusCode: number; body: string; headers: Record<string, string>; cookies?: string[] };
  // A stage that is not `$default` stands in the path.
  const staged = (path: string, stage: string) => {
    const event = http("GET", path, { headers: { authorization } });
    return { ...event, requestContext: { ...event.requestContext, stage } };
  };
  assert.equal((await call(staged("/prod/healthz", "prod"))).statusCode, 200);
  assert.equal((await call(staged("/prod/api/items?model=Command", "prod"))).statusCode, 200);
  assert.equal((await call(staged("/production/healthz", "prod"))).statusCode, 404);
  assert.equal((await call(staged("/prod/healthz", "$default"))).statusCode, 404);
  for (const method of ["TRACE", "CONNECT", "two words"]) {
    assert.equal((await call(http(method, "/healthz"))).statusCode, 400, method);
  }
  for (const [name, value] of [["x-a", "a\0b"], ["x-a", "日"], ["x a", "1"]]) {
    assert.equal((await call(http("GET", "/healthz", { headers: { [name!]: value! } }))).statusCode, 400);
  }
  // A stream has no end: a function would wait for it until its own.
  const stream = await within(60_000, call(http("GET", "/api/events", { headers: { authorization } })));
  assert.ok(stream, "a stream is not waited for");
  assert.deepEqual([stream.statusCode, JSON.parse(stream.body).error.code], [501, "not-here"]);
  // Cookies are apart from the headers, both ways.
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const signedIn = await call(http("POST", "/login", { headers: form, body: `token=${token}` }));
  assert.equal(signedIn.headers["set-cookie"], undefined);
  const cookies = signedIn.cookies!.map((cookie) => cookie.split(";")[0]!);
  assert.equal((await call(http("GET", "/fleet"))).statusCode, 303);
  assert.equal((await call({ ...http("GET", "/fleet"), cookies })).statusCode, 200);
}

Deno.test({
  name: "lambda: HTTP, stream, pipe and IoT rule events are handled; what fails throws, so that AWS tries again",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    await using emqx = new BrokerDouble();
    const path = dir.file("cloud.db");
    // The process that serves the embedded table; the function works beside it.
    const tables = openEmbedded(path, { schema: e2eCompiled, now: Date.now });
    await new Registry(tables.log, { now: Date.now }).add("d1", "acme");
    const env = {
      TWINTABLE_SCHEMA: writeSchema(dir.path),
      TWINTABLE_TABLE: `embedded:${path}`,
      TWINTABLE_TOKENS: JSON.stringify([{ name: "api", sha256: tokenHash(token), scopes: ["write"] }]),
      TWINTABLE_PUBLISHER: `emqx+http://KEY:SECRET@${emqx.host}/api/v5/publish`,
      TWINTABLE_LOG: "error",
    };
    for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
    try {
      const { handler } = await import("../../cloud/lambda.ts");
      const call = async (event: unknown) =>
        await handler(event) as { statusCode: number; body: string; isBase64Encoded: boolean };
      const authorization = `Bearer ${token}`;
      assert.deepEqual([(await call(http("GET", "/healthz"))).body], ["ok\n"]);
      assert.equal((await call(http("GET", "/api/devices"))).statusCode, 401);
      const item = { deviceId: "d1", name: "c", value: 5, text: "é" };
      const put = await call(
        http("PUT", "/api/items", { headers: { authorization }, body: JSON.stringify({ model: "Command", item }) }),
      );
      assert.deepEqual([put.statusCode, put.isBase64Encoded, JSON.parse(put.body).item.text], [200, false, "é"]);
      const list = await call(http("GET", "/api/items?model=Command&device=d1", { headers: { authorization } }));
      assert.deepEqual(JSON.parse(list.body).items.map((one: { value: number }) => one.value), [5]);

      await answersWhateverComes(handler, authorization);

      const keys = { pk: { S: "device#d1" }, sk: { S: "command#c" } };
      const image = { ...keys, _type: { S: "Command" }, deviceId: { S: "d1" }, name: { S: "c" }, value: { N: "5" } };
      const dynamodb = { Keys: keys, NewImage: image, SequenceNumber: "100", StreamViewType: "NEW_AND_OLD_IMAGES" };
      const record = { eventID: "1", eventName: "INSERT", eventSource: "aws:dynamodb", eventVersion: "1.1", dynamodb };
      const published = () => emqx.requests.splice(0).length;
      published();
      assert.deepEqual(await handler({ Records: [record] }), { batchItemFailures: [] });
      assert.ok(published() > 0, "the device hears of a stream's record");
      assert.deepEqual(await handler([record]), { batchItemFailures: [] });
      assert.ok(published() > 0, "and of a pipe's");

      const [payload] = encode({ type: "sync", request: "i/1", channels: [] }, { maxBytes: 100_000 });
      const rule = { topic: "tt/d/d1/sync", payload: btoa(String.fromCharCode(...payload!)) };
      assert.deepEqual(await handler(rule), { received: 1, refused: 0 });

      await assert.rejects(handler({ topic: "elsewhere", payload: "x" }), /\/up answered 400/);
      await assert.rejects(
        handler({ Records: [{ ...record, eventSource: "aws:s3", dynamodb: undefined }] }),
        /answered 400/,
      );
      for (const event of [{ version: "1.0", path: "/", secret: "v" }, null, "x", {}]) {
        await assert.rejects(
          handler(event),
          (error: Error) => /neither HTTP/.test(error.message) && !/"v"/.test(error.message),
        );
      }
    } finally {
      for (const name of Object.keys(env)) Deno.env.delete(name);
      await tables.close();
    }
  },
});
