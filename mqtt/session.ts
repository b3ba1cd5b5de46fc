/**
 * One MQTT connection that reconnects by itself: clean sessions, QoS 1, jittered and capped backoff. The agent's link,
 * the cloud's publisher and its receiver use it. It is a shell around `npm:mqtt`, not part of the codec: `protocol.ts`
 * does not export it, so that the simulation never loads it.
 *
 *     connecting ──CONNACK──▶ subscribing ──SUBACK──▶ up
 *         ▲                        │                  │
 *         └──── backoff ◀──────────┴─── closed ◀──────┘
 *
 * Each attempt has a client of its own, whose store holds nothing. `npm:mqtt` would queue messages while offline and
 * resend those in flight. Here the layers above do both, because they know what is still worth sending; a second queue
 * below them would grow while the link is down, and deliver superseded messages.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import net from "node:net";
import { Readable } from "node:stream";
import tls from "node:tls";
import { within } from "../protocol/within.ts";
import { backoffMs } from "../protocol/backoff.ts";
import { Log, noteTold, withoutSecrets } from "../protocol/log.ts";
import { holdMs, Outage } from "../protocol/outage.ts";
import { type IClientOptions, MqttClient } from "npm:mqtt@^5.16.0";
import { SyncError } from "../schema/errors.ts";
import { offlineFault, type OfflineReason } from "./offline.ts";
import { SteadyStream } from "./steady_stream.ts";

/** How a broker is reached. */
export interface BrokerConnection {
  /** `mqtt://host[:1883]` or `mqtts://host[:8883]`. */
  readonly url: string;
  /** User name at the broker. */
  readonly username?: string;
  /** Password at the broker. */
  readonly password?: string;
  /** PEM texts: authorities to trust (default: the system's), the client's certificate and its key. */
  readonly ca?: string;
  /** A client certificate, PEM. */
  readonly cert?: string;
  /** The certificate's key, PEM. */
  readonly key?: string;
  /** 4 (default): MQTT 3.1.1, which every broker speaks. 5: MQTT 5, whose brokers say why they refuse. */
  readonly protocolVersion?: 4 | 5;
}

/** Options of an {@link MqttSession}. */
export interface SessionOptions extends BrokerConnection {
  readonly clientId: string;
  /** Instead of `password`: what to show at the next connection. */
  readonly secret?: () => string;
  /** In the place of `cert` and `key`: what to show at the next connection. */
  readonly certificate?: () => { readonly cert: string; readonly key: string };
  /** Topic filters, all subscribed with QoS 1 before `up` is called. */
  readonly subscriptions: readonly string[];
  /** What a refused subscription means to the user; undefined: nothing to add. */
  readonly refusal?: (topics: readonly string[]) => string | undefined;
  /** A retained message that the broker publishes when the connection is lost. */
  readonly will?: { readonly topic: string; readonly payload: Uint8Array };
  /** A retained message that is published when the session is up. */
  readonly birth?: { readonly topic: string; payload(): Uint8Array };
  /** Seconds; default 60. The broker drops a client that was silent for one and a half times this. */
  readonly keepaliveSeconds?: number;
  /** From the attempt to the CONNACK, ms; default 15,000. */
  readonly connectTimeoutMs?: number;
  /** Backoff: from `retryMinMs` (default 250) doubling to `retryMaxMs` (default 30,000), each jittered by half. */
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
  /** How long a connection must hold to be none of those that end soon after they were made, ms; default 10,000. */
  readonly stableMs?: number;
  /** Bytes that may wait to be written before the connection counts as stuck and is cut; default 32 MB. */
  readonly bufferBytesMax?: number;
  /** In [0, 1); default `Math.random`. */
  readonly random?: () => number;
  /** The part's name in the log, below `twintable`. */
  readonly logName: string;
  /** Shared by the sessions of one program that lose the same broker: what is lost is told once. Default: one of its own. */
  readonly outage?: Outage;
}

