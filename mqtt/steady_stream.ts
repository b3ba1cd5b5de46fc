/**
 * The byte stream between a socket and an MQTT library, on both sides. It exists because of a stall: under Deno 2.9
 * (and Node 26) a client that published 350 KB on one socket never got its PUBACK from an aedes on a plain `node:net`
 * socket.
 *
 * Why: aedes calls `read()` once for each `readable` event, and again only after a packet was complete. `read()`
 * without a size used to return all that was buffered; since nodejs/node#60441 it returns one buffer of the list. When
 * two buffers wait and the first does not complete a packet, the second stays, `readable` is not emitted again for data
 * that was announced already, and the connection sleeps with a full receive buffer. Small packets hide the bug: almost
 * every buffer completes one.
 *
 * The guarantees here, whatever the runtime's streams do:
 * - `read()` returns everything that is buffered, so nothing remains unread.
 * - The socket itself is only read by `read()`: its `pause` and `resume` break a busy connection under Deno 2.6 (the
 *   peer sees `write UNKNOWN`), while this stream may be paused at any time, as `npm:mqtt` does.
 * - Small writes of one turn of the event loop leave as one: both libraries write a packet in several pieces.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** So many bytes of a chunk are passed on now; the rest, and what follows, is read later. */
export interface Taken {
  readonly bytes: number;
  readonly waitMs: number;
}

/** See the module's text. Destroying it destroys the socket, and the other way round. */
export class SteadyStream extends Duplex {
  #wanted = false;
  /** Until then nothing is read. */
  #pause: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly socket: Socket) {
    super({ allowHalfOpen: false, highWaterMark: 64 * 1024 });
    socket.on("readable", () => this.#pull());
    socket.on("end", () => this.push(null));
    socket.on("close", () => this.destroy());
    socket.on("error", (error: Error) => this.destroy(error));
  }

  /** Inspects incoming data before it is passed on: all of it, or a part; an error that it returns ends the connection. */
  protected inspect(_chunk: Uint8Array): Error | Taken | undefined {
    return undefined;
  }

  /** Moves the socket's data here, as long as more is required. */
  #pull(): void {
    while (this.#wanted && this.#pause === undefined) {
      const chunk = this.socket.read() as Uint8Array | null;
      if (chunk === null) return;
      const found = this.inspect(chunk);
      if (found instanceof Error) {
        this.destroy(found);
        return;
      }
      this.#wanted = this.push(found ? this.#part(chunk, found) : chunk);
    }
  }

  /** The part of a chunk that is taken now. The rest goes back. */
  #part(chunk: Uint8Array, { bytes, waitMs }: Taken): Uint8Array {
    if (bytes < chunk.length) this.socket.unshift(chunk.subarray(bytes));
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#pull();
    }, waitMs);
    return chunk.subarray(0, bytes);
  }

  override read(size?: number): unknown {
    // In flowing mode, each buffer is emitted as data, and the receiver may pause: so one at a time.
    if (size != null || this.readableFlowing === true) return super.read(size);
    const chunks: Uint8Array[] = [];
    for (let chunk = super.read(); chunk !== null; chunk = super.read()) chunks.push(chunk as Uint8Array);
    return chunks.length > 1 ? Buffer.concat(chunks) : chunks[0] ?? null;
  }

  override _read(): void {
    this.#wanted = true;
    // Not during `read`: data that `push` adds then would wait for an event that was already emitted.
    queueMicrotask(() => this.#pull());
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.socket.write(chunk)) done();
    else this.socket.once("drain", () => done());
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    this._write(chunks.length === 1 ? chunks[0]!.chunk : Buffer.concat(chunks.map(({ chunk }) => chunk)), "", done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#pause);
    this.socket.destroy();
    done(error);
  }
}
