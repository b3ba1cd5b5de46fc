/**
 * Entries that this device can read but not apply, because of a bug in the program, or because an application's trigger
 * rolls the whole transaction back. The agent recovers as from any fault (it rolls the transaction back and reloads its
 * memory), and remembers the content of the entry that was being applied: when the same content comes again, the agent
 * sets only that entry aside by its key, and the cursor moves on (rule D4). It tries another version of the item
 * normally.
 *
 * In memory only, bounded: after a start, everything is tried once more.
 *
 * @module
 */
import { BoundedMap } from "../../protocol/bounded_map.ts";
import type { Entry } from "../../protocol.ts";
import { SyncError } from "../../schema.ts";
import { hashText } from "../../schema/json.ts";
import { isEnvironmental } from "../store/faults.ts";

/** Entries that are remembered; beyond that, the oldest is forgotten and tried again, which costs a fault. */
const rememberedMax = 1000;

/** See the module. */
export class Faulty {
  #current: Entry | undefined;
  readonly #reasons = new BoundedMap<string, string>(rememberedMax);

  /** This one is applied now. */
  begin(entry: Entry): void {
    this.#current = entry;
  }

  /** No entry is being applied any more. */
  end(): void {
    this.#current = undefined;
  }

  /** Why this entry can't be applied; undefined if it has not failed before. */
  of(entry: Entry): string | undefined {
    return this.#reasons.size === 0 ? undefined : this.#reasons.get(textOf(entry));
  }

  /**
   * A transaction failed: the entry that was being applied is to blame, unless everything else would have failed, too.
   */
  blame(error: unknown): void {
    const entry = this.#current;
    this.#current = undefined;
    if (!entry || !isOfTheEntry(error)) return;
    this.#reasons.set(textOf(entry), `it can't be applied: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function textOf(entry: Entry): string {
  return hashText(JSON.stringify(entry));
}

/** Codes of errors of the file, the disk or the tables. */
const everybodys = ["busy", "full", "io", "corrupt", "read-only", "not-a-database", "altered", "closed"];

function isOfTheEntry(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof SyncError ? everybodys.includes(e.code) : isEnvironmental(e)) return false;
  }
  return true;
}
