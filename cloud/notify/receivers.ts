/**
 * The ways in which an event is handed over: a webhook, an MQTT topic, an event bus. Each resolves when the receiver has taken
 * it, and throws otherwise: a SyncError that is not retryable where the receiver does not want this event however often.
 *
 * A URL is the schema's and so the operator's: any host is allowed, also on this machine and in its networks. What a device
 * sends has no part in it. Redirects are not followed, and nothing of an answer is read but its status and `Retry-After`.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import { Log } from "../../protocol/log.ts";
import { SyncError } from "../../schema/errors.ts";
import { type ChangeEvent, eventType, textOf } from "./event.ts";

/** Hands events over. */
export interface Receiver {
  /** As people read it; never with what may be a secret: of a URL the origin alone. */
  readonly name: string;
  /** Until the signal aborts. @throws {NotTaken} */
  send(text: string, signal: AbortSignal): Promise<void>;
  /** Lets go of its connections. */
  close?(): void;
}

/** Why an event was not taken. `retryable`: false where this one will never be. */
export class NotTaken extends SyncError {
  constructor(message: string, retryable: boolean, readonly afterMs?: number, options: ErrorOptions = {}) {
    super(retryable ? "unavailable" : "refused", message, { ...options, retryable });
  }
}

const logger = new Log("notify");
/** How long a receiver may take. */
export const timeoutMs = 10_000;
/** What a receiver may ask us to wait for. */
const afterMaxMs = 600_000;
/** What says something of this event. Any other answer says something of the receiver, or of how it is set up. */
const refusals: ReadonlySet<number> = new Set([400, 405, 406, 409, 413, 415, 422]);

/** A webhook, signed as of Standard Webhooks where there is a secret. */
export class Webhook implements Receiver {
  readonly name: string;

  /** @param secrets the first is the new one while they are exchanged: each signs */
  constructor(
    private readonly url: string,
    private readonly secrets: readonly string[],
    private readonly now: () => number,
  ) {
    this.name = new URL(url).origin;
  }

  async send(text: string, signal: AbortSignal): Promise<void> {
    let response: Response;
    try {
      response = await fetch(this.url, {
        method: "POST",
        headers: { "content-type": eventType, ...this.#signed(text) },
        body: text,
        redirect: "manual",
        signal,
      });
    } catch (error) {
      // It quotes the URL, whose path or query may be the receiver's secret.
      const { message, cause } = error as Error, said = cause instanceof Error ? cause.message : message;
      const why = said.replaceAll(/https?:\/\/[^\s)]*/g, this.name);
      throw new NotTaken(`${this.name} does not answer: ${why}`, true);
    }
    await response.body?.cancel().catch(() => {});
    const { status } = response;
    if (status >= 200 && status < 300) return;
    const after = Number(response.headers.get("retry-after") ?? NaN) * 1000;
    throw new NotTaken(
      `${this.name} answered ${status}`,
      !refusals.has(status),
      after > 0 ? Math.min(after, afterMaxMs) : undefined,
    );
  }

  #signed(text: string): Record<string, string> {
    if (this.secrets.length === 0) return {};
    const { id } = JSON.parse(text) as ChangeEvent, timestamp = String(Math.floor(this.now() / 1000));
    const signatures = this.secrets.map((secret) =>
      `v1,${createHmac("sha256", keyOf(secret)).update(`${id}.${timestamp}.${text}`).digest("base64")}`
    );
    return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
  }
}

/** `whsec_` and base64, as of Standard Webhooks; any other text is the key itself. */
function keyOf(secret: string): Uint8Array {
  const base64 = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(secret)?.[1];
  return base64 === undefined
    ? new TextEncoder().encode(secret)
    : Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
}

/** @throws {SyncError} `config` for a secret that is too short to be one */
export function checkSecrets(secrets: readonly string[]): readonly string[] {
  for (const secret of secrets) {
    let length = 0;
    try {
      ({ length } = keyOf(secret));
    } catch {
      throw new SyncError("config", "a secret for notifications begins with whsec_, and what follows is not base64");
    }
    if (length < 16) throw new SyncError("config", "a secret for notifications has at least 16 bytes");
  }
  return secrets;
}

/** A message larger than this is cut by what brokers take: AWS IoT Core 128 KB. */
const topicBytesMax = 120 * 1024;

