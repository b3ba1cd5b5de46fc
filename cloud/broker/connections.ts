/**
 * Every connection of the embedded broker, from the first byte to the last, and every connection of each device.
 *
 * - A connection that is not logged in yet holds one of `pendingMax` places. When all are taken, the oldest is closed,
 *   not the newest: a client that opens silent connections loses them, while a device, which logs in at once, is
 *   admitted. One that has not sent its CONNECT in time is closed, too. A flood makes thousands in a second, and what
 *   each costs delays everybody: no timer, and no call of the kernel before there is a CONNECT.
 * - With TLS, a connection counts from before its handshake: one that never ends it is as silent as any other.
 * - A device's connections are tracked from their login until their sockets are closed, however many there are and in
 *   whatever order they come and go: a revocation cuts all of them.
 *
 * @module
 */
import type net from "node:net";
import type { Client } from "npm:aedes@^1.2.0";
import { isLoopback, OpenBySource } from "../address.ts";
import type { Admission } from "./access.ts";

/** Bounds of {@link Connections}. */
export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** From one address (of IPv6: one /64); if undefined, loopback is exempt. */
  readonly perAddressMax?: number;
  readonly pendingMax: number;
  /** For the CONNECT to arrive, ms. */
  readonly timeoutMs: number;
}

/** Without the option: room for a fleet behind one address translation, and not for all connections. */
const perAddressDefault = 2_000;

/** Why a new connection is closed at once. */
export type Turned = "full" | "address";

/** Sockets and their places. */
export class Connections {
  readonly #sockets = new Set<net.Socket>();
  /** In the order in which they came, and until when their CONNECT has to be there. */
  readonly #pending = new Map<net.Socket, number>();
  readonly #bySource = new OpenBySource();
  /** Runs while some are pending. */
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly limits: ConnectionLimits) {}

  /** Ends every connection; resolves when all are closed. */
  async destroy(): Promise<void> {
    await Promise.all([...this.#sockets].map((socket) =>
      new Promise<void>((resolve) => {
        socket.once("close", () => resolve());
        socket.destroy();
      })
    ));
    clearInterval(this.#timer);
  }

  /** Admits a connection, or returns why it is refused. */
  open(socket: net.Socket): Turned | undefined {
    const { connectionsMax, perAddressMax, pendingMax, timeoutMs } = this.limits;
    if (this.#sockets.size >= connectionsMax) return "full";
    const address = socket.remoteAddress ?? "";
    const max = perAddressMax ?? (isLoopback(address) ? Infinity : perAddressDefault);
    if (!this.#bySource.enter(address, max)) return "address";
    this.#sockets.add(socket);
    this.#pending.set(socket, performance.now() + timeoutMs);
    this.#timer ??= setInterval(() => this.#endSilent(), Math.min(1_000, timeoutMs / 4));
    socket.once("close", () => this.#closed(socket, address));
    if (this.#pending.size > pendingMax) {
      const oldest = this.#pending.keys().next().value!;
      this.#pending.delete(oldest);
      oldest.destroy();
    }
    return undefined;
  }

  /**
   * The TLS handshake of a connection that was admitted is over: from here on, `secure` is what is to log in, in the time
   * that is left. It closes with the one below it.
   */
  handshaken(raw: net.Socket, secure: net.Socket): void {
    const untilMs = this.#pending.get(raw);
    if (untilMs === undefined) return void secure.destroy();
    this.#pending.delete(raw);
    this.#pending.set(secure, untilMs);
    secure.once("close", () => {
      this.#pending.delete(secure);
      raw.destroy();
    });
  }

  #closed(socket: net.Socket, address: string): void {
    if (!this.#sockets.delete(socket)) return;
    this.#pending.delete(socket);
    this.#bySource.leave(address);
  }

  #endSilent(): void {
    const now = performance.now();
    for (const [socket, untilMs] of this.#pending) if (untilMs <= now) socket.destroy();
    if (this.#pending.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The connection's CONNECT is there: how long it takes to be let in is not its fault. */
  spoke(socket: net.Socket): void {
    if (this.#pending.has(socket)) this.#pending.set(socket, Infinity);
  }

  /** The connection has logged in: it stays. */
  admitted(socket: net.Socket): void {
    this.#pending.delete(socket);
  }
}

/** A connection of a device. */
export interface DeviceConnection {
  readonly client: Client;
  readonly admission: Admission;
}

/** The devices' connections. */
export class Devices {
  readonly #connections = new Map<string, Set<DeviceConnection>>();
  /** How often a device was cut: a login under way at that time must be repeated. */
  cuts = 0;

  get ids(): string[] {
    return [...this.#connections.keys()];
  }

  /** The connections of a device that are open now. */
  of(deviceId: string): readonly DeviceConnection[] {
    return [...this.#connections.get(deviceId) ?? []];
  }

  /** Tracks a connection until its socket is closed. */
  add(client: Client, admission: Admission): void {
    const { deviceId } = admission;
    const connection = { client, admission };
    const all = this.#connections.get(deviceId) ?? new Set();
    this.#connections.set(deviceId, all.add(connection));
    client.conn.once("close", () => {
      all.delete(connection);
      if (all.size === 0 && this.#connections.get(deviceId) === all) this.#connections.delete(deviceId);
    });
  }

  /** Closes every connection of a device but one. @returns how many there were */
  cut(deviceId: string, but?: Client): number {
    if (!but) this.cuts++;
    let count = 0;
    for (const { client } of this.of(deviceId)) {
      if (client === but) continue;
      client.close();
      // Whatever the client's state, its socket is what reads.
      client.conn.destroy();
      count++;
    }
    return count;
  }
}
