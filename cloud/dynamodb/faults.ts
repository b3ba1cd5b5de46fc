/**
 * Classifies errors of requests to AWS: whether to try again, and the message for people.
 *
 * @module
 */
import { SyncError } from "../../schema/errors.ts";

/**
 * `throttled`: over capacity. `transient`: the service failed. `unreachable`: no answer. These three are tried again.
 * `missing`: no such table, stream or shard. `denied`: credentials. `invalid`: the request.
 */
export type FaultKind = "throttled" | "transient" | "unreachable" | "missing" | "denied" | "invalid" | "other";

const throttles = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "Throttling",
  "TooManyRequestsException",
  "RequestLimitExceeded",
  "LimitExceededException",
  // Another writer's transaction has the item: over in milliseconds.
  "TransactionConflictException",
  "TransactionInProgressException",
  "ReplicatedWriteConflictException",
]);
const denials = new Set([
  "AccessDeniedException",
  "UnrecognizedClientException",
  "InvalidSignatureException",
  "IncompleteSignatureException",
  "IncompleteSignature",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "ExpiredTokenException",
  "ExpiredToken",
  "InvalidClientTokenId",
  "CredentialsProviderError",
  "TokenProviderError",
]);

/** The used parts of an SDK error. */
interface AwsError {
  readonly name?: string;
  readonly message?: string;
  /** Set where DynamoDB answered with an error. */
  readonly $fault?: "client" | "server";
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Classifies the SDK's error. */
export function faultOf(error: unknown): FaultKind {
  if (error instanceof SyncError) return "other";
  const { name = "", $metadata, $fault } = (error ?? {}) as AwsError;
  const status = $metadata?.httpStatusCode;
  if (throttles.has(name)) return "throttled";
  if (denials.has(name)) return "denied";
  if (name === "ResourceNotFoundException") return "missing";
  if (name === "ValidationException") return "invalid";
  if (status === 429) return "throttled";
  if ((status !== undefined && status >= 500) || $fault === "server") return "transient";
  // An answer that is not DynamoDB's (a proxy's page): the SDK cannot parse it, and marks it so.
  if (error instanceof SyntaxError) return "transient";
  // Faults of this program, or of its permissions, are permanent.
  if (error instanceof TypeError || error instanceof RangeError || name === "NotCapable") return "other";
  // No status: no answer arrived.
  return status === undefined && $fault === undefined ? "unreachable" : "other";
}

/** Whether the same request may succeed later. */
export function isPassing(kind: FaultKind): boolean {
  return kind === "throttled" || kind === "transient" || kind === "unreachable";
}

/**
 * A fault as a SyncError: `unavailable`, `throttled`, `no-table`, `denied` or `refused`. A SyncError is returned
 * unchanged.
 */
export function syncErrorOf(error: unknown, doing: string): SyncError {
  if (error instanceof SyncError) return error;
  const said = ((error as AwsError)?.message || (error as AwsError)?.name || String(error)).replace(/\s+/g, " ");
  switch (faultOf(error)) {
    case "throttled":
      return new SyncError("throttled", `${doing}: DynamoDB is throttling: ${said}`, { retryable: true, cause: error });
    case "transient":
    case "unreachable":
      return new SyncError("unavailable", `${doing}: DynamoDB can't be reached: ${said}`, {
        retryable: true,
        cause: error,
      });
    case "missing":
      return new SyncError("no-table", `${doing}: ${said}`, {
        cause: error,
        hint: "check table, region and endpoint, or create the tables with `cloud table create`",
      });
    case "denied":
      return new SyncError("denied", `${doing}: AWS refuses the credentials: ${said}`, {
        cause: error,
        hint:
          "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, with access to the table and its stream",
      });
    default:
      return new SyncError("refused", `${doing}: ${said}`, { cause: error });
  }
}
