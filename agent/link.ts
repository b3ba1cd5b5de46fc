/**
 * The agent's link to the cloud over MQTT: encodes and decodes, subscribes to this device's three topics, keeps its
 * presence. Delivery is at most once and nothing is queued: the uplink knows what is unacknowledged, and the downlink
 * notices every gap.
 *
 * @module
 */
import { Log } from "../protocol/log.ts";
import { Decoder, encode, encodeAt, encodePresence, ProtocolError, topics } from "../protocol.ts";
import type { DeviceReport, FromDevice } from "../protocol.ts";
import { type BrokerConnection, MqttSession, type SessionOptions } from "../mqtt/session.ts";
import { SyncError } from "../schema/errors.ts";
import type { Identity } from "../schema/model.ts";
import type { Transport, TransportHandlers } from "./ports.ts";

/** Options of a {@link MqttLink}. The client id is the device's id; the user name is by default. */
export interface LinkOptions extends
  BrokerConnection,
  Pick<
    SessionOptions,
    "keepaliveSeconds" | "connectTimeoutMs" | "retryMinMs" | "retryMaxMs" | "bufferBytesMax" | "random"
  > {
  readonly identity: Identity;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Bytes of one MQTT payload; default 128 KB. Larger messages travel in parts. */
  readonly payloadBytesMax?: number;
}

/** Bytes of a payload by default: AWS IoT Core's limit. */
const payloadBytesDefault = 128 * 1024;
/** Below this parts would be mostly headers. */
export const payloadBytesMin = 1024;
/** Of an MQTT packet beside its payload: the topic (ids have 128 bytes at most, a prefix some) and what MQTT itself takes. */
const packetOverheadBytes = 512;

const takenSentence = "connections to the broker end soon after they are made: another agent seems to use this id";

/** What a link counted since it was made. */
export interface LinkCounters {
  connects: number;
  sent: number;
  sentBytes: number;
  received: number;
  receivedBytes: number;
  /** Payloads that were malformed, and dropped. */
  malformed: number;
}

/** A transport over MQTT. See the module's text for what it guarantees. */
export class MqttLink implements Transport {
  readonly counters: LinkCounters = { connects: 0, sent: 0, sentBytes: 0, received: 0, receivedBytes: 0, malformed: 0 };
  readonly #log = new Log("link");
  readonly #topics: ReturnType<typeof topics>;
  readonly #session: MqttSession;
  /** Of the connection: another worker may answer on the next one. */
  #decoder = new Decoder({ maxPending: 32, now: () => performance.now() });
  #handlers: TransportHandlers | undefined;
  #describe: (() => DeviceReport) | undefined;
  #closed = false;

