/**
 * The embedded MQTT broker: aedes (3.1.1), with Twintable's access rules (`access.ts`).
 *
 * A forbidden publish or will ends the connection, a forbidden subscription is refused in the SUBACK; both are logged. The
 * broker keeps nothing for absent devices: sessions are clean whatever the client asks for, so its memory depends on
 * connections alone. What a connection may cost before and after it is let in is bounded (`connections.ts`, `socket.ts`), and
 * a device that sends faster than its pace is read more slowly: it waits, and nobody else does.
 *
 * @module
 */
import net from "node:net";
import tls from "node:tls";
import { Log } from "../../protocol/log.ts";
import { Aedes, type Client } from "npm:aedes@^1.2.0";
import { type Topics, topics } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import { Budget, type Rate } from "../budget.ts";
import {
  type Access,
  type AccessOptions,
  admit,
  forbids,
  notAuthorized,
  type Packet,
  Refusal,
  serverUnavailable,
} from "./access.ts";
import { Connections, Devices } from "./connections.ts";
import { recheck } from "./recheck.ts";
import { firstPacket } from "./first_packet.ts";
import { BrokerSocket } from "./socket.ts";
import { Takeovers } from "./takeovers.ts";

/** Options of {@link startBroker}. */
export interface BrokerOptions extends AccessOptions {
  /** 0 (default): a free port. */
  readonly port?: number;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** PEM texts. `requestCert`: a device may show a certificate by `ca` in place of a token. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string; readonly requestCert?: boolean };
  /** Bytes of one MQTT packet; default 512 KB: room for one item of DynamoDB's 400 KB where a payload limit is lifted so far. */
  readonly packetBytesMax?: number;
  /** Bytes that may wait for a device before it is cut; default 4 MB. */
  readonly bufferBytesMax?: number;
  /** Default 20,000. Further ones are closed at once. */
  readonly connectionsMax?: number;
  /** Connections of one address; default 2,000, and no bound on loopback, where a proxy may stand. */
  readonly perAddressMax?: number;
  /** Connections that have not been let in yet; default 1,000. The oldest is closed for a further one. */
  readonly pendingMax?: number;
  /** How long a connection may take to be let in, ms; default 10,000. */
  readonly connectTimeoutMs?: number;
  /** MQTT packets of one device; default 1,000 a second, 2,000 at once. It is read more slowly above that. */
  readonly packets?: Rate;
  /** Bytes of one device; default 16 MB a second, 32 MB at once. */
  readonly bytes?: Rate;
  /**
   * How often it is looked by `identityOf` whether connected devices and their credentials are still valid, ms; default
   * 60,000: with 1,000 devices 17 reads a second.
   */
  readonly recheckMs?: number;
}

/** A running broker. */
export interface Broker {
  /** Where devices connect. */
  readonly port: number;
  /**
   * Where workers of this machine connect: with TLS a plain listener on 127.0.0.1 for the internal user alone, since the
   * certificate names the host that devices know; otherwise `port`.
   */
  readonly internalPort: number;
  /** Clients that are connected and authenticated. */
  readonly connections: number;
  /** Ends a device's connection, if it has one. It may come again, where it is let in. */
  disconnect(deviceId: string): void;
  /** Closes the port and all connections. */
  close(): Promise<void>;
}

const handshakeTimeoutMs = 10_000, connectTimeoutMs = 10_000;

/** What a refusal takes: more than looking a device up mostly does. */
const refusalMs = 150;
/** Filters of one SUBSCRIBE: a device has three topics to read. */
const filtersMax = 8;
/** Seconds: a client that promises no sign of life, or a late one, is cut after one and a half of this. */
const keepaliveMaxSeconds = 1_200;
const defaultPackets: Rate = { perSecond: 1_000, burst: 2_000 };
const defaultBytes: Rate = { perSecond: 16 * 1024 * 1024, burst: 32 * 1024 * 1024 };

/** The socket below aedes' connection. */
function socketOf(client: Client): net.Socket {
  return (client.conn as unknown as BrokerSocket).socket;
}

