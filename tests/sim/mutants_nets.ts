/**
 * Planted bugs that the wider nets find: the later families of the simulation, and rules that it showed to be missing.
 *
 * @module
 */
import { guarded, type Mutant, one } from "./mutant.ts";

const pages = "tests/skew/pages_test.ts", portions = "agent/sync/portions.ts";

/** See the module. */
export const nets: readonly Mutant[] = [
  guarded(
    "a page of what was read before the error",
    "C1, C4: a read that failed makes no page",
    "tests/skew/snapshot_test.ts",
    "cloud/sync/snapshot.ts",
    `error.code === "invalid") return undefined;\n    throw error;`,
    `error.code === "invalid") return undefined;\n    return { items: [] };`,
  ),
  guarded(
    "place in the log given up",
    "6.5: after a snapshot that the log did not force the log is read on from where it was",
    "tests/skew/flight_test.ts",
    "agent/sync/downlink.ts",
    `Math.min(page.head, resumedFrom(cursor, page.epoch))`,
    `page.head`,
  ),
  guarded(
    "an answer to an earlier transmission tells the time",
    "2.2: an answer's time counts from when its question was first asked (sim: all 9000001)",
    "tests/agent/sync/clock_test.ts#earlier transmission",
    "agent/sync/uplink.ts",
    `sending.firstMs ??= sending.restored ? -Infinity : now;`,
    `sending.firstMs = now;`,
  ),
  guarded(
    "a later time unheard",
    "2.2: a later time than the known one is nearer to the truth",
    "tests/agent/sync/clock_test.ts#later time",
    "agent/sync/cloud_time.ts",
    `if (isPrompt || !clock.known || message.time > clock.nowMs()) clock.learn(message.time);`,
    `if (isPrompt || !clock.known) clock.learn(message.time);`,
  ),
  guarded(
    "D4: asked for as much again",
    "D4: a page that can't be read is asked for with half the items",
    `${pages}#snapshot whose messages are garbled`,
    portions,
    `this.#pages.set(channel, { size: Math.floor(size / 2), suspect: size });`,
    `return false;`,
  ),
  guarded(
    "D4: keys asked for as many again",
    "D4: named keys whose answer can't be read are asked for by halves",
    `${pages}#log whose messages are garbled`,
    portions,
    `    this.#keys.size = Math.ceil(asked / 2);\n`,
    ``,
  ),
  guarded(
    "D4: a swallowed page goes unnoticed",
    "D4: a page that never comes, though other answers do, is too large",
    `${pages}#passes on nothing`,
    "agent/sync/questions.ts",
    `if (this.#isSwallowed(out, now)) this.asker.swallowed(out.id);`,
    `void out;`,
  ),
  guarded(
    "D4: what is named is an absence",
    "D4: an entry that only names its item is a recheck",
    `${pages}#snapshot whose messages are garbled`,
    "agent/sync/incoming.ts",
    `else if (unsettled || entry.named !== undefined) {`,
    `else if (unsettled) {`,
  ),
  guarded(
    "D4: an entry's fault is everybody's",
    "D4: an entry at which applying fails is set aside by its key",
    `${pages}#rolls the transaction back`,
    "agent/sync/downlink.ts",
    `    this.#faulty.blame(error);\n`,
    ``,
  ),
  guarded(
    "D4: a log that can't be named",
    "D4: what a log can't name in one message comes by a snapshot",
    `${pages}#passes on nothing of over 2 KB, the log`,
    "agent/sync/downlink.ts",
    `this.#portions.less(one) || this.#leaveLog(one)`,
    `this.#portions.less(one)`,
  ),
  guarded(
    "read as another text",
    "a text that is no UTF-8 is never handed to an application as another one",
    "tests/agent/api/models_test.ts#no UTF-8",
    "agent/api/models.ts",
    `if (this.fields.some((_, i) => mayBeAltered(row[\`c\${i}\`]))) this.#refuseAltered(row);`,
    ``,
  ),
  guarded(
    "written anew as another text",
    "a text that is no UTF-8 is never rewritten",
    "tests/agent/migration/untag_test.ts#columns of JSON",
    "agent/migration/untag.ts",
    `const text = utf8Of(bytes), plain`,
    `const text = new TextDecoder().decode(bytes), plain`,
  ),
  guarded(
    "D4: never asked for again",
    "D4: what could not be read is asked for again by its key, at each connect and now and then",
    `${pages}#asked for again after`,
    "agent/sync/aside.ts",
    `WHERE unread IS NOT NULL LIMIT ?`,
    `WHERE unread IS NULL LIMIT ?`,
  ),
  // What the families `aside`, `misread`, `skew` and `silence` find.
  one(
    "aside never tried again (simulation)",
    "6.7: what is set aside is tried again when what stands in its way goes",
    "aside",
    "agent/sync/aside.ts",
    `if (!this.#fits(one)) continue;`,
    `continue;`,
  ),
  one(
    "a page of what was read before the error (simulation)",
    "C1, C4: a read that failed makes no page",
    "misread",
    "cloud/sync/snapshot.ts",
    `error.code === "invalid") return undefined;\n    throw error;`,
    `error.code === "invalid") return undefined;\n    return { items: [] };`,
  ),
  one(
    "unsent goes with its column",
    "E3: what waits of a field that the schema lost is sent when the field is back",
    "skew",
    "agent/migration/unsent.ts",
    `if (field) note.run(`,
    `if (!field) note.run(`,
  ),
  one(
    "D4: what is named is an absence (simulation)",
    "D4: an entry that only names its item is a recheck",
    "silence",
    "agent/sync/incoming.ts",
    `else if (unsettled || entry.named !== undefined) {`,
    `else if (unsettled) {`,
  ),
  one(
    "D4: the log left again at once",
    "D4: a snapshot that ends before what could not be read is not taken again at once",
    "silence",
    "agent/sync/downlink.ts",
    `this.#leavesAgainMs.set(channel, now + leavesAgainMs);`,
    ``,
  ),
];
