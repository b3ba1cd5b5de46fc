/**
 * Notices within about a millisecond that another process committed to the database: by a file watch on the `-wal`
 * file, backed by a slow poll of SQLite's `data_version` for systems without file watches and for lost events.
 *
 * This module only ever opens the `-wal` file. Closing any descriptor on the database file drops this process's POSIX
 * locks on it, and watching its folder opens it on some systems; a WAL can then be deleted under the agent.
 *
 * SQLite writes the frames into the `-wal` file first and makes them visible in the shared-memory index afterwards, so
 * an event may come before `data_version` shows the commit. After an event, `data_version` is therefore read a few
 * times, at growing intervals. The agent's own commits cause events too, but do not change `data_version`, and so wake
 * nobody.
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
  /**
   * Ms between polls while there is no file watch; default 250. With a watch, they are {@link watchedPolls} times as
   * far apart.
   */
  readonly pollMs?: number;
  /** Ms between two calls of `onWake`; default 2. */
  readonly minGapMs?: number;
}

/**
 * Each poll wakes the process, which costs more than the read itself. While a watch works, polls only serve to notice
 * that it stopped working: until then, the agent's tick, which reads the outbox every second, sees new commits.
 */
const watchedPolls = 16;

/** When to read again after an event that showed nothing yet, ms from one read to the next. */
const looksMs: readonly number[] = [1, 3, 10, 30];

/**
 * Watches the database at a path for commits of other connections, from its construction until
 * {@link CommitWatch.close}. The `-wal` file may be missing, vanish and come back. Errors of `dataVersion` (a busy or
 * closed database) end one read, never the watch: the next read tries again.
 */
export class CommitWatch {
  readonly #walPath: string;
  readonly #pollMs: number;
  readonly #minGapMs: number;
  /** The last known `data_version`; undefined: it could not be read. */
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

  /** Reads `data_version` now, for a caller that has a reason to. */
  check(): void {
    this.#look();
  }

  /** Ends the watch; `onWake` is not called any more. */
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

  /** Whether there was a new commit. Within the gap, the check is postponed, so that a burst costs one wake-up. */
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
      // The file does not exist yet, or the system has no watches: the poll arms the watch again when possible.
      return;
    }
    this.#watcher = own;
    try {
      await this.#follow(own);
    } catch {
      // The watch broke: the poll arms a new one.
    }
    if (this.#watcher === own) this.#watcher = undefined;
    closeQuietly(own);
  }

  async #follow(own: Deno.FsWatcher): Promise<void> {
    for await (const event of own) {
      if (this.#closed || this.#watcher !== own) return;
      this.#eventSincePoll = true;
      if (event.kind === "access") continue;
      // Also while a read is pending: it may be a late one, scheduled by the agent's own earlier commit.
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
    // First, because the callback may close the watch, or throw.
    this.#pollTimer = this.#planPoll();
    const missed = this.#look() && !this.#eventSincePoll;
    this.#eventSincePoll = false;
    if (this.#closed || (this.#watcher !== undefined && !missed)) return;
    // A commit without an event: the watched file is no longer the WAL.
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
