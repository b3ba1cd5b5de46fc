/**
 * MQTT 3.1.1 made byte by byte: what no client library does, a hostile device does.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";

type Bytes = readonly number[] | Uint8Array;

/** A text with its length before it. */
export function text(value: string): number[] {
  const bytes = new TextEncoder().encode(value);
  return [bytes.length >> 8 & 255, bytes.length & 255, ...bytes];
}

/** A packet of the type byte and the body. */
export function packet(type: number, body: Bytes): Uint8Array {
  const length: number[] = [];
  for (let left = body.length;;) {
    length.push((left & 127) | (left > 127 ? 128 : 0));
    if ((left >>= 7) === 0) break;
  }
  return Buffer.concat([Uint8Array.from([type, ...length]), Uint8Array.from(body)]);
}

/** What a CONNECT says. */
export interface ConnectOptions {
  readonly clientId: string;
  readonly username?: string;
  readonly password?: string;
  readonly clean?: boolean;
  readonly keepalive?: number;
  readonly level?: number;
  readonly protocol?: string;
  readonly will?: {
    readonly topic: string;
    readonly payload: string;
    readonly qos?: number;
    readonly retain?: boolean;
  };
}

export function connectPacket(options: ConnectOptions): Uint8Array {
  const { clientId, username, password, clean = true, keepalive = 60, level = 4, protocol = "MQTT", will } = options;
  const flags = (clean ? 2 : 0) | (will ? 4 | (will.qos ?? 0) << 3 | (will.retain ? 32 : 0) : 0) |
    (password === undefined ? 0 : 64) | (username === undefined ? 0 : 128);
  return packet(0x10, [
    ...text(protocol),
    level,
    flags,
    keepalive >> 8,
    keepalive & 255,
    ...text(clientId),
    ...(will ? [...text(will.topic), ...text(will.payload)] : []),
    ...(username === undefined ? [] : text(username)),
    ...(password === undefined ? [] : text(password)),
  ]);
}

export function publishPacket(
  topic: string,
  payload: Bytes | string,
  { qos = 0, id = 1, retain = false }: { qos?: number; id?: number; retain?: boolean } = {},
): Uint8Array {
  const body = typeof payload === "string" ? new TextEncoder().encode(payload) : Uint8Array.from(payload);
  const head = Uint8Array.from([...text(topic), ...(qos > 0 ? [id >> 8, id & 255] : [])]);
  return packet(0x30 | qos << 1 | (retain ? 1 : 0), Buffer.concat([head, body]));
}

export function subscribePacket(filters: readonly string[], qos = 1, id = 1): Uint8Array {
  return packet(0x82, [id >> 8, id & 255, ...filters.flatMap((filter) => [...text(filter), qos])]);
}

/** A packet that came. */
export interface Received {
  readonly type: number;
  readonly body: Uint8Array;
}

/** A connection that sends what it is told and keeps what comes. */
export class RawConnection {
  readonly received: Received[] = [];
  readonly closed: Promise<void>;
  isClosed = false;
  #pending = Buffer.alloc(0);

  private constructor(readonly socket: net.Socket) {
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => this.#take(chunk));
    this.closed = new Promise((resolve) =>
      socket.once("close", () => {
        this.isClosed = true;
        resolve();
      })
    );
  }

  /** Resolves when TCP is connected; rejects where it is refused. */
  static open(port: number): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(port, "127.0.0.1", () => resolve(new RawConnection(socket)));
      socket.setNoDelay(true);
      socket.once("error", reject);
    });
  }

  /** The same over TLS, by the name `localhost`. */
  static openTls(port: number, options: tls.ConnectionOptions): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ host: "localhost", port, ...options }, () => resolve(new RawConnection(socket)));
      socket.once("error", reject);
    });
  }

  /** Opens, sends a CONNECT and resolves to the CONNACK's code; -1 where the connection was closed instead. */
  static async connect(
    port: number,
    options: ConnectOptions,
    secure?: tls.ConnectionOptions,
  ): Promise<{ connection: RawConnection; code: number }> {
    const connection = await (secure ? RawConnection.openTls(port, secure) : RawConnection.open(port));
    connection.send(connectPacket(options));
    const connack = await connection.next(2);
    return { connection, code: connack?.body[1] ?? -1 };
  }

  send(...packets: Uint8Array[]): void {
    this.socket.write(packets.length === 1 ? packets[0]! : Buffer.concat(packets));
  }

  /** The first packet of a type (the high half of its first byte) that comes; undefined where the connection ends before. */
  async next(type: number, timeoutMs = 10_000): Promise<Received | undefined> {
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      const at = this.received.findIndex((packet) => packet.type >> 4 === type);
      if (at >= 0) return this.received.splice(at, 1)[0];
      if (this.isClosed) return undefined;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error(`no packet of type ${type} came within ${timeoutMs} ms`);
  }

  /** The topics of the messages that came. */
  get messages(): { topic: string; payload: Uint8Array }[] {
    return this.received.filter(({ type }) => type >> 4 === 3).map(({ type, body }) => {
      const length = body[0]! << 8 | body[1]!;
      const at = 2 + length + ((type & 6) > 0 ? 2 : 0);
      return { topic: new TextDecoder().decode(body.subarray(2, 2 + length)), payload: body.subarray(at) };
    });
  }

  async close(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  #take(chunk: Uint8Array): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    for (;;) {
      let at = 1, length = 0, shift = 0;
      for (; at < this.#pending.length; at++, shift += 7) {
        length |= (this.#pending[at]! & 127) << shift;
        if (this.#pending[at]! < 128) break;
      }
      if (at >= this.#pending.length || this.#pending.length < at + 1 + length) return;
      const type = this.#pending[0]!, body = this.#pending.subarray(at + 1, at + 1 + length);
      this.received.push({ type, body });
      // A broker sends so many messages that are not acknowledged, and then none.
      if ((type & 0xf6) === 0x32) {
        const idAt = 2 + (body[0]! << 8 | body[1]!);
        this.socket.write(Uint8Array.from([0x40, 2, body[idAt]!, body[idAt + 1]!]));
      }
      this.#pending = this.#pending.subarray(at + 1 + length);
    }
  }
}
