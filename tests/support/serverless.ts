/**
 * The cloud without any process of its own: two instances of the handler in turn behind one address, a forwarder in the place
 * of a broker's rule, and a poster in the place of Lambda, which hands in real stream events. The instances are in the test's
 * process, where faults can be put into them, or processes of `deno serve`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fileURLToPath } from "node:url";
import { startBroker } from "../../cloud/broker/broker.ts";
import { createHandler } from "../../cloud/handler.ts";
import { MqttPublisher } from "../../cloud/publishers/mqtt.ts";
import type { Publisher } from "../../cloud/publishers/port.ts";
import { Registry } from "../../cloud/sync/registry.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import type { Table, Tables } from "../../cloud/table/port.ts";
import { topics } from "../../protocol.ts";
import { MqttSession } from "../../mqtt/session.ts";
import { completeItem, fromPlain, type Schema, SyncError } from "../../schema.ts";
import { copy } from "./process.ts";
import { freePort } from "./mosquitto.ts";
import { type RawRecord, RawStream } from "./raw_stream.ts";
import { e2eCompiled } from "./schema.ts";
import { until } from "./until.ts";
import { credentials, newTableUrl, openMade } from "./world.ts";

/** The bearer token of every instance. */
export const token = "s3cret";
const internal = { username: "twintable-cloud", password: "internal" };
const schema: Schema = e2eCompiled;
/** The handler's module. */
export const handlerFile = fileURLToPath(new URL("../../cloud/handler.ts", import.meta.url));

/** How a handler is served on a port: a command and its arguments. */
export type Serve = (port: string) => readonly string[];

const denoServe: Serve = (
  port,
) => [Deno.execPath(), "serve", "-A", "--no-check", "--host", "127.0.0.1", "--port", port, handlerFile];

/** `deno serve cloud/handler.ts`, or another runtime, configured by its environment alone. */
export class HandlerProcess implements AsyncDisposable {
  #child: Deno.ChildProcess | undefined;
  /** What it wrote to its log since it was started. */
  said = "";

  private constructor(
    readonly url: string,
    private readonly env: Record<string, string>,
    private readonly serve: Serve,
  ) {}

  /** Starts one on a free port; resolves when it answers. */
  static async start(env: Record<string, string>, serve: Serve = denoServe): Promise<HandlerProcess> {
    const started = new HandlerProcess(`http://127.0.0.1:${await freePort()}`, env, serve);
    await started.restart();
    return started;
  }

