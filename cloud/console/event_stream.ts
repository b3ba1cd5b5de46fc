/**
 * One page's stream of events, as `text/event-stream`: `hello`, then what it asked for, a comment every 15 s so that proxies
 * keep it open, and `bye` at the session's end. See `event_hub.ts` for what is guaranteed.
 *
 * @module
 */
import type { EventHub, NumberedEvent } from "./event_hub.ts";

const heartbeatMs = 15_000;
/** Events that wait for a slow page. */
const waitingMax = 500;

/** What a stream is made of. */
export interface StreamOptions {
  readonly hub: EventHub;
  /** Which topics; one that ends with `:` takes all that begin so. */
  readonly topics: readonly string[];
  /** The last event that the page saw: `<life>-<number>`. */
  readonly lastEventId?: string;
  /** The session ends: the stream says `bye`. */
  readonly signal: AbortSignal;
  /** However it ended: the page left, the session is over, the worker closes. */
  ended(): void;
}

function isWanted({ topic }: NumberedEvent, topics: readonly string[]): boolean {
  return topics.some((wanted) => topic === wanted || (wanted.endsWith(":") && topic.startsWith(wanted)));
}

/** The stream, as a response's body. */
export function eventStream({ hub, topics, lastEventId, signal, ended }: StreamOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let end = () => {};
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (text: string) => controller.enqueue(encoder.encode(text));
      const event = (name: string, data: unknown, seq = hub.seq) =>
        send(`id: ${hub.life}-${seq}\nevent: tt:${name}\ndata: ${JSON.stringify(data)}\n\n`);
      let lost = 0;
      const pass = (one: NumberedEvent) => {
        if (!isWanted(one, topics)) return;
        if ((controller.desiredSize ?? 0) <= 0) return void lost++;
        if (lost > 0) event("gap", { n: lost }, one.seq - 1);
        lost = 0;
        event(one.name, one.data, one.seq);
      };
      const unlisten = hub.listen(pass);
      const timer = setInterval(() => {
        if ((controller.desiredSize ?? 0) <= 0) return;
        if (lost > 0) event("gap", { n: lost });
        lost = 0;
        send(":\n\n");
      }, heartbeatMs);
      // Once: whichever of page, session and worker is first takes the other two's listeners away.
      const close = () => {
        end();
        controller.close();
      };
      const leave = () => {
        event("bye", {});
        close();
      };
      end = () => {
        end = () => {};
        ended();
        clearInterval(timer);
        unlisten();
        signal.removeEventListener("abort", leave);
        hub.closing.removeEventListener("abort", close);
      };
      if (signal.aborted) return leave();
      signal.addEventListener("abort", leave);
      hub.closing.addEventListener("abort", close);
      const [life = "", seq = ""] = lastEventId?.split("-") ?? [];
      const missed = life === "" ? [] : hub.since(life, Number(seq));
      // Its number comes before those of what is told now: who leaves in between is told again.
      event("hello", { life: hub.life }, missed?.[0] ? missed[0].seq - 1 : hub.seq);
      if (missed) missed.forEach(pass);
      else event("gap", {});
    },
    cancel: () => end(),
  }, { highWaterMark: waitingMax });
}