/** Wires aedes' hooks to the access rules. */
function applyRules(
  aedes: Aedes,
  options: BrokerOptions,
  topic: Topics,
  devices: Devices,
  connections: Connections,
): void {
  const log = new Log("broker");
  const accesses = new WeakMap<Client, Access>();
  const wills = new WeakMap<Client, Packet>();
  const nobody: Access = { name: "?", publishes: new Set(), subscribes: new Set() };
  const accessFor = (client: Client | null) => client === null ? { name: "broker" } : accesses.get(client) ?? nobody;
  const packets = new Budget(options.packets ?? defaultPackets), bytes = new Budget(options.bytes ?? defaultBytes);
  const filters = new FilterCount(), takeovers = new Takeovers();

  aedes.preConnect = (client, packet, done) => {
    packet.clean = true;
    const { keepalive = 0 } = packet;
    if (keepalive === 0 || keepalive > keepaliveMaxSeconds) packet.keepalive = keepaliveMaxSeconds;
    if (packet.will) wills.set(client, packet.will as unknown as Packet);
    done(null, true);
  };
  aedes.authenticate = (client, username, password, done) => {
    const { cuts } = devices, begunMs = performance.now();
    admit(options, topic, client, username ?? "", password ? new TextDecoder().decode(password) : "").then((access) => {
      const will = wills.get(client);
      const reason = will && forbids(access, will);
      if (reason) throw new Refusal(notAuthorized, `with its last will, ${reason}`);
      // Its credentials were looked up before a device was cut: it may be this one. Seldom, and it comes again.
      if (access.admission && devices.cuts !== cuts) throw new Refusal(serverUnavailable, "it has to try again");
      if (client.conn.destroyed) return;
      accesses.set(client, access);
      connections.admitted(socketOf(client));
      if (access.admission) devices.add(client, access.admission);
      else (client.conn as unknown as BrokerSocket).pushesBack = true;
      done(null, true);
    }).catch(async (error) => {
      // Always after the same time: how long it took to find out tells whether there is such a device.
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, refusalMs - (performance.now() - begunMs))));
      log.warn("refused {clientId}: {reason}", { clientId: client.id, reason: error.message });
      done(
        Object.assign(error, { returnCode: error instanceof Refusal ? error.returnCode : serverUnavailable }),
        false,
      );
    });
  };
  aedes.authorizePublish = (client, packet, done) => {
    const access = accessFor(client);
    const reason = forbids(access, packet);
    if (reason || !access.admission) return done(reason ? new Error(reason) : null);
    const now = performance.now(), { deviceId } = access.admission;
    const waitMs = Math.max(packets.take(deviceId, 1, now), bytes.take(deviceId, packet.payload.length, now));
    // aedes reads on from this client when the packets that it has read are handled.
    if (waitMs < 1) done(null);
    else setTimeout(() => done(null), waitMs);
  };
  aedes.authorizeSubscribe = (client, subscription, done) => {
    const access = accessFor(client);
    if (!access.subscribes) return done(null, subscription);
    if (client && filters.add(client) > filtersMax) {
      return done(new Error(`it subscribes to more than ${filtersMax} filters`));
    }
    if (access.subscribes.has(subscription.topic)) return done(null, subscription);
    log.warn("refused {deviceId} a subscription to {topic}", { deviceId: access.name, topic: subscription.topic });
    done(null, null);
  };
  aedes.on("client", (client) => {
    const access = accessFor(client);
    // aedes takes a device's former connection over by name, and loses sight of it where this one ends first.
    if (!access.admission || devices.cut(access.name, client) === 0) return;
    if (!takeovers.note(access.name, performance.now())) return;
    log.warn("{deviceId} is connected again and again while it is connected: two agents use this id ({reason})", {
      deviceId: access.name,
      reason: `the last from ${socketOf(client).remoteAddress ?? "an unknown address"}`,
    });
  });
  aedes.on("clientError", (client, error) => {
    const { admission } = accessFor(client);
    const who = admission ? { deviceId: admission.deviceId } : { clientId: client.id };
    log.warn(admission ? "closed {deviceId}: {reason}" : "closed {clientId}: {reason}", {
      ...who,
      reason: error.message,
    });
  });
  aedes.on("connectionError", (_client, error) => {
    log.debug("a connection failed before it was let in: {reason}", { clientId: "?", reason: error.message });
  });
}

/** Filters that a client has subscribed to in this turn of the event loop: aedes tells of each, not of their packet. */
class FilterCount {
  #counts = new Map<Client, number>();

  add(client: Client): number {
    if (this.#counts.size === 0) setTimeout(() => this.#counts.clear(), 0);
    const count = (this.#counts.get(client) ?? 0) + 1;
    this.#counts.set(client, count);
    return count;
  }
}

function listen(server: net.Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new SyncError("unavailable", `the broker can't listen on ${host}:${port}: ${cause.message}`, { cause }));
    });
    server.listen(port, host, () => resolve((server.address() as net.AddressInfo).port));
  });
}

