/**
 * The embedded MQTT broker: aedes (3.1.1), with Twintable's access rules. A device gets in by its token (user name = device
 * id, password = token) or by a client certificate (its common name = device id), under its own id as client id, and may
 *
 * - publish on its `up`, `sync` and `presence` topics (only `presence` retained; its last will counts as a publish),
 * - subscribe to its `down`, its account's topic and `all`, exactly, without wildcards.
 *
 * A forbidden publish or will ends the connection, a forbidden subscription is refused in the SUBACK; both are logged.
 * Workers come in as the internal user and may do everything. The broker keeps nothing for absent devices: sessions are
 * clean whatever the client asks for, so its memory depends on connections alone.
 *
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { Log } from "../../protocol/log.ts";
import { Aedes, type Client } from "aedes";
import { type Topics, topics } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Identity } from "../../schema/model.ts";
import { BrokerSocket } from "./socket.ts";

/** Options of {@link startBroker}. */
export interface BrokerOptions {
  /** 0 (default): a free port. */
  readonly port?: number;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  /** Who a device is that shows this token; undefined: refused. A throw tells the device to try again. */
  readonly authenticate: (deviceId: string, token: string) => Promise<Identity | undefined>;
  /**
   * Who a device is that is known by its name: for one that came with a verified certificate (needed with
   * `tls.requestCert`), and to notice that a connected one was revoked.
   */
  readonly identityOf?: (deviceId: string) => Promise<Identity | undefined>;
  /** The workers' credentials. */
  readonly internal: { readonly username: string; readonly password: string };
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
  /**
   * How often it is looked whether connected devices are still known by `identityOf`, ms; default 60,000: with 1,000 devices
   * 17 reads a second.
   */
  readonly recheckMs?: number;
}

/** A running broker. */
export interface Broker {
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
  close(): Promise<void>;
}

/** What a connection was found to be. */
interface Access {
  readonly name: string;
  /** Absent: the internal user, who may do everything. */
  readonly publishes?: ReadonlySet<string>;
  readonly subscribes?: ReadonlySet<string>;
  readonly presence?: string;
  /** Of a device. */
  readonly accountId?: string;
}

interface Packet {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly retain?: boolean;
}

/** CONNACK codes of MQTT 3.1.1. */
const serverUnavailable = 3, badCredentials = 4, notAuthorized = 5;
/** A presence is a few bytes and is kept in memory for each device. */
const presenceBytesMax = 1024;

