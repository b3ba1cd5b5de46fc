/**
 * An agent's state: from the twin's memory, and from counts in the database.
 *
 * @module
 */
import type { AgentStatus } from "./types.ts";
import type { Twin } from "./twin.ts";

/** The state now. @param lastError of the link or of the twin */
export function statusOf(twin: Twin, lastError: string | undefined): AgentStatus {
  const { store } = twin.context;
  const count = (table: string) => Number(store.db.sql(`SELECT count(*) AS n FROM ${table}`).get()!.n);
  const time = (name: string) => {
    const ms = store.getMeta(name);
    return ms === undefined ? undefined : new Date(Number(ms)).toISOString();
  };
  return {
    device: store.identity.deviceId,
    account: store.identity.accountId,
    connected: twin.connected,
    outbox: count("_outbox"),
    inflight: [...twin.context.inFlight.batches.values()].reduce((n, b) => n + b.flights.length, 0),
    rejected: count("_rejected"),
    conflicts: count("_conflicts"),
    aside: count("_sync_aside"),
    problem: twin.facts.get("problem") as string | undefined,
    problems: twin.context.problems.list,
    full: twin.capacity.full,
    dropped: Number(store.getMeta("dropped") ?? 0),
    oldest: store.db.sql("SELECT oldest FROM _status").get()!.oldest as string | null ?? undefined,
    cursors: twin.downlink.cursors(),
    caughtUp: twin.downlink.caughtUp,
    lastAck: time("lastAck"),
    lastSync: time("lastSync"),
    lastError,
    clockOffsetMs: twin.context.clock.offsetMs,
    counters: { ...twin.context.counters },
  };
}
