/**
 * Publishing over a broker's HTTP API: one request for each payload, a bounded number at once, each with a time limit.
 * Subclasses build the request; this class sends it and distinguishes transient from permanent faults.
 *
 * Delivery is at least once, as with MQTT: a request whose answer is lost may have succeeded, and its caller sends it
 * again.
 *
 * @module
 */
import { encode, type FromCloud, type Topics, topics } from "../../protocol.ts";
import { Log } from "../../protocol/log.ts";
import { Outage } from "../../protocol/outage.ts";
import { SyncError } from "../../schema/errors.ts";
import { Semaphore } from "../sync/bounded.ts";
import type { Publisher, PublishOptions, Target } from "./port.ts";
import { topicOf } from "./topic.ts";

/** Options of every HTTP publisher. */
export interface HttpPublisherOptions {
  /** Topic prefix; default `tt`. */
  readonly prefix?: string;
  /** Bytes of one payload; default 128 KB, AWS IoT Core's limit. Larger messages travel in parts. */
  readonly payloadBytesMax?: number;
  /** Requests under way at once; default 32. The rest wait in `publish`. */
  readonly concurrency?: number;
  /** How long one request may take, ms; default 10,000. */
  readonly timeoutMs?: number;
  /** Default the runtime's. */
  readonly fetch?: typeof fetch;
}

/** A request of one payload on one topic. */
export interface PublishRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

const log = new Log("publisher");

/** A broker's answer is quoted up to this length. */
const quotedMax = 200;

/** A publisher over HTTP. */
export abstract class HttpPublisher implements Publisher {
  /** Messages and bytes that were published, and publishes that failed. */
  readonly counters = { published: 0, publishedBytes: 0, failed: 0 };
  readonly #topics: Topics;
  readonly #options: HttpPublisherOptions;
  readonly #room: Semaphore;
  readonly #closing = new AbortController();
  #outage: Outage | undefined;

  /** @throws {RangeError} for a prefix that no topic can have */
  constructor(options: HttpPublisherOptions = {}) {
    this.#options = options;
    this.#topics = topics(options.prefix);
    this.#room = new Semaphore(options.concurrency ?? 32);
  }

  /** The broker's name in messages. */
  protected abstract readonly broker: string;

  /** The request that publishes a payload with QoS 1, retained or not. */
  protected abstract request(
    topic: string,
    payload: Uint8Array,
    retain: boolean,
  ): PublishRequest | Promise<PublishRequest>;

  /**
   * Whether a body that came with a status of success has the form of this broker's answer: a proxy or a sign-in page on
   * the way answers 200 as well, and has published nothing.
   */
  protected abstract isOwnAnswer(body: string): boolean;

  /**
   * Publishes a message, in parts if it is large; resolves when the broker has accepted all of it.
   *
   * @throws {SyncError} `unavailable` (retryable): no answer, throttled, or a fault of the broker. `denied`:
   * credentials. `refused`: the request.
   */
  async publish(to: Target, message: FromCloud, { deflate }: PublishOptions = {}): Promise<void> {
    const topic = topicOf(this.#topics, to);
    const payloads = encode(message, { maxBytes: this.#options.payloadBytesMax, deflate });
    try {
      await Promise.all(payloads.map((payload) => this.#room.run(() => this.#send(topic, payload))));
      this.#outage?.over();
      this.counters.published++;
      for (const { length } of payloads) this.counters.publishedBytes += length;
    } catch (error) {
      this.counters.failed++;
      if (error instanceof SyncError && error.code !== "refused" && !this.#closing.signal.aborted) {
        this.#outage ??= new Outage(log, this.broker);
        this.#outage.failed(error);
      }
      throw error;
    }
  }

  /** See {@link Publisher.publishRaw}. */
  publishRaw(topic: string, payload: Uint8Array): Promise<void> {
    return this.#room.run(() => this.#send(topic, payload));
  }

  /** See {@link Publisher.forget}: a retained message without a payload is what MQTT forgets one by. */
  async forget(deviceId: string): Promise<void> {
    await this.#room.run(() => this.#send(this.#topics.presence(deviceId), new Uint8Array(), true));
  }

  /** Aborts open requests; later publishes fail. */
  close(): Promise<void> {
    this.#closing.abort();
    return Promise.resolve();
  }

  async #send(topic: string, payload: Uint8Array, retain = false): Promise<void> {
    const { url, headers, body } = await this.request(topic, payload, retain);
    const controller = new AbortController();
    const abort = () => controller.abort();
    const timer = setTimeout(abort, this.#options.timeoutMs ?? 10_000);
    this.#closing.signal.addEventListener("abort", abort, { once: true });
    if (this.#closing.signal.aborted) abort();
    let status: number, said: string;
    try {
      const response = await (this.#options.fetch ?? fetch)(url, {
        method: "POST",
        headers: { ...headers },
        body: body as Uint8Array<ArrayBuffer>,
        signal: controller.signal,
        redirect: "manual",
      });
      status = response.status;
      said = await response.text();
    } catch (cause) {
      throw new SyncError("unavailable", `${this.broker} can't be reached for ${topic}: ${(cause as Error).message}`, {
        retryable: true,
        cause,
      });
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener("abort", abort);
    }
    const isSuccess = status >= 200 && status < 300;
    if (isSuccess && this.isOwnAnswer(said)) return;
    const quoted = said.slice(0, quotedMax);
    throw isSuccess ? strange(this.broker, topic, status, quoted) : refusal(this.broker, topic, status, quoted);
  }
}

/** JSON that a broker answered; undefined: it is none. */
export function answeredObject(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch {
    return undefined;
  }
}

/** Retryable: such pages stand there for a while, and the message has to be published afterwards. */
function strange(broker: string, topic: string, status: number, said: string): SyncError {
  const message = `what answered ${status} for ${topic} is not ${broker}: ${said.replace(/\s+/g, " ") || "(no text)"}`;
  return new SyncError("unavailable", message, {
    retryable: true,
    hint: "check the publisher's URL, and what proxy stands before the broker",
  });
}

function refusal(broker: string, topic: string, status: number, said: string): SyncError {
  const message = `${broker} answered ${status} for ${topic}${said ? `: ${said.replace(/\s+/g, " ")}` : ""}`;
  if (status === 401 || status === 403) {
    return new SyncError("denied", message, { hint: "check the publisher's credentials, and what they may do" });
  }
  const passes = status === 408 || status === 429 || status >= 500;
  return passes ? new SyncError("unavailable", message, { retryable: true }) : new SyncError("refused", message);
}
