/**
 * Receives devices' messages over a worker's own MQTT connection (`worker_session.ts`).
 *
 * @module
 */
import { type CloudMqttOptions, randomId, workerSession } from "./worker_session.ts";
import { within } from "../protocol/within.ts";
import { Log } from "../protocol/log.ts";
import {
  decodePresence,
  Decoder,
  type DeviceTopicKind,
  type FromDevice,
  parseRelay,
  parseTopic,
  partHeader,
  type Presence,
  ProtocolError,
  type Topics,
  topics,
} from "../protocol.ts";
import { MqttSession } from "../mqtt/session.ts";
import { SyncError } from "../schema/errors.ts";
import { askLimits, batchLimits, type MessageLimits } from "../protocol/message_limits.ts";
import { type DecodeBudgets, DecodeLane } from "./decode_lane.ts";
import { OwnedParts } from "./owned_parts.ts";
import type { Arrival } from "./sync/registry.ts";

/** Options of an {@link MqttReceiver}. */
export interface MqttReceiverOptions extends CloudMqttOptions {
  /** Handles a message: the `deviceId` comes from the topic, which the broker's access rules guard. */
  readonly receive: (deviceId: string, message: FromDevice, bytes: number, arrival: Arrival) => Promise<void>;
  /** What is known of a device as its message arrives, which may wait here before it is read. */
  readonly arrival: (deviceId: string) => Arrival;
  /** Called for an unreadable batch, so that it is answered. Its promise is like that of `receive`. */
  readonly refuse?: (deviceId: string, batch: string, reason: string) => Promise<void>;
  /** Called when a device connects or disconnects, and with its reports. */
  readonly presence?: (deviceId: string, presence: Presence, arrival: Arrival) => void | Promise<void>;
  /** Called whenever it has subscribed, for the first time and again: earlier messages may be lost. */
  readonly subscribed?: () => void;
  /** The account of a device, if known without a read: devices of one account share a budget. */
  readonly accountOf?: (deviceId: string) => string | undefined;
  /** What decoding a device's messages may cost; default `defaultBudgets`. */
  readonly budgets?: DecodeBudgets;
  /** Called for each message for which its own device left no room; see {@link DecodeLane}. */
  readonly overflowed?: (deviceId: string) => void;
  /** Workers with the same group share the messages, if the broker can; absent: this worker gets all. */
  readonly shareGroup?: string;
  /**
   * Messages that the service holds at a time; default 40,000, as many as its queues hold: it cannot be fair to
   * messages that wait at the broker, where one device's messages may come before all others.
   */
  readonly concurrency?: number;
  /**
   * Bytes of the messages that the service holds at a time; default 24 MB: what its queues hold, and more. A message in
   * memory, with the item and the request that it becomes, is several times as large. A larger message is accepted
   * alone.
   */
  readonly bytesMax?: number;
  /** How long a shared subscription may take to deliver the self-test, ms; default 2000. */
  readonly selfTestMs?: number;
}

/**
 * Receives devices' messages and passes them to the service, a bounded number at a time. It uses a shared subscription
 * only after a self-test has shown that it delivers: aedes grants one and delivers nothing.
 *
 * The broker distributes the parts of a message to the group like any messages. A worker forwards each part to all
 * workers; all reassemble the message, and the worker that got the first part (index 0) handles it.
 */
export class MqttReceiver {
  /**
   * What has happened since the start. Every payload that is read is received, malformed or a part; a part that
   * is forwarded to all workers counts where its copy is read.
   */
  readonly counters = { received: 0, receivedBytes: 0, malformed: 0, parts: 0, failed: 0 };
  /** Whether a shared subscription is in use. */
  shared = false;
  readonly #log = new Log("receiver");
  readonly #prefix: string;
  readonly #topics: Topics;
  readonly #workerId: string;
  /** Many at a time, because the parts from a shared subscription arrive mixed. */
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
    this.#lane = new DecodeLane(options.accountOf, options.budgets, undefined, options.overflowed);
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

  /** Stops receiving, and waits up to `waitMs` (default 5000) for messages that the service still holds. */
  async close(waitMs = 5_000): Promise<void> {
    this.#closed = true;
    this.#lane.close();
    await this.#session?.close();
    await within(waitMs, Promise.all([...this.#running]));
  }

  /** Subscribes to its own topic by its own share and publishes there, to see whether the message arrives. */
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
    if (kind === "presence" && payload.length === 0) return;
    const sender = { deviceId, arrival: this.options.arrival(deviceId) };
    let done: void | Promise<void> = undefined;
    this.#lane.take(deviceId, payload, (payload) => {
      const { malformed } = this.counters;
      done = this.#read(sender, kind, payload, relayed !== undefined);
      const bytes = Math.max(payload.length, this.#decoder.messageBytes);
      return { bytes, malformed: this.counters.malformed > malformed };
    });
    return done;
  }

  /** Decodes a message and passes it on. Never throws because of a device's message. */
  #read(
    { deviceId, arrival }: { readonly deviceId: string; readonly arrival: Arrival },
    kind: DeviceTopicKind,
    payload: Uint8Array,
    isRelayed: boolean,
  ): void | Promise<void> {
    try {
      if (kind === "presence") {
        return this.#take(0, () => this.options.presence?.(deviceId, decodePresence(payload), arrival));
      }
      const message = this.#decode(deviceId, kind, payload, isRelayed);
      if (!message) return;
      this.counters.received++;
      const bytes = this.#decoder.messageBytes;
      return this.#take(bytes, () => this.options.receive(deviceId, message, bytes, arrival));
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
    if (!part) return this.#accept(deviceId, payload, limits);
    if (!relayed) {
      if (part.index === 0) this.#owned.add(deviceId, part.id);
      // Not sent (the connection has just ended): the device sends the whole message again.
      this.#session?.publish(this.#topics.relay(deviceId, kind), payload);
      return undefined;
    }
    const message = this.#accept(deviceId, payload, limits);
    return message && this.#owned.take(deviceId, part.id) ? message : undefined;
  }

  #accept(deviceId: string, payload: Uint8Array, limits: MessageLimits): FromDevice | undefined {
    const message = this.#decoder.accept(payload, "up", deviceId, limits);
    if (!message) this.counters.parts++;
    return message;
  }

  /** Starts a task. Undefined while there is room for more; otherwise a promise that resolves when there is. */
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
