/**
 * Planted bugs in how the agent shares its file with other programs: each is found by a test of its own, since the simulation
 * has no other programs.
 *
 * @module
 */
import { guarded, type GuardedMutant } from "./mutant.ts";

const rows = "agent/store/rows.ts", stuck = "tests/agent/upkeep/stuck_test.ts";

/** The planted bugs. */
export const devicefile: readonly GuardedMutant[] = [
  guarded(
    "skipped is written",
    "a row that a trigger skips (RAISE(IGNORE)) does not count as written",
    stuck,
    rows,
    `if (isThere || this.db.sql(this.#sql.insert).changes(...values) === 0) throw this.#skipped("write of", key);`,
    `if (!isThere) this.db.sql(this.#sql.insert).run(...values);`,
  ),
  guarded(
    "skipped is removed",
    "a row that a trigger keeps (RAISE(IGNORE)) does not count as removed",
    stuck,
    rows,
    `throw this.#skipped("removal of", key);`,
    `return false;`,
  ),
  guarded(
    "entries of what stays",
    "at the cap the entries of rows that could not be deleted stay",
    stuck,
    "agent/upkeep/capacity.ts",
    `if (!kept.get(Number(model))!.has(Number(row))) extend(runs, Number(seq));`,
    `extend(runs, Number(seq));`,
  ),
  guarded(
    "upkeep in one piece",
    "a step of the upkeep that fails keeps no other from being done",
    stuck,
    "agent/twin.ts",
    `if (isEnvironmental(error instanceof SyncError ? error.cause : error)) throw error;`,
    `throw error;`,
  ),
  guarded(
    "link beside the file",
    "the lease is beside the file itself, not beside a link to it",
    "tests/agent/lifetime_test.ts",
    "agent/sqlite/lease.ts",
    "return `${realPath(databasePath)}.lease`;",
    "return `${databasePath}.lease`;",
  ),
  guarded(
    "the file without a name",
    "an agent stops when its file was replaced",
    "tests/agent/lifetime_test.ts",
    "agent/agent.ts",
    `if (replaced) return this.#stop(replaced);`,
    ``,
  ),
  guarded(
    "waiting beyond the close",
    "who waits while an agent is closed is rejected",
    "tests/agent/lifetime_test.ts",
    "agent/agent.ts",
    `ending.addEventListener("abort", ended);`,
    ``,
  ),
  guarded(
    "content is damage",
    "what SQLite dislikes about content is no damage",
    "tests/agent/store/damage_test.ts",
    "agent/store/damage.ts",
    `damage: found.filter((line) => !isContent(line))`,
    `damage: found`,
  ),
  guarded(
    "unknown is fine",
    "a check that could not run is done table by table",
    "tests/agent/store/damage_test.ts",
    "agent/store/damage.ts",
    `found = tableByTable(db);`,
    "found = ['CHECK constraint failed in a table'];",
  ),
  guarded(
    "days that there are not",
    "a key's date is judged by its text alone, alike by every SQLite",
    "tests/agent/store/damage_test.ts#dates:",
    "agent/store/sql.ts",
    "BETWEEN '01' AND ${days} AND",
    `BETWEEN '01' AND '31' AND`,
  ),
  guarded(
    "written behind the triggers",
    "rows are compared with their bases before a snapshot",
    "tests/agent/migration/bypass_test.ts",
    "agent/migration/bypass.ts",
    `if (row && base !== undefined && rows.equals(row, parseJson(String(base)) as Attributes)) continue;`,
    `if (row || base !== undefined) continue;`,
  ),
  guarded(
    "missing is removed",
    "a row that a tool may have lost is no removal",
    "tests/agent/migration/bypass_test.ts",
    "agent/migration/bypass.ts",
    `if (isBypassed) missing++;`,
    `if (missing < 0) missing++;`,
  ),
  guarded(
    "removals without a base",
    "a removal that waits is sent though what is known of keys is lost",
    "tests/agent/migration/bypass_test.ts",
    "agent/migration/bypass.ts",
    `if (isTracked(model)) keepRemovals(db, number, model, identity);`,
    ``,
  ),
  guarded(
    "old numbers are claimed",
    "batches of a lost outbox claim none of its new numbers",
    "tests/agent/migration/bypass_test.ts",
    "agent/migration/bypass.ts",
    `if (tables.has("_outbox")) db.exec("DELETE FROM _inflight");`,
    ``,
  ),
  guarded(
    "writing beside a migration tool",
    "nothing is written while something of the agent's is dropped",
    "tests/agent/lifetime_test.ts",
    "agent/store/store.ts",
    `if (!unchecked && this.altered().length > 0) throw alteredError(this.altered());`,
    ``,
  ),
  guarded(
    "the same batch for ever",
    "what is not answered while the cloud is heard is cut into smaller batches",
    "tests/agent/sync/silence_test.ts",
    "agent/sync/uplink.ts",
    `this.silence.split();`,
    ``,
  ),
  guarded(
    "silent and alone in the window",
    "a change that stands alone and stays silent holds no place in the window",
    "tests/agent/sync/silence_test.ts",
    "agent/sync/uplink.ts",
    `return this.inFlight.batches.size - this.silence.alone;`,
    `return this.inFlight.batches.size;`,
  ),
  guarded(
    "cut while the cloud is away",
    "a batch is cut only where the cloud is heard",
    "tests/agent/sync/silence_test.ts",
    "agent/sync/silence.ts",
    `!this.#isOverdue(batch) || !this.#isHeardSince(batch)) continue;`,
    `!this.#isOverdue(batch)) continue;`,
  ),
];
