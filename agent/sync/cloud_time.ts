/**
 * What the device learns about the cloud's time from its messages.
 *
 * @module
 */
import type { FromCloud } from "../../protocol.ts";
import type { Context } from "./context.ts";
import type { Downlink } from "./downlink.ts";

/** The time in an answer that took longer is not used, unless there is no other: half of the duration is the error. */
const roundTripMaxMs = 5_000;

/**
 * The cloud's time, from answers that came soon after their question was first asked: an answer that lay in a queue,
 * came while this process was stopped, or answers an earlier transmission would set the clock back by that long. A
 * time later than the known one is always nearer to the truth.
 */
export function learnTime({ clock, inFlight }: Context, downlink: Downlink, message: FromCloud): void {
  if (message.type === "verify" || message.type === "order" || message.type === "digests") return;
  if (message.type === "later") return;
  const asked: { readonly firstMs?: number; readonly ahead?: boolean } | undefined = message.type === "changes"
    ? undefined
    : message.type === "ack" || message.type === "refused"
    ? inFlight.batches.get(message.batch)
    : downlink.requestOf(message.request);
  if (asked?.firstMs === undefined) return;
  const isPrompt = !asked.ahead && clock.monotonicMs() - asked.firstMs <= roundTripMaxMs;
  if (isPrompt || !clock.known || message.time > clock.nowMs()) clock.learn(message.time);
}
