/**
 * Planted bugs of what keeps hostile devices, neighbours and browsers out. Each names the test file that must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const limits = "tests/cloud/broker/limits_test.ts";

/** The planted bugs, by room. */
export const security: readonly Mutant[] = [
  // ---- the log
  guarded(
    "log: text as it came",
    "what stands in the log is cut and escaped, whoever sent it",
    "tests/protocol/log_test.ts",
    "protocol/log.ts",
    `if (typeof value === "string") return printable(value);`,
    `if (typeof value === "string") return value;`,
  ),
  guarded(
    "log: a stranger's lines are a device's",
    "who only calls himself by a device's name uses up none of its lines",
    "tests/protocol/log_test.ts",
    "protocol/log.ts",
    `? "c"`,
    `? \`d \${clientId}\``,
  ),
  // ---- the broker
  guarded(
    "broker: a connection hides those before it",
    "a device that is cut has no connection left",
    "tests/cloud/broker/connections_test.ts",
    "cloud/broker/connections.ts",
    `this.#connections.set(deviceId, all.add(connection));`,
    `this.#connections.set(deviceId, new Set([connection]));`,
  ),
  guarded(
    "broker: let in by what was looked up before the cut",
    "who is let in while it is cut shows its credentials again",
    limits,
    "cloud/broker/broker.ts",
    `access.admission && devices.cuts !== cuts`,
    `access.admission && devices.cuts < cuts`,
  ),
  guarded(
    "broker: the newest gives way",
    "connections that say nothing keep no device out",
    limits,
    "cloud/broker/connections.ts",
    `const oldest = this.#pending.values().next().value!;`,
    `const oldest = socket;`,
  ),
  guarded(
    "broker: any first packet",
    "before its CONNECT a client is nobody",
    "tests/cloud/broker/broker_test.ts#the packet guard",
    "cloud/broker/socket.ts",
    `if (this.#isFirst && firstByte !== connect << 4)`,
    `if (this.#isFirst && firstByte === connect)`,
  ),
  guarded(
    "broker: no pace",
    "a device that floods is read more slowly, and another does not wait",
    limits,
    "cloud/broker/broker.ts",
    `if (waitMs < 1) done(null);`,
    `if (waitMs >= 0) done(null);`,
  ),
  // ---- ingest
  guarded(
    "foreign: the account is data",
    "a device names no account but its own, whatever its model's key names",
    "tests/cloud/sync/foreign_test.ts",
    "cloud/sync/foreign.ts",
    `return role === "accountId" ? value !== own`,
    `return role === "accountId" ? false`,
  ),
  guarded(
    "foreign: index keys are carried",
    "an index key that the model does not declare is the cloud's to set",
    "tests/cloud/sync/foreign_test.ts",
    "cloud/sync/ingest_condition.ts",
    `if (unchanged.length > 0) return`,
    `if (unchanged.length > 9) return`,
  ),
  // ---- memory, the API, files
  guarded(
    "memory: a fetch reads all first",
    "items are read within the budget, not before it",
    "tests/cloud/sync/read_budget_test.ts",
    "cloud/table/read_in_steps.ts",
    `const stepFirst = 8, stepMax = 32;`,
    `const stepFirst = 100, stepMax = 100;`,
  ),
  guarded(
    "memory: a batch brings back whatever stood in its way",
    "one acknowledgement brings so many bytes of items",
    "tests/cloud/sync/read_budget_test.ts",
    "cloud/embedded/table.ts",
    `if (returned > returnedBytesMax)`,
    `if (returned > returnedBytesMax * 100)`,
  ),
  guarded(
    "parts: one bound for all devices",
    "a device's first parts cost another's nothing",
    "tests/cloud/owned_parts_test.ts",
    "cloud/owned_parts.ts",
    `const own = this.#devices.get(deviceId) ?? new Map<string, number>();`,
    `const own = this.#devices.values().next().value ?? new Map<string, number>();`,
  ),
  guarded(
    "api: any host",
    "a name that was made to lead here is not answered",
    "tests/cloud/api_browser_test.ts",
    "cloud/api/browser.ts",
    `if (!isKnown(nameOf(host)))`,
    `if (host === "")`,
  ),
  guarded(
    "api: any origin",
    "a page of another origin changes nothing",
    "tests/cloud/api_browser_test.ts",
    "cloud/api/browser.ts",
    `if (origin !== null &&`,
    `if (origin === "null" &&`,
  ),
  guarded(
    "api: an empty token lets in",
    "an empty token opens nothing",
    "tests/cloud/api_browser_test.ts",
    "cloud/api/tokens.ts",
    `return token === "" ? [] : `,
    `return `,
  ),
  guarded(
    "embedded: readable by all",
    "the table's files are their owner's alone",
    "tests/cloud/embedded_files_test.ts",
    "cloud/embedded/files.ts",
    `openSync(path, "wx", 0o600)`,
    `openSync(path, "wx", 0o644)`,
  ),
  // ---- rights and tokens
  guarded(
    "rights: wildcards by the device's own topics",
    "a device subscribes to its topics exactly",
    "tests/hostile/rights_test.ts#embedded",
    "cloud/broker/broker.ts",
    `if (access.subscribes.has(subscription.topic)) return done(null, subscription);`,
    `if (access.subscribes.has(subscription.topic.replace("/+", "/down"))) return done(null, subscription);`,
  ),
  guarded(
    "rights: Mosquitto lets devices into shares",
    "no share is granted to a device",
    "tests/hostile/rights_test.ts#Mosquitto",
    "cloud/broker_config/mosquitto.ts",
    `...subscribes.flatMap((topic) => [allow("publishClientReceive", topic), allow("subscribeLiteral", topic)]),`,
    `...subscribes.flatMap((topic) => [allow("publishClientReceive", topic), allow("subscribePattern", "#")]),`,
  ),
  guarded(
    "token: the one before for ever",
    "a rotated token ends",
    "tests/cloud/sync/registry_test.ts",
    "cloud/sync/device_token.ts",
    `const beforeUntil = typeof until === "number" ? Math.min(until, graceEndsMs) : graceEndsMs;`,
    `const beforeUntil = 9e15;`,
  ),
  guarded(
    "token: expiry is not looked at",
    "a token that expires cuts its connection",
    "tests/cloud/sync/registry_test.ts",
    "cloud/sync/device_token.ts",
    `return isRight && credential !== undefined && nowMs < credential.untilMs;`,
    `return isRight && credential !== undefined;`,
  ),
  guarded(
    "api: any scope",
    "a token opens what its scopes say",
    "tests/cloud/api_tokens_test.ts",
    "cloud/api/tokens.ts",
    `if (!may(scope)) throw`,
    `if (name === "") throw`,
  ),
  guarded(
    "api: tokens for ever",
    "a token that has expired opens nothing",
    "tests/cloud/api_tokens_test.ts",
    "cloud/api/tokens.ts",
    `if (fits && nowMs < (token.untilMs ?? Infinity)) found = token;`,
    `if (fits) found = token;`,
  ),
];
