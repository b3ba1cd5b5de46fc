/**
 * TLS handshakes under way: begun, and neither over nor given up. Each holds some 60 KB of the broker's process for as long
 * as its client pleases, and the rate at which they begin (`turns.ts`) bounds only how fast they become many. So there is a
 * bound on how many there are at once; with one more, the source that has the most (of IPv6: a /64) loses its oldest.
 * A fleet behind one address that comes back together begins 200 a second, which a link of 2 s keeps within the bound.
 *
 * @module
 */
import type net from "node:net";
import { sourceOf } from "../address.ts";

/** At once, of all sources together. */
export const halfOpenMax = 500;

/** See the module. */
export class HalfOpen {
  /** By source, each in the order in which they began. */
  readonly #bySource = new Map<string, Set<net.Socket>>();
  #count = 0;

  constructor(private readonly max = halfOpenMax) {}

  /** A connection's handshake begins: it counts until {@link over}, or until it closes. */
  begin(raw: net.Socket): void {
    const source = sourceOf(raw.remoteAddress ?? ""), own = this.#bySource.get(source) ?? new Set();
    this.#bySource.set(source, own.add(raw));
    raw.once("close", () => this.over(raw, source));
    if (++this.#count > this.max) this.#endOne();
  }

  /** A connection's handshake is over. */
  over(raw: net.Socket, source: string = sourceOf(raw.remoteAddress ?? "")): void {
    const own = this.#bySource.get(source);
    if (!own?.delete(raw)) return;
    this.#count--;
    if (own.size === 0) this.#bySource.delete(source);
  }

  #endOne(): void {
    let most = new Set<net.Socket>();
    for (const own of this.#bySource.values()) if (own.size > most.size) most = own;
    const [oldest] = most;
    this.over(oldest!);
    oldest!.destroy();
  }
}
