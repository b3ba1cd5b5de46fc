/** Retries and concurrency. */
import assert from "node:assert/strict";
import { faultOf, isPassing, syncErrorOf } from "../../../cloud/dynamodb/faults.ts";
import { requestBackoff, withRetries } from "../../../cloud/dynamodb/retry.ts";
import { backoffMs } from "../../../protocol/backoff.ts";
import { SyncError } from "../../../schema.ts";

function awsError(name: string, status?: number): Error {
  return Object.assign(new Error(`${name}!`), { name, $metadata: { httpStatusCode: status } });
}

/** A policy whose time moves by its own sleeps. */
function policy(retryForMs: number) {
  let nowMs = 0;
  const waits: number[] = [];
  return {
    waits,
    now: () => nowMs,
    random: () => 0.5,
    sleep: (ms: number) => {
      waits.push(ms);
      nowMs += ms;
      return Promise.resolve();
    },
    retryForMs,
  };
}

Deno.test("retry: what may pass is tried again until it works, with growing waits", async () => {
  const faults = [awsError("ThrottlingException", 400), awsError("InternalServerError", 500), awsError("ECONNRESET")];
  const over = policy(5000);
  const result = await withRetries(() => {
    const fault = faults.shift();
    return fault ? Promise.reject(fault) : Promise.resolve("done");
  }, over);
  assert.equal(result, "done");
  assert.deepEqual(over.waits, [25, 50, 100]);
});

Deno.test("retry: what can't pass is thrown at once", async () => {
  const over = policy(5000);
  await assert.rejects(withRetries(() => Promise.reject(awsError("ValidationException", 400)), over), /Validation/);
  assert.deepEqual(over.waits, []);
});

Deno.test("retry: no attempt begins after the time is up", async () => {
  const over = policy(3000);
  await assert.rejects(withRetries(() => Promise.reject(awsError("ThrottlingException", 400)), over), /Throttling/);
  assert.ok(over.now() <= 3000, `${over.now()} ms`);
  assert.ok(over.waits.length >= 5);
});

Deno.test("retry: an aborted signal ends it with its reason", async () => {
  const abort = new AbortController();
  const call = () => {
    abort.abort(new Error("stop"));
    return Promise.reject(awsError("ThrottlingException", 400));
  };
  await assert.rejects(withRetries(call, policy(3000), abort.signal), /stop/);
});

Deno.test("retry: the wait is between nothing and a cap of two seconds", () => {
  assert.equal(backoffMs(1, () => 0, requestBackoff), 0);
  assert.equal(backoffMs(50, () => 1, requestBackoff), 2000);
});

Deno.test("faults: each kind is told from the others", () => {
  assert.equal(faultOf(awsError("ProvisionedThroughputExceededException", 400)), "throttled");
  assert.equal(faultOf(awsError("TransactionConflictException", 400)), "throttled");
  assert.equal(faultOf(awsError("Whatever", 503)), "transient");
  // A proxy's own: no name of DynamoDB's.
  assert.equal(faultOf(awsError("UnknownError", 429)), "throttled");
  assert.equal(faultOf(awsError("TimeoutError")), "unreachable");
  assert.equal(faultOf(awsError("ResourceNotFoundException", 400)), "missing");
  assert.equal(faultOf(awsError("UnrecognizedClientException", 400)), "denied");
  assert.equal(faultOf(awsError("ValidationException", 400)), "invalid");
  assert.equal(faultOf(new TypeError("a bug")), "other");
  assert.equal(isPassing("denied"), false);
  const unavailable = syncErrorOf(awsError("ECONNREFUSED"), "writing");
  assert.deepEqual([unavailable.code, unavailable.retryable], ["unavailable", true]);
  assert.equal(syncErrorOf(awsError("AccessDeniedException", 400), "writing").code, "denied");
  const own = new SyncError("config", "y");
  assert.equal(syncErrorOf(own, "writing"), own);
});
