/** The address of a DynamoDB table. */
import assert from "node:assert/strict";
import { parseDynamoUrl } from "../../../cloud/dynamodb/url.ts";

Deno.test("dynamodb url: a table alone has a log table of its name", () => {
  assert.deepEqual(parseDynamoUrl("dynamodb://Fleet_1.prod"), { table: "Fleet_1.prod", log: "Fleet_1.prod-log" });
});

Deno.test("dynamodb url: region, endpoint and log table are read", () => {
  assert.deepEqual(parseDynamoUrl("dynamodb://fleet?region=eu-west-1&endpoint=http://127.0.0.1:8000&log=fleet.log"), {
    table: "fleet",
    log: "fleet.log",
    region: "eu-west-1",
    endpoint: "http://127.0.0.1:8000",
  });
  assert.equal(
    parseDynamoUrl("dynamodb://fleet/?endpoint=https%3A%2F%2Fvpce.example%2F").endpoint,
    "https://vpce.example/",
  );
});

Deno.test("dynamodb url: each fault is named in one line", () => {
  const faults: Record<string, RegExp> = {
    "embedded:x.db": /is no DynamoDB URL/,
    "dynamodb://": /names ""/,
    "dynamodb://ab": /names "ab", but a table name is 3 to 255/,
    "dynamodb://a%zz": /not well encoded/,
    "dynamodb://häuser": /names "häuser"/,
    "dynamodb://fleet/more": /is no DynamoDB URL/,
    "dynamodb://fleet?regoin=eu-west-1": /unknown parameter "regoin"/,
    "dynamodb://fleet?region=": /empty parameter "region"/,
    "dynamodb://fleet?region=eu-west-1&region=us-east-1": /"region" more than once/,
    "dynamodb://fleet?region=EU": /a region "EU" that can't be one/,
    "dynamodb://fleet?endpoint=127.0.0.1:8000": /not an http or https URL/,
    "dynamodb://fleet?log=fleet": /one table for data and log/,
  };
  for (const [url, message] of Object.entries(faults)) {
    assert.throws(() => parseDynamoUrl(url), (error: Error) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    }, url);
  }
});
