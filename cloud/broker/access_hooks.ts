/**
 * aedes' hooks: authentication (`access.ts`), what a client may do, and at which pace. The hooks' state of a client is
 * attached to aedes' own object for it, and lives as long.
 *
 * @module
 */
import type net from "node:net";
import { Log } from "../../protocol/log.ts";
import type { Aedes, Client } from "npm:aedes@^1.2.0";
import type { Topics } from "../../protocol.ts";
import { Budget, type Rate } from "../budget.ts";
import {
  type Access,
  type AccessOptions,
  admit,
  badCredentials,
  forbids,
  notAuthorized,
  type Packet,
  Refusal,
  serverUnavailable,
} from "./access.ts";
import type { Connections, Devices } from "./connections.ts";
import { Readers, readersMax } from "./readers.ts";
import type { BrokerSocket } from "./socket.ts";
import { Takeovers } from "./takeovers.ts";

/** Options of {@link AccessHooks}. */
export interface HooksOptions extends AccessOptions {
  /** MQTT packets of one device. */
  readonly packets?: Rate;
  /** Bytes of one device. */
  readonly bytes?: Rate;
}

/** How long a refusal takes: longer than a look-up usually does. */
const refusalMs = 150;
/** Filters of one SUBSCRIBE: a device has three topics to read. */
const filtersMax = 8;
/** Seconds: a client that announces no keep-alive, or a long one, is cut after one and a half times this. */
const keepaliveMaxSeconds = 1_200;
const defaultPackets: Rate = { perSecond: 1_000, burst: 2_000 };
const defaultBytes: Rate = { perSecond: 4 * 1024 * 1024, burst: 32 * 1024 * 1024 };
const nobody: Access = { name: "?", publishes: new Set(), subscribes: new Set() };
const log = new Log("broker");

/** The socket below aedes' connection. */
function socketOf(client: Client): net.Socket {
  return (client.conn as unknown as BrokerSocket).socket;
}

/** The hooks of one broker. */
export class AccessHooks {
  readonly #accesses = new WeakMap<Client, Access>();
  readonly #wills = new WeakMap<Client, Packet>();
  readonly #packets: Budget;
  readonly #bytes: Budget;
  readonly #filters = new FilterCount();
  readonly #takeovers = new Takeovers();
  readonly #readers = new Readers();

  constructor(
    private readonly options: HooksOptions,
    private readonly topic: Topics,
    private readonly devices: Devices,
    private readonly connections: Connections,
  ) {
    this.#packets = new Budget(options.packets ?? defaultPackets);
    this.#bytes = new Budget(options.bytes ?? defaultBytes);
  }

  /** Puts the hooks in. */
  applyTo(aedes: Aedes): void {
    aedes.preConnect = this.#preConnect;
    aedes.authenticate = this.#authenticate;
    aedes.authorizePublish = this.#authorizePublish;
    aedes.authorizeSubscribe = this.#authorizeSubscribe;
    aedes.on("client", (client) => this.#connected(client));
    aedes.on("clientError", (client, error) => this.#failed(client, error));
    aedes.on("connectionError", (_client, error) => {
      log.debug("a connection failed before it was let in: {reason}", { clientId: "?", reason: error.message });
    });
  }

  #accessOf(client: Client | null): Access {
    return client === null ? { name: "broker" } : this.#accesses.get(client) ?? nobody;
  }

  readonly #preConnect: Aedes["preConnect"] = (client, packet, done) => {
    packet.clean = true;
    const { keepalive = 0 } = packet;
    if (keepalive === 0 || keepalive > keepaliveMaxSeconds) packet.keepalive = keepaliveMaxSeconds;
    if (packet.will) this.#wills.set(client, packet.will as unknown as Packet);
    done(null, true);
  };

