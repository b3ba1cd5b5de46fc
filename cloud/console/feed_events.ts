/**
 * The fleet's feed (`cloud/feed/`) as events for open pages: `change`, `stage`, `kept` and `gap`, on topics of these names. The
 * feed is watched while a page is open, and no longer: workers tell each other nothing otherwise.
 *
 * @module
 */
import type { Feed } from "../feed/feed.ts";
import type { EventHub } from "./event_hub.ts";

/** The interest is renewed well before it ends. */
const interestMs = 10_000, renewMs = 4_000;
const told: ReadonlySet<string> = new Set(["change", "stage", "kept", "gap"]);

/** Tells the hub. */
export function tellOfFeed(feed: Feed, hub: EventHub): { close(): void } {
  const watch = () => {
    if (hub.isHeard) feed.watch(interestMs);
  };
  const release = feed.listen(({ row }) => {
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
