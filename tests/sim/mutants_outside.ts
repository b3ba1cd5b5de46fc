/**
 * Planted bugs outside the sync core: the wire's dictionary, the broker, tables, registry, migration, verify, capacity, API.
 * The simulation does not look there: each names the test file that must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

/** The planted bugs, by room. */
export const outside: readonly Mutant[] = [
  // ---- the broker
  guarded(
    "account by its beginning",
    "design I4: account `acme` reads nothing of `acme2`",
    "tests/cloud/broker/broker_test.ts#broker (embedded): a device reads its own topics only",
    "cloud/broker/broker.ts",
    `access.subscribes.has(subscription.topic)`,
    `[...access.subscribes].some((own) => subscription.topic.startsWith(own))`,
  ),
];
