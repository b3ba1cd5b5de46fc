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

/** Options of {@link watchCommits}. */
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

/** A running watch. */
export interface CommitWatch {
  /** Looks at `data_version` now; for a caller that has reason to. */
  check(): void;
  close(): void;
}

/**
 * Each poll wakes the process, which costs it more than the look. Behind a watch that works they only find out that it no
 * longer does: what is committed meanwhile is seen by the agent's tick, which looks at the outbox every second.
 */
const watchedPolls = 16;

/** When to look again after an event that showed nothing yet, ms from one look to the next. */
const looksMs: readonly number[] = [1, 3, 10, 30];

/**
 * Watches the database at `path` for commits of other connections. The `-wal` file may be missing, vanish and come back.
 * Errors of `dataVersion` (a busy or closed database) end a look, never the watch: the next one tries again.
 */
export function watchCommits(path: string, options: WakeOptions): CommitWatch {
  const { onWake, dataVersion, pollMs = 250, minGapMs = 2 } = options;
  const walPath = `${realPath(path)}-wal`;
  let seen = read();
  let watcher: Deno.FsWatcher | undefined;
  let eventSincePoll = false, closed = false, wokenMs = -Infinity;
  let lookTimer: ReturnType<typeof setTimeout> | undefined;

  function read(): number | undefined {
    try {
      return dataVersion();
    } catch {
      return undefined;
    }
  }

  /** Whether there was something to see. Within the gap the look is put off, so that bursts cost one wake-up. */
  function look(): boolean {
    const version = read();
    if (version === undefined || version === seen) return false;
    const gapMs = wokenMs + minGapMs - performance.now();
    if (gapMs > 0) {
      schedule(gapMs, 0);
      return true;
    }
    seen = version;
    wokenMs = performance.now();
    onWake();
    return true;
  }

  function schedule(delayMs: number, attempt: number): void {
    clearTimeout(lookTimer);
    lookTimer = setTimeout(() => {
      lookTimer = undefined;
      if (closed || look() || attempt >= looksMs.length) return;
      schedule(looksMs[attempt]!, attempt + 1);
    }, delayMs);
  }

  async function watch(): Promise<void> {
    let own: Deno.FsWatcher;
    try {
      own = Deno.watchFs(walPath, { recursive: false });
    } catch {
      // Not there yet, or no watches here: the poll arms it again when there is something to watch.
      return;
    }
    watcher = own;
    try {
      for await (const event of own) {
        if (closed || watcher !== own) break;
        eventSincePoll = true;
        if (event.kind === "access") continue;
        // Also while a look is pending: it may be one of the late ones, which the agent's own commit before asked for.
        if (!look()) schedule(looksMs[0]!, 1);
        if (event.kind === "remove") break;
      }
    } catch {
      // A watch that broke is like one that never was: the poll takes over and arms a new one.
    }
    if (watcher === own) watcher = undefined;
    try {
      own.close();
    } catch {
      // Closed by `close` or `rearm` already.
    }
  }

  function rearm(): void {
    const old = watcher;
    watcher = undefined;
    try {
      old?.close();
    } catch {
      // It ended by itself.
    }
    void watch();
  }

  function planPoll(): ReturnType<typeof setTimeout> {
    return setTimeout(poll, watcher === undefined ? pollMs : pollMs * watchedPolls);
  }

  function poll(): void {
    // First: whoever is woken may close the watch, or throw.
    pollTimer = planPoll();
    const missed = look() && !eventSincePoll;
    eventSincePoll = false;
    // A commit without an event: the watch is on a file that is no longer the WAL.
    if (!closed && (watcher === undefined || missed)) rearm();
  }

  void watch();
  let pollTimer = planPoll();
  return {
    check: () => void look(),
    close() {
      closed = true;
      clearTimeout(pollTimer);
      clearTimeout(lookTimer);
      const old = watcher;
      watcher = undefined;
      try {
        old?.close();
      } catch {
        // It ended by itself.
      }
    },
  };
}
