/**
 * A bound on forwarders' open requests: further ones are told to come again, so that memory does not grow with a
 * broker's or a stream's backlog.
 *
 * @module
 */
import { ApiError } from "./errors.ts";

/** Admits a limited number of requests at once and refuses the rest. */
export class Gate {
  #inside = 0;

  constructor(readonly limit: number) {}

  /** Runs the work. @throws ApiError 503 if too many are inside. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.limit) throw new ApiError(503, "busy", "too many requests are under way: try again");
    this.#inside++;
    try {
      return await work();
    } finally {
      this.#inside--;
    }
  }
}
