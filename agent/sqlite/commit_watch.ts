/**
 * Tells within a millisecond or so that another process committed to the database: a file watch on the `-wal` file, with a
 * slow poll of SQLite's `data_version` behind it, for systems without file watches and for events that get lost.
 *
 * Only ever the `-wal` file is named here. Closing any descriptor on the database file drops this process's POSIX locks on
 * it, and watching its folder opens it on some systems; a WAL can then be deleted under the agent.
 *
 * SQLite writes the frames into the `-wal` file first and makes them visible in the shared-memory index afterwards, so that
 * an event may come before `data_version` shows the commit. After an event it is therefore looked at a few times, at
 * growing distances. The agent's own commits cause events too, but never another `data_version`: they wake nobody.
 *
 * @module
 */
import { realPath } from "./real_path.ts";

/** Options of {@link CommitWatch}. */
export interface WakeOptions {
  /** Another connection has committed since the last call. Never called re-entrantly, at most once in `minGapMs`. */
  readonly onWake: () => void;
  /** `PRAGMA data_version` of the agent's own connection. */
  readonly dataVersion: () => number;
  /** Ms between polls while there is no file watch; default 250. Behind a watch they are {@link watchedPolls} times as far apart. */
  readonly pollMs?: number;
  /** Ms between two calls of `onWake`; default 2. */
  readonly minGapMs?: number;
}

/**
 * Each poll wakes the process, which costs it more than the look. Behind a watch that works they only find out that it no
 * longer does: what is committed meanwhile is seen by the agent's tick, which looks at the outbox every second.
 */
const watchedPolls = 16;

/** When to look again after an event that showed nothing yet, ms from one look to the next. */
const looksMs: readonly number[] = [1, 3, 10, 30];

/**
 * Watches the database at a path for commits of other connections, from its construction until {@link CommitWatch.close}. The
 * `-wal` file may be missing, vanish and come back. Errors of `dataVersion` (a busy or closed database) end a look, never the
 * watch: the next one tries again.
 */
export class CommitWatch {
  readonly #walPath: string;
  readonly #pollMs: number;
  readonly #minGapMs: number;
  /** The `data_version` that was seen last; undefined: it could not be read. */
  #seen: number | undefined;
  #watcher: Deno.FsWatcher | undefined;
  #eventSincePoll = false;
  #closed = false;
  #wokenMs = -Infinity;
  #lookTimer: ReturnType<typeof setTimeout> | undefined;
  #pollTimer: ReturnType<typeof setTimeout>;

  /** @param path of the database */
  constructor(path: string, private readonly options: WakeOptions) {
    this.#walPath = `${realPath(path)}-wal`;
    this.#pollMs = options.pollMs ?? 250;
    this.#minGapMs = options.minGapMs ?? 2;
    this.#seen = this.#read();
    void this.#watch();
    this.#pollTimer = this.#planPoll();
  }

  /** Looks at `data_version` now; for a caller that has reason to. */
  check(): void {
    this.#look();
  }

  /** Ends it; `onWake` is not called any more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#lookTimer);
    this.#dropWatcher();
  }

  #read(): number | undefined {
    try {
      return this.options.dataVersion();
    } catch {
      return undefined;
    }
  }

  /** Whether there was something to see. Within the gap the look is put off, so that bursts cost one wake-up. */
  #look(): boolean {
    const version = this.#read();
    if (version === undefined || version === this.#seen) return false;
    const gapMs = this.#wokenMs + this.#minGapMs - performance.now();
    if (gapMs > 0) {
      this.#schedule(gapMs, 0);
      return true;
    }
    this.#seen = version;
    this.#wokenMs = performance.now();
    this.options.onWake();
    return true;
  }

  #schedule(delayMs: number, attempt: number): void {
    clearTimeout(this.#lookTimer);
    this.#lookTimer = setTimeout(() => {
      this.#lookTimer = undefined;
      if (this.#closed || this.#look() || attempt >= looksMs.length) return;
      this.#schedule(looksMs[attempt]!, attempt + 1);
    }, delayMs);
  }

  async #watch(): Promise<void> {
    let own: Deno.FsWatcher;
    try {
      own = Deno.watchFs(this.#walPath, { recursive: false });
    } catch {
      // Not there yet, or no watches here: the poll arms it again when there is something to watch.
      return;
    }
    this.#watcher = own;
    try {
      await this.#follow(own);
    } catch {
      // A watch that broke is like one that never was: the poll arms a new one.
    }
    if (this.#watcher === own) this.#watcher = undefined;
    closeQuietly(own);
  }

  async #follow(own: Deno.FsWatcher): Promise<void> {
    for await (const event of own) {
      if (this.#closed || this.#watcher !== own) return;
      this.#eventSincePoll = true;
      if (event.kind === "access") continue;
      // Also while a look is pending: it may be one of the late ones, which the agent's own commit before asked for.
      if (!this.#look()) this.#schedule(looksMs[0]!, 1);
      if (event.kind === "remove") return;
    }
  }

  #dropWatcher(): void {
    const old = this.#watcher;
    this.#watcher = undefined;
    if (old) closeQuietly(old);
  }

  #planPoll(): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#poll(), this.#watcher === undefined ? this.#pollMs : this.#pollMs * watchedPolls);
  }

  #poll(): void {
    // First: whoever is woken may close the watch, or throw.
    this.#pollTimer = this.#planPoll();
    const missed = this.#look() && !this.#eventSincePoll;
    this.#eventSincePoll = false;
    if (this.#closed || (this.#watcher !== undefined && !missed)) return;
    // A commit without an event: the watch is on a file that is no longer the WAL.
    this.#dropWatcher();
    void this.#watch();
  }
}

function closeQuietly(watcher: Deno.FsWatcher): void {
  try {
    watcher.close();
  } catch {
    // It ended by itself.
  }
}
