/**
 * Planted bugs of absence and expiry: the wrong ideas of `rules-additions.md` (rules 0, A and C), read errors taken for the
 * end, and what a clock's jump is taken for.
 *
 * @module
 */
import { guarded, type Mutant, one, type SimMutant } from "./mutant.ts";

const purge = "agent/upkeep/purge.ts", purgeTest = "tests/agent/upkeep/purge_test.ts";
const downlink = "agent/sync/downlink.ts", downlinkTest = "tests/agent/sync/downlink_test.ts";
const answers = "agent/sync/answers.ts", condition = "cloud/sync/ingest_condition.ts";
const expiryTest = "tests/agent/sync/expiry_test.ts", expiryCloudTest = "tests/cloud/sync/expiry_test.ts";
const candidatesTest = "tests/agent/sync/candidates_test.ts";

/** The planted bugs that a test file finds, in the order of the rules. */
const guardedHere: readonly Mutant[] = [
  guarded(
    "held beyond the epoch",
    "0: messages held for reordering belong to an epoch",
    `${downlinkTest}#another epoch`,
    downlink,
    `this.#held.delete(channel);`,
    ``,
  ),
  guarded(
    "purge of what waits",
    "A3: a purge leaves keys alone that are pending",
    `${purgeTest}#pending update`,
    purge,
    `\`EXISTS (SELECT 1 FROM _outbox AS o WHERE o.model = \${number} AND o.row = t._id)\`,`,
    ``,
  ),
  guarded(
    "purge of measurements that wait",
    "A3: a row that expires unsent is sent all the same",
    `${purgeTest}#measurement`,
    purge,
    `if (goesUp(model) && !isTracked(model)) {\n    conditions.push(`,
    `if (goesUp(model) && !isTracked(model)) {\n    void (`,
  ),
  guarded(
    "purge of the row alone",
    "A3: a purge takes row and base",
    `${purgeTest}#created again`,
    purge,
    `\`UPDATE _sync_items SET base = NULL, source = NULL, stamp = NULL`,
    `\`UPDATE _sync_items SET base = base, source = source, stamp = stamp`,
  ),
  guarded(
    "text taken for an expiry",
    "A: an expiry time is a number, as to DynamoDB",
    `${purgeTest}#never expires`,
    purge,
    `= 'text'\``,
    `= 'null'\``,
  ),
  guarded(
    "expired for over five years",
    "A: DynamoDB deletes nothing whose time is over five years back",
    `${purgeTest}#never expires`,
    purge,
    `...(since ? [atMs - expiryAgeMaxMs] : [])`,
    `...(since ? [0 * expiryAgeMaxMs - 1e12] : [])`,
  ),
  guarded(
    "milliseconds taken for what they were meant as",
    "A: the device reads an expiry time as the table does: seconds",
    `${purgeTest}#never expires`,
    "agent/store/columns.ts",
    `if (field.ttl && (typeof json === "number" || isBigNumber(json))) return expiryToColumn(field, json);`,
    `if (field.ttl && typeof json === "number" && json < 1e11) return expiryToColumn(field, json);`,
  ),
  guarded(
    "left out taken for absent",
    "C1: what an answer leaves out was not read",
    `${candidatesTest}#leaves out`,
    "agent/sync/fetches.ts",
    `if (record?.recheck !== serial || !record) continue;`,
    `if (record?.recheck !== serial || !record) continue;\n        store.applying(() => this.parts.incoming.fetched(Object.assign(record, { recheck: undefined }), { key }));`,
  ),
  guarded(
    "asked again without a wait",
    "C1: asked again after a back-off",
    `${candidatesTest}#leaves out`,
    "agent/sync/fetches.ts",
    `if (isFruitless) this.#fetchAgainMs`,
    `if (isFruitless && left.size < 0) this.#fetchAgainMs`,
  ),
  guarded(
    "list taken for proof",
    "C2: only an answered absence removes a row",
    `${candidatesTest}#list hides`,
    "agent/sync/snapshot.ts",
    `records.markUnseen(record);`,
    `store.rows(model).remove(key);\n    record.base = record.version = undefined;`,
  ),
  guarded(
    "swept without a copy",
    "C2: what goes so stands in _conflicts",
    `${candidatesTest}#list hides`,
    "agent/sync/incoming.ts",
    `if (record.swept && !entry.current && !restores.hasLost(record)) {`,
    `if (record.swept && entry.current) {`,
  ),
  guarded(
    "marks in memory",
    "C2: the marks stand in the database",
    `${candidatesTest}#outlast a kill`,
    "agent/sync/snapshot.ts",
    `records.markUnseen(record);\n    records.save(record);`,
    `records.markUnseen(record);`,
  ),
  guarded(
    "many asked at once",
    "C: suspiciously many candidates are asked for at a limited rate",
    `${candidatesTest}#suspiciously many`,
    "agent/sync/candidates.ts",
    `if (dueMs !== undefined && dueMs > now) continue;`,
    ``,
  ),
  guarded(
    "aside dropped unseen",
    "C2: what waits aside is asked for as well",
    `${candidatesTest}#waits aside`,
    "agent/sync/snapshot.ts",
    `for (const key of asides.unseen(model, channel)) mark(model, key);`,
    `for (const key of asides.unseen(model, channel)) asides.drop(key);`,
  ),
  guarded(
    "end of a list not asked for",
    "C1: a list is read to its proven end",
    "tests/agent/sqlite/driver_test.ts#page by page",
    "agent/sqlite/driver.ts",
    `while (rows.length === size) yield*`,
    `if (rows.length === size) yield*`,
  ),
  guarded(
    "damaged table served",
    "C1: nothing is told from a damaged file",
    "tests/cloud/embedded_test.ts#can't be read",
    "cloud/embedded/engine.ts",
    `if (found.length === 1 && found[0] === "ok") return;`,
    `if (found.length >= 1) return;`,
  ),
  guarded(
    "listed from an index that is being filled",
    "C1: a page needs an active index",
    "tests/cloud/dynamodb/dynamo_table_test.ts#no answers",
    "cloud/dynamodb/dynamo_table.ts",
    `&& global?.Backfilling !== true`,
    ``,
  ),
  guarded(
    "answer without a list",
    "C1: an answer that lacks its list is none",
    "tests/cloud/dynamodb/dynamo_table_test.ts#no answers",
    "cloud/dynamodb/dynamo_table.ts",
    `if (!items) throw unfinished(table);\n  return items;`,
    `return items ?? [];`,
  ),
  guarded(
    "page of another snapshot",
    "C3: a page that does not continue the snapshot under way begins it anew",
    `${downlinkTest}#another snapshot`,
    downlink,
    `if (!first && (!state || state.after !== page.after || state.epoch !== page.epoch || isOther || isLeft)) {`,
    `if (!first && (!state || isOther || isLeft)) {`,
  ),
  guarded(
    "seen in an abandoned snapshot",
    "C5: a first page empties what was seen",
    `${downlinkTest}#abandoned`,
    downlink,
    `if (first) db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(channel);`,
    ``,
  ),
  guarded(
    "no look after an index that lags",
    "C4: what an index missed, and the device lacks, a comparison finds",
    `${candidatesTest}#index that lags`,
    downlink,
    `if (page.lags) planListCheck(this.context, channel);`,
    ``,
  ),
  // ---- expiry
  guarded(
    "dead copy in the way",
    "A1: what has expired stands in nobody's way",
    `${expiryCloudTest}#dead copy`,
    condition,
    `const allowed = anyOf(rule, deadRule(change, parts));`,
    `const allowed = anyOf(rule, undefined && deadRule(change, parts));`,
  ),
  guarded(
    "late duplicate over a dead newer version",
    "A1: the stamp of what has expired counts",
    `${expiryCloudTest}#dead copy`,
    condition,
    `all(expired, any(unstamped, less("_stamp", stamp)))`,
    `all(expired, any(unstamped, less("_stamp", stamp * 2)))`,
  ),
  guarded(
    "removal of a dead copy refused",
    "A1: the removal of what has expired is ok",
    `${expiryCloudTest}#dead copy`,
    "cloud/sync/ingest.ts",
    `if (change.op === "remove" && isExpired(model, current, context.now())) return undefined;`,
    ``,
  ),
  guarded(
    "gone in spite of an expired base",
    "A2: gone is no removal where the base has expired",
    `${expiryTest}#prolonged`,
    answers,
    `if (base && isExpired(model, base, ackMs)) return true;`,
    ``,
  ),
  guarded(
    "newer given up with what ran out",
    "A2: what waits behind a change that has run out stays",
    `${expiryTest}#run out`,
    answers,
    `return change.item !== undefined && isExpired(model, change.item, ackMs) && outbox.pending(model, key);`,
    `return false;`,
  ),
  guarded(
    "sweep taken for a removal",
    "A4: a sweep's record never says removed",
    `${expiryCloudTest}#a sweep tells`,
    "cloud/sync/fan_out.ts",
    `return expired ? { key, bytes: 0 } : { key, bytes: 0, removed: true };`,
    `return { key, bytes: 0, removed: true };`,
  ),
  guarded(
    "sweep without its version",
    "A4: a sweep's record says which version went",
    `${expiryCloudTest}#a sweep tells`,
    "cloud/sync/fan_out.ts",
    `if (was) return { key, bytes: 0, was };`,
    `if (was && !expired) return { key, bytes: 0, was };`,
  ),
  guarded(
    "expired item placed",
    "A5: an expired item that comes down is an absence",
    `${expiryTest}#comes down`,
    answers,
    `const isOver = shown && clock.known && isExpired(model, shown.item, clock.nowMs());`,
    `const isOver = false;`,
  ),
  // ---- items set aside, clocks, what a refusal shows
  guarded(
    "aside awaits an echo that never comes",
    "an item that waits aside is tried again after a refused write of its key",
    "tests/agent/sync/aside_test.ts#refused write",
    answers,
    `if (record.awaiting && context.asides.has(flight.key)) records.mark(record);`,
    ``,
  ),
  guarded(
    "suspend taken for a jump",
    "§2: after a suspend the wall clock was right all the time",
    "tests/agent/sync/clock_test.ts#a suspend looks",
    "agent/sync/clock.ts",
    `if (jump && Math.abs(offsetMs - jump.offsetMs) <= offsetIgnoredMs) {`,
    `if (jump && Math.abs(offsetMs - jump.offsetMs) < 0) {`,
  ),
  guarded(
    "jump taken for a suspend",
    "§2: a clock that was set is corrected by the jump",
    "tests/agent/sync/clock_test.ts#is a jump",
    "agent/sync/clock.ts",
    `if (jump && Math.abs(offsetMs - jump.offsetMs) <= offsetIgnoredMs) {`,
    `if (jump) {`,
  ),
  guarded(
    "stamps from before the start forgotten",
    "a device alone never overwrites what it sent itself with an older stamp",
    "tests/agent/sync/clock_test.ts#around a kill",
    "agent/sync/uplink.ts",
    `[this.#sends.stampOf(candidate.text), this.#stampFloor]`,
    `[this.#sends.stampOf(candidate.text)]`,
  ),
  guarded(
    "foreign item shown with a refusal",
    "I4: an unfit change on a taken key shows nothing of another's item",
    "tests/cloud/sync/ingest_test.ts#unfit change",
    "cloud/sync/ingest.ts",
    `const isVisible = item && isOwn(`,
    `const isVisible = item && true || isOwn(`,
  ),
];

/** All planted bugs of this topic. */
export const absence: readonly Mutant[] = [
  ...guardedHere,
  // ---- the same rules, found by the simulation
  ...simulated("expnew exppol expone", [
    "purge of what waits",
    "dead copy in the way",
    "late duplicate over a dead newer version",
    "gone in spite of an expired base",
  ]),
  ...simulated("hidden", ["list taken for proof"]),
  ...simulated("setback", ["stamps from before the start forgotten"]),
  one(
    "replaced row taken for unsent",
    "found by the simulation: a removal after a REPLACE that was sent unread was taken for one of a row never sent",
    "setback up",
    "agent/sync/outbox.ts",
    `for (const row of [id, ...candidate.insertRows ?? []]) {`,
    `for (const row of [id]) {`,
  ),
];

/** Planted bugs of {@link guardedHere} that the simulation finds as well. */
function simulated(families: string, names: readonly string[]): SimMutant[] {
  return names.map((name): SimMutant => {
    const { breaks, patches } = guardedHere.find((mutant) => mutant.name === name)!;
    return { name: `${name} (simulation)`, breaks, patches, families: families.split(" ") };
  });
}
