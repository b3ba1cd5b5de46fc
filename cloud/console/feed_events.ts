/**
 * The fleet's feed (`cloud/feed/`) as events for open pages: `change`, `stage`, `kept` and `gap`, on topics of these
 * names. The feed is watched only while a page is open: otherwise, workers exchange nothing.
 *
 * @module
 */
import type { Feed } from "../feed/feed.ts";
import type { EventHub } from "./event_hub.ts";
import type { ItemVersions } from "./item_versions.ts";

/** The interest is renewed well before it ends. */
const interestMs = 10_000, renewMs = 4_000;
const told: ReadonlySet<string> = new Set(["change", "stage", "kept", "gap"]);

/** Tells the hub, and whoever remembers items' values. */
export function tellOfFeed(feed: Feed, hub: EventHub, versions: ItemVersions): { close(): void } {
  const watch = () => {
    if (hub.isHeard) feed.watch(interestMs);
  };
  const release = feed.listen(({ row }) => {
    versions.heard(row);
    if (told.has(row.type)) hub.publish({ name: row.type, topic: row.type, data: row });
  });
  hub.onFirst(watch);
  const timer = setInterval(watch, renewMs);
  return {
    close() {
      clearInterval(timer);
      release();
    },
  };
}
