/**
 * One page's stream of events, as `text/event-stream`: `hello`, then the requested events, a comment every 15 s so that
 * proxies do not close it, and `bye` at the session's end. See `event_hub.ts` for what is guaranteed.
 *
 * @module
 */
import { eventBytes, type EventHub, type NumberedEvent } from "./event_hub.ts";

const heartbeatMs = 15_000;
const heartbeat = new TextEncoder().encode(":\n\n");
/** Events that wait for a slow page. */
const waitingMax = 500;

/** The options of a stream. */
export interface StreamOptions {
  readonly hub: EventHub;
  /** The topics; one that ends with `:` means all with this prefix. */
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
  let end = () => {};
  /** What happened in this turn: written in one piece. */
  let pending: Uint8Array[] = [];
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const flush = () => {
        if (pending.length > 0) controller.enqueue(joined(pending));
        pending = [];
      };
      const put = (bytes: Uint8Array) => {
        if (pending.push(bytes) === 1) queueMicrotask(flush);
      };
      const event = (name: string, data: unknown, seq = hub.seq) => put(eventBytes(`${hub.life}-${seq}`, name, data));
      const isFull = () => (controller.desiredSize ?? 0) <= pending.length;
      let lost = 0;
      const pass = (one: NumberedEvent) => {
        if (!isWanted(one, topics)) return;
        if (isFull()) return void lost++;
        if (lost > 0) event("gap", { n: lost }, one.seq - 1);
        lost = 0;
        // The same bytes for every page: ten that watch a flood cost little more than one.
        put(one.bytes());
      };
      const unlisten = hub.listen(pass);
      const timer = setInterval(() => {
        if (isFull()) return;
        if (lost > 0) event("gap", { n: lost });
        lost = 0;
        put(heartbeat);
      }, heartbeatMs);
      // Once: whichever of page, session and worker ends first removes the others' listeners.
      const close = () => {
        flush();
        end();
        controller.close();
      };
      const leave = () => {
        event("bye", {});
        close();
      };
      end = () => {
        end = () => {};
        pending = [];
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
      // Its number is lower than those of the events that follow: a page that leaves in between gets them again.
      event("hello", { life: hub.life }, missed?.[0] ? missed[0].seq - 1 : hub.seq);
      if (missed) missed.forEach(pass);
      else event("gap", {});
    },
    cancel: () => end(),
    // Asked as a piece is written, while `pending` still has its events.
  }, { highWaterMark: waitingMax, size: () => Math.max(1, pending.length) });
}

/** One piece. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
