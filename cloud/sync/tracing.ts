/**
 * Traces of what a worker does with changes: `twintable.ingest`, from a batch's arrival to its acknowledgement, and
 * `twintable.fan_out`, from an entry's making to its publishing. See `protocol/tracing.ts`. It is one of the service's observers.
 *
 * @module
 */
import { emitSpan, isTraced, spanKind } from "../../protocol/tracing.ts";
import { noObserver, type Observer } from "./observer.ts";

/** Observes a service for traces; it does nothing while there are none. */
export function traceObserver(now: () => number): Observer {
  return {
    ...noObserver,
    acknowledged({ deviceId: device }, { batch, changes }, { answers }, begunMs) {
      if (!isTraced()) return;
      const source = `${device}#${batch.slice(0, Math.max(batch.lastIndexOf("/"), 0)) || batch}`, endMs = now();
      const answered = new Map(answers.map((answer) => [answer.at, answer]));
      changes.forEach(({ model, op, stamp }, at) => {
        const { code, reason } = answered.get(at) ?? { code: "ok" as const, reason: undefined };
        emitSpan("ingest", [source, stamp], {
          ...{ kind: spanKind.server, startMs: begunMs, endMs },
          attributes: { device, model, op, batch, code },
          ...(code === "ok" ? {} : { fault: reason ?? code }),
        });
      });
    },
    published({ channel, seq, entries, time }) {
      if (!isTraced()) return;
      const endMs = now();
      for (const { current, mark } of entries) {
        const { version, model } = mark ?? current ?? {};
        if (!version) continue;
        emitSpan("fan_out", version, {
          ...{ kind: spanKind.producer, startMs: time, endMs },
          attributes: { channel, seq, model },
        });
      }
    },
  };
}
