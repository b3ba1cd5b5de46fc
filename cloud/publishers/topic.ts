/**
 * Where a message for a target is published.
 *
 * @module
 */
import type { Topics } from "../../protocol.ts";
import type { Target } from "./port.ts";

/** The topic of a target. @throws ProtocolError for an id that could change the topic. */
export function topicOf(topics: Topics, to: Target): string {
  if (to === "all") return topics.all;
  return "device" in to ? topics.down(to.device) : topics.account(to.account);
}
