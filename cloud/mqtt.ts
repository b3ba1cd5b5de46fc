/**
 * The cloud's two MQTT connections: one publishes, one receives. They are apart for a reason: the receiver stops reading
 * while the service is full, and the PUBACKs that the service waits for must not stand behind what is not read.
 *
 * @module
 */
import { Log } from "../protocol/log.ts";
import {
  decodePresence,
  Decoder,
  type DeviceTopicKind,
  encode,
  type FromCloud,
  type FromDevice,
  parseRelay,
  parseTopic,
  partHeader,
  type Presence,
  ProtocolError,
  type Topics,
  topics,
} from "../protocol.ts";
import { type BrokerConnection, MqttSession } from "../mqtt/session.ts";
import { SyncError } from "../schema/errors.ts";
import { askLimits, batchLimits } from "../protocol/message_limits.ts";
import { type Bus, type BusMessage, decodeBus, encodeBus } from "./feed/bus.ts";
import { type DecodeBudgets, DecodeLane } from "./decode_lane.ts";
import { OwnedParts } from "./owned_parts.ts";
import type { Publisher, PublishOptions, Target } from "./publishers/port.ts";
import { topicOf } from "./publishers/topic.ts";

/** Options of both connections. */
export interface CloudMqttOptions extends BrokerConnection {
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Names this worker: its client ids are `<name>/publish` and `<name>/receive`. Default: random, as it must be unique. */
  readonly workerId?: string;
  /** Uniform in [0, 1); default `Math.random`. */
  readonly random?: () => number;
}

function randomId(): string {
  return crypto.randomUUID().slice(0, 13);
}

/**
 * How workers keep their connections. A frozen one (a stopped process, a lost machine) is dealt its share of what devices
 * send until the broker gives it up, after one and a half of the keep-alive; and while none is back, nobody is answered.
 */
const workerSession = { keepaliveSeconds: 10, retryMaxMs: 2_000 } as const;

/** Options of an {@link MqttPublisher}. */
export interface MqttPublisherOptions extends CloudMqttOptions {
  /** Bytes of one MQTT payload; default 128 KB. Larger messages travel in parts. */
  readonly payloadBytesMax?: number;
  /** Tells devices that they may compress: what they send comes to a receiver as bytes, not as text. Default false. */
  readonly inflates?: boolean;
  /** Bytes that may wait for their PUBACK; default 8 MB. Further publishes wait. */
  readonly inFlightBytesMax?: number;
  /** How long a PUBACK may take, ms; default 30,000. */
  readonly timeoutMs?: number;
  /** Told of every device's presence, whatever workers share: for what is kept in memory. At each connect, of all at once. */
  readonly presence?: (deviceId: string, presence: Presence) => void;
  /** Take part in what workers tell each other; see {@link MqttPublisher.bus}. Default false. */
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
   * What workers tell each other; with `joins`.
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
    if (!parsed || parsed.kind !== "presence") return;
    try {
      this.options.presence?.(parsed.deviceId, decodePresence(payload));
    } catch (error) {
      // The receiver counts and tells what is malformed.
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

  /** Begins to connect; resolves when connected for the first time. */
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

  /** Disconnects, after what is under way. */
  async close(): Promise<void> {
    await this.#session.close();
    for (const resume of this.#waiting.splice(0)) resume();
  }

  /** Resolves when the bytes fit. One message larger than the bound goes alone. */
  async #room(bytes: number): Promise<void> {
    const max = this.options.inFlightBytesMax ?? 8 * 1024 * 1024;
    while (this.#inFlightBytes > 0 && this.#inFlightBytes + bytes > max && this.#session.up) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    // Whoever was woken and leaves room for more wakes the next.
    if (this.#inFlightBytes + bytes < max) this.#waiting.shift()?.();
  }

  #send(topic: string, payload: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const timeoutMs = this.options.timeoutMs ?? 30_000;
      const timer = setTimeout(() => {
        reject(new SyncError("unavailable", `no PUBACK on ${topic} within ${timeoutMs} ms`, { retryable: true }));
      }, timeoutMs);
      const sent = this.#session.publish(topic, payload, (error) => {
        clearTimeout(timer);
        if (error) reject(error);
        else resolve();
      });
      if (sent) return;
      clearTimeout(timer);
      reject(new SyncError("unavailable", `can't publish on ${topic}: not connected`, { retryable: true }));
    });
  }
}

