/**
 * Planted bugs of what the black-box fuzzer found (docs/correctness.md).
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

/** The planted bugs. */
export const fuzzed: readonly Mutant[] = [
  guarded(
    "another's newer item is a difference",
    "verification: of a model that several devices send up, another's item is no difference",
    "tests/agent/verify/verify_test.ts#another's newer item is no difference",
    "agent/verify/keys.ts",
    `if (isAcknowledged && digest !== undefined) return "equal";`,
    ``,
  ),
  guarded(
    "sent again as it was acknowledged",
    "verification: what the table lacks is sent again, though nothing has changed",
    "tests/agent/verify/verify_test.ts#another's newer item is no difference",
    "agent/verify/keys.ts",
    `record!.base = record!.version = undefined;`,
    ``,
  ),
];
