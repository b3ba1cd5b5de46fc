/**
 * Notices what other programs do to the database of a running agent: they replace or remove the file, or drop and alter
 * what the agent needs in it. Neither can be prevented; both end the agent with a sentence, before anything is lost.
 *
 * @module
 */
import { SyncError } from "../../schema.ts";
import { fileIdentity } from "../sqlite/real_path.ts";
import { alteredError, type Store } from "../store/store.ts";
import type { Problems } from "./problems.ts";

/** The agent stops this long after something was dropped or altered: a migration tool may still be working. */
const alteredGraceMs = 10_000;

/** Checks the file once a tick. */
export class FileWatch {
  /** The identity of the file when it was opened; undefined: a database in memory. */
  readonly #file: string | undefined;
  /** What was dropped or altered, and since when, monotonic ms. */
  #alteredText = "";
  #alteredSinceMs = 0;

  /** @param path as the database was opened by it */
  constructor(
    private readonly path: string,
    private readonly store: Pick<Store, "altered">,
    private readonly problems: Pick<Problems, "raise" | "clear">,
  ) {
    this.#file = path === ":memory:" ? undefined : fileIdentity(path);
  }

  /** Why the agent can't continue, if it can't. Takes some microseconds. @param nowMs monotonic */
  look(nowMs: number): SyncError | undefined {
    return this.#replaced() ?? this.#altered(nowMs);
  }

  /**
   * Whether the path now leads to another file, or to none: what SQLite writes to a file without a name is lost when it
   * is closed.
   */
  #replaced(): SyncError | undefined {
    if (this.#file === undefined) return undefined;
    const now = fileIdentity(this.path);
    if (now === this.#file) return undefined;
    const what = now === undefined ? "was removed" : "was replaced by another file";
    return new SyncError("replaced", `the database "${this.path}" ${what} while the agent had it open`, {
      hint: "start the agent again; replace a database only while no agent runs (mod.ts restore)",
    });
  }

  /**
   * Whether somebody has dropped or altered what the agent needs, and has finished: a migration tool may pause between
   * statements. Meanwhile nothing is written (`Store.tx`).
   */
  #altered(nowMs: number): SyncError | undefined {
    let names: readonly string[];
    try {
      names = this.store.altered();
    } catch {
      // The database can't be read now: the twin gets the same error, and reports it.
      return undefined;
    }
    const text = names.join();
    if (text !== this.#alteredText) {
      this.#alteredText = text;
      this.#alteredSinceMs = nowMs;
      if (names.length > 0) this.problems.raise("altered", alteredError(names).message);
      else this.problems.clear("altered");
    }
    return names.length > 0 && nowMs - this.#alteredSinceMs >= alteredGraceMs ? alteredError(names) : undefined;
  }
}
