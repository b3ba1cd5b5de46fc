/**
 * `notify` in the schema: the changes that match become events, wait in the log table, and are told to their receivers, at
 * least once and in order per item.
 *
 *     stream ─▶ matching events ─▶ queue of the receiver ─▶ stream's checkpoint
 *                                        │
 *                     the lease's holder └─▶ receiver ─▶ deleted
 *
 * Any number of workers append what they read of the stream; the one that holds the lease `notify` sends. A worker that is killed
 * leaves what it had not told in the queue, and what it had not appended in the stream.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Log } from "../../protocol/log.ts";
import { backoffMs } from "../../protocol/backoff.ts";
import { topics } from "../../protocol.ts";
import { pause } from "../../protocol/within.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Model, Notify, NotifyTarget, Schema } from "../../schema/model.ts";
import type { Labelled } from "../operations/field_metrics.ts";
import type { Publisher } from "../publishers/port.ts";
import { tableBackoff } from "../sync/bounded.ts";
import { acquireLease } from "../dynamodb/lease.ts";
import type { StreamRecord, Table } from "../table/port.ts";
import { Delivery, isTableFault } from "./delivery.ts";
import { eventBytesMax, eventOf, happenedTo, holds, textOf } from "./event.ts";
import { NotifyQueue } from "./outbox.ts";
import { targetOf } from "./topics.ts";
import { checkSecrets, EventBus, type Receiver, Topic, Webhook } from "./receivers.ts";

/** What a notifier works with. */
export interface NotifierOptions {
  readonly schema: Schema;
  /** The log table. */
  readonly log: Table;
  /** For topics. */
  readonly publisher: Pick<Publisher, "publishRaw">;
  readonly prefix?: string;
  /** What webhooks are signed with. */
  readonly secrets?: readonly string[];
  readonly now: () => number;
  readonly random: () => number;
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** How long after its last beat a silent sender is replaced, ms; default 6000. */
  readonly leaseMs?: number;
  /** See `delivery.ts`. */
  readonly entriesMax?: number;
}

/** Events by queue, on their way there. */
export type Selected = ReadonlyMap<string, readonly string[]>;

interface Told {
  readonly queue: NotifyQueue;
  readonly receiver: Receiver;
  readonly delivery: Delivery;
}

const logger = new Log("notify");

