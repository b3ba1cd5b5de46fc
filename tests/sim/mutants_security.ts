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
    "broker: only the last connection is cut",
    "a device that is cut has no connection left",
    limits,
    "cloud/broker/connections.ts",
    `return [...this.#connections.get(deviceId) ?? []];`,
    `return [...this.#connections.get(deviceId) ?? []].slice(-1);`,
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
    limits,
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
];