  /**
   * @throws {TypeError} for a URL that is not a broker's
   * @throws {RangeError} for a prefix that no topic can have
   */
  constructor(private readonly options: LinkOptions) {
    const { identity: { deviceId, accountId } } = options;
    this.#topics = topics(options.prefix);
    const presence = this.#topics.presence(deviceId);
    this.#session = new MqttSession({
      ...options,
      // A device without a client certificate is known by its id and token.
      username: options.username ?? (options.password === undefined ? undefined : deviceId),
      clientId: deviceId,
      subscriptions: [this.#topics.down(deviceId), this.#topics.account(accountId), this.#topics.all],
      will: { topic: presence, payload: encodePresence(false) },
      birth: { topic: presence, payload: () => encodePresence(true, this.#describe?.()) },
      logName: "link",
      // The device's own topics are granted, its account's is not: it is another account's device by now.
      refusal: (denied) =>
        denied.length === 1 && denied[0] === this.#topics.account(accountId)
          ? `the broker does not let the device "${deviceId}" into the account "${accountId}": it belongs to another one ` +
            "(was it moved? reset its database and start it with its account)"
          : undefined,
    }, {
      up: () => {
        this.#decoder = new Decoder({ maxPending: 32, now: () => performance.now() });
        this.counters.connects++;
        this.#handlers?.connected();
      },
      down: (reason) => this.#handlers?.disconnected(reason),
      message: (topic, payload) => this.#receive(topic, payload),
    });
  }

  get connected(): boolean {
    return this.#session.up;
  }

  /** Why there is no connection, in a sentence; undefined while there is one. */
  get lastError(): string | undefined {
    return this.#session.lastError?.message;
  }

  /** The broker refused the credentials or a subscription, at the last attempt. It is tried again every half minute or so. */
  get refused(): boolean {
    return this.#session.lastError?.code === "unauthorized";
  }

  /** What keeps this device out, or throws it out again and again, for people. */
  get trouble(): Transport["trouble"] {
    const error = this.#session.lastError;
    if (this.#session.taken) {
      return { name: "duplicate", sentence: error?.code === "taken" ? error.message : takenSentence };
    }
    if (!error || this.#session.up) return undefined;
    const isRefused = error.code === "unauthorized" || /certificate/i.test(error.message);
    return isRefused ? { name: "credentials", sentence: error.message } : undefined;
  }

  /** It was closed, and connects no more. */
  get closed(): boolean {
    return this.#closed;
  }

  start(handlers: TransportHandlers): void {
    this.#handlers = handlers;
    this.#describe = handlers.describe;
    this.#session.start();
  }

  send(message: FromDevice): boolean {
    if (!this.#session.up) return false;
    const { deviceId } = this.options.identity;
    const topic = message.type === "up" ? this.#topics.up(deviceId) : this.#topics.sync(deviceId);
    const options = {
      maxBytes: this.#payloadBytesMax,
      deflate: this.#decoder.senderInflates,
      // Their answers carry items; others are too small to be worth a word.
      inflates: message.type === "sync" || message.type === "fetch",
    };
    for (const payload of encode(message, options)) {
      const done = (error?: SyncError) => error && this.#refused(message.type === "up" ? "up" : "sync", error);
      if (!this.#session.publish(topic, payload, done)) return false;
      this.counters.sentBytes += payload.length;
    }
    this.counters.sent++;
    return true;
  }

  /** What this link was told to keep to, and what the broker says that it takes (MQTT 5): a topic's bytes less, and a header's. */
  get #payloadBytesMax(): number | undefined {
    const { payloadBytesMax } = this.options, packetBytesMax = this.#session.packetBytesMax;
    if (packetBytesMax === undefined) return payloadBytesMax;
    const taken = Math.max(payloadBytesMin, packetBytesMax - packetOverheadBytes);
    return Math.min(payloadBytesMax ?? payloadBytesDefault, taken);
  }

  #refused(topic: "up" | "sync", error: SyncError): void {
    // Without a code the connection ended before the answer, which says nothing.
    if (error.code === "refused") this.#handlers?.refused?.(topic, error.message);
  }

  report(report: DeviceReport): boolean {
    const topic = this.#topics.presence(this.options.identity.deviceId);
    return this.#session.publish(topic, encodePresence(true, report), undefined, { retain: true });
  }

  tell(at: Readonly<Record<string, number>>): boolean {
    // Not retained: the presence that brokers keep is the report.
    return this.#session.publish(this.#topics.presence(this.options.identity.deviceId), encodeAt(at));
  }

  pause(): void {
    this.#session.pause();
  }

  resume(): void {
    this.#session.start();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#session.close({
      topic: this.#topics.presence(this.options.identity.deviceId),
      payload: encodePresence(false),
    });
  }

  #receive(topic: string, payload: Uint8Array): void {
    this.counters.receivedBytes += payload.length;
    let message;
    try {
      message = this.#decoder.accept(payload, "down");
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.counters.malformed++;
      this.#log.warn("dropped a message from the cloud: {reason}", { reason: error.message });
      this.#handlers?.unreadable?.(error.message, error instanceof ProtocolError ? error.answers : undefined);
      return;
    }
    if (!message) return;
    if (message.type === "order" && topic !== this.#topics.down(this.options.identity.deviceId)) {
      // Only workers can publish on a device's own topic.
      this.counters.malformed++;
      return this.#log.warn("dropped an order on {topic}, which is not this device's own", { topic });
    }
    this.counters.received++;
    this.#handlers?.message(message);
  }
}
