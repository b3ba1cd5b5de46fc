/**
 * Publishes over a worker's own MQTT connection (`worker_session.ts`).
 *
 * @module
 */
import { type CloudMqttOptions, randomId, workerSession } from "../worker_session.ts";
import {
  decodePresence,
  encode,
  type FromCloud,
  parseTopic,
  type Presence,
  ProtocolError,
  type Topics,
  topics,
} from "../../protocol.ts";
import { MqttSession } from "../../mqtt/session.ts";
import { SyncError } from "../../schema/errors.ts";
import { type Bus, type BusMessage, decodeBus, encodeBus } from "../feed/bus.ts";
import type { Publisher, PublishOptions, Target } from "./port.ts";
import { topicOf } from "./topic.ts";

/** Options of an {@link MqttPublisher}. */
export interface MqttPublisherOptions extends CloudMqttOptions {
  /** Bytes of one MQTT payload; default 128 KB. Larger messages travel in parts. */
  readonly payloadBytesMax?: number;
  /** Tells devices that they may compress: their messages reach a receiver as bytes, not as text. Default false. */
  readonly inflates?: boolean;
  /** Bytes that may wait for their PUBACK; default 8 MB. Further publishes wait. */
  readonly inFlightBytesMax?: number;
  /** How long a PUBACK may take, ms; default 30,000. */
  readonly timeoutMs?: number;
  /**
   * Called for every device's presence, regardless of shared subscriptions, for the fleet in memory. At each connect,
   * for all devices at once.
   */
  readonly presence?: (deviceId: string, presence: Presence) => void;
  /** Take part in the exchange among workers; see {@link MqttPublisher.bus}. Default false. */
  readonly joins?: boolean;
}

/** Publishes to devices and shared channels; resolves at the broker's PUBACK. */
export class MqttPublisher implements Publisher {
  /** Messages and bytes that were published, and publishes that failed. */
  readonly counters = { published: 0, publishedBytes: 0, failed: 0 };
  readonly #session: MqttSession;
  readonly #topics: Topics;
  readonly #up = Promise.withResolvers<void>();
  readonly #waiting: (() => void)[] = [];
  #inFlightBytes = 0;
  readonly #workerId: string;
  readonly #busListeners = new Set<(message: BusMessage) => void>();
  /**
   * The exchange among workers; only with `joins`.
   *
   * @internal
   */
  readonly bus: Bus = {
    publish: (message) => {
      this.#session.publish(this.#topics.feed, encodeBus(this.#workerId, message));
    },
    subscribe: (listener) => {
      this.#busListeners.add(listener);
      return () => this.#busListeners.delete(listener);
    },
  };

  /** Nothing is connected before {@link MqttPublisher.start}. */
  constructor(private readonly options: MqttPublisherOptions) {
    this.#topics = topics(options.prefix);
    this.#workerId = options.workerId ?? randomId();
    this.#session = new MqttSession(
      {
        ...workerSession,
        ...options,
        clientId: `${this.#workerId}/publish`,
        subscriptions: [
          ...(options.presence ? [this.#topics.every("presence")] : []),
          ...(options.joins ? [this.#topics.feed] : []),
        ],
        logName: "publisher",
      },
      { up: () => this.#up.resolve(), down: () => {}, message: (topic, payload) => this.#heard(topic, payload) },
    );
  }

  #heard(topic: string, payload: Uint8Array): void {
    if (topic !== this.#topics.feed) return this.#present(topic, payload);
    const message = decodeBus(this.#workerId, payload);
    if (message) { for (const listener of this.#busListeners) listener(message); }
  }

  #present(topic: string, payload: Uint8Array): void {
    const parsed = parseTopic(topic, this.options.prefix ?? "tt");
    // An erased device's is cleared by an empty one.
    if (!parsed || parsed.kind !== "presence" || payload.length === 0) return;
    try {
      this.options.presence?.(parsed.deviceId, decodePresence(payload));
    } catch (error) {
      // The receiver counts and logs malformed messages.
      if (!(error instanceof ProtocolError)) throw error;
    }
  }

  /** Whether it can publish now. */
  get connected(): boolean {
    return this.#session.up;
  }

  /** Why there is no connection; undefined while there is one. */
  get lastError(): SyncError | undefined {
    return this.#session.lastError;
  }

  /** Starts to connect; resolves when connected for the first time. */
  start(): Promise<void> {
    this.#session.start();
    return this.#up.promise;
  }

  /**
   * Publishes a message, in parts if it is large.
   *
   * @throws {SyncError} `unavailable`, retryable, where there is no connection or it ended before the PUBACK
   */
  async publish(to: Target, message: FromCloud, { deflate }: PublishOptions = {}): Promise<number> {
    const topic = topicOf(this.#topics, to);
    const { payloadBytesMax: maxBytes, inflates } = this.options;
    const payloads = encode(message, { maxBytes, inflates, deflate });
    const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0);
    await this.#room(bytes);
    this.#inFlightBytes += bytes;
    try {
      await Promise.all(payloads.map((payload) => this.#send(topic, payload)));
      this.counters.published++;
      this.counters.publishedBytes += bytes;
      return bytes;
    } catch (error) {
      this.counters.failed++;
      throw error;
    } finally {
      this.#inFlightBytes -= bytes;
      this.#waiting.shift()?.();
    }
  }

  /** See {@link Publisher.publishRaw}. */
  publishRaw(topic: string, payload: Uint8Array): Promise<void> {
    return this.#send(topic, payload);
  }

  /** See {@link Publisher.forget}. */
  async forget(deviceId: string): Promise<void> {
    await this.#send(this.#topics.presence(deviceId), new Uint8Array(), true);
  }

  /** Disconnects, after what is under way. */
  async close(): Promise<void> {
    await this.#session.close();
    for (const resume of this.#waiting.splice(0)) resume();
  }

  /** Resolves when the bytes fit. A message larger than the bound is sent alone. */
  async #room(bytes: number): Promise<void> {
    const max = this.options.inFlightBytesMax ?? 8 * 1024 * 1024;
    while (this.#inFlightBytes > 0 && this.#inFlightBytes + bytes > max && this.#session.up) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    // A woken publish that leaves room for more wakes the next.
    if (this.#inFlightBytes + bytes < max) this.#waiting.shift()?.();
  }

  #send(topic: string, payload: Uint8Array, retain = false): Promise<void> {
    return new Promise((resolve, reject) => {
      const timeoutMs = this.options.timeoutMs ?? 30_000;
      const timer = setTimeout(() => {
        reject(new SyncError("unavailable", `no PUBACK on ${topic} within ${timeoutMs} ms`, { retryable: true }));
      }, timeoutMs);
      const sent = this.#session.publish(topic, payload, (error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      }, { retain });
      if (sent) return;
      clearTimeout(timer);
      const { lastError: cause } = this.#session;
      reject(new SyncError("unavailable", `can't publish on ${topic}: not connected`, { retryable: true, cause }));
    });
  }
}
