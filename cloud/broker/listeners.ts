/**
 * The embedded broker's listeners: one for everybody, plain or with TLS; with TLS a plain one for workers of this machine.
 *
 * @module
 */
import net from "node:net";
import tls from "node:tls";
import { Log } from "../../protocol/log.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Rate } from "../budget.ts";
import { HalfOpen } from "./half_open.ts";
import { handshakesDefault, plainDefault, Turns } from "./turns.ts";

/** Where to listen. */
export interface ListenOptions {
  readonly port?: number;
  readonly host?: string;
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string; readonly requestCert?: boolean };
  /** How many connections begin: their TLS handshakes, or, without TLS, to be read. */
  readonly begins?: Rate;
}

const handshakeTimeoutMs = 10_000;
const log = new Log("broker");

function listen(server: net.Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) => {
      reject(new SyncError("unavailable", `the broker can't listen on ${host}:${port}: ${cause.message}`, { cause }));
    });
    server.listen(port, host, () => resolve((server.address() as net.AddressInfo).port));
  });
}

function secureServer(options: NonNullable<ListenOptions["tls"]>, onSocket: (socket: net.Socket) => void): net.Server {
  // The access rules decide whether a certificate is required: without a valid one, a device may still log in by token.
  const server: unknown = tls.createServer({
    ...options,
    rejectUnauthorized: false,
    handshakeTimeout: handshakeTimeoutMs,
  }, (socket) => onSocket(socket));
  if (server instanceof net.Server) return server;
  // Deno 2.6: such a server ignores client certificates, and its address cannot be chosen.
  throw new SyncError("unsupported", "TLS at the embedded broker needs a newer Deno", {
    hint: "upgrade Deno, or use Mosquitto",
  });
}

/** Who hears of connections. */
export interface Doors {
  /** A new connection, before any TLS. False: it is closed, and nobody hears of it again. */
  readonly admit: (raw: net.Socket) => boolean;
  /** Its TLS handshake is over. */
  readonly handshaken: (raw: net.Socket, secure: net.Socket) => void;
  /** It may send its CONNECT now. `internalOnly`: it came through the listener for workers. */
  readonly open: (socket: net.Socket, internalOnly: boolean) => void;
}

/** A connection's ends, which are the same for its TLS socket. */
function endOf({ localAddress, remoteAddress, remotePort }: net.Socket): string {
  return `${localAddress} ${remoteAddress} ${remotePort}`;
}

/** The listeners of one broker. */
export class Listeners {
  readonly #servers: net.Server[] = [];

  constructor(private readonly doors: Doors) {}

  /** Listens. @throws {SyncError} `unavailable` if the port is taken, `unsupported` for TLS that can't be served */
  async open(
    { tls: secure, port = 0, host = "127.0.0.1", begins = secure ? handshakesDefault : plainDefault }: ListenOptions,
  ): Promise<{ port: number; internalPort: number }> {
    const server = secure ? this.#secure(secure, begins) : this.#plain(begins);
    const opened = await this.#open(server, port, host);
    if (!secure) return { port: opened, internalPort: opened };
    const internal = net.createServer((socket) => {
      if (this.doors.admit(socket)) this.doors.open(socket, true);
    });
    return { port: opened, internalPort: await this.#open(internal, 0, "127.0.0.1") };
  }

  #plain(rate: Rate): net.Server {
    const turns = new Turns(rate, (socket) => this.doors.open(socket, false));
    return net.createServer({ pauseOnConnect: true }, (socket) => {
      if (this.doors.admit(socket)) turns.ask(socket);
    });
  }

  /** Connections are admitted before their handshake: what never ends one has a place among those that say nothing. */
  #secure(options: NonNullable<ListenOptions["tls"]>, rate: Rate): net.Server {
    const raws = new Map<string, net.Socket>(), halfOpen = new HalfOpen();
    const server = secureServer(options, (socket) => {
      const raw = raws.get(endOf(socket));
      // Closed meanwhile.
      if (!raw) return void socket.destroy();
      halfOpen.over(raw);
      this.doors.handshaken(raw, socket);
      this.doors.open(socket, false);
    });
    server.on(
      "tlsClientError",
      (error: Error) => log.debug("a TLS handshake failed: {reason}", { reason: error.message }),
    );
    // It listens to nothing by itself: as for any TLS server that is given connections, this begins a handshake.
    const handshakes = new Turns(rate, (raw) => {
      halfOpen.begin(raw);
      server.emit("connection", raw);
    });
    return net.createServer({ pauseOnConnect: true }, (raw) => {
      const end = endOf(raw);
      if (!this.doors.admit(raw)) return;
      raws.set(end, raw);
      raw.once("close", () => {
        if (raws.get(end) === raw) raws.delete(end);
      });
      handshakes.ask(raw);
    });
  }

  async #open(server: net.Server, port: number, host: string): Promise<number> {
    const opened = await listen(server, port, host);
    this.#servers.push(server);
    // Without this a late error of the listener (a descriptor limit, say) would end the process.
    server.on("error", (error) => log.error("the broker's listener failed: {reason}", { reason: error.message }));
    return opened;
  }

  /** Accepts no more; resolves when all of its connections are closed. */
  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  }
}