/** Options of an {@link MqttReceiver}. */
export interface MqttReceiverOptions extends CloudMqttOptions {
  /** Takes a message over: the `deviceId` comes from the topic, which the broker's access rules guard. */
  readonly receive: (deviceId: string, message: FromDevice, bytes: number) => Promise<void>;
  /** Told of a batch that can't be read, so that it is answered. Its promise is as that of `receive`. */
  readonly refuse?: (deviceId: string, batch: string, reason: string) => Promise<void>;
  /** Told when a device comes or goes, and what it says of itself. */
  readonly presence?: (deviceId: string, presence: Presence) => void | Promise<void>;
  /** Called whenever it has subscribed, for the first time and again: what was sent before may be lost. */
  readonly subscribed?: () => void;
  /** The account of a device, where that is known without asking: devices of one share a budget. */
  readonly accountOf?: (deviceId: string) => string | undefined;
  /** What reading a device's messages may cost; default `defaultBudgets`. */
  readonly budgets?: DecodeBudgets;
  /** Workers with the same group share the messages, where the broker can; absent: this worker takes all. */
  readonly shareGroup?: string;
  /**
   * Messages that the service has at a time; default 40,000, as many as its queues hold: it can't be fair to what waits at
   * the broker, where one device's messages stand before all others'.
   */
  readonly concurrency?: number;
  /**
   * Bytes of the messages that the service has at a time; default 24 MB: what its queues hold, and more. A message in memory, with the item and the request
   * that it becomes, is several times as large. One larger message is taken alone.
   */
  readonly bytesMax?: number;
  /** How long a shared subscription may take to deliver the self-test, ms; default 2000. */
  readonly selfTestMs?: number;
}

/**
 * Receives what devices send and hands it to the service, so many at a time. A shared subscription is only used where a
 * self-test has shown that it delivers: aedes grants one and delivers nothing.
 *
 * The broker deals the parts of a message out to the group like any messages, one here, one there. A worker passes each
 * part on to all; all put them together, and the one that was dealt the first part (index 0) takes the message over.
 */
export class MqttReceiver {
  /** What has happened since the start. */
  readonly counters = { received: 0, receivedBytes: 0, malformed: 0, failed: 0 };
  /** Whether a shared subscription is in use. */
  shared = false;
  readonly #log = new Log("receiver");
  readonly #prefix: string;
  readonly #topics: Topics;
  readonly #workerId: string;
  /** Many at a time: the parts that a share deals out arrive well mixed. */
  readonly #decoder = new Decoder({ maxPending: 64, now: () => performance.now() });
  readonly #owned = new OwnedParts(() => performance.now());
  readonly #lane: DecodeLane;
  readonly #running = new Set<Promise<void>>();
  #runningBytes = 0;
  readonly #slots: (() => void)[] = [];
  /** The connection, and before it the self-test's. */
  #session: MqttSession | undefined;
  #closed = false;

  /** Nothing is connected before {@link MqttReceiver.start}. */
  constructor(private readonly options: MqttReceiverOptions) {
    this.#prefix = options.prefix ?? "tt";
    this.#topics = topics(options.prefix);
    this.#workerId = options.workerId ?? randomId();
    this.#lane = new DecodeLane(options.accountOf, options.budgets);
  }

  /** Messages that waited for their device's budget, and those that found no room to. */
  get laneCounters(): Readonly<Record<"delayed" | "dropped", number>> {
    return this.#lane.counters;
  }

  /** Whether it receives now. */
  get connected(): boolean {
    return this.#session?.up ?? false;
  }

  /** Why there is no connection; undefined while there is one. */
  get lastError(): SyncError | undefined {
    return this.#session?.lastError;
  }

  /** Messages that the service has now. */
  get running(): number {
    return this.#running.size;
  }

  /** Connects and subscribes; resolves when messages are received. Waits for a broker that can't be reached yet. */
  async start(): Promise<void> {
    const { shareGroup } = this.options;
    this.shared = shareGroup !== undefined && await this.#sharesDeliver();
    if (shareGroup !== undefined && !this.shared) {
      this.#log.info("the broker's shared subscriptions deliver nothing: this worker takes every message");
    }
    const filters = (["up", "sync", "presence"] as const).map((kind) => this.#topics.every(kind));
    const up = Promise.withResolvers<void>();
    this.#session = new MqttSession({
      ...workerSession,
      ...this.options,
      clientId: `${this.#workerId}/receive`,
      subscriptions: this.shared
        ? [...filters.map((filter) => `$share/${shareGroup}/${filter}`), this.#topics.everyRelay]
        : filters,
      logName: "receiver",
    }, {
      up: () => this.#subscribed(up.resolve),
      down: () => {},
      message: (topic, payload) => this.#message(topic, payload),
    });
    this.#session.start();
    await up.promise;
  }

