/**
 * What is told to all devices when a worker starts to receive, or a new epoch begins: questions from before may be
 * lost, and devices that know another epoch of the table must ask. Without it, a device that nobody writes to would
 * hear of a new epoch with its next regular sync.
 *
 * @module
 */
import type { Publisher } from "../publishers/port.ts";
import type { ChannelLog } from "./channel_log.ts";
import type { Counters } from "./metrics.ts";
import type { Spread } from "./spread.ts";

/** What an announcement is made from. */
export interface AnnouncementContext {
  readonly log: Pick<ChannelLog, "epoch">;
  readonly publisher: Publisher;
  readonly spread: Pick<Spread, "spreadMs">;
  readonly metrics: Counters;
  readonly now: () => number;
}

/** Tells all devices once. @throws SyncError if the log table or the broker fails */
export async function announce({ log, publisher, spread, metrics, now }: AnnouncementContext): Promise<void> {
  const channel = "global", epoch = await log.epoch(channel), spreadMs = spread.spreadMs(channel);
  await publisher.publish("all", { type: "changes", channel, epoch, seq: 0, entries: [], time: now(), spreadMs });
  metrics.messagesPublished++;
}
