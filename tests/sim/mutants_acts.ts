/**
 * Planted bugs in what people do in the console, with devices and with what these keep for people. Each names the test that
 * must fail.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const confirm = "cloud/console/pages/kept_confirm.tsx", find = "cloud/console/pages/kept_find.ts";
const tasks = "cloud/console/order_tasks.ts", erase = "cloud/console/pages/device_erase.tsx";

/** The planted bugs. */
export const acts: readonly Mutant[] = [
  guarded(
    "restore without its check",
    "a kept version is put back only over the row that the person has seen",
    "tests/console/kept_test.ts#conflicts: what differs is marked",
    confirm,
    `  checkSeen(rows, seenIn(form));`,
    ``,
  ),
  guarded(
    "restore without saying what it overwrites",
    "what a restore overwrites is said before it is done",
    "tests/console/kept_test.ts#conflicts: what differs is marked",
    confirm,
    `differing={compare(model, [row.lost, row.now]).differing}`,
    `differing={compare(model, [row.lost, row.lost]).differing}`,
  ),
  guarded(
    "retry of the wrong group",
    "Retry all means the changes of its reason, and no other's",
    "tests/console/kept_test.ts#rejected: Retry all is a job",
    find,
    `.filter((row) => groupKey(row) === view.group)`,
    ``,
  ),
  guarded(
    "all means more than the words find",
    "Retry all and Drop all mean what the filter shows",
    "tests/console/kept_test.ts#rejected: grouped by reason",
    find,
    `found(answers, view).filter((row) => groupKey`,
    `found(answers, { ...view, words: "" }).filter((row) => groupKey`,
  ),
  guarded(
    "retry over newer rows",
    "a group's retry overwrites no row that was written since",
    "tests/console/kept_test.ts#rejected: Retry all is a job",
    confirm,
    `force: () => false`,
    `force: () => true`,
  ),
  guarded(
    "drop without the number",
    "to drop more than 20 the number is asked for",
    "tests/console/kept_test.ts#rejected: to drop more than 20",
    confirm,
    `    if (deed === "drop" && rows.length > unaskedMax && textOf(form, "confirm") !== String(rows.length)) {`,
    `    if (deed === "drop" && rows.length < 0) {`,
  ),
  guarded(
    "groups by the values",
    "what is refused for one reason is one group, whatever value the reason quotes",
    "tests/console/compare_test.ts#groups: by model",
    "cloud/console/kept.ts",
    `JSON.stringify([model, why, reasonOf(reason ?? why)])`,
    `JSON.stringify([model, why, reason ?? why])`,
  ),
  guarded(
    "timestamps marked as different",
    "a timestamp that each side makes by itself is no difference",
    "tests/console/compare_test.ts#compare: what differs",
    "cloud/console/compare.ts",
    `(field?.timestamp ? found.unmarked : found.differing).push(name)`,
    `found.differing.push(name)`,
  ),
  guarded(
    "a cancelled job goes on",
    "a cancelled job begins nothing more",
    "tests/console/jobs_test.ts#so many at a time; cancelled",
    "cloud/console/jobs.ts",
    `if (signal.aborted) task.state = "left";`,
    `if (false) task.state = "left";`,
  ),
  guarded(
    "one failure ends the job",
    "a task that fails leaves the others alone",
    "tests/console/jobs_test.ts#each task has its result",
    "cloud/console/jobs.ts",
    `      Object.assign(view, { state: "failed", text: error instanceof Error ? error.message : String(error) });`,
    `      throw error;`,
  ),
  guarded(
    "no order for who is away",
    "a device that is away gets the order when it comes",
    "tests/console/device_test.ts#device: orders: an old agent",
    tasks,
    `  const id = await orders.give(deviceId, content);\n`,
    `  if (connected !== true) return { outcome: { state: "later", text: "not connected: runs when it connects" } };
  const id = await orders.give(deviceId, content);\n`,
  ),
  guarded(
    "erased by who may only write",
    "a device is erased by a token that may admin",
    "tests/console/security_test.ts#who may write and not admin",
    "cloud/console/doors.tsx",
    `if (scope === "admin" && !isAdmin)`,
    `if (scope === "admin" && false)`,
  ),
  guarded(
    "erased without its id",
    "a device is erased when its id was typed",
    "tests/console/device_test.ts#device: decommission wants its id",
    erase,
    `return erasePage(c, device, true);`,
    `await Promise.resolve();`,
  ),
  guarded(
    "AWS's line unquoted",
    "a line to paste is one word for each of its values, whatever they hold",
    "tests/console/compare_test.ts#lines: AWS's",
    "cloud/console/lines.ts",
    "--item ${shellWord(values)}",
    "--item '${values}'",
  ),
];
