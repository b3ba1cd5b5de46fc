/**
 * What the tests of the HTTP API share: a handler over tables in memory, called without a server.
 *
 * @module
 */
import { createHandler } from "../../../cloud/handler.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { CloudService } from "../../../cloud/sync/service.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { compileSchema } from "../../../schema.ts";
import { Outbox } from "../fixture.ts";

/** A schema with a model of each kind that the API tells apart. */
export const schema = compileSchema({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Setting: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "setting#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      value: { type: "number" },
      big: { type: "number" },
      level: { type: "string", enum: ["low", "high"], default: "low" },
      at: { type: "date", isoDates: true },
      data: { type: "binary" },
      tags: { type: "set" },
      secret: { type: "string", hidden: true },
      created: { type: "date", isoDates: true },
      updated: { type: "date", isoDates: true },
    },
    Note: {
      pk: { type: "string", value: "note#${day}" },
      sk: { type: "string", value: "note#${id}" },
      id: { type: "string", generate: "ulid", required: true },
      day: { type: "number", required: true },
      accountId: { type: "string" },
    },
    Shape: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "shape" },
      deviceId: { type: "string", required: true },
      size: { type: "object", schema: { width: { type: "number" } } },
      parts: { type: "array", items: { type: "object", schema: { id: { type: "number" } } } },
      free: { type: "object" },
    },
    Private: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "private" },
      deviceId: { type: "string", required: true },
    },
  },
  params: { timestamps: true },
  process: { Setting: { sync: "both" }, Note: { sync: "up" }, Shape: { sync: "both" }, Private: { enable: "device" } },
});

/** A handler over embedded tables. */
export class Api implements AsyncDisposable {
  readonly now = () => 1_800_000_000_000;
  readonly tables = openEmbedded(":memory:", { schema, now: this.now });
  readonly registry = new Registry(this.tables.log, { now: this.now });
  readonly service = new CloudService({
    schema,
    tables: this.tables,
    publisher: new Outbox(),
    now: this.now,
    random: Math.random,
  });
  readonly handler: (request: Request) => Promise<Response>;

  constructor(readonly token?: string) {
    const { tables, registry, service, now } = this;
    this.handler = createHandler({ schema, tables, registry, service, token, now, random: Math.random });
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await this.handler(
      new Request(`http://cloud${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
    );
    const text = await response.text();
    const json = response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : undefined;
    return { status: response.status, text, json };
  }

  put(model: string, item: unknown) {
    return this.call("PUT", "/api/items", { model, item });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tables.close();
  }
}
