/**
 * `POST /stream`: a batch of the table's stream, as a Lambda function forwards it (`{Records: […]}`), as EventBridge
 * Pipes posts it (an array), or a single record of a pipe. The answer has the form that AWS requires of a target that
 * reports partial failures: `{"batchItemFailures": [{"itemIdentifier": …}]}`, empty if all is done, with sequence
 * numbers for Lambda and event ids for a pipe. AWS delivers again from the first failure on; doing a record twice is
 * harmless.
 *
 * A record is done when it is in its channels' logs *and* is published. Records of one channel fail together, so that
 * the order of a key's changes holds whatever part of a batch fails.
 *
 * @module
 */
import { type EventRecord, recordsFromLambda } from "../dynamodb/records.ts";
import type { Schema } from "../../schema/model.ts";
import { SyncError } from "../../schema/errors.ts";
import type { CloudService } from "../sync/service.ts";
import { ApiError } from "./errors.ts";

/** AWS passes at most 6 MB to a target (Lambda's synchronous payload); escapes of a forwarder may add to it. */
export const streamBodyBytesMax = 8 * 1024 * 1024;

/** The handling of an event. */
export interface StreamContext {
  readonly schema: Schema;
  readonly service: Pick<CloudService, "fanOutParts" | "recordDropped" | "recordRefused">;
  /** How long it may take, ms. */
  readonly timeoutMs: number;
}

/** An answer to AWS. */
export interface StreamAnswer {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

/**
 * Passes an event's records on.
 *
 * @returns the answer and its status: 200, but 503 if nothing of a pipe's event was done. Only Lambda and Step
 * Functions read an answer's body; an API destination, which gets one record at a time, only uses the status. @throws
 * ApiError 400 if the event is malformed; nothing of it was done.
 */
export async function handleStreamEvent(
  { schema, service, timeoutMs }: StreamContext,
  event: unknown,
): Promise<{ readonly answer: StreamAnswer; readonly status: 200 | 503 }> {
  const isLambda = typeof event === "object" && event !== null && "Records" in event;
  const records = eventRecords(schema, isSingle(event) ? [event] : event);
  const refused = refuse(service, records);
  const whole = [...records.keys()].filter((at) => records[at]!.record !== undefined);
  const undone = await within(
    timeoutMs,
    (signal) => service.fanOutParts(whole.map((at) => records[at]!.record!), signal),
  );
  const failed = [...undone.map((i) => whole[i]!), ...refused].sort((a, b) => a - b);
  const answer = { batchItemFailures: failed.map((at) => ({ itemIdentifier: records[at]!.failureId })) };
  const nothingDone = failed.length > 0 && failed.length === records.length;
  return { answer, status: nothingDone && !isLambda ? 503 : 200 };
}

/**
 * The records that can't be passed on: records of a stream without images fail, so that nothing is lost once the stream
 * is configured correctly; a record of another table, or an unreadable one, counts as done.
 *
 * @returns the indexes of those that fail
 */
function refuse(service: StreamContext["service"], records: readonly EventRecord[]): number[] {
  const refused: number[] = [];
  for (const [at, { lacks, unreadable }] of records.entries()) {
    if (unreadable !== undefined) service.recordDropped(`a stream record is left out: ${unreadable}`);
    if (lacks === undefined) continue;
    refused.push(at);
    service.recordRefused(`a stream record is refused: ${lacks}; the table's stream must be of NEW_AND_OLD_IMAGES`);
  }
  return refused;
}

function isSingle(event: unknown): boolean {
  return typeof event === "object" && event !== null && !Array.isArray(event) && "dynamodb" in event;
}

function eventRecords(schema: Schema, event: unknown): EventRecord[] {
  try {
    return recordsFromLambda(schema, event);
  } catch (error) {
    if (error instanceof SyncError && error.code === "invalid") throw new ApiError(400, "invalid", error.message);
    throw error;
  }
}

/** Runs work under a signal that aborts when time is up. */
async function within<T>(timeoutMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeoutMs);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}
