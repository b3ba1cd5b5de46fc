/**
 * Planted bugs in what programs say of themselves: outages in the log, why a device is offline. Each names the test that must
 * fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const outage = "tests/protocol/outage_test.ts", offline = "tests/agent/offline_test.ts";

const token = "tests/agent/credentials/token_file_test.ts";

/** The planted bugs. */
export const journal: readonly Mutant[] = [
  guarded(
    "an outage told by all",
    "what depends on something that is away adds no lines of its own",
    `${outage}#what depends on it`,
    "protocol/log.ts",
    `if (told.has(one)) return true;`,
    `if (false) return true;`,
  ),
  guarded(
    "an outage each time",
    "what comes and goes is one outage",
    `${outage}#comes and goes`,
    "protocol/outage.ts",
    `if (this.#sinceMs - this.#endedMs < holdMs && now - this.#lastMs < holdMs) return;`,
    `;`,
  ),
  guarded(
    "an outage ends with the first",
    "an outage that several share ends when the last of them is back",
    `${outage}#shared by several`,
    "protocol/outage.ts",
    `if (this.#failing.size > 0) return;`,
    `;`,
  ),
  guarded(
    "frames for everybody",
    "stack frames are written with -v alone",
    "tests/protocol/log_test.ts#without -v",
    "protocol/log.ts",
    `error instanceof SyncError || !frames ? ""`,
    `error instanceof SyncError ? ""`,
  ),
  guarded(
    "offline without a word",
    "why there is no connection stands in _status, also of a device that never had one",
    `${offline}#nobody answers`,
    "agent/agent.ts",
    `facts.error(trouble.sentence, this.#twin.context.clock.nowMs());`,
    `;`,
  ),
  guarded(
    "revoked is mistyped",
    "a device that was let in before is told that its token was revoked, not that it is wrong",
    `${offline}#was revoked`,
    "mqtt/session.ts",
    `this.#wasUp = true;`,
    `;`,
  ),
  guarded(
    "permissions are the network",
    "what the program's permissions forbid is not taken for the network",
    `${offline}#permissions forbid`,
    "mqtt/offline.ts",
    `cause.name === "NotCapable" || cause.code === "EPERM" || cause.code === "EACCES" || lacking !== undefined`,
    `false`,
  ),
  // ---- tokens that are rotated by an order
  guarded(
    "a new token shown before it is stored",
    "a new token is stored before a broker sees it, so that a crash loses none",
    `${token}#shown at once and after a crash`,
    "agent/credentials/token_file.ts",
    `this.#write({ given, ...(token === undefined ? {} : { token }), next, order });`,
    `this.#stored = { given, ...(token === undefined ? {} : { token }), next, order };`,
  ),
  guarded(
    "no way back from a new token",
    "a refused token is followed by the one before it",
    `${token}#followed by the one before`,
    "agent/credentials/token_file.ts",
    `return [...new Set([next, token, this.given].filter((one) => one !== undefined))];`,
    `return [next ?? token ?? this.given];`,
  ),
  guarded(
    "the old token for ever",
    "once an offered token is used, the one before it is void",
    "tests/cloud/sync/registry_test.ts#an offered token is valid beside",
    "cloud/sync/registry.ts",
    `if (isRight && known?.next === credential) await this.#promote(deviceId, credential);`,
    `;`,
  ),
];
