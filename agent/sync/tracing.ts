/**
 * Traces of what a device does with changes: `twintable.send`, from the commit to the cloud's answer, and `twintable.apply`, from
 * an entry's arrival to the commit of its rows. See `protocol/tracing.ts`. Nothing is done while there are none.
 *
 * @module
 */
import type { Ack, Channel, Entry } from "../../protocol.ts";
import { emitSpan, isTraced, spanKind } from "../../protocol/tracing.ts";
import type { Context } from "./context.ts";
import type { Batch } from "./flight.ts";

/** An answer was settled. A stamp is the time of the commit, by the cloud's clock. */
export function traceSent({ clock }: Pick<Context, "clock">, { id, source, flights }: Batch, { answers }: Ack): void {
  if (!isTraced()) return;
  const endMs = clock.nowMs(), answered = new Map(answers.map((answer) => [answer.at, answer]));
  flights.forEach(({ change: { model, op, stamp } }, at) => {
    const { code, reason } = answered.get(at) ?? { code: "ok" as const, reason: undefined };
    emitSpan("send", [source, stamp], {
      ...{ kind: spanKind.client, startMs: Math.min(stamp / 1000, endMs), endMs },
      attributes: { device: source.slice(0, source.lastIndexOf("#")), model, op, batch: id, code },
      ...(code === "ok" ? {} : { fault: reason ?? code }),
    });
  });
}

/** Applies entries, and traces those that others wrote. */
export function traceApplied(
  { clock, store }: Pick<Context, "clock" | "store">,
  channel: Channel,
  entries: readonly Entry[],
  apply: () => void,
): void {
  if (!isTraced()) return apply();
  const startMs = clock.nowMs(), device = store.identity.deviceId;
  apply();
  for (const { current } of entries) {
    // Its own come back on shared channels.
    if (!current?.version || current.version[0].startsWith(`${device}#`)) continue;
    emitSpan("apply", current.version, {
      ...{ kind: spanKind.consumer, startMs, endMs: clock.nowMs() },
      attributes: { device, channel, model: current.model },
    });
  }
}