class Refusal extends Error {
  constructor(readonly returnCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

function accessOf(topic: Topics, { deviceId, accountId }: Identity): Access {
  const presence = topic.presence(deviceId);
  return {
    name: deviceId,
    accountId,
    presence,
    publishes: new Set([topic.up(deviceId), topic.sync(deviceId), presence]),
    subscribes: new Set([topic.down(deviceId), topic.account(accountId), topic.all]),
  };
}

/** Why a publish is forbidden, or undefined. */
function forbids(access: Access, packet: Packet): string | undefined {
  if (!access.publishes) return undefined;
  if (!access.publishes.has(packet.topic)) return `it may not publish on ${packet.topic}`;
  if (packet.topic !== access.presence) return packet.retain ? `it may not retain on ${packet.topic}` : undefined;
  return packet.payload.length > presenceBytesMax ? `its presence has ${packet.payload.length} bytes` : undefined;
}

function sameText(a: string, b: string): boolean {
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** Who shows himself, by certificate, as the internal user, or by token. @throws {Refusal} */
async function admit(
  options: BrokerOptions,
  topic: Topics,
  client: Client,
  username: string,
  password: string,
): Promise<Access> {
  const { internal } = options;
  if (username === internal.username) {
    if (!sameText(password, internal.password)) {
      throw new Refusal(badCredentials, "the internal user's password is wrong");
    }
    return { name: client.id };
  }
  const { socket, internalOnly } = client.conn as unknown as BrokerSocket;
  if (internalOnly) throw new Refusal(notAuthorized, "this listener is for workers only");
  const certified = "authorized" in socket && socket.authorized === true
    ? (socket as tls.TLSSocket).getPeerCertificate()?.subject?.CN as string | undefined
    : undefined;
  const deviceId = certified ?? username;
  if (deviceId !== client.id) {
    throw new Refusal(
      notAuthorized,
      `the client id ${JSON.stringify(client.id)} is not the device's id, ${JSON.stringify(deviceId)}`,
    );
  }
  let identity: Identity | undefined;
  try {
    identity = certified === undefined
      ? await options.authenticate(deviceId, password)
      : await options.identityOf?.(deviceId);
  } catch (cause) {
    throw new Refusal(serverUnavailable, `its credentials can't be checked now: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (identity === undefined || identity.deviceId !== deviceId) {
    throw new Refusal(
      badCredentials,
      certified === undefined ? "its id or token is wrong" : "its certificate names no known device",
    );
  }
  return accessOf(topic, identity);
}

/** Wires aedes' hooks to the access rules; the devices that are let in are in `devices` as long as they are connected. */
function applyRules(aedes: Aedes, options: BrokerOptions, topic: Topics, devices: Map<string, DeviceClient>): void {
  const log = new Log("broker");
  const accesses = new WeakMap<Client, Access>();
  const wills = new WeakMap<Client, Packet>();
  const nobody: Access = { name: "?", publishes: new Set(), subscribes: new Set() };
  const accessFor = (client: Client | null) => client === null ? { name: "broker" } : accesses.get(client) ?? nobody;

  aedes.preConnect = (client, packet, done) => {
    packet.clean = true;
    if (packet.will) wills.set(client, packet.will as unknown as Packet);
    done(null, true);
  };
  aedes.authenticate = (client, username, password, done) => {
    admit(options, topic, client, username ?? "", password ? new TextDecoder().decode(password) : "").then((access) => {
      const will = wills.get(client);
      const reason = will && forbids(access, will);
      if (reason) throw new Refusal(notAuthorized, `with its last will, ${reason}`);
      accesses.set(client, access);
      if (access.accountId !== undefined) devices.set(access.name, { client, accountId: access.accountId });
      if (!access.publishes) (client.conn as unknown as BrokerSocket).pushesBack = true;
      done(null, true);
    }).catch((error) => {
      log.warn("refused {clientId}: {reason}", { clientId: client.id, reason: error.message });
      done(
        Object.assign(error, { returnCode: error instanceof Refusal ? error.returnCode : serverUnavailable }),
        false,
      );
    });
  };
  aedes.authorizePublish = (client, packet, done) => {
    const reason = forbids(accessFor(client), packet);
    done(reason ? new Error(reason) : null);
  };
  aedes.authorizeSubscribe = (client, subscription, done) => {
    const access = accessFor(client);
    if (!access.subscribes || access.subscribes.has(subscription.topic)) return done(null, subscription);
    log.warn("refused {clientId} a subscription to {topic}", { clientId: access.name, topic: subscription.topic });
    done(null, null);
  };
  aedes.on("clientDisconnect", (client) => {
    // A second connection of a device may have taken the place already.
    if (devices.get(client.id)?.client === client) devices.delete(client.id);
  });
  aedes.on("clientError", (client, error) => {
    log.warn("closed {clientId}: {reason}", { clientId: client.id, reason: error.message });
  });
  aedes.on("connectionError", (_client, error) => {
    log.debug("a connection failed before it was let in: {reason}", { reason: error.message });
  });
}

interface DeviceClient {
  readonly client: Client;
  readonly accountId: string;
}

/** Looks through the connected devices again and again, evenly spread, and cuts those that are known no more. */
function recheck(
  devices: ReadonlyMap<string, DeviceClient>,
  identityOf: NonNullable<BrokerOptions["identityOf"]>,
  everyMs: number,
  cut: (deviceId: string) => void,
): () => void {
  const log = new Log("broker");
  const stepMs = Math.max(1, Math.min(1_000, everyMs / 4));
  let left: string[] = [], perStep = 1, busy = false;
  const step = async () => {
    if (left.length === 0) {
      left = [...devices.keys()];
      perStep = Math.ceil(left.length * stepMs / everyMs);
    }
    for (const deviceId of left.splice(0, perStep)) {
      const device = devices.get(deviceId);
      if (!device || (await identityOf(deviceId))?.accountId === device.accountId) continue;
      if (devices.get(deviceId) === device) cut(deviceId);
    }
  };
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    // Whoever can't be looked up now stays: a table that is away must not throw the fleet out.
    step().catch((error) => log.debug("connected devices can't be looked up: {reason}", { reason: error.message }))
      .finally(() => busy = false);
  }, stepMs);
  return () => clearInterval(timer);
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
  // Whether a certificate is wanted is the access rules' question: without a valid one a token still lets a device in.
  const server: unknown = tls.createServer({ ...options, rejectUnauthorized: false }, (socket) => onSocket(socket));
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
  const connectionsMax = options.connectionsMax ?? 20_000;
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
    connectTimeout: 10_000,
    maxClientsIdLength: 256,
  });
  const devices = new Map<string, DeviceClient>();
  applyRules(aedes, options, topic, devices);
  const log = new Log("broker");
  const disconnect = (deviceId: string) => {
    const device = devices.get(deviceId);
    if (!device) return;
    log.info("cut {deviceId}: its credentials are no longer valid", { deviceId });
    device.client.close();
  };
  const stopRecheck = options.identityOf
    ? recheck(devices, options.identityOf, options.recheckMs ?? 60_000, disconnect)
    : () => {};
  const sockets = new Set<net.Socket>();
  const onSocket = (socket: net.Socket, internalOnly = false) => {
    if (sockets.size >= connectionsMax) {
      log.warn("closed a connection: {max} are open already", { max: connectionsMax });
      socket.on("error", () => {});
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.setNoDelay(true);
    aedes.handle(Object.assign(new BrokerSocket(socket, limits), { internalOnly }));
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
    const gone = [...sockets].map((socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())));
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