  readonly #authenticate: Aedes["authenticate"] = async (client, username, password, done) => {
    const { cuts } = this.devices, begunMs = performance.now();
    try {
      const secret = password ? new TextDecoder().decode(password) : "";
      const access = await admit(this.options, this.topic, client, username ?? "", secret);
      const will = this.#wills.get(client);
      const reason = will && forbids(access, will);
      if (reason) throw new Refusal(notAuthorized, `with its last will, ${reason}`);
      // Its credentials were read before a device was cut, which may be this one. Rare, and the client comes again.
      if (access.admission && this.devices.cuts !== cuts) throw new Refusal(serverUnavailable, "it has to try again");
      if (access.mayRead && !this.#readers.hasRoom(access.name)) {
        throw new Refusal(notAuthorized, `${readersMax} readers use this token`);
      }
      if (client.conn.destroyed) return;
      this.#accesses.set(client, access);
      this.connections.admitted(socketOf(client));
      if (access.admission) this.devices.add(client, access.admission);
      else if (access.mayRead) this.#readers.add(client, access.name, access.mayRead);
      const socket = client.conn as unknown as BrokerSocket;
      if (access.publishes) socket.pace = (packets, bytes) => this.#pace(client.id, packets, bytes);
      else socket.pushesBack = true;
      done(null, true);
    } catch (cause) {
      const error = cause as Error;
      // Always after the same time, because the duration of the look-up would reveal whether there is such a device.
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, refusalMs - (performance.now() - begunMs))));
      log.warn("refused {clientId}: {reason}", { clientId: client.id, reason: error.message });
      if (error instanceof Refusal && error.returnCode === badCredentials) this.options.refused?.(client.id);
      done(
        Object.assign(error, { returnCode: error instanceof Refusal ? error.returnCode : serverUnavailable }),
        false,
      );
    }
  };

  readonly #authorizePublish: Aedes["authorizePublish"] = (client, packet, done) => {
    const access = this.#accessOf(client);
    const reason = forbids(access, packet);
    done(reason ? new Error(reason) : null);
  };

  /** A device's connections share its budget; each of a reader's has its own. */
  #pace(clientId: string, packets: number, bytes: number): number {
    const now = performance.now();
    return Math.max(this.#packets.take(clientId, packets, now), this.#bytes.take(clientId, bytes, now));
  }

  readonly #authorizeSubscribe: Aedes["authorizeSubscribe"] = (client, subscription, done) => {
    const access = this.#accessOf(client);
    if (!access.subscribes) return done(null, subscription);
    if (client && this.#filters.add(client) > filtersMax) {
      return done(new Error(`it subscribes to more than ${filtersMax} filters`));
    }
    if (access.subscribes.has(subscription.topic)) return done(null, subscription);
    log.warn("refused {deviceId} a subscription to {topic}", { deviceId: access.name, topic: subscription.topic });
    done(null, null);
  };

  #connected(client: Client): void {
    const access = this.#accessOf(client);
    // aedes closes a device's former connection by name, and loses track of it if this one ends first.
    if (!access.admission || this.devices.cut(access.name, client) === 0) return;
    if (!this.#takeovers.note(access.name, performance.now())) return;
    log.warn("{deviceId} is connected again and again while it is connected: two agents use this id ({reason})", {
      deviceId: access.name,
      reason: `the last from ${socketOf(client).remoteAddress ?? "an unknown address"}`,
    });
  }

  #failed(client: Client, error: Error): void {
    const { admission } = this.#accessOf(client);
    const who = admission ? { deviceId: admission.deviceId } : { clientId: client.id };
    log.warn(admission ? "closed {deviceId}: {reason}" : "closed {clientId}: {reason}", {
      ...who,
      reason: error.message,
    });
  }
}

/**
 * Filters that a client has subscribed to in this turn of the event loop: aedes reports each filter, not the packet.
 */
class FilterCount {
  #counts = new Map<Client, number>();

  add(client: Client): number {
    if (this.#counts.size === 0) setTimeout(() => this.#counts.clear(), 0);
    const count = (this.#counts.get(client) ?? 0) + 1;
    this.#counts.set(client, count);
    return count;
  }
}
