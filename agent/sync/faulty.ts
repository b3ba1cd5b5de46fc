/**
 * Entries that this device can't apply though it can read them: what fails is not the disk but the program, or a trigger of
 * an application that rolls the whole transaction back. The fault is taken back like any other (the transaction is rolled
 * back, memory is read again), and the entry that was being applied is remembered by its content: when the same comes again
 * it is set aside by its key, alone, and the cursor goes on (rule D4). Another version of the item is tried as if nothing
 * had been.
 *
 * In memory only, bounded: a start tries everything once more.
 *
 * @module
 */
import type { Entry } from "../../protocol.ts";
import { SyncError } from "../../schema.ts";
import { hashText } from "../../schema/json.ts";
import { isEnvironmental } from "../store/faults.ts";

/** Entries that are remembered; beyond, the oldest is tried again, which costs a fault. */
const rememberedMax = 1000;

/** See the module. */
export class Faulty {
  #current: Entry | undefined;
  readonly #reasons: Map<string, string> = new Map();

  /** This one is applied now. */
  begin(entry: Entry): void {
    this.#current = entry;
  }

  /** None is applied any more. */
  end(): void {
    this.#current = undefined;
  }

  /** Why this entry can't be applied; undefined: nothing is known against it. */
  of(entry: Entry): string | undefined {
    return this.#reasons.size === 0 ? undefined : this.#reasons.get(textOf(entry));
  }

  /** A transaction failed: the entry that was being applied is to blame, unless everything else would have failed too. */
  blame(error: unknown): void {
    const entry = this.#current;
    this.#current = undefined;
    if (!entry || !isOfTheEntry(error)) return;
    this.#reasons.set(textOf(entry), `it can't be applied: ${error instanceof Error ? error.message : String(error)}`);
    if (this.#reasons.size > rememberedMax) this.#reasons.delete(this.#reasons.keys().next().value!);
  }
}

function textOf(entry: Entry): string {
  return hashText(JSON.stringify(entry));
}

/** Codes of what is wrong with the file, the disk or the tables. */
const everybodys = ["busy", "full", "io", "corrupt", "read-only", "not-a-database", "altered", "closed"];

function isOfTheEntry(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof SyncError ? everybodys.includes(e.code) : isEnvironmental(e)) return false;
  }
  return true;
}
