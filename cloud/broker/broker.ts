/**
 * The embedded MQTT broker: aedes (3.1.1), with Twintable's access rules (`access.ts`).
 *
 * A forbidden publish or will ends the connection, a forbidden subscription is refused in the SUBACK; both are logged.
 * The broker stores nothing for absent devices: sessions are clean whatever the client asks for, so its memory depends
 * only on connections. The cost of a connection is bounded before and after login (`connections.ts`, `socket.ts`), and
 * a device that sends faster than its limit is read more slowly: only it waits.
 *
 * @module
 */
import type net from "node:net";
import { Log } from "../../protocol/log.ts";
import { within } from "../../protocol/within.ts";
import { Aedes } from "npm:aedes@^1.2.0";
import { topics } from "../../protocol.ts";
import type { Rate } from "../budget.ts";
import type { AccessOptions } from "./access.ts";
import { AccessHooks } from "./access_hooks.ts";
import { Connections, Devices } from "./connections.ts";
import { firstPacket } from "./first_packet.ts";
import { Listeners } from "./listeners.ts";
import { recheck } from "./recheck.ts";
import { BrokerSocket } from "./socket.ts";

/** Options of {@link startBroker}. */
export interface BrokerOptions extends AccessOptions {
  /** 0 (default): a free port. */
  readonly port?: number;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** PEM texts. `requestCert`: a device may show a certificate by `ca` instead of a token. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string; readonly requestCert?: boolean };
  /**
   * Bytes of one MQTT packet; default 512 KB: room for one item of DynamoDB's 400 KB, if the payload limit is raised
   * that far.
   */
  readonly packetBytesMax?: number;
  /** Bytes that may wait for a device before it is cut; default 4 MB. */
  readonly bufferBytesMax?: number;
  /** Default 20,000. Further ones are closed at once. */
  readonly connectionsMax?: number;
  /** Connections of one address, of IPv6 of one /64; default 2,000, and no bound on loopback, because of proxies. */
  readonly perAddressMax?: number;
  /** Connections that are not logged in yet; default 10,000. A further one closes the oldest. */
  readonly pendingMax?: number;
  /** How long a connection may take to log in, ms; default 10,000. */
  readonly connectTimeoutMs?: number;
  /**
   * Connections of all together that begin; default 500 a second, 1,000 at once; with TLS, whose handshakes are dear, 200 a
   * second, 400 at once. Addresses that want more take turns.
   */
  readonly begins?: Rate;
  /** MQTT packets of one device; default 1,000 a second, 2,000 at once. Above that, it is read more slowly. */
  readonly packets?: Rate;
  /** Bytes of one device; default 4 MB a second, 32 MB at once: measurements of some 25,000 rows, uncompressed. */
  readonly bytes?: Rate;
  /**
   * How often `identityOf` checks whether connected devices and their credentials are still valid, ms; default 60,000:
   * with 1,000 devices 17 reads a second.
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
  /** Ends a device's connection, if it has one. It may connect again, if its credentials are valid. */
  disconnect(deviceId: string): void;
  /** Closes the port and all connections. */
  close(): Promise<void>;
}

const connectTimeoutMs = 10_000;
const log = new Log("broker");

/**
 * Starts the broker; resolves when it listens.
 *
 * @throws {SyncError} `unavailable` if the port is taken, `unsupported` for TLS if the runtime can't serve it
 * @throws {RangeError} for a prefix that no topic can have
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const topic = topics(options.prefix), aedes = await openAedes(options);
  const { connectionsMax = 20_000, perAddressMax, pendingMax = 10_000, identityOf, recheckMs = 60_000 } = options;
  const { connectTimeoutMs: timeoutMs = connectTimeoutMs } = options;
  const devices = new Devices();
  const connections = new Connections({ connectionsMax, perAddressMax, pendingMax, timeoutMs });
  new AccessHooks(options, topic, devices, connections).applyTo(aedes);
  const disconnect = (deviceId: string) => {
    if (devices.cut(deviceId) > 0) log.info("cut {deviceId}: its credentials are no longer valid", { deviceId });
  };
  const stopRecheck = identityOf ? recheck(devices, identityOf, recheckMs, disconnect) : () => {};
  const listeners = new Listeners({
    admit: (raw) => admit(connections, raw),
    handshaken: (raw, secure) => connections.handshaken(raw, secure),
    open: (socket, internalOnly) => accept(aedes, connections, options, socket, internalOnly),
  });
  const close = async () => {
    stopRecheck();
    const closed = listeners.close();
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
    await connections.destroy();
    // Deno 2.6 counts a connection's end twice, and then never reports the listener as closed, although it is closed a
    // moment later.
    await within(50, closed);
  };
  try {
    const ports = await listeners.open(options);
    return {
      ...ports,
      get connections() {
        return aedes.connectedClients;
      },
      disconnect,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function openAedes({ connectTimeoutMs: timeoutMs = connectTimeoutMs }: BrokerOptions): Promise<Aedes> {
  return Aedes.createBroker({
    // No common bound on deliveries: with one, a worker that reads slowly would hold up the answers to all devices.
    // Each connection is bounded by itself, since aedes continues to read from it only after its messages were
    // delivered.
    concurrency: 0,
    // A frozen client is cut by its buffer's bound or its keepalive; a worker that pushes back is not a fault.
    drainTimeout: 0,
    connectTimeout: timeoutMs,
    maxClientsIdLength: 256,
  });
}

/** Whether there is room for a new connection; otherwise it is closed. */
function admit(connections: Connections, socket: net.Socket): boolean {
  socket.on("error", () => {});
  const turned = connections.open(socket);
  if (!turned) return true;
  log.warn("closed a connection of {clientId}: too many are open", { clientId: socket.remoteAddress ?? "?", turned });
  socket.destroy();
  return false;
}

/** A connection that was admitted: passed to aedes with its first packet. */
function accept(
  aedes: Aedes,
  connections: Connections,
  options: BrokerOptions,
  socket: net.Socket,
  internalOnly: boolean,
): void {
  const { packetBytesMax = 512 * 1024, bufferBytesMax = 4 * 1024 * 1024 } = options;
  socket.on("error", () => {});
  // A connection without a complete CONNECT is not a client yet, and costs only a socket and some bytes.
  firstPacket(socket, () => {
    connections.spoke(socket);
    socket.setNoDelay(true);
    aedes.handle(Object.assign(new BrokerSocket(socket, { packetBytesMax, bufferBytesMax }), { internalOnly }));
  });
}
