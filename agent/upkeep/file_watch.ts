/**
 * What other programs do to the database under a running agent: they replace or remove the file, or drop and alter what the
 * agent needs in it. Neither can be prevented; either ends the agent with a sentence before anything is lost by it.
 *
 * @module
 */
import { SyncError } from "../../schema.ts";
import { fileIdentity } from "../sqlite/real_path.ts";
import { alteredError, type Store } from "../store/store.ts";
import type { Problems } from "./problems.ts";

/** What was dropped or altered must stay so for this long before the agent stops: a migration tool may still be at it. */
const alteredGraceMs = 10_000;

/** Looks at the file once a tick. */
export class FileWatch {
  /** Which file the path led to when it was opened; undefined: a database in memory. */
  readonly #file: string | undefined;
  /** What was found dropped or altered, and since when, monotonic ms. */
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

  /** Why the agent can't go on, if it can't. A look of some microseconds. @param nowMs monotonic */
  look(nowMs: number): SyncError | undefined {
    return this.#replaced() ?? this.#altered(nowMs);
  }

  /** Whether the path leads to another file by now, or to none: what SQLite writes to a file without a name is lost at the close. */
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
   * Whether somebody has dropped or altered what the agent needs, and is done with it: a migration tool takes its time from one
   * statement to the next. Meanwhile nothing is written (`Store.tx`).
   */
  #altered(nowMs: number): SyncError | undefined {
    let names: readonly string[];
    try {
      names = this.store.altered();
    } catch {
      // The database can't be read now: the twin meets that, too, and reports it.
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