/** What a session tells. */
export interface SessionHandlers {
  /** Connected and subscribed: from now on, no message on the subscribed topics is missed silently. */
  up(): void;
  down(reason: string): void;
  /** An attempt has failed. True: the next one is made soon, whatever was wrong with this one. */
  failed?(error: SyncError): boolean;
  /** While a returned promise is pending no PUBACK is sent and nothing further is read: back-pressure. */
  message(topic: string, payload: Uint8Array): void | Promise<void>;
}

/** Publishes that wait for their PUBACK: far above any window of the layers above, below the 65,535 ids of MQTT. */
const unacknowledgedMax = 16_384;
/**
 * A connection that held for so long starts the backoff again. Shorter ones (two clients of one id evict each other)
 * don't.
 */
const stableMsDefault = 10_000;
/** Refused credentials will not start to work soon. */
const refusedRetryMs = 30_000;
const closeTimeoutMs = 2_000;
/** So many short connections in a row are not accidental. */
const shortLivesMax = 3;
/** MQTT 5's code for "session taken over": another client connected with this id. */
const takenOver = 0x8e;

/** A PUBACK of MQTT 5 says why a message was refused: its code is 128 or above. */
function publishError(topic: string, cause: Error & { code?: unknown }): SyncError {
  const isRefused = typeof cause.code === "number" && cause.code >= 128;
  if (isRefused) {
    return new SyncError("refused", cause.message.replace(/^Publish error: /, ""), { retryable: true, cause });
  }
  return new SyncError("unavailable", `publishing on ${topic} failed: ${cause.message}`, { retryable: true, cause });
}

/** Replaces `npm:mqtt`'s store of unacknowledged publishes: it holds nothing, so nothing is sent twice. */
const noStore: NonNullable<IClientOptions["outgoingStore"]> = {
  put(_packet, done) {
    done();
    return noStore;
  },
  del(_packet, done) {
    done();
    return noStore;
  },
  get(_packet, done) {
    done(new Error("nothing is stored"));
    return noStore;
  },
  createStream: () => Readable.from([]) as ReturnType<NonNullable<IClientOptions["outgoingStore"]>["createStream"]>,
  close: (done) => done(),
};

function openSocket(options: SessionOptions): net.Socket {
  const url = new URL(options.url);
  // WHATWG keeps the brackets of an IPv6 address; the resolver does not accept them.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const secure = url.protocol === "mqtts:";
  const port = Number(url.port || (secure ? 8883 : 1883));
  const { ca } = options, { cert, key } = options.certificate?.() ?? options;
  // The cast: Deno's types of node:tls give TLSSocket, which is a net.Socket.
  const socket: net.Socket = secure
    ? tls.connect({
      host,
      port,
      ca,
      cert,
      key,
      rejectUnauthorized: true,
      ...(net.isIP(host) ? {} : { servername: host }),
    }) as net.Socket
    : net.connect({ host, port });
  // Nagle's algorithm with delayed acknowledgements adds 40 ms to a small round trip.
  socket.setNoDelay(true);
  return socket;
}

/** Checks a broker's URL. @throws {TypeError} if it is not `mqtt://` or `mqtts://` with a host */
export function checkBrokerUrl(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !["mqtt:", "mqtts:"].includes(parsed.protocol) || parsed.hostname === "") {
    throw new TypeError(
      `a broker's URL is mqtt://HOST:PORT or mqtts://HOST:PORT, not ${JSON.stringify(withoutSecrets(url))}`,
    );
  }
}

/** A connection that reconnects by itself. From its point of view, delivery is at most once: it never resends. */
export class MqttSession {
  readonly #log;
  readonly #random: () => number;
  #client: MqttClient | undefined;
  #stream: SteadyStream | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #up = false;
  #closed = false;
  #isPaused = false;
  /** The error of the current attempt or connection. */
  #fault: SyncError | undefined;
  #failures = 0;
  /** Connections in a row that the broker ended soon after they were made. */
  #shortLives = 0;
  #upSince = 0;
  #unacknowledged = 0;
  readonly #outage: Outage;
  /** Looks whether a connection that came after others were lost has held. */
  #held: ReturnType<typeof setTimeout> | undefined;
  #wasUp = false;
  /** Why there is no connection, or why the last one ended, as a name. */
  reason: OfflineReason | undefined;
  /** Why there is no connection, or why the last one ended. `unauthorized`: refused by the broker. */
  lastError: SyncError | undefined;
  /** Bytes of the largest packet that the broker accepts; undefined: it has not said so (MQTT 3.1.1 cannot). */
  packetBytesMax: number | undefined;