/** See the module. */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #models = new Map<string, Notify & { readonly queue: string }>();
  readonly #told = new Map<string, Told>();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #isSender = false;

  /** @throws {SyncError} `config` for a topic that is Twintable's own, or a secret that is none */
  constructor(options: NotifierOptions) {
    this.#options = options;
    checkSecrets(options.secrets ?? []);
    for (const model of options.schema.models.values()) if (model.notify) this.#add(model, model.notify);
  }

  /** Whether the schema has anything told. */
  get isUsed(): boolean {
    return this.#models.size > 0;
  }

  /** Whether changes of the model are told: the stream has to have them. */
  tells(model: Model): boolean {
    return this.#models.has(model.name);
  }

  /** The events of records, by queue: what {@link append} takes. */
  select(records: readonly StreamRecord[]): Selected {
    const selected = new Map<string, string[]>();
    if (!this.isUsed) return selected;
    const { schema, now } = this.#options;
    for (const record of records) {
      const what = happenedTo(schema, record), notify = what && this.#models.get(what.model.name);
      if (!notify || !notify.on.includes(what.op)) continue;
      if (!holds(what.model, notify.where, record.new ?? record.old!)) continue;
      const text = textOf(eventOf(schema, what.model, what.op, record, now()), eventBytesMax);
      const list = selected.get(notify.queue) ?? [];
      selected.set(notify.queue, list);
      list.push(text);
    }
    return selected;
  }

  /** Durable when it resolves. @throws SyncError where the table fails; a part may be there then, and comes twice */
  async append(selected: Selected): Promise<void> {
    for (const [name, texts] of selected) {
      const { queue, delivery } = this.#told.get(name)!;
      await queue.append(texts);
      delivery.wake();
    }
  }

  /** Begins to send, whenever no other worker does. */
  start(): void {
    if (this.isUsed) this.#running ??= this.#run(this.#stop.signal);
  }

  /** Ends with the requests under way. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    for (const { receiver } of this.#told.values()) receiver.close?.();
  }

  /** For `/metrics`, by receiver. */
  *labelled(): Iterable<Labelled> {
    for (const { receiver: { name }, delivery } of this.#told.values()) {
      const labels = { to: name };
      for (const outcome of ["delivered", "failed", "refused", "dropped"] as const) {
        const value = delivery.counters[outcome];
        yield {
          name: `twintable_notifications_${outcome}_total`,
          help: texts[outcome],
          type: "counter",
          labels,
          value,
        };
      }
      const value = (delivery.oldestMs ?? 0) / 1000;
      if (this.#isSender) {
        yield { name: "twintable_notifications_oldest_seconds", help: texts.oldest, type: "gauge", labels, value };
      }
    }
  }

  #add(model: Model, notify: Notify): void {
    const { log, now, random } = this.#options;
    const to = this.#targetOf(model, notify.to), name = createHash("sha256").update(JSON.stringify(to)).digest("hex");
    const queue = name.slice(0, 32);
    this.#models.set(model.name, { ...notify, queue });
    if (this.#told.has(queue)) return;
    const own = new NotifyQueue(log, queue, now), receiver = this.#receiverOf(to);
    const context = { now, random, pause: this.#options.pause ?? pause, entriesMax: this.#options.entriesMax };
    this.#told.set(queue, { queue: own, receiver, delivery: new Delivery({ ...context, queue: own, receiver }) });
  }

  #targetOf(model: Model, to: NotifyTarget): Exclude<NotifyTarget, { kind: "usual" }> {
    const { prefix } = this.#options;
    if (
      to.kind === "topic" && to.name.startsWith(`${prefix ?? "tt"}/`) && !to.name.startsWith(topics(prefix).notify(""))
    ) {
      throw new SyncError("config", `process.${model.name}.notify: the topic "${to.name}" is one of Twintable's own`, {
        hint: `those under ${topics(prefix).notify("")} are free`,
      });
    }
    return targetOf(model, to, prefix);
  }

  #receiverOf({ kind, name }: Exclude<NotifyTarget, { kind: "usual" }>): Receiver {
    const { publisher, secrets = [], now } = this.#options;
    if (kind === "eventbridge") return new EventBus(name);
    if (kind === "url") {
      if (secrets.length === 0) {
        logger.warn("events for {to} are not signed: there is no secret", { to: new URL(name).origin });
      }
      return new Webhook(name, secrets, now);
    }
    if (!publisher.publishRaw) throw new SyncError("config", "this publisher can't publish events on topics");
    return new Topic(name, (topic, payload) => publisher.publishRaw!(topic, payload));
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, now, random, leaseMs = 6_000, pause: sleep = pause } = this.#options;
    const owner = crypto.randomUUID();
    for (let failures = 0; !signal.aborted;) {
      try {
        const lease = await acquireLease({ log, name: "notify", owner, leaseMs, now, sleep }, signal);
        if (!lease) return;
        const lost = new AbortController(), watch = setInterval(() => lease.held || lost.abort(), leaseMs / 6);
        this.#isSender = true;
        try {
          failures = 0;
          await this.#tellAll(AbortSignal.any([signal, lost.signal]), lost);
        } finally {
          this.#isSender = false;
          clearInterval(watch);
          await lease.release();
        }
      } catch (error) {
        if (!isTableFault(error)) throw error;
        logger.debug("events wait: {error}", { error });
        await sleep(backoffMs(failures++, random, tableBackoff), signal);
      }
    }
  }

  /** All receivers, each by itself, until the signal aborts or the table fails. */
  async #tellAll(signal: AbortSignal, failed: AbortController): Promise<void> {
    const runs = [...this.#told.values()].map(({ delivery }) =>
      delivery.run(signal).catch((error) => {
        failed.abort();
        throw error;
      })
    );
    const outcomes = await Promise.allSettled(runs);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }
}

const texts = {
  delivered: "Events that the receiver took.",
  failed: "Attempts that failed.",
  refused: "Events that were given up: the receiver does not want them.",
  dropped: "Events that were given up: they, or too many, waited for too long.",
  oldest: "How old the oldest event is that waits, of the worker that sends.",
} as const;
