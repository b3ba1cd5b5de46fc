/**
 * The agent's link to the cloud over MQTT: encodes and decodes, subscribes to this device's three topics, keeps its
 * presence. Delivery is at most once and nothing is queued: the uplink knows what is unacknowledged, and the downlink
 * notices every gap.
 *
 * @module
 */
import { Log } from "../protocol/log.ts";
import { Step } from "../protocol/step.ts";
import { Decoder, encode, encodeAt, encodePresence, ProtocolError, topics } from "../protocol.ts";
import type { DeviceReport, FromDevice } from "../protocol.ts";
import { type BrokerConnection, MqttSession, type SessionOptions } from "../mqtt/session.ts";
import { SyncError } from "../schema/errors.ts";
import { TokenFile } from "./credentials/token_file.ts";
import { KeyFiles, type KeyPaths } from "./credentials/key_files.ts";
import { Renewal } from "./credentials/renewal.ts";
import type { Identity } from "../schema/model.ts";
import type { Transport, TransportHandlers } from "./ports.ts";

/** Options of a {@link MqttLink}. The client id is the device's id; so is the user name, by default. */
export interface LinkOptions extends
  BrokerConnection,
  Pick<
    SessionOptions,
    "keepaliveSeconds" | "connectTimeoutMs" | "retryMinMs" | "retryMaxMs" | "stableMs" | "bufferBytesMax" | "random"
  > {
  readonly identity: Identity;
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Where a token stands that an order gives in place of `password`; absent: no order can. See `tokenPath`. */
  readonly tokenFile?: string;
  /** In the place of `cert` and `key`: files, whose certificate is renewed over the connection before it expires. */
  readonly certificateFiles?: KeyPaths;
  /** Bytes of one MQTT payload; default 128 KB. Larger messages travel in parts. */
  readonly payloadBytesMax?: number;
}

/** Bytes of a payload by default: AWS IoT Core's limit. */
const payloadBytesDefault = 128 * 1024;
/** Below this parts would be mostly headers. */
export const payloadBytesMin = 1024;
/**
 * Bytes of an MQTT packet in addition to its payload: the topic (ids have at most 128 bytes, plus the prefix) and
 * MQTT's own header.
 */
const packetOverheadBytes = 512;

const takenSentence = "connections to the broker end soon after they are made: another agent seems to use this id";

/** Whether a broker refused what was shown, in MQTT or in TLS. */
function isOfCredentials({ code, message }: SyncError): boolean {
  return code === "unauthorized" || /certificate/i.test(message);
}

