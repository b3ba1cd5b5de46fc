/**
 * Planted bugs of absence and expiry: the wrong ideas of `rules-additions.md` (rules 0, A and C), read errors taken for the
 * end, and what a clock's jump is taken for.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const purge = "agent/upkeep/purge.ts", purgeTest = "tests/agent/upkeep/purge_test.ts";
const downlink = "agent/sync/downlink.ts", downlinkTest = "tests/agent/sync/downlink_test.ts";
const candidatesTest = "tests/agent/sync/candidates_test.ts";

/** The planted bugs, in the order of the rules. */
export const absence: readonly Mutant[] = [
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
    downlink,
    `if (record?.recheck !== serial || !record) continue;`,
    `if (record?.recheck !== serial || !record) continue;\n        store.applying(() => this.#incoming.fetched(Object.assign(record, { recheck: undefined }), { key }));`,
  ),
  guarded(
    "asked again without a wait",
    "C1: asked again after a back-off",
    `${candidatesTest}#leaves out`,
    downlink,
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
    `if (record.swept && !entry.current) {`,
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
];