  /** Starts it again where it was. */
  async restart(): Promise<void> {
    const { port } = new URL(this.url);
    const [command, ...args] = this.serve(port);
    this.#child = new Deno.Command(command!, {
      args,
      env: { NO_COLOR: "1", ...this.env },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.said = "";
    void copy(this.#child.stderr, (text) => this.said += text);
    let ended: number | undefined;
    void this.#child.status.then(({ code }) => ended = code);
    const healthy = () => {
      assert.equal(ended, undefined, `the handler ended: ${this.said}`);
      return fetch(`${this.url}/healthz`).then(async (response) => (await response.body?.cancel(), true), () => false);
    };
    await until("the handler answers", healthy, 30_000);
  }

  /** SIGTERM: resolves to its exit code. */
  async stop(): Promise<number> {
    this.#child!.kill("SIGTERM");
    const { code } = await this.#child!.status;
    this.#child = undefined;
    return code;
  }

  /** As `kill -9`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.status;
    this.#child = undefined;
  }
}

/** Handlers, their broker and what stands for AWS. */
export class Serverless implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack();
  readonly handlers: ((request: Request) => Promise<Response>)[] = [];
  /** The instances, where they are processes. */
  readonly processes: HandlerProcess[] = [];
  readonly tables: Tables[] = [];
  registry!: Registry;
  mqttUrl = "";
  stream!: RawStream;
  /** Channels whose log fails now. */
  readonly broken = new Set<string>();
  /** Messages that were published without their log entry. */
  readonly unlogged: string[] = [];
  published = 0;
  /** What the poster was answered, and what it did. */
  readonly posted = { events: 0, failures: 0 };
  #turn = 0;
  readonly #tokens = new Map<string, string>();

  /**
   * @param schemaFile given: the instances are processes that read it
   * @param serve another runtime than `deno serve`
   */
  async open(endpoint: string, schemaFile?: string, serve?: Serve): Promise<this> {
    const url = newTableUrl(endpoint);
    for (let n = 0; n < 2; n++) {
      const tables = await openMade(url, schema);
      this.#opened.defer(() => tables.close());
      this.tables.push(tables);
    }
    this.registry = new Registry(this.tables[0]!.log, { now: Date.now });
    const broker = await startBroker({ internal, authenticate: (id, given) => this.registry.authenticate(id, given) });
    this.#opened.defer(() => broker.close());
    this.mqttUrl = `mqtt://127.0.0.1:${broker.port}`;
    for (const tables of this.tables) {
      this.handlers.push(schemaFile ? await this.#process(url, schemaFile, serve) : await this.#instance(tables));
    }
    this.#forward();
    this.stream = new RawStream(endpoint, /^dynamodb:\/\/([^?]+)/.exec(url)![1]!);
    return this;
  }

  async #instance({ data, log }: Tables): Promise<(request: Request) => Promise<Response>> {
    const mqtt = new MqttPublisher({ url: this.mqttUrl, ...internal });
    this.#opened.defer(() => mqtt.close());
    await mqtt.start();
    const faulty: Table = {
      get: (keys) => log.get(keys),
      query: (query) => log.query(query),
      scan: (options) => log.scan(options),
      close: () => log.close(),
      write: (writes, options) => {
        const hit = writes.some((write) => write.op === "put" && this.broken.has(String(write.item.hash)));
        return hit
          ? Promise.reject(new SyncError("unavailable", "by the test", { retryable: true }))
          : log.write(writes, options);
      },
    };
    const tables = { data, log: faulty };
    const publisher: Publisher = {
      publish: async (to, message) => {
        this.published++;
        if (message.type === "changes") {
          const [entry] = await service.log.read(message.channel, message.seq - 1, 1);
          if (entry?.seq !== message.seq) this.unlogged.push(`${message.channel} ${message.seq}`);
        }
        await mqtt.publish(to, message);
      },
    };
    const service: CloudService = new CloudService({
      schema,
      tables,
      publisher,
      now: Date.now,
      random: Math.random,
    });
    return createHandler({
      schema,
      tables,
      registry: service.registry,
      service,
      token,
      now: Date.now,
      random: Math.random,
      streamTimeoutMs: 500,
    });
  }

  async #process(table: string, schemaFile: string, serve?: Serve): Promise<(request: Request) => Promise<Response>> {
    const started = await HandlerProcess.start({
      TWINTABLE_SCHEMA: schemaFile,
      TWINTABLE_TABLE: table,
      TWINTABLE_TOKEN: token,
      TWINTABLE_PUBLISHER: this.mqttUrl.replace("//", `//${internal.username}:${internal.password}@`),
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    }, serve);
    this.processes.push(this.#opened.use(started));
    return (request) => fetch(new Request(request.url.replace("http://cloud", started.url), request));
  }

  /** The instance whose turn it is; the other one where that is down. */
  async fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = { authorization: `Bearer ${token}`, ...init.headers };
    const ask = () =>
      this.handlers[this.#turn++ % 2]!(new Request(`http://cloud${path}`, { method: "POST", ...init, headers }));
    try {
      return await ask();
    } catch (error) {
      // Only a connection that is refused or cut; an instance in this process never throws.
      if (!(error instanceof TypeError) || this.processes.length === 0) throw error;
      return await ask();
    }
  }

  /** As a broker's rule: posts what devices publish, raw or in an envelope. */
  #forward(): void {
    const topic = topics();
    const session = new MqttSession({
      url: this.mqttUrl,
      ...internal,
      clientId: "forwarder",
      subscriptions: [topic.every("up"), topic.every("sync")],
      logName: "forwarder",
    }, {
      up() {},
      down() {},
      message: (topic, payload) => {
        const path = topic.endsWith("/up") ? "/up" : "/sync";
        const request = this.#turn % 3
          ? { headers: { "x-twintable-topic": topic }, body: Buffer.from(payload) }
          : { body: JSON.stringify({ topic, payload: Buffer.from(payload).toString("base64") }) };
        // Whatever becomes of it: a device that gets no answer sends again.
        return this.fetch(path, request).then(async (response) => void await response.body?.cancel());
      },
    });
    session.start();
    this.#opened.defer(() => session.close());
  }

  async token(deviceId: string, accountId: string): Promise<string> {
    const known = this.#tokens.get(deviceId) ?? await this.registry.add(deviceId, accountId);
    this.#tokens.set(deviceId, known);
    return known;
  }

  async put(model: string, properties: Record<string, unknown>, deviceId: string): Promise<void> {
    const compiled = schema.models.get(model)!, identity = { deviceId, accountId: "acme" };
    const made = fromPlain(schema, compiled, properties, { now: Date.now(), random: Math.random, identity });
    await this.tables[0]!.data.write([{ op: "put", item: completeItem(schema, compiled, made, identity) }]);
  }

  /** Posts what the stream has, as Lambda does: what is named as failed, and all behind it, comes again. */
  async post(perturb: (records: RawRecord[]) => RawRecord[][]): Promise<void> {
    for (const shard of await this.stream.read()) {
      for (const event of perturb(shard)) {
        let left = event;
        await until("an event is done", async () => {
          const response = await this.fetch("/stream", { body: JSON.stringify({ Records: left }) });
          assert.equal(response.status, 200);
          const { batchItemFailures } = await response.json();
          this.posted.events++;
          this.posted.failures += batchItemFailures.length;
          const failed = new Set(batchItemFailures.map((one: { itemIdentifier: string }) => one.itemIdentifier));
          const first = left.findIndex(({ dynamodb }) => failed.has(dynamodb.SequenceNumber));
          assert.equal(failed.size > 0, first >= 0, "the failures are records of the event");
          left = first < 0 ? [] : left.slice(first);
          // The fault passes.
          this.broken.clear();
          return left.length === 0;
        });
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}