/** Counters of a link since its creation. */
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
  /** Per connection: another worker may answer on the next one. */
  #decoder = new Decoder({ maxPending: 32, now: () => performance.now() });
  #handlers: TransportHandlers | undefined;
  readonly #renewal: Renewal | undefined;
  /** A new certificate was refused, and the one before it is tried. */
  #triesOlder = false;
  #describe: (() => DeviceReport) | undefined;
  readonly #tokens: TokenFile | undefined;
  /** A token was refused, and another one is tried. */
  #hasOther = false;
  #closed = false;

  /**
   * @throws {TypeError} for a URL that is not a broker's
   * @throws {RangeError} for a prefix that no topic can have
   * @throws {SyncError} `config` for a certificate and a key that don't fit together
   */
  constructor(private readonly options: LinkOptions) {
    const { identity: { deviceId, accountId } } = options;
    this.#topics = topics(options.prefix);
    const presence = this.#topics.presence(deviceId);
    const { tokenFile, password } = options;
    const tokens = tokenFile === undefined || password === undefined ? undefined : new TokenFile(tokenFile, password);
    this.#tokens = tokens;
    const files = options.certificateFiles && new KeyFiles(options.certificateFiles);
    this.#renewal = files && new Renewal({
      files,
      deviceId,
      send: (message) => this.send(message),
      reconnect: () => this.#session.reconnect(),
      random: options.random ?? Math.random,
    });
    this.#session = new MqttSession({
      ...options,
      ...(tokens ? { secret: () => tokens.current() } : {}),
      ...(files ? { certificate: () => files.current() } : {}),
      // A device without a client certificate authenticates with its id and token.
      username: options.username ?? (options.password === undefined ? undefined : deviceId),
      clientId: deviceId,
      subscriptions: [this.#topics.down(deviceId), this.#topics.account(accountId), this.#topics.all],
      will: { topic: presence, payload: encodePresence(false) },
      birth: { topic: presence, payload: () => encodePresence(true, this.#describe?.()) },
      logName: "link",
      // The broker grants the device's own topics but not its account's: the device now belongs to another account.
      refusal: (denied) =>
        denied.length === 1 && denied[0] === this.#topics.account(accountId)
          ? `the broker does not let the device "${deviceId}" into the account "${accountId}": it belongs to another one ` +
            "(was it moved? reset its database and start it with its account)"
          : undefined,
    }, {
      up: () => {
        this.#decoder = new Decoder({ maxPending: 32, now: () => performance.now() });
        this.counters.connects++;
        this.#hasOther = false;
        this.#tokens?.accepted();
        this.#renewal?.connected();
        this.#handlers?.connected();
      },
      down: (reason) => {
        this.#renewal?.disconnected();
        this.#handlers?.disconnected(reason);
      },
      failed: (error) => {
        this.#hasOther = error.code === "unauthorized" && this.#tokens?.refused() === true;
        this.#triesOlder = isOfCredentials(error) && this.#renewal?.refused() === true;
        return this.#hasOther || this.#triesOlder;
      },
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

  /**
   * The broker refused the credentials or a subscription, at the last attempt. The link tries again about every half
   * minute.
   */
  get refused(): boolean {
    const hasOther = this.#hasOther || this.#triesOlder || this.#renewal?.hasOlder === true;
    return this.#session.lastError?.code === "unauthorized" && !hasOther;
  }

  /** Why there is no connection, or why the broker disconnects this device again and again, for people. */
  get trouble(): Transport["trouble"] {
    const error = this.#session.lastError;
    if (this.#session.taken) {
      return { name: "duplicate", sentence: error?.code === "taken" ? error.message : takenSentence };
    }
    const expiring = this.#renewal?.trouble;
    if (!error || this.#session.up) return expiring ? { name: "credentials", sentence: expiring } : undefined;
    const isRefused = isOfCredentials(error) || this.#session.reason === "tls";
    return { name: isRefused ? "credentials" : "offline", sentence: error.message };
  }

  /** Takes a new token and connects by it; undefined: there is none to replace. */
  get rotation(): Transport["rotation"] {
    const tokens = this.#tokens;
    return tokens && {
      begin: (order, token) => {
        tokens.take(order, token);
        // Not within the call of who is told of the connection's end.
        setTimeout(() => this.#session.reconnect(), 0);
      },
      outcome: (order) => tokens.outcome(order),
    };
  }

  /** The link is closed and does not connect any more. */
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
      // Their answers carry items; other answers are too small to compress.
      inflates: message.type === "sync" || message.type === "fetch",
    };
    for (const payload of encode(message, options)) {
      const done = (error?: SyncError) => error && this.#refused(message.type === "up" ? "up" : "sync", error);
      if (!this.#session.publish(topic, payload, done)) return false;
      this.counters.sentBytes += payload.length;
    }
    this.counters.sent++;
    this.#log.debug("sent {step}", { step: new Step(message) });
    return true;
  }

  /** The smaller of the configured limit and the broker's (MQTT 5), minus the topic's and the header's bytes. */
  get #payloadBytesMax(): number | undefined {
    const { payloadBytesMax } = this.options, packetBytesMax = this.#session.packetBytesMax;
    if (packetBytesMax === undefined) return payloadBytesMax;
    const taken = Math.max(payloadBytesMin, packetBytesMax - packetOverheadBytes);
    return Math.min(payloadBytesMax ?? payloadBytesDefault, taken);
  }

  #refused(topic: "up" | "sync", error: SyncError): void {
    // Without a code, the connection ended before the answer, which proves nothing.
    if (error.code === "refused") this.#handlers?.refused?.(topic, error.message);
  }

  report(report: DeviceReport): boolean {
    const topic = this.#topics.presence(this.options.identity.deviceId);
    return this.#session.publish(topic, encodePresence(true, report), undefined, { retain: true });
  }

  tell(at: Readonly<Record<string, number>>): boolean {
    // Not retained: the presence that brokers retain is the report.
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
    this.#renewal?.disconnected();
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
    if ("time" in message) this.#renewal?.heard(message.time);
    if (
      (message.type === "order" || message.type === "renewed") &&
      topic !== this.#topics.down(this.options.identity.deviceId)
    ) {
      // Only workers can publish on a device's own topic.
      this.counters.malformed++;
      return this.#log.warn("dropped a message {type} on {topic}, which is not this device's own", {
        type: message.type,
        topic,
      });
    }
    this.counters.received++;
    this.#log.debug("received {step}", { step: new Step(message) });
    if (message.type === "renewed") return this.#renewal?.answered(message);
    this.#handlers?.message(message);
  }
}