  #subscribed(resolve: () => void): void {
    resolve();
    this.options.subscribed?.();
  }

  /** Stops receiving, and waits up to `waitMs` (default 5000) for what the service still has. */
  async close(waitMs = 5_000): Promise<void> {
    this.#closed = true;
    this.#lane.close();
    await this.#session?.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, waitMs));
    await Promise.race([Promise.all([...this.#running]), late]);
    clearTimeout(timer);
  }

  /** Subscribes to an own topic by a share of its own and publishes there: delivered, or not. */
  async #sharesDeliver(): Promise<boolean> {
    const topic = this.#topics.selfTest(this.#workerId);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const session: MqttSession = new MqttSession({
      ...this.options,
      clientId: `${this.#workerId}/test`,
      subscriptions: [`$share/${this.#workerId}/${topic}`],
      logName: "receiver",
    }, {
      up: () => {
        session.publish(topic, new TextEncoder().encode("test"));
        timer = setTimeout(() => resolve(false), this.options.selfTestMs ?? 2_000);
      },
      down: () => clearTimeout(timer),
      message: () => resolve(true),
    });
    this.#session = session;
    session.start();
    const delivers = await promise;
    clearTimeout(timer);
    await session.close();
    return delivers;
  }

  #message(topic: string, payload: Uint8Array): void | Promise<void> {
    this.counters.receivedBytes += payload.length;
    const relayed = parseRelay(topic, this.#prefix);
    const parsed = relayed ?? parseTopic(topic, this.#prefix);
    if (!parsed || parsed.kind === "account" || parsed.kind === "all" || parsed.kind === "down") return;
    const { deviceId, kind } = parsed;
    let done: void | Promise<void> = undefined;
    this.#lane.take(deviceId, payload, (payload) => {
      const { malformed } = this.counters;
      done = this.#read(deviceId, kind, payload, relayed !== undefined);
      const bytes = Math.max(payload.length, this.#decoder.messageBytes);
      return { bytes, malformed: this.counters.malformed > malformed };
    });
    return done;
  }

  /** Reads a message and hands it over. Never throws for what a device sent. */
  #read(deviceId: string, kind: DeviceTopicKind, payload: Uint8Array, isRelayed: boolean): void | Promise<void> {
    try {
      if (kind === "presence") return this.#take(0, () => this.options.presence?.(deviceId, decodePresence(payload)));
      const message = this.#decode(deviceId, kind, payload, isRelayed);
      if (!message) return;
      this.counters.received++;
      const bytes = this.#decoder.messageBytes;
      return this.#take(bytes, () => this.options.receive(deviceId, message, bytes));
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.counters.malformed++;
      const batch = error instanceof ProtocolError && kind === "up" ? error.batch : undefined;
      const { refuse } = this.options;
      if (refuse && batch !== undefined) {
        return this.#take(payload.length, () => refuse(deviceId, batch, error.message));
      }
      this.#log.warn("dropped a message of {deviceId}: {reason}", { deviceId, reason: error.message });
    }
  }

  #decode(deviceId: string, kind: DeviceTopicKind, payload: Uint8Array, relayed: boolean): FromDevice | undefined {
    const part = this.shared ? partHeader(payload) : undefined;
    const limits = kind === "up" ? batchLimits : askLimits;
    if (!part) return this.#decoder.accept(payload, "up", deviceId, limits);
    if (!relayed) {
      if (part.index === 0) this.#owned.add(deviceId, part.id);
      // Unsent (the connection has just gone): the device sends the whole message again.
      this.#session?.publish(this.#topics.relay(deviceId, kind), payload);
      return undefined;
    }
    const message = this.#decoder.accept(payload, "up", deviceId, limits);
    return message && this.#owned.take(deviceId, part.id) ? message : undefined;
  }

  /** Starts a task. Undefined while there is room for more; else a promise that ends when there is. */
  #take(bytes: number, task: () => void | Promise<void>): void | Promise<void> {
    this.#runningBytes += bytes;
    const run = Promise.resolve(task()).catch((error) => {
      this.counters.failed++;
      this.#log.error("handling a message failed: {error}", { error });
    }).finally(() => {
      this.#running.delete(run);
      this.#runningBytes -= bytes;
      if (this.#hasRoom) this.#slots.shift()?.();
    });
    this.#running.add(run);
    if (this.#hasRoom) return;
    return new Promise((resolve) => this.#slots.push(resolve));
  }

  get #hasRoom(): boolean {
    const { concurrency = 40_000, bytesMax = 24 * 1024 * 1024 } = this.options;
    return this.#running.size < concurrency && this.#runningBytes < bytesMax;
  }
}
