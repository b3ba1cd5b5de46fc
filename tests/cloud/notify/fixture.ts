/**
 * What the tests of notifications share: a schema that tells of a model, a receiver that is in the test's hands, a table.
 *
 * @module
 */
import { openEmbedded } from "../../../cloud/embedded.ts";
import { Notifier, type NotifierOptions } from "../../../cloud/notify/notifier.ts";
import { CloudService } from "../../../cloud/sync/service.ts";
import { pause } from "../../../protocol/within.ts";
import type { ChangeEvent } from "../../../cloud/notify/event.ts";
import { compileSchema, completeItem, type Item, type Schema } from "../../../schema.ts";
import type { ChangeStream } from "../../../cloud/table/port.ts";
import { serveHttp } from "../../../cloud/api/http_server.ts";

/** A model that only goes up, told as `notify` says. */
export function schemaOf(notify: unknown): Schema {
  return compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Alarm: {
        pk: { type: "string", value: "d#${deviceId}" },
        sk: { type: "string", value: "alarm#${id}" },
        deviceId: { type: "string", required: true },
        id: { type: "string", required: true },
        level: { type: "number" },
        text: { type: "string", map: "t" },
      },
    },
    process: { Alarm: { sync: "up", notify } },
  });
}

/** A request that came. */
export interface Received {
  readonly event: ChangeEvent;
  readonly headers: Headers;
  readonly body: string;
}

/** A webhook of the test's. */
export interface Hook extends AsyncDisposable {
  readonly url: string;
  readonly received: Received[];
  /** What it answers; it takes what it answers with 2xx. */
  answer: (event: ChangeEvent) => number | Response | Promise<number | Response>;
  /** All requests, those that were not taken as well. */
  requests: number;
}

/** Opens one. */
export async function openHook(): Promise<Hook> {
  const hook = { received: [] as Received[], answer: (_: ChangeEvent) => 204 as number | Response, requests: 0 } as
    & Omit<Hook, "url">
    & { url: string };
  const server = await serveHttp(async (request) => {
    const body = await request.text(), event = JSON.parse(body) as ChangeEvent;
    hook.requests++;
    const answer = await hook.answer(event),
      response = typeof answer === "number" ? new Response(null, { status: answer }) : answer;
    if (response.ok) hook.received.push({ event, headers: request.headers, body });
    return response;
  }, { host: "127.0.0.1", port: 0 });
  hook.url = `http://127.0.0.1:${server.port}/hook/hush-hush`;
  hook[Symbol.asyncDispose] = async () => {
    server.destroy();
    await server.shutdown().catch(() => {});
  };
  return hook;
}

/** Tables with the schema, and workers that read their stream and tell. */
export class NotifyWorld implements AsyncDisposable {
  readonly tables;
  /** All waits are so many times shorter. */
  readonly speed: number;
  #unread = 0;
  #open: (() => Promise<void>)[] = [];
  time: (() => number) | undefined;

  constructor(readonly schema: Schema, { speed = 50 }: { speed?: number } = {}) {
    this.tables = openEmbedded(":memory:", { schema, now: () => this.now() });
    this.speed = speed;
    const { data } = this.tables, write = data.write.bind(data), stream = data.stream.bind(data);
    data.write = async (writes, options) => {
      const results = await write(writes, options);
      this.#unread += results.length;
      return results;
    };
    data.stream = (options) => ({
      batches: (signal) => this.#counted(stream(options).batches(signal)),
    });
  }

  async *#counted(batches: ReturnType<ChangeStream["batches"]>): ReturnType<ChangeStream["batches"]> {
    for await (const batch of batches) {
      if ("lost" in batch) yield batch;
      else {
        const checkpoint = async () => {
          await batch.checkpoint();
          this.#unread -= batch.records.length;
        };
        yield { records: batch.records, checkpoint };
      }
    }
  }

  readonly now = (): number => this.time?.() ?? Date.now();

  notifier(more: Partial<NotifierOptions> = {}): Notifier {
    const notifier = new Notifier({
      schema: this.schema,
      log: this.tables.log,
      publisher: {},
      now: this.now,
      random: Math.random,
      pause: (ms, signal) => pause(ms / this.speed, signal),
      ...more,
    });
    this.#open.push(() => notifier.close());
    return notifier;
  }

  /** Reads the stream until it is stopped. */
  reads(notifier: Notifier): () => Promise<void> {
    const stopped = new AbortController();
    const service = new CloudService({
      ...{ schema: this.schema, tables: this.tables, now: this.now, random: Math.random, notifier },
      publisher: { publish: () => Promise.resolve() },
    });
    const ended = service.runStream(stopped.signal);
    const stop = async () => {
      stopped.abort();
      await ended;
    };
    this.#open.push(stop);
    return stop;
  }

  async put(id: string, more: Record<string, unknown> = {}): Promise<void> {
    const identity = { deviceId: "d1", accountId: "acme" };
    const { _source, _stamp, ...attributes } = { id, ...more } as Item;
    const item = completeItem(this.schema, this.schema.models.get("Alarm")!, attributes, identity);
    const whole: Item = _source === undefined ? item : { ...item, _source, _stamp: _stamp! };
    await this.tables.data.write([{ op: "put", item: whole }]);
  }

  async remove(id: string): Promise<void> {
    await this.tables.data.write([{ op: "delete", key: ["d#d1", `alarm#${id}`] }]);
  }

  /** Whether the stream was read and its position stored: a batch that waits has not. */
  isRead(): boolean {
    return this.#unread === 0;
  }

  /** Entries in the queues. */
  async waiting(): Promise<number> {
    const page = await this.tables.log.scan({ limit: 1_000 });
    return page.items.filter(({ hash }) => String(hash).startsWith("notify#")).length;
  }

  async [Symbol.asyncDispose]() {
    for (const close of this.#open.splice(0).reverse()) await close();
    await this.tables.close();
  }
}
