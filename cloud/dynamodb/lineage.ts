/**
 * Which shards to read. All records of a shard come before those of its children, so a child is started only after its
 * parent was read to the end. The stored state is the **frontier**: the shards being read. A shard that is listed and
 * not in the frontier was either read before (a descendant is in the frontier) or waits for its parent (an ancestor
 * is), or it is new.
 *
 * @module
 */
import type { Shard } from "./stream_source.ts";

/** Listed shards to start at their oldest record: those with no ancestor and no descendant in the frontier. */
export function newShards(listed: readonly Shard[], frontier: ReadonlySet<string>): Shard[] {
  const byId = new Map(listed.map((shard) => [shard.id, shard]));
  const covered = frontierAndAncestors(byId, frontier);
  return listed.filter((shard) => {
    if (covered.has(shard.id)) return false;
    for (let parent = parentOf(byId, shard); parent; parent = parentOf(byId, parent)) {
      // It waits for an ancestor that is being read, or that will be started. (An ancestor that was read before is
      // neither: then this shard should have replaced it, and must not be left out.)
      if (frontier.has(parent.id) || !covered.has(parent.id)) return false;
    }
    return true;
  });
}

/** The children that replace a shard that was read to its end, without those whose records were read before. */
export function successors(listed: readonly Shard[], id: string, frontier: ReadonlySet<string>): Shard[] {
  const covered = frontierAndAncestors(new Map(listed.map((shard) => [shard.id, shard])), frontier);
  return childrenOf(listed, id).filter((child) => !covered.has(child.id));
}

/** The listed children of a shard. */
export function childrenOf(listed: readonly Shard[], id: string): Shard[] {
  return listed.filter((shard) => shard.parent === id);
}

function parentOf(byId: ReadonlyMap<string, Shard>, shard: Shard): Shard | undefined {
  return shard.parent === undefined ? undefined : byId.get(shard.parent);
}

function frontierAndAncestors(byId: ReadonlyMap<string, Shard>, frontier: ReadonlySet<string>): Set<string> {
  const covered = new Set<string>();
  for (const id of frontier) {
    for (let shard = byId.get(id); shard && !covered.has(shard.id); shard = parentOf(byId, shard)) {
      covered.add(shard.id);
    }
  }
  return covered;
}