function secureServer(options: NonNullable<BrokerOptions["tls"]>, onSocket: (socket: net.Socket) => void): net.Server {
  // Whether a certificate is required is the access rules' question: without a valid one a token still lets a device in.
  const server: unknown = tls.createServer({
    ...options,
    rejectUnauthorized: false,
    handshakeTimeout: handshakeTimeoutMs,
  }, (socket) => onSocket(socket));
  if (server instanceof net.Server) return server;
  // Deno 2.6: such a server ignores client certificates, and can't be told where to listen.
  throw new SyncError("unsupported", "TLS at the embedded broker needs a newer Deno", {
    hint: "upgrade Deno, or use Mosquitto",
  });
}

/**
 * Starts the broker; resolves when it listens.
 *
 * @throws {SyncError} `unavailable` where the port is taken, `unsupported` for TLS where the runtime can't serve it
 * @throws {RangeError} for a prefix that no topic can have
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const topic = topics(options.prefix);
  const limits = {
    packetBytesMax: options.packetBytesMax ?? 512 * 1024,
    bufferBytesMax: options.bufferBytesMax ?? 4 * 1024 * 1024,
  };
  const aedes = await Aedes.createBroker({
    // No common bound on deliveries: with one, a worker that reads slowly would hold up the answers to all devices. Each
    // connection is bounded by itself, since aedes reads on from it only when what it sent was delivered.
    concurrency: 0,
    // A frozen client is cut by its buffer's bound or its keepalive; a worker that pushes back is not a fault.
    drainTimeout: 0,
    connectTimeout: options.connectTimeoutMs ?? connectTimeoutMs,
    maxClientsIdLength: 256,
  });
  const devices = new Devices();
  const { connectionsMax = 20_000, perAddressMax, pendingMax = 1_000 } = options;
  const connections = new Connections({ connectionsMax, perAddressMax, pendingMax });
  applyRules(aedes, options, topic, devices, connections);
  const log = new Log("broker");
  const disconnect = (deviceId: string) => {
    if (devices.cut(deviceId) > 0) log.info("cut {deviceId}: its credentials are no longer valid", { deviceId });
  };
  const stopRecheck = options.identityOf
    ? recheck(devices, options.identityOf, options.recheckMs ?? 60_000, disconnect)
    : () => {};
  const onSocket = (socket: net.Socket, internalOnly = false) => {
    socket.on("error", () => {});
    const turned = connections.open(socket);
    if (turned) {
      log.warn("closed a connection of {clientId}: too many are open", {
        clientId: socket.remoteAddress ?? "?",
        turned,
      });
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    // Who has not sent a whole CONNECT is no client yet, and costs a socket and some bytes alone.
    const silent = setTimeout(() => socket.destroy(), options.connectTimeoutMs ?? connectTimeoutMs);
    socket.once("close", () => clearTimeout(silent));
    firstPacket(socket, () => {
      clearTimeout(silent);
      aedes.handle(Object.assign(new BrokerSocket(socket, limits), { internalOnly }));
    });
  };
  const servers: net.Server[] = [];
  const open = async (server: net.Server, port: number, host: string) => {
    const opened = await listen(server, port, host);
    servers.push(server);
    // Without this a late error of the listener (a descriptor limit, say) would end the process.
    server.on("error", (error) => log.error("the broker's listener failed: {reason}", { reason: error.message }));
    return opened;
  };
  const close = async () => {
    stopRecheck();
    const closed = Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
    const sockets = [...connections.all];
    const gone = sockets.map((socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())));
    for (const socket of sockets) socket.destroy();
    await Promise.all(gone);
    // Deno 2.6 counts a connection's end twice, and then never reports a listener closed, though it is a moment later.
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([closed, new Promise((resolve) => timer = setTimeout(resolve, 50))]);
    clearTimeout(timer);
  };
  let port: number, internalPort: number;
  try {
    const { tls: secure, host = "127.0.0.1" } = options;
    const server = secure ? secureServer(secure, onSocket) : net.createServer((socket) => onSocket(socket));
    server.on(
      "tlsClientError",
      (error: Error) => log.debug("a TLS handshake failed: {reason}", { reason: error.message }),
    );
    port = await open(server, options.port ?? 0, host);
    internalPort = secure ? await open(net.createServer((socket) => onSocket(socket, true)), 0, "127.0.0.1") : port;
  } catch (error) {
    await close();
    throw error;
  }
  return {
    port,
    internalPort,
    get connections() {
      return aedes.connectedClients;
    },
    disconnect,
    close,
  };
}
