/**
 * A TCP proxy that does to connections what networks do to them: cuts them, lets them hang, leaves one end in the belief
 * that there is another, hands bytes over one at a time, damages some. It knows no protocol.
 *
 * @module
 */
import net from "node:net";

/**
 * `cut`: every connection is reset, and new ones refused; `stall`: nothing moves, and all of it arrives later; `half-open`:
 * what the client sends vanishes, and nobody is told; `bytes`: one byte a segment; `corrupt`: some chunks come damaged.
 */
export type NetworkFault = "cut" | "stall" | "half-open" | "bytes" | "corrupt";

/** All of them. */
export const networkFaults: readonly NetworkFault[] = ["cut", "stall", "half-open", "bytes", "corrupt"];

/** So much of a chunk goes byte by byte; the rest follows whole, lest a large message takes minutes. */
const slowBytesMax = 2048;
/** How likely a chunk is to be damaged, while chunks are. */
const damageChance = 0.3;
/** Bytes in a row that are overwritten. No JSON has a NUL in it, so that nothing is altered without being invalid. */
const damageBytes = 24;

interface Pair {
  readonly client: net.Socket;
  readonly server: net.Socket;
  /** Something in it was lost: it can't go on. */
  broken: boolean;
}

/** See the module. Use with `await using`. */
export class ChaosProxy implements AsyncDisposable {
  readonly #pairs = new Set<Pair>();
  readonly #server: net.Server;
  #fault: NetworkFault | undefined;
  /** Chunks that wait for the end of a stall. */
  #held: (() => void)[] = [];
  /** What was done, by kind: a test sees by it that something was. */
  readonly counts: Record<NetworkFault, number> = { cut: 0, stall: 0, "half-open": 0, bytes: 0, corrupt: 0 };

  private constructor(readonly targetPort: number, readonly random: () => number) {
    this.#server = net.createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  /** Starts one on a free port of the loopback interface. `random` gives numbers in [0, 1). */
  static async open(targetPort: number, random: () => number): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(targetPort, random);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** From now on, until {@link mend}. */
  inflict(fault: NetworkFault): void {
    this.mend();
    this.#fault = fault;
    if (fault === "cut") { for (const pair of this.#pairs) this.#reset(pair); }
  }

  /** The network is whole again. A connection that lost something has come to its end. */
  mend(): void {
    this.#fault = undefined;
    for (const go of this.#held.splice(0)) go();
    for (const pair of this.#pairs) if (pair.broken) this.#reset(pair);
  }

  #reset(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.resetAndDestroy();
    pair.server.resetAndDestroy();
  }

  #accept(client: net.Socket): void {
    if (this.#fault === "cut") {
      this.counts.cut++;
      client.resetAndDestroy();
      return;
    }
    const server = net.connect({ port: this.targetPort, host: "127.0.0.1", noDelay: true });
    const pair: Pair = { client, server, broken: false };
    this.#pairs.add(pair);
    // A reset of either side is what this is about; the other side learns of it by its own end.
    for (const socket of [client, server]) socket.on("error", () => {});
    this.#pass(pair, client, server, true);
    this.#pass(pair, server, client, false);
  }

  #pass(pair: Pair, from: net.Socket, to: net.Socket, isUp: boolean): void {
    let last: Promise<void> = Promise.resolve();
    from.on("data", (chunk: Uint8Array) => {
      from.pause();
      last = this.#forward(pair, to, chunk, isUp).then(() => void from.resume());
    });
    from.on("close", () => {
      last.then(() => {
        this.#pairs.delete(pair);
        to.destroySoon();
      });
    });
  }

  async #forward(pair: Pair, to: net.Socket, chunk: Uint8Array, isUp: boolean): Promise<void> {
    if (this.#fault === "stall") {
      this.counts.stall++;
      await new Promise<void>((resolve) => this.#held.push(resolve));
    }
    switch (this.#fault) {
      case "half-open":
        if (!isUp) break;
        this.counts["half-open"]++;
        pair.broken = true;
        return;
      case "bytes":
        this.counts.bytes++;
        for (const byte of chunk.subarray(0, slowBytesMax)) await written(to, Uint8Array.of(byte));
        chunk = chunk.subarray(slowBytesMax);
        break;
      case "corrupt":
        if (this.random() >= damageChance) break;
        this.counts.corrupt++;
        chunk = chunk.slice();
        chunk.subarray(Math.floor(this.random() * chunk.length)).subarray(0, damageBytes).fill(0);
        break;
    }
    if (chunk.length > 0) await written(to, chunk);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mend();
    for (const pair of this.#pairs) this.#reset(pair);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** Hands bytes to a socket; resolves when it has taken them, or is gone. */
function written(to: net.Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    if (to.destroyed) return resolve();
    const done = () => {
      to.off("close", done);
      resolve();
    };
    to.once("close", done);
    to.write(bytes, done);
  });
}
