/**
 * Every connection of the embedded broker, from the first byte to the last, and every connection of each device.
 *
 * - A connection that was not let in yet holds one of `pendingMax` places. When they are taken, the oldest goes and not the
 *   newest: whoever opens connections and says nothing loses them, while a device, which says who it is at once, gets in.
 * - A device's connections are remembered from the moment in which they are let in until their sockets are closed, however many
 *   there are and in whatever order they come and go: what is revoked is cut everywhere.
 *
 * @module
 */
import type net from "node:net";
import type { Client } from "npm:aedes@^1.2.0";
import type { Admission } from "./access.ts";

/** Bounds of {@link Connections}. */
export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** From one address; loopback is exempt where this is undefined. */
  readonly perAddressMax?: number;
  readonly pendingMax: number;
}

/** Without the option: room for a fleet behind one address translation, and not for all connections. */
const perAddressDefault = 2_000;

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}

/** Why a new connection is closed at once. */
export type Turned = "full" | "address";

/** Sockets and their places. */
export class Connections {
  readonly #sockets = new Set<net.Socket>();
  /** In the order in which they came. */
  readonly #pending = new Set<net.Socket>();
  readonly #perAddress = new Map<string, number>();

  constructor(private readonly limits: ConnectionLimits) {}

  get all(): Iterable<net.Socket> {
    return this.#sockets;
  }

  /** Takes a connection in; where it is turned away, says why. */
  open(socket: net.Socket): Turned | undefined {
    const { connectionsMax, perAddressMax, pendingMax } = this.limits;
    if (this.#sockets.size >= connectionsMax) return "full";
    const address = socket.remoteAddress ?? "";
    const count = this.#perAddress.get(address) ?? 0;
    const max = perAddressMax ?? (isLoopback(address) ? Infinity : perAddressDefault);
    if (count >= max) return "address";
    this.#perAddress.set(address, count + 1);
    this.#sockets.add(socket);
    this.#pending.add(socket);
    socket.once("close", () => this.#closed(socket, address));
    if (this.#pending.size > pendingMax) {
      const oldest = this.#pending.values().next().value!;
      this.#pending.delete(oldest);
      oldest.destroy();
    }
    return undefined;
  }

  #closed(socket: net.Socket, address: string): void {
    if (!this.#sockets.delete(socket)) return;
    this.#pending.delete(socket);
    const left = this.#perAddress.get(address)! - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
  }

  /** The connection was let in: it keeps its place. */
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
  /** How often a device was cut: who was being let in meanwhile has to come again. */
  cuts = 0;

  get ids(): string[] {
    return [...this.#connections.keys()];
  }

  /** The connections of a device that are open now. */
  of(deviceId: string): readonly DeviceConnection[] {
    return [...this.#connections.get(deviceId) ?? []];
  }

  /** Remembers a connection until its socket is closed. */
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
      // Whatever the client's state is by now, its socket is what reads.
      client.conn.destroy();
      count++;
    }
    return count;
  }
}
