/**
 * The routes by which AWS and brokers deliver data: `/stream`, `/stream/lost`, `/up`, `/sync`. See `stream_event.ts`
 * and `forwarded.ts` for their formats. A forwarder learns whether its request could be read, not its result: the
 * device gets that over MQTT, and a device without an answer sends again. So a webhook needs no retries.
 *
 * @module
 */
import type { Context } from "npm:hono@^4.13.19";
import { Log } from "../../protocol/log.ts";
import { Decoder, type FromDevice, partHeader, ProtocolError } from "../../protocol.ts";
import { batchLimits } from "../../protocol/message_limits.ts";
import type { Schema } from "../../schema/model.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Registry } from "../sync/registry.ts";
import type { CloudService } from "../sync/service.ts";
import type { Tables } from "../table/port.ts";
import { ApiError } from "./errors.ts";
import { type Forwarded, forwardedOf } from "./forwarded.ts";
import { Gate } from "./gate.ts";
import { readBody, readJson } from "./request.ts";
import { SharedParts } from "./shared_parts.ts";
import { handleStreamEvent, streamBodyBytesMax } from "./stream_event.ts";

/** What the routes work on. */
export interface IntakeOptions {
  readonly schema: Schema;
  readonly tables: Tables;
  readonly registry: Registry;
  readonly service: Pick<
    CloudService,
    "receive" | "refuse" | "fanOutParts" | "recordDropped" | "recordRefused" | "historyLost"
  >;
  readonly prefix?: string;
  readonly streamTimeoutMs?: number;
  readonly now: () => number;
}

/** Requests under way: bodies of at most 2 MB from brokers, of 8 MB from AWS, which sends one batch a shard at a time. */
const forwardedMax = 128, eventsMax = 16;
const logger = new Log("api");

/** The routes; their only state is counters. */
export class Intake {
  /** Counters since the start. */
  readonly counters = { streamEvents: 0, streamRecordsFailed: 0, forwarded: 0, forwardedMalformed: 0 };
  readonly #options: IntakeOptions;
  readonly #parts: SharedParts;
  readonly #forwards = new Gate(forwardedMax);
  readonly #events = new Gate(eventsMax);
  readonly #decoder: Decoder;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#parts = new SharedParts(options.tables.log, options.now);
    // It sees only whole messages, and stores nothing.
    this.#decoder = new Decoder({ now: options.now });
  }

  /** `POST /stream`. */
  stream(c: Context): Promise<Response> {
    return this.#events.run(async () => {
      const event = await readJson(c.req.raw, streamBodyBytesMax);
      const { schema, service, streamTimeoutMs = 4_000 } = this.#options;
      const { answer, status } = await handleStreamEvent({ schema, service, timeoutMs: streamTimeoutMs }, event);
      this.counters.streamEvents++;
      this.counters.streamRecordsFailed += answer.batchItemFailures.length;
      return c.json(answer, status);
    });
  }

  /**
   * `POST /stream/lost`: AWS discarded records (too old, or failed too often). Devices cannot know which: all take a
   * snapshot.
   */
  lost(c: Context): Promise<Response> {
    return this.#events.run(async () => {
      await this.#options.service.historyLost();
      return c.json({});
    });
  }

  /** `POST /up` and `POST /sync`. A malformed message does not affect others of its request. */
  forwarded(c: Context): Promise<Response> {
    return this.#forwards.run(async () => {
      const body = await readBody(c.req.raw);
      const request = {
        header: (name: string) => c.req.header(name),
        query: (name: string) => c.req.query(name),
        body,
      };
      const messages = forwardedOf(request, this.#options.prefix);
      const outcomes = await Promise.allSettled(messages.map((message) => this.#take(message)));
      const faults = outcomes.flatMap((outcome) => outcome.status === "rejected" ? [outcome.reason] : []);
      if (faults.length > 0 && faults.length === messages.length) throw faults[0];
      return c.json({ received: messages.length - faults.length, refused: faults.length });
    });
  }

  async #take({ deviceId, payload }: Forwarded): Promise<void> {
    const message = await this.#decode(deviceId, payload);
    this.counters.forwarded++;
    if (message) await this.#options.service.receive(deviceId, message, payload.length);
  }

  async #decode(deviceId: string, payload: Uint8Array): Promise<FromDevice | undefined> {
    try {
      const header = partHeader(payload);
      if (!header) return this.#decoder.accept(payload, "up", deviceId, batchLimits);
      // Strangers must not fill the log table; the service drops their whole messages.
      if (!await this.#options.registry.identityOf(deviceId)) return undefined;
      return await this.#parts.accept(deviceId, header, payload);
    } catch (error) {
      if (!(error instanceof SyncError) || error.retryable) throw error;
      this.counters.forwardedMalformed++;
      if (error instanceof ProtocolError && error.batch !== undefined) {
        await this.#options.service.refuse(deviceId, error.batch, error.message);
      }
      logger.warn("dropped a message of {deviceId}: {reason}", { deviceId, reason: error.message });
      throw new ApiError(400, "invalid", error.message);
    }
  }
}
