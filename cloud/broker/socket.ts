/**
 * A client's connection, as aedes sees it: a steady stream (`mqtt/steady_stream.ts`, which also tells of the stall that
 * it prevents) with two bounds.
 *
 * - aedes stops reading from a client while a write to it waits for `drain`. A client that does the same stands still
 *   together with it. Writes to a device therefore never wait: what it does not take is buffered up to a bound, and
 *   then the connection is cut (the device catches up from its cursor). Only a worker's connection pushes back,
 *   which slows the devices down instead of losing what they send; a worker always reads on.
 * - A packet's length is announced in its first bytes. One above the limit ends the connection before it is buffered.
 *
 * @module
 */
import type { Socket } from "node:net";
import { SteadyStream } from "../../mqtt/steady_stream.ts";

/** Follows the packet boundaries of an MQTT byte stream: a type byte, the length in 1 to 4 bytes of 7 bits, the rest. */
export class PacketGuard {
  /** Bytes of the current packet still to come, or undefined within its header. */
  #left: number | undefined;
  #length = 0;
  #lengthBytes = -1;

  constructor(private readonly packetBytesMax: number) {}

  /** False where a packet announces more bytes than allowed, or a malformed length. */
  accept(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left !== undefined) {
        const step = Math.min(this.#left, chunk.length - at);
        at += step;
        this.#left -= step;
      } else if (this.#lengthBytes < 0) {
        at++;
        this.#lengthBytes = 0;
      } else {
        const byte = chunk[at++]!;
        this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes++;
        if (this.#length > this.packetBytesMax || this.#lengthBytes > 4) return false;
        if (byte < 0x80) this.#left = this.#length;
      }
      if (this.#left === 0) {
        this.#left = undefined;
        this.#length = 0;
        this.#lengthBytes = -1;
      }
    }
    return true;
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
  /** Whether it came by a listener for workers. */
  internalOnly = false;
  readonly #guard: PacketGuard;

  constructor(socket: Socket, private readonly limits: BrokerSocketLimits) {
    super(socket);
    this.#guard = new PacketGuard(limits.packetBytesMax);
  }

  protected override inspect(chunk: Uint8Array): Error | undefined {
    if (this.#guard.accept(chunk)) return undefined;
    return new Error(`a packet is larger than ${this.limits.packetBytesMax} bytes`);
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