/** An MQTT topic, with QoS 1 and not retained. */
export class Topic implements Receiver {
  readonly name: string;

  constructor(
    private readonly topic: string,
    private readonly publish: (topic: string, payload: Uint8Array) => Promise<void>,
  ) {
    this.name = `topic ${topic}`;
  }

  async send(text: string): Promise<void> {
    const cut = text.length > topicBytesMax / 3 ? textOf(JSON.parse(text) as ChangeEvent, topicBytesMax) : text;
    try {
      await this.publish(this.topic, new TextEncoder().encode(cut));
    } catch (cause) {
      throw new NotTaken(`${this.name}: ${(cause as Error).message}`, true, undefined, { cause });
    }
  }
}

/** An event's way to EventBridge, and whether its bus is there. */
interface EventBridge {
  /** Resolves with the entry's answer. */
  put(text: string, signal: AbortSignal): Promise<{ ErrorCode?: string; ErrorMessage?: string; EventId?: string }>;
  /** @throws the service's `ResourceNotFoundException` if there is no such bus */
  find(signal: AbortSignal): Promise<void>;
  close(): void;
}

/**
 * What EventBridge says of a single event. All else is about the receiver: throttled, out of order, or set up without
 * the rights.
 */
const eventFaults: ReadonlySet<string> = new Set(["MalformedDetail", "InvalidArgument", "ValidationException"]);
/** How long a bus that was found is taken to be there. */
const foundMs = 300_000;

/**
 * An event bus of Amazon EventBridge, one event a request. The SDK is loaded when the first event is sent.
 *
 * EventBridge answers events for a bus that does not exist as if it had taken them, and drops them: so the bus is looked
 * for first, and again every five minutes.
 */
export class EventBus implements Receiver {
  readonly name: string;
  #service: Promise<EventBridge> | undefined;
  #foundAtMs = -Infinity;

  constructor(private readonly bus: string) {
    this.name = `event bus ${bus}`;
  }

  async send(text: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#asked(async (service) => {
      if (performance.now() - this.#foundAtMs > foundMs) await this.#find(service, signal);
      return await service.put(text, signal);
    });
    const { ErrorCode, ErrorMessage, EventId } = answer;
    if (EventId !== undefined && ErrorCode === undefined) return;
    throw this.#notTaken(ErrorCode ?? "it has neither an id nor an error", ErrorMessage);
  }

  close(): void {
    void this.#service?.then((service) => service.close());
  }

  async #find(service: EventBridge, signal: AbortSignal): Promise<void> {
    try {
      await service.find(signal);
    } catch (error) {
      if ((error as Error).name !== "AccessDeniedException") throw error;
      logger.warn("{to} may not be there: without the right events:DescribeEventBus nobody can tell", {
        to: this.name,
      });
    }
    this.#foundAtMs = performance.now();
  }

  async #asked<T>(use: (service: EventBridge) => Promise<T>): Promise<T> {
    try {
      return await use(await (this.#service ??= eventBridge(this.bus)));
    } catch (cause) {
      const { name, message } = cause as Error;
      throw this.#notTaken(name, message, { cause });
    }
  }

  #notTaken(code: string, message = "", options?: ErrorOptions): NotTaken {
    const isOfEvent = eventFaults.has(code) && !/bus/i.test(message);
    return new NotTaken(`${this.name}: ${code}: ${message}`, !isOfEvent, undefined, options);
  }
}

async function eventBridge(bus: string): Promise<EventBridge> {
  const { DescribeEventBusCommand, EventBridgeClient, PutEventsCommand } = await import(
    "npm:@aws-sdk/client-eventbridge@^3.1000.0"
  );
  // Retries are the sender's.
  const client = new EventBridgeClient({ maxAttempts: 1 });
  return {
    async put(text, abortSignal) {
      const { type, time } = JSON.parse(text) as ChangeEvent;
      const entry = { EventBusName: bus, Source: "twintable", DetailType: type, Detail: text, Time: new Date(time) };
      const { Entries = [] } = await client.send(new PutEventsCommand({ Entries: [entry] }), { abortSignal });
      return Entries[0] ?? {};
    },
    async find(abortSignal) {
      await client.send(new DescribeEventBusCommand({ Name: bus }), { abortSignal });
    },
    close: () => client.destroy(),
  };
}
