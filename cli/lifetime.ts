/**
 * How a running command ends: the first SIGINT, SIGTERM or SIGHUP asks it to flush and close, a second SIGINT or
 * SIGTERM exits at once (nothing is lost by that: unacknowledged changes stay in the outbox).
 *
 * @module
 */
import { pause } from "../protocol/within.ts";

/**
 * A signal this soon after the first is the same Ctrl-C: the terminal sends it to every process, and wrappers such as
 * npx forward it once more.
 */
const sameSignalMs = 300;

/** Listens to signals from construction to disposal. */
export class Lifetime {
  readonly #stop = new AbortController();
  readonly #signals: readonly Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  readonly #listeners = this.#signals.map((signal) => [signal, () => this.#receive(signal)] as const);
  #stoppedAtMs = 0;

  constructor() {
    for (const [signal, listener] of this.#listeners) Deno.addSignalListener(signal, listener);
  }

  #receive(signal: Deno.Signal): void {
    if (!this.signal.aborted) {
      this.#stoppedAtMs = performance.now();
      return this.stop();
    }
    // A terminal that is closed after Ctrl-C must not cut the close short.
    if (signal !== "SIGHUP" && performance.now() - this.#stoppedAtMs > sameSignalMs) Deno.exit(130);
  }

  /** Aborts once it is time to close. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Resolves once it is time to close. */
  get stopped(): Promise<void> {
    const { signal } = this;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** Waits for this time, or until it is time to close. */
  pause(ms: number): Promise<void> {
    return pause(ms, this.signal);
  }

  /** Ends the command as a signal would. */
  stop(): void {
    this.#stop.abort();
  }

  [Symbol.dispose](): void {
    for (const [signal, listener] of this.#listeners) Deno.removeSignalListener(signal, listener);
  }
}
