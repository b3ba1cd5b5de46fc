/**
 * A client's connection, as aedes sees it: a steady stream (`mqtt/steady_stream.ts`, which also tells of the stall that
 * it prevents) with these bounds.
 *
 * - aedes stops reading from a client while a write to it waits for `drain`. If the client does the same, both are
 *   stuck. Writes to a device therefore never wait: data that it does not read is buffered up to a bound, and then the
 *   connection is cut (the device catches up from its cursor). Only a worker's connection pushes back, which slows
 *   devices down instead of losing their messages; a worker always continues to read.
 * - A packet's length is announced in its first bytes. One above the limit of its kind ends the connection before it is
 *   buffered.
 * - Whatever a client sends, and be it pings, counts against its budget: when that is used up, it is read more slowly.
 * - aedes takes each `readable` for the end of a packet's handling, and reads on: packets of a device that is slowed down,
 *   or that wait for a worker, would pile up in memory as fast as they come. So it hears of new data only when every
 *   packet that it has read is handled; it then asks by itself.
 *
 * @module
 */
import type { Socket } from "node:net";
import { SteadyStream, type Taken } from "../../mqtt/steady_stream.ts";

/** Types of MQTT packets, in the high half of the first byte. */
const connect = 1, subscribe = 8, unsubscribe = 10;

/** Bytes of the first packet: an id, a name, a token and a will, each far smaller. */
export const connectBytesMax = 4 * 1024;
/** Bytes of a (un)subscription: a few filters of at most some 300 bytes. */
const subscribeBytesMax = 4 * 1024;
/** Packets of a client that are handled before others are read: 64 KB may be 32,000 of them. */
const packetsPerTurn = 64;

/**
 * Follows the packet boundaries of an MQTT byte stream: a type byte, the length in 1 to 4 bytes of 7 bits, the rest.
 * The first packet must be a CONNECT, and small: until then, the sender is unknown.
 */
export class PacketGuard {
  /** Bytes of the current packet still to come, or undefined within its header. */
  #left: number | undefined;
  #length = 0;
  #lengthBytes = -1;
  #bytesMax = 0;
  #isFirst = true;
  /** Of the last chunk: how many packets began in it, and the bytes up to the first that was too many. */
  begun = 0;
  accepted = 0;

  constructor(private readonly packetBytesMax: number) {}

  /** Returns what is wrong with a packet that begins in this chunk, among the first so many of it; or undefined. */
  accept(chunk: Uint8Array, packetsMax = Infinity): string | undefined {
    let at = 0;
    this.begun = 0;
    while (at < chunk.length) {
      if (this.#left !== undefined) {
        const step = Math.min(this.#left, chunk.length - at);
        at += step;
        this.#left -= step;
      } else if (this.#lengthBytes < 0) {
        if (this.begun === packetsMax) break;
        this.begun++;
        const fault = this.#begin(chunk[at++]!);
        if (fault) return fault;
      } else {
        const byte = chunk[at++]!;
        this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes++;
        if (this.#length > this.#bytesMax) return `a packet is larger than ${this.#bytesMax} bytes`;
        if (this.#lengthBytes > 4) return "a packet's length is malformed";
        if (byte < 0x80) this.#left = this.#length;
      }
      if (this.#left === 0) {
        this.#left = undefined;
        this.#length = 0;
        this.#lengthBytes = -1;
      }
    }
    this.accepted = at;
    return undefined;
  }

  #begin(firstByte: number): string | undefined {
    const type = firstByte >> 4;
    if (this.#isFirst && firstByte !== connect << 4) return "its first packet is no CONNECT";
    this.#bytesMax = this.#isFirst
      ? Math.min(connectBytesMax, this.packetBytesMax)
      : type === subscribe || type === unsubscribe
      ? Math.min(subscribeBytesMax, this.packetBytesMax)
      : this.packetBytesMax;
    this.#isFirst = false;
    this.#lengthBytes = 0;
    return undefined;
  }
}

/** Bounds of a {@link BrokerSocket}. */
export interface BrokerSocketLimits {
  /** Bytes of one MQTT packet from the client. */
  readonly packetBytesMax: number;
  /** Bytes that wait for a device before it is cut. */
  readonly bufferBytesMax: number;
}

/** See the module's text. */
export class BrokerSocket extends SteadyStream {
  /** True for a worker: writes push back instead of being bounded by a cut. */
  pushesBack = false;
  /** Takes packets and bytes from the budget of whoever logged in: how long it has to wait then, ms. */
  pace: ((packets: number, bytes: number) => number) | undefined;
  /** Whether it came through a listener for workers. */
  internalOnly = false;
  readonly #guard: PacketGuard;

  constructor(socket: Socket, private readonly limits: BrokerSocketLimits) {
    super(socket);
    this.#guard = new PacketGuard(limits.packetBytesMax);
  }

  protected override inspect(chunk: Uint8Array): Error | Taken | undefined {
    const fault = this.#guard.accept(chunk, this.pushesBack ? Infinity : packetsPerTurn);
    if (fault !== undefined) return new Error(fault);
    const { accepted: bytes, begun } = this.#guard, waitMs = this.pace?.(begun, bytes) ?? 0;
    return bytes < chunk.length || waitMs >= 1 ? { bytes, waitMs } : undefined;
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    return event === "readable" && this.#isBusy ? true : super.emit(event, ...args);
  }

  /** Whether aedes still handles packets of this client. Before the CONNACK it counts differently, and has few. */
  get #isBusy(): boolean {
    const { client } = this as unknown as { client?: { connackSent: boolean; _parsingBatch: number } };
    return client !== undefined && client.connackSent && client._parsingBatch > 0;
  }

  override write(...args: unknown[]): boolean {
    const room = (super.write as (...args: unknown[]) => boolean)(...args);
    if (this.pushesBack) return room;
    if (this.writableLength > this.limits.bufferBytesMax) {
      this.destroy(new Error(`it left ${this.writableLength} bytes unread`));
    }
    return true;
  }
}
