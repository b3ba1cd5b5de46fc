/**
 * A `fetch` handler as an HTTP server that no client can hold up: there are time limits for headers, for a whole
 * request, and for reading an answer; an idle connection is closed; and the number of connections is bounded, in total
 * and for each address. Beyond the bound, the connection that has waited longest without a request is closed, so that
 * new ones are served.
 *
 * It uses `node:http`, because `Deno.serve` has no such limits: a client that sends half a header would hold a
 * descriptor for ever.
 *
 *     accepted ─▶ waiting (10 s to a whole header; the oldest gives way) ─▶ under way (60 s) ─▶ waiting (keep-alive, 75 s)
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Readable } from "node:stream";
import { isLoopback, OpenBySource } from "../address.ts";

/** Bounds of a {@link HttpServer}. */
export interface HttpLimits {
  /** From the start of a connection, or of a request, until its headers are complete. */
  readonly headersMs: number;
  /** Until the request's body is complete. */
  readonly requestMs: number;
  /** Between requests. */
  readonly idleMs: number;
  /** How long a client may stop reading its answer. */
  readonly unreadMs: number;
  readonly connections: number;
  /** For each address, of IPv6 each /64, except this machine's. */
  readonly perAddress: number;
}

/** 2,000 connections are some 40 MB, and leave descriptors for the broker. */
export const httpLimits: HttpLimits = {
  headersMs: 10_000,
  requestMs: 60_000,
  // Longer than load balancers keep theirs: 60 s, mostly.
  idleMs: 75_000,
  unreadMs: 30_000,
  connections: 2_000,
  perAddress: 1_000,
};
/** All headers together: a bearer token and what proxies add. */
const headerBytesMax = 16 * 1024;

/** A handler as `Deno.serve` calls it. */
type Handler = (
  request: Request,
  info: { readonly remoteAddr: { readonly hostname: string } },
) => Promise<Response> | Response;

/** A server that listens. */
export interface HttpServer {
  readonly port: number;
  /** Accepts no more connections, and resolves when open requests are answered. */
  shutdown(): Promise<void>;
  /** Ends what is left. */
  destroy(): void;
}

/** Serves. @throws the system's error where it can't listen there */
export async function serveHttp(
  handler: Handler,
  { host, port, limits = httpLimits }: { host: string; port: number; limits?: HttpLimits },
): Promise<HttpServer> {
  const server = createServer({
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.idleMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headersMs / 4),
    maxHeaderSize: headerBytesMax,
  });
  const connections = new Connections(limits);
  server.on("connection", (socket: Socket) => connections.add(socket));
  server.on("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    connections.begins(incoming.socket);
    outgoing.once("close", () => connections.ends(incoming.socket));
    answer(handler, incoming, outgoing, limits).catch(() => incoming.socket.destroy());
  });
  // Not HTTP: no answer is required, and its error is ignored.
  server.on("clientError", (_error: Error, socket: Socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    shutdown: () => closed(server, connections),
    destroy: () => connections.destroy(),
  };
}

function closed(server: Server, connections: Connections): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    connections.destroyWaiting();
  });
}

/** The open connections, and which of them wait without a request. */
export class Connections {
  readonly #all = new Set<Socket>();
  /** The one that has waited longest first. */
  readonly #waiting = new Set<Socket>();
  readonly #bySource = new OpenBySource();
  #closing = false;

  constructor(private readonly limits: HttpLimits) {}

  add(socket: Socket): void {
    // A socket's error ends only that socket.
    socket.on("error", () => {});
    const address = socket.remoteAddress ?? "", { perAddress, connections } = this.limits;
    if (!this.#bySource.enter(address, isLoopback(address) ? Infinity : perAddress)) return void socket.destroy();
    this.#all.add(socket);
    this.#waiting.add(socket);
    socket.once("close", () => {
      this.#forget(socket);
      this.#bySource.leave(address);
    });
    if (this.#all.size <= connections) return;
    // If all others have open requests, the new one is refused.
    const oldest = this.#waiting.values().next().value!;
    this.#forget(oldest);
    oldest.destroy();
  }

  /** Its close event comes later, but it must not count from now on. */
  #forget(socket: Socket): void {
    this.#all.delete(socket);
    this.#waiting.delete(socket);
  }

  begins(socket: Socket): void {
    this.#waiting.delete(socket);
  }

  ends(socket: Socket): void {
    if (!this.#all.has(socket)) return;
    if (this.#closing) return void socket.destroy();
    this.#waiting.add(socket);
  }

  destroyWaiting(): void {
    this.#closing = true;
    for (const socket of this.#waiting) socket.destroy();
  }

  destroy(): void {
    for (const socket of this.#all) socket.destroy();
  }
}

async function answer(
  handler: Handler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  limits: HttpLimits,
): Promise<void> {
  const abort = new AbortController();
  outgoing.once("close", () => abort.abort());
  const request = requestOf(incoming, abort.signal);
  const response = request
    ? await handler(request, { remoteAddr: { hostname: incoming.socket.remoteAddress ?? "" } })
    : new Response("no request of ours\n", { status: 400 });
  const headers: [string, string][] = [...response.headers];
  for (const [name, value] of headers) outgoing.appendHeader(name, value);
  // An unread body is not awaited: the connection ends with the answer.
  if (!incoming.complete && incoming.headers["content-length"] !== "0") outgoing.setHeader("connection", "close");
  outgoing.writeHead(response.status);
  try {
    for await (const chunk of response.body ?? []) {
      if (outgoing.destroyed) break;
      if (!outgoing.write(chunk)) await drained(outgoing, limits.unreadMs);
    }
    outgoing.end();
    // The client must read the socket's buffer, too.
    if (!outgoing.writableFinished) await finished(outgoing, limits.unreadMs);
  } catch {
    // The body failed, or the client did not read it: the answer is cut short.
    outgoing.destroy();
  }
}

/** The request in `fetch`'s form; undefined if that cannot express it (TRACE, a target that is not a path). */
function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | undefined {
  const { method = "GET", url = "/", rawHeaders } = incoming;
  try {
    const headers = new Headers();
    for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at]!, rawHeaders[at + 1]!);
    const base = `http://${incoming.headers.host ?? "localhost"}`;
    const hasBody = method !== "GET" && method !== "HEAD" &&
      (incoming.headers["content-length"] !== undefined || incoming.headers["transfer-encoding"] !== undefined);
    const body = hasBody ? Readable.toWeb(incoming) as ReadableStream<Uint8Array> : undefined;
    // A target that is a whole URL names its own host: only its path is used.
    const { pathname, search } = new URL(url, base);
    return new Request(new URL(`${pathname}${search}`, base), { method, headers, body, signal });
  } catch {
    return undefined;
  }
}

function drained(outgoing: ServerResponse, withinMs: number): Promise<void> {
  return event(outgoing, "drain", withinMs);
}

function finished(outgoing: ServerResponse, withinMs: number): Promise<void> {
  return event(outgoing, "finish", withinMs);
}

/** Waits for an event. @throws if it does not come in time, or the connection ends first */
function event(outgoing: ServerResponse, name: "drain" | "finish", withinMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error) => {
      clearTimeout(timer);
      outgoing.off(name, came);
      outgoing.off("close", ended);
      if (error) reject(error);
      else resolve();
    };
    const came = () => done(), ended = () => done(new Error("the connection ended"));
    const timer = setTimeout(() => done(new Error("the answer is not read")), withinMs);
    outgoing.once(name, came);
    outgoing.once("close", ended);
  });
}