  /** @throws {TypeError} for a URL that is not a broker's */
  constructor(private readonly options: SessionOptions, private readonly handlers: SessionHandlers) {
    checkBrokerUrl(options.url);
    this.#random = options.random ?? Math.random;
    this.#log = new Log(options.logName);
    this.#outage = options.outage ?? new Outage(this.#log, `the broker ${new URL(options.url).host}`);
  }

  /** Connected and subscribed. */
  get up(): boolean {
    return this.#up;
  }

  /** Bytes that are not yet written to the network. */
  get bufferedBytes(): number {
    return (this.#stream?.writableLength ?? 0) + (this.#stream?.socket.writableLength ?? 0);
  }

  /**
   * Cuts the connection as a lost network would (the broker publishes the will), and makes no other until
   * {@link start}.
   */
  pause(): void {
    this.#isPaused = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#client) return;
    this.#fault ??= new SyncError("unavailable", "the link is paused", { retryable: true });
    this.lastError = this.#fault;
    if (this.#stream) this.#stream.destroy();
    else this.#ended(this.#client);
  }

  /** Connects again at once, where there is a connection, with what {@link SessionOptions.secret} or `certificate` gives by then. */
  reconnect(): void {
    if (!this.#client || this.#closed || this.#isPaused) return;
    // Whether it lets in what it is shown then is not known.
    this.#wasUp = false;
    this.#fault ??= new SyncError("unavailable", "the link connects again", { retryable: true });
    this.lastError = this.#fault;
    if (this.#stream) this.#stream.destroy();
    else this.#ended(this.#client);
  }

  /** Begins to connect, also after {@link pause}; returns at once. */
  start(): void {
    this.#isPaused = false;
    if (this.#closed || this.#client || this.#timer !== undefined) return;
    this.#connect();
  }

  /**
   * Publishes with QoS 1. False: there is no connection (or it is stuck and was cut), and nothing was queued. `done` is
   * called once after a true: at the PUBACK, or with an error when the connection ended before it.
   */
  publish(
    topic: string,
    payload: Uint8Array,
    done?: (error?: SyncError) => void,
    options?: { retain?: boolean },
  ): boolean {
    const client = this.#client;
    if (!this.#up || !client) return false;
    const stuck = this.bufferedBytes > (this.options.bufferBytesMax ?? 32 * 1024 * 1024);
    if (stuck || this.#unacknowledged >= unacknowledgedMax) {
      this.#fail(new SyncError("unavailable", "the connection to the broker is stuck", { retryable: true }), "closed");
      this.#stream?.destroy();
      return false;
    }
    this.#unacknowledged++;
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    client.publish(topic, bytes, { qos: 1, retain: options?.retain ?? false }, (cause?: Error | null) => {
      if (client === this.#client) this.#unacknowledged--;
      const error = cause ? publishError(topic, cause) : undefined;
      // It was lost with the connection, which is told.
      if (error && this.#outage.active) noteTold(error);
      done?.(error);
    });
    return true;
  }

  /** Ends the connection (with a clean DISCONNECT where possible: the will is not published) and makes no other. */
  async close(last?: { topic: string; payload: Uint8Array }): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    if (!client) return;
    const begun = performance.now();
    if (last && this.#up) {
      const told = new Promise<void>((resolve) =>
        this.publish(last.topic, last.payload, () => resolve(), { retain: true }) || resolve()
      );
      await within(closeTimeoutMs, told);
    }
    const ended = new Promise<void>((resolve) => client.once("close", () => resolve()));
    // Without force, `end` sends DISCONNECT only after every PUBACK, which nobody needs any more.
    client.end(!this.#up || this.#unacknowledged > 0);
    await within(Math.max(0, closeTimeoutMs - (performance.now() - begun)), ended);
    this.#stream?.destroy();
    this.#ended(client);
  }

  #connect(): void {
    this.#timer = undefined;
    this.#fault = undefined;
    this.#unacknowledged = 0;
    const { options } = this;
    // `npm:mqtt` hides errors without a code, the TLS ones among them: they are noted at the socket itself.
    const client: MqttClient = new MqttClient(() => {
      const socket = openSocket(options);
      socket.on("error", (cause: Error) => this.#failed(client, cause));
      this.#stream = new SteadyStream(socket);
      return this.#stream;
    }, {
      manualConnect: true,
      clientId: options.clientId,
      username: options.username,
      password: options.secret?.() ?? options.password,
      protocolVersion: options.protocolVersion ?? 4,
      clean: true,
      resubscribe: false,
      reconnectPeriod: 0,
      queueQoSZero: false,
      outgoingStore: noStore,
      keepalive: options.keepaliveSeconds ?? 60,
      connectTimeout: options.connectTimeoutMs ?? 15_000,
      timerVariant: "native",
      // With this cache, the packet writer would make a buffer for each of 65,536 numbers before its first packet: 17
      // MB of an agent's memory and some 40 ms of its start, to save an allocation of two bytes a packet.
      writeCache: false,
      ...(options.will
        ? {
          will: {
            topic: options.will.topic,
            payload: Buffer.from(options.will.payload),
            qos: 1 as const,
            retain: true,
          },
        }
        : {}),
    });
    this.#client = client;
    client.handleMessage = (packet, done) => this.#receive(packet.topic.toString(), packet.payload as Uint8Array, done);
    client.on("error", (cause) => this.#failed(client, cause));
    client.on("connect", (connack) => {
      this.packetBytesMax = connack.properties?.maximumPacketSize;
      this.#subscribe(client);
    });
    // MQTT 5: the session was taken over by another client of this id.
    client.on("disconnect", ({ reasonCode }) => {
      if (client === this.#client && reasonCode === takenOver) this.#fail(this.#takenError(), "taken");
    });
    client.on("close", () => this.#ended(client));
    client.connect();
  }

  #takenError(): SyncError {
    const { clientId, url } = this.options;
    return new SyncError(
      "taken",
      `the broker ${new URL(url).host} ends the connection of "${clientId}" soon after it is made, again and again: ` +
        "another agent seems to use this id",
      { retryable: true, hint: "stop the other one, or give it an id of its own" },
    );
  }

  get #stableMs(): number {
    return this.options.stableMs ?? stableMsDefault;
  }

  /** Another client seems to use this id: connections end soon after they were made, and none has held since. */
  get taken(): boolean {
    if (this.#up && performance.now() - this.#upSince > 3 * this.#stableMs) return false;
    return this.#shortLives >= shortLivesMax;
  }

  #failed(client: MqttClient, cause: Error & { code?: unknown }): void {
    if (client !== this.#client) return;
    const { url, clientId } = this.options;
    const { error, reason } = offlineFault(cause, { url, clientId, wasUp: this.#wasUp });
    // Nobody is there: the broker ended the connections before, not another client. One that starts again and again
    // must not have every device of a fleet accused of having a double.
    if (reason === "unreachable" || reason === "dns") this.#shortLives = 0;
    this.#fail(error, reason);
  }

  /** The same fault at every attempt is logged once. */
  #fail(error: SyncError, reason: OfflineReason): void {
    this.lastError = this.#fault = error;
    this.reason = reason;
    this.#outage.failed(error, { part: this.options.clientId, kind: reason });
  }

  #subscribe(client: MqttClient): void {
    if (this.options.subscriptions.length === 0) return this.#nowUp(client);
    const { subscriptions } = this.options;
    client.subscribe([...subscriptions], { qos: 1 }, (cause, granted) => {
      if (client !== this.#client || this.#closed) return;
      // The codes of the SUBACK, in the order of the SUBSCRIBE; if one of them is a refusal, they come only with the
      // error.
      const refusal = cause as (Error & { packet?: { granted?: readonly (number | { qos: number })[] } }) | null;
      const codes = refusal?.packet?.granted?.map((code) => typeof code === "number" ? code : code.qos) ??
        (granted ?? []).map(({ qos }) => qos);
      const denied = subscriptions.filter((_, i) => (codes[i] ?? 0) >= 128);
      if (!cause && denied.length === 0) return this.#nowUp(client);
      const what = denied.length > 0 ? denied : subscriptions;
      const message = this.options.refusal?.(what) ?? `the broker refused a subscription to ${what.join(", ")}`;
      this.#fail(
        new SyncError("unauthorized", message, {
          retryable: true,
          cause: cause ?? undefined,
          hint: "check the account id, and the broker's access rules",
        }),
        "subscription",
      );
      this.#stream?.destroy();
    });
  }

  #nowUp(client: MqttClient): void {
    if (client !== this.#client) return;
    this.#up = true;
    this.#upSince = performance.now();
    this.#wasUp = true;
    this.lastError = this.#fault = this.reason = undefined;
    this.#logUp();
    const { birth } = this.options;
    if (birth) this.publish(birth.topic, birth.payload(), undefined, { retain: true });
    this.handlers.up();
  }

  /** After an outage its end is the news. One that comes again and again has none until a connection holds. */
  #logUp(): void {
    const { url, clientId } = this.options;
    this.#log[this.#outage.active ? "debug" : "info"]("connected to {broker} as {client}", {
      broker: new URL(url).host,
      client: clientId,
    });
    this.#outage.over(clientId);
    clearTimeout(this.#held);
    this.#held = this.#outage.active ? setTimeout(() => this.#outage.over(clientId), holdMs) : undefined;
  }

  #receive(topic: string, payload: Uint8Array, done: (error?: Error) => void): void {
    let taken: void | Promise<void> = undefined;
    try {
      taken = this.handlers.message(topic, payload);
    } catch (error) {
      this.#log.error("handling a message on {topic} failed: {error}", { topic, error });
    }
    if (!taken) return done();
    taken.catch((error) => this.#log.error("handling a message on {topic} failed: {error}", { topic, error })).then(
      () => done(),
    );
  }

  #ended(client: MqttClient): void {
    if (client !== this.#client) return;
    const wasUp = this.#up, livedMs = performance.now() - this.#upSince;
    if (wasUp && livedMs > this.#stableMs) this.#shortLives = 0;
    else if (wasUp && (!this.#fault || this.#fault.code === "taken")) this.#shortLives++;
    if (!this.#closed && !this.#fault && wasUp && this.#shortLives >= shortLivesMax) {
      this.#fail(this.#takenError(), "taken");
    }
    if (!this.#closed && !this.#fault) {
      const { host } = new URL(this.options.url);
      const message = `the broker ${host} closed the connection`;
      this.#fail(new SyncError("unavailable", message, { retryable: true }), "closed");
    }
    clearTimeout(this.#held);
    this.#client = undefined;
    this.#stream = undefined;
    // Nobody needs an `error` after this, but an unhandled one would end the process.
    client.removeAllListeners();
    client.on("error", () => {});
    // Sends nothing (the stream is closed); calls the callbacks that wait for a PUBACK with an error, and stops the
    // timers.
    client.end(true);
    this.#up = false;
    if (wasUp && livedMs > this.#stableMs) this.#failures = 0;
    const isSoon = !wasUp && this.#fault !== undefined && this.handlers.failed?.(this.#fault) === true;
    if (!this.#closed && !this.#isPaused) this.#retry(isSoon);
    if (wasUp) this.handlers.down(this.#fault?.message ?? "closed");
  }

  #retry(isSoon: boolean): void {
    const { retryMinMs = 250, retryMaxMs = 30_000 } = this.options;
    const refused = this.lastError?.code === "unauthorized" && !isSoon;
    if (isSoon) this.#failures = 0;
    const maxMs = refused ? Math.max(retryMaxMs, refusedRetryMs) : retryMaxMs;
    const waitMs = backoffMs(this.#failures++, this.#random, { firstMs: refused ? maxMs : retryMinMs, maxMs });
    this.#timer = setTimeout(() => this.#connect(), waitMs);
  }
}
