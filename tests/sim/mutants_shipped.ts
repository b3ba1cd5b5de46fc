/**
 * Planted bugs in what is shipped: the single binary and its permissions, drivers, the handler's entries. Each names the test
 * file that must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const commands = "tests/cli/device_commands_test.ts";

/** The planted bugs. */
export const shipped: readonly Mutant[] = [
  guarded(
    "free pages keep what was deleted",
    "reset --rows leaves nothing of the rows in the file, without VACUUM either",
    commands,
    "agent/migration/reset.ts",
    `  fillFreePages(db);\n`,
    "",
  ),
  guarded(
    "freed pages keep the rows",
    "reset --rows leaves nothing of the rows in the file, without VACUUM either",
    commands,
    "agent/migration/reset.ts",
    `secure_delete = ON`,
    `secure_delete = OFF`,
  ),
];
