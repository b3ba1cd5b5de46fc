/**
 * The answers to a device's messages. What is read from the table for them counts against the device's budget.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type {
  Ack,
  Compare,
  Fetch,
  FromCloud,
  Ordered,
  Probe,
  Refused,
  Renew,
  Renewed,
  Sync,
  Up,
  Verified,
} from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Identity } from "../../schema/model.ts";
import type { Item } from "../../schema/values.ts";
import type { Budget } from "../budget.ts";
import type { DataTable } from "../table/port.ts";
import { itemSizeBytes } from "../table/item_size.ts";
import { answerFetch, answerSync, type CatchUpContext } from "./catch_up.ts";
import { answerCompare, answerProbe } from "./compare.ts";
import { ingest, throttledAck } from "./ingest.ts";
import type { Counters } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { Orders } from "./orders.ts";
import type { Registered, Registry } from "./registry.ts";
import type { Moment } from "./shared_read.ts";
import type { Work } from "./work.ts";

/** What answers a request for another certificate. */
export interface RenewalPort {
  /** Never rejects for what a device sent. @throws SyncError where the table fails: the device asks again */
  answer(identity: Registered, message: Renew): Promise<Pick<Renewed, "cert" | "reason" | "afterMs">>;
}

/** Another worker may have it, or this one tomorrow. */
const unrenewed = { reason: "this cloud's worker has no device authority", afterMs: 3_600_000 };

/** The context of {@link Replies}. */
export interface ReplyContext extends CatchUpContext {
  readonly data: DataTable;
  readonly registry: Registry;
  readonly metrics: Counters;
  readonly orders: Pick<Orders, "answered">;
  readonly pause: (ms: number) => Promise<void>;
  /** Absent: this worker has no device authority. */
  readonly renewals?: RenewalPort;
  readonly observer: Observer;
}

/** Fetches and comparisons are rare, and count so many times, because comparing takes longer than sending. */
const askFactor = 8, refusedFactor = 16;
/**
 * The wait between two reads for one question whose device has used up its budget: what was read before is collected
 * meanwhile. Without it a question for a hundred large items leaves 150 MB at once.
 */
const restMs = 100;
/** Reasons may quote what a device sent: they are cut. */
const reasonLengthMax = 500;
const logger = new Log("cloud");

/** The answer to a batch that can't be read or handled as a whole: nothing of it was written. */
export function refusal(batch: string, reason: string, time: number): Refused {
  return { type: "refused", batch, time, reason: reason.slice(0, reasonLengthMax) };
}

/** Makes answers. */
export class Replies {
  readonly #metrics: Counters;

  /** @param read bytes that are read for each device */
  constructor(private readonly context: ReplyContext, private readonly read: Budget) {
    this.#metrics = context.metrics;
  }

  /** The answers to a message: none, one, or one for each channel. Rejects if the table fails. */
  to(identity: Registered, { message, asked }: Work): Promise<FromCloud[]> {
    switch (message.type) {
      case "up":
        return this.#ingest(identity, message);
      case "sync":
        return this.#sync(identity, message, asked);
      case "fetch":
        return this.#fetch(identity, message);
      case "compare":
        return this.#compare(identity, message);
      case "probe":
        return this.#probe(identity, message);
      case "verified":
        return this.#verified(identity, message);
      case "ordered":
        return this.#ordered(identity, message);
      case "renew":
        return this.#renew(identity, message);
    }
  }

