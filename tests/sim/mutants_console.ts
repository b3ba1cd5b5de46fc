/**
 * Planted bugs in what people are shown: a gap that looks like a 0, a value that nobody saw.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const samples = "cloud/operations/samples.ts", points = "cloud/sync/report_points.ts";
const versions = "cloud/console/item_versions.ts", history = "cloud/console/pages/item_history.tsx";
const selectTest = "tests/console/data_select_test.ts";
const pointsTest = "tests/cloud/sync/report_points_test.ts";

/** See the module. */
export const shown: readonly Mutant[] = [
  guarded(
    "no word of a stream that is behind",
    "while the cloud itself is behind or failing, each page says so",
    "tests/console/standing_test.ts#standing: while the stream is behind",
    "cloud/console/layout.tsx",
    `{session ? <Troubles troubles={troubles} /> : null}`,
    ``,
  ),
  guarded(
    "workers that are gone unnoticed",
    "workers that keep no samples any more are said",
    "tests/cloud/console/standing_test.ts",
    "cloud/console/standing.ts",
    `  if (unsaid >= 2) {`,
    `  if (unsaid >= standingMinutes) {`,
  ),
  guarded(
    "a gap is drawn as 0",
    "§8.39: a worker that stopped looks like one that does nothing",
    "tests/console/metrics_test.ts#a worker that stopped is a gap",
    "cloud/console/assets/charts.js",
    `word === "" ? null : Number(word)`,
    `Number(word)`,
  ),
  guarded(
    "a row of nothing is 0",
    "§8.39: an hour without a sample stands in the table as one in which nothing happened",
    "tests/cloud/operations/samples_test.ts#rows of longer steps",
    samples,
    `values.length === 0 ? null : joined(values, join)`,
    `values.length === 0 ? 0 : joined(values, join)`,
  ),
  guarded(
    "an old build's sample says 0",
    "§8.39: what a build did not count is told as none",
    "tests/cloud/operations/samples_test.ts#refused codes and throttled writes",
    samples,
    `Number(values.v) >= knowsSparse ? sparseZeroes : {}`,
    `sparseZeroes`,
  ),
  guarded(
    "an unsaid number is 0",
    "§8.39: an agent that does not say how much waits seems to have nothing that waits",
    `${pointsTest}#said nothing there is no point`,
    points,
    `point[name] ?? ""`,
    `point[name] ?? 0`,
  ),
  guarded(
    "points without room for them",
    "§8.39: the note of each five minutes costs two write units in place of one",
    `${pointsTest}#the longest leave no second write unit`,
    points,
    `if (itemSizeBytes({ ...row, recent: this.text }) <= rowBytesMax) return undefined;`,
    `return undefined;`,
  ),
  guarded(
    "the nearest version's values",
    "§8.39: an entry of the log is shown with the values of one before it",
    "tests/cloud/console/item_versions_test.ts#by number or by stamp",
    versions,
    `passed.seq === version.seq &&`,
    `(passed.seq ?? Infinity) <= version.seq &&`,
  ),
  guarded(
    "what stands there now is the last version",
    "§8.39: the newest entry is shown with the item's values of now, whoever wrote them",
    "tests/console/history_test.ts#what nobody saw has no values",
    history,
    `versions.map((version) => key && options.versions?.of(key, channel, version))`,
    `versions.map((version, at) => at === 0 ? seen.item : key && options.versions?.of(key, channel, version))`,
  ),
  guarded(
    "a removal is the cloud's",
    "the log does not know who removed an item, and history says that the cloud did",
    "tests/cloud/api/trace_test.ts#history: which entries",
    "cloud/api/trace.ts",
    `const isOthers = channel.startsWith("device:") && !removed;`,
    `const isOthers = channel.startsWith("device:");`,
  ),
  guarded(
    "38 digits are a number of SQL",
    "a line to paste that changes the value: SQLite rounds it",
    "tests/console/paste_test.ts",
    "cloud/console/lines.ts",
    `/^-?\\d{1,19}$/.test(text) && BigInt(text) === BigInt.asIntN(64, BigInt(text))`,
    `/^-?\\d+$/.test(text)`,
  ),
  guarded(
    "a selected item is deleted as it is now",
    "what somebody changed after it was shown goes with what was seen",
    `${selectTest}#data: items are selected by keys`,
    "cloud/console/pages/data_selected.tsx",
    `removeItem(options.items, model, key, { digest: digests[at]! })`,
    `removeItem(options.items, model, key, undefined)`,
  ),
  guarded(
    "an index without its sort value",
    "what is typed for the index's sort value narrows nothing",
    `${selectTest}#data: an index of the schema`,
    "cloud/api/items.ts",
    `hash, sortPrefix: leading(sort, get) || undefined };`,
    `hash };`,
  ),
  guarded(
    "more differences than are stored",
    "a comparison that found much is told without any of it: the cloud stores 4 KB",
    "tests/agent/upkeep/orders_test.ts#orders: a comparison's outcome",
    "agent/verify/report.ts",
    `    if (room < 0) break;
    found.push(one);`,
    `    found.push(one);`,
  ),
  guarded(
    "a link where nobody answers",
    "a command prints the address of a console that is not there",
    "tests/cli/console_link_test.ts#cli: an address at which",
    "cli/console_link.ts",
    `return response.status === 302 && `,
    `return response.ok || `,
  ),
];
