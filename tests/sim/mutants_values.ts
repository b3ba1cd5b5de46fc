/**
 * Planted bugs of values and of refusals (rules D1 to D4): what a side can't accept is answered, and delays only itself; every
 * value means the same on both sides.
 *
 * @module
 */
import { guarded, type Mutant, one } from "./mutant.ts";

const split = "tests/agent/sync/split_test.ts";
const columns = "tests/agent/store/columns_test.ts";

/** The planted bugs, by rule. */
export const values: readonly Mutant[] = [
  // ---- refusals
  one(
    "refused when the table is away",
    "D1: what could not be tried is throttled, never refused",
    "poisoned",
    "cloud/sync/replies.ts",
    `return [throttledAck(up, now())];`,
    `return [refusal(up.batch, "away", now())];`,
  ),
  one(
    "refused as a whole",
    "D2: a refused batch is split, until the change at fault stands alone",
    "poisoned",
    "agent/sync/split.ts",
    `if (halve(context, batch)) return;`,
    ``,
  ),
  one(
    "halves under the old id",
    "D2: a second copy of a refusal must not reject the half",
    "poisoned",
    "agent/sync/flight.ts",
    `return parts.filter((part) => part.length > 0).map((part) => this.add(incarnation, part, batch.upOnly, schemas));`,
    `const made = parts.filter((part) => part.length > 0).map((part) => this.add(incarnation, part, batch.upOnly, schemas));
    if (made.length > 1) this.batches.set(batch.id, made[0]!);
    return made;`,
  ),
  one(
    "a rejection takes what is newer",
    "D3: entries up to the rejected one's alone are settled",
    "poisoned",
    "agent/sync/split.ts",
    `outbox.forget(flight.entries);`,
    `outbox.drop(flight.model, flight.key);`,
  ),
  guarded(
    "D1: refused when the table is away",
    "what could not be tried is throttled, never refused: good changes would be rejected",
    "tests/cloud/sync/service_test.ts#could not try is throttled",
    "cloud/sync/replies.ts",
    `if (error instanceof SyncError) {`,
    `if (error instanceof TypeError === false && !(error instanceof SyncError)) {`,
  ),
  guarded(
    "D1: an unreadable change spoils its batch",
    "each change is read by itself",
    "tests/protocol/codec_test.ts#spoils no other",
    "protocol/device_message_checks.ts",
    `.map(changeOrFault),`,
    `.map(changeOf),`,
  ),
  guarded(
    "D2: not split",
    "a refused batch is sent in halves, until the change at fault stands alone",
    split,
    "agent/sync/split.ts",
    `if (left.length < 2) return false;`,
    `return false;`,
  ),
  guarded(
    "D2: halves under the old id",
    "a second copy of a refusal must not split the half",
    `${split}#a second copy`,
    "agent/sync/flight.ts",
    `return parts.filter((part) => part.length > 0).map((part) => this.add(incarnation, part, batch.upOnly, schemas));`,
    `const made = parts.filter((part) => part.length > 0).map((part) => this.add(incarnation, part, batch.upOnly, schemas));
    if (made.length > 1) this.batches.set(batch.id, made[0]!);
    return made;`,
  ),
  guarded(
    "D3: a rejection takes what is newer",
    "a newer write or removal of the key that is rejected stays",
    `${split}#a newer write`,
    "agent/sync/split.ts",
    `outbox.forget(flight.entries);`,
    `outbox.forget([[0, Number.MAX_SAFE_INTEGER]]);`,
  ),
  guarded(
    "D4: an unreadable entry spoils its page",
    "each entry of a page is read by itself",
    "tests/protocol/codec_test.ts#spoils none of its page",
    "protocol/cloud_message_checks.ts",
    `.flatMap(entryOrFault);`,
    `.map(entryOf);`,
  ),
  guarded(
    "D4: an unreadable entry is an absence",
    "what can't be read says nothing of its item: the row stays",
    "tests/agent/sync/aside_test.ts#can't be read",
    "agent/sync/incoming.ts",
    `if (entry.unreadable !== undefined) return this.unreadable(entry.key, entry.unreadable);`,
    ``,
  ),
  guarded(
    "one unreadable stream record",
    "each record of a stream is read by itself",
    "tests/cloud/sync/intake_test.ts#a foreign or unreadable record",
    "cloud/dynamodb/records.ts",
    `return { failureId, unreadable: (error as Error).message };`,
    `throw error;`,
  ),
  guarded(
    "a stream of keys is done",
    "a stream that tells too little is handed back, never called done",
    "tests/cloud/dynamodb/records_test.ts#tells too little",
    "cloud/dynamodb/records.ts",
    `if (lacks !== undefined) return { failureId, lacks };`,
    ``,
  ),
  guarded(
    "__proto__ by assignment",
    "any name is a name in DynamoDB",
    "tests/cloud/dynamodb/tables_test.ts#any name is a name",
    "cloud/dynamodb/client.ts",
    `carryProtoNames(client as DynamoDBClient);`,
    ``,
  ),
  // ---- values
  one(
    "a map of a column taken for a tag",
    "I1: an application's JSON means itself on both sides",
    "odd",
    "agent/store/columns.ts",
    `wellFormed(text, parseUntagged(text))`,
    `wellFormed(text, parseJson(text))`,
  ),
  one(
    "a column with tags",
    "I1: what the cloud has reads the same in the column",
    "odd",
    "agent/store/columns.ts",
    `return untaggedText(json);`,
    `return JSON.stringify(json);`,
  ),
  guarded(
    "a column's map is a tag",
    "an application's JSON means itself",
    `${columns}#looks like a tag`,
    "agent/store/columns.ts",
    `wellFormed(text, parseUntagged(text))`,
    `wellFormed(text, parseJson(text))`,
  ),
  guarded(
    "a nested set becomes a list",
    "what a column can't tell apart is as the base has it",
    `${columns}#keeps its kind`,
    "agent/store/row_values.ts",
    `const sent = retagged(mine, theirs);`,
    `const sent = mine;`,
  ),
  guarded(
    "a malformed tag is refused",
    "what looks like a tag and is none means itself",
    "tests/protocol/codec_test.ts#means itself",
    "schema/tagged.ts",
    `if (!isTag(only, map[only]!)) return { $m: readMap(map, names, depth) };`,
    `if (!isTag(only, map[only]!)) throw new RangeError("no tag");`,
  ),
  guarded(
    "embedded: what DynamoDB has no value of",
    "the embedded table refuses what DynamoDB would, nested or not, or no fleet could move there",
    "tests/cloud/embedded_test.ts#no value of",
    "cloud/embedded/table.ts",
    `keyProblem(key) ?? itemProblem(item);`,
    `keyProblem(key);`,
  ),
  guarded(
    "one unreadable row of the embedded table",
    "an item that can't be read delays only itself",
    "tests/cloud/embedded_test.ts#nobody can read",
    "cloud/embedded/item.ts",
    `if (error instanceof SyntaxError || error instanceof RangeError) return undefined;`,
    ``,
  ),
  guarded(
    "zeros by an expression",
    "every decoder is linear",
    "tests/schema/growth_test.ts#canonicalDecimal",
    "schema/numbers.ts",
    `const digits = all.slice(lead, end);`,
    `const digits = all.slice(lead).replace(/0+$/, "");`,
  ),
];
