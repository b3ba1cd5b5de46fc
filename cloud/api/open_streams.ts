/**
 * The streams of events that are open here, of the API and of the console: `/api/events`, `/console/events`.
 *
 * Guarantees: a stream ends within {@link checkEveryMs} after its holder's token expired, was removed or lost its scope, or
 * its session ended, at this worker or at another, and when its client has gone; at most {@link StreamLimits.perHolder}
 * are open for a token and {@link StreamLimits.all} in all, so that no token keeps another's out.
 *
 * @module
 */
import { ApiError } from "./errors.ts";

/** Bounds of {@link OpenStreams}, in this process. */
export interface StreamLimits {
  /** For a token, whatever opens them: its programs, and everybody who signed in with it. */
  readonly perHolder: number;
  readonly all: number;
}

/** A stream holds a connection, and up to a thousand events of 4 KB for a slow reader. */
const limitsDefault: StreamLimits = { perHolder: 100, all: 400 };

/** How often it is checked whether holders may still listen, ms. */
export const checkEveryMs = 1_000;

/** Who opens a stream. */
export interface Holder {
  /** The token's name. */
  readonly name: string;
  /** Whether the token, and the session if there is one, is still valid. Must not reject. */
  stands(): boolean | Promise<boolean>;
}

/** A place for a stream. */
export interface StreamPlace {
  /** Aborts when the stream must end. */
  readonly signal: AbortSignal;
  /** Frees the place, however the stream ended. Idempotent. */
  free(): void;
}

/** See the module. */
export class OpenStreams {
  readonly #open = new Set<{ readonly holder: Holder; readonly end: AbortController }>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly limits: StreamLimits = limitsDefault) {}

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Takes a place. @param client aborts when the client goes. @throws ApiError 503 if there is none left */
  open(holder: Holder, client: AbortSignal): StreamPlace {
    const own = [...this.#open].filter((one) => one.holder.name === holder.name).length;
    if (own >= this.limits.perHolder || this.#open.size >= this.limits.all) {
      throw new ApiError(503, "busy", "too many streams of events are open: close some, or poll");
    }
    const stream = { holder, end: new AbortController() };
    this.#open.add(stream);
    this.#timer ??= setInterval(() => void this.check(), checkEveryMs);
    const gone = () => stream.end.abort();
    client.addEventListener("abort", gone);
    if (client.aborted) gone();
    return {
      signal: stream.end.signal,
      free: () => {
        client.removeEventListener("abort", gone);
        this.#open.delete(stream);
        if (this.#open.size > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
    };
  }

  /** Ends the streams whose holders may not listen any more. */
  async check(): Promise<void> {
    await Promise.all([...this.#open].map(async ({ holder, end }) => {
      if (!await holder.stands()) end.abort();
    }));
  }
}