  async #renew(identity: Registered, message: Renew): Promise<FromCloud[]> {
    const { now, renewals } = this.context, time = now();
    const answer = renewals ? await renewals.answer(identity, message) : unrenewed;
    return [{ type: "renewed", request: message.request, time, ...answer }];
  }

  async #ingest(identity: Identity, up: Up): Promise<FromCloud[]> {
    const { schema, data, now } = this.context, begunMs = now();
    this.#metrics.changesReceived += up.changes.length;
    try {
      const accountOf = async (deviceId: string) => (await this.context.registry.identityOf(deviceId))?.accountId;
      const stored: Observer["stored"] = (...args) => this.context.observer.stored(...args);
      const ack = await ingest({ schema, tables: { data }, now, accountOf, stored }, identity, up);
      const brought = ack.answers.flatMap(({ current, over }) =>
        [current, over].flatMap((one) => one ? [one.item] : [])
      );
      const bytes = brought.reduce((sum, item) => sum + itemSizeBytes(item), 0);
      if (bytes > 0) this.read.take(identity.deviceId, bytes * refusedFactor, now());
      this.#metrics.changesRefused += ack.answers.filter(({ code }) => code !== "ok").length;
      this.#tellAnswers(up, ack);
      this.context.observer.acknowledged(identity, up, ack, begunMs);
      return [ack];
    } catch (error) {
      const { deviceId } = identity;
      // A table's error (unreachable, throttled, expired credentials) says nothing about the changes: they could not be
      // tried. Any other fault comes from this batch; splitting finds the change that causes it.
      if (error instanceof SyncError) {
        this.#metrics.messagesFailed++;
        logger.warn("a batch of {deviceId} waits: {error}", { deviceId, error });
        return [throttledAck(up, now())];
      }
      this.#metrics.batchesRefused++;
      logger.error("a batch of {deviceId} is refused: {error}", { deviceId, error });
      return [refusal(up.batch, `the cloud can't handle it: ${(error as Error)?.message ?? error}`, now())];
    }
  }

  /** An ack names only changes that are not plainly `ok`. */
  #tellAnswers({ changes }: Up, { answers }: Ack): void {
    const codes = new Map(answers.map(({ at, code }) => [at, code]));
    changes.forEach(({ model }, at) => {
      // A name that the schema lacks is the sender's invention: it must not become a time series.
      const known = this.context.schema.models.has(model) ? model : "";
      this.context.observer.answered(known, codes.get(at) ?? "ok");
    });
  }

  async #sync(identity: Identity, sync: Sync, asked: Moment): Promise<FromCloud[]> {
    const { messages, ignored } = await answerSync({ ...this.#reading(identity, 1), asked }, identity, sync);
    this.#metrics.channelsIgnored += ignored;
    return messages;
  }

  async #fetch(identity: Identity, fetch: Fetch): Promise<FromCloud[]> {
    return [await answerFetch(this.#reading(identity, askFactor), identity, fetch)];
  }

  async #compare(identity: Identity, compare: Compare): Promise<FromCloud[]> {
    const answer = await answerCompare(this.#reading(identity, askFactor), identity, compare);
    if (answer) return [answer];
    this.#metrics.channelsIgnored++;
    return [];
  }

  async #probe(identity: Identity, probe: Probe): Promise<FromCloud[]> {
    return [await answerProbe(this.#reading(identity, askFactor), identity, probe)];
  }

  async #verified({ deviceId }: Identity, { request, report }: Verified): Promise<FromCloud[]> {
    await this.context.registry.keepReport(deviceId, request, report);
    return [];
  }

  async #ordered({ deviceId }: Identity, message: Ordered): Promise<FromCloud[]> {
    await this.context.orders.answered(deviceId, message);
    return [];
  }

  /** The context, whose reads count against the device's budget. */
  #reading({ deviceId }: Identity, factor: number): CatchUpContext {
    const { data, now, pause } = this.context;
    const isInDebt = () => this.read.waitMs(deviceId, now()) > 0;
    const note = (items: readonly (Item | undefined)[]) => {
      const bytes = items.reduce((sum, item) => sum + (item ? itemSizeBytes(item) : 0), 0);
      if (bytes > 0) this.read.take(deviceId, bytes * factor, now());
    };
    return {
      ...this.context,
      data: {
        async get(keys) {
          if (isInDebt()) await pause(restMs);
          const items = await data.get(keys);
          note(items);
          return items;
        },
        async query(query) {
          const page = await data.query(query);
          note(page.items);
          return page;
        },
      },
    };
  }
}
