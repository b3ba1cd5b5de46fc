/**
 * `/api/openapi.json`: the HTTP API's requests and answers, as an OpenAPI 3.1 document. Written by hand beside the
 * routes; a test compares the two (`tests/cloud/api/openapi_test.ts`).
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };
import type { Schema } from "../../schema/model.ts";

type Json = Readonly<Record<string, unknown>>;

/** A query's parameter: its meaning; those that are required end with `!`. */
type Parameters = Readonly<Record<string, string>>;

interface Operation {
  readonly summary: string;
  readonly query?: Parameters;
  readonly headers?: Parameters;
  /** Properties of the JSON body; a name that ends with `!` is required. */
  readonly body?: Readonly<Record<string, Json>>;
  /** Properties of the JSON answer; or the type of another content. Absent: JSON of some form. */
  readonly answer?: Readonly<Record<string, Json>> | string;
  readonly status?: number;
  /** Statuses of refusals other than 400, 401 and 403, and their meaning. */
  readonly refusals?: Readonly<Record<number, string>>;
  /** It is open without a token. */
  readonly open?: true;
}

const text = { type: "string" }, number = { type: "number" }, whole = { type: "integer" }, flag = { type: "boolean" };
const time = { type: "string", format: "date-time" };
const item = { type: "object", description: "An item as plain JSON by the schema.", additionalProperties: true };
const orNull = (schema: Json) => ({ anyOf: [schema, { type: "null" }] });
const listOf = (items: Json) => ({ type: "array", items });
const open = { type: "object", additionalProperties: true };
const page = { limit: "Items of a page at most; default 100, at most 1000.", next: "The `next` of the page before." };
const key = { "model!": "The model's name.", "key!": "The key's properties as a JSON object." };
const ifMatch = {
  "If-Match": "A digest, or `*`: only over that version, or over any.",
  "If-None-Match": "`*`: only where there is none.",
};
const changed = { 412: "The item is another: `now` and its `digest` say what it is." };
const unknownDevice = { 404: "There is no such device." };
const order = {
  order: text,
  do: text,
  at: time,
  state: { enum: ["waiting", "running", "done", "failed"] },
  why: text,
  told: time,
  report: open,
  table: { enum: ["rejected", "conflicts", "aside"] },
  id: whole,
  model: text,
  force: flag,
  repair: flag,
  keysPerSecond: whole,
};

/** What the registry knows of a device, and what follows from it. */
const device = {
  "deviceId!": text,
  "accountId!": text,
  "createdMs!": number,
  untilMs: number,
  beforeUntilMs: number,
  seenMs: number,
  connected: flag,
  report: open,
  reportedMs: number,
  "state!": { enum: ["online", "lagging", "trouble", "silent"] },
  why: text,
  lagMs: number,
  downMs: number,
  usualMs: number,
  overdue: flag,
};

const operations: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  "/api/size": {
    get: {
      summary: "About how many items the table has, of all models; DynamoDB counts them every six hours.",
      answer: { items: whole },
    },
  },
  "/api/items": {
    get: {
      summary: "A page of a model's items, of one device or account, or of all.",
      query: { "model!": "The model's name.", device: "Of this device.", account: "Of this account.", ...page },
      answer: { items: listOf(item), digests: listOf(text), next: text },
      refusals: { 404: "The schema has no such model." },
    },
    put: {
      summary: "Puts an item, or with `items` many.",
      headers: ifMatch,
      body: {
        "model!": text,
        item,
        items: listOf(item),
        unknown: { enum: ["refuse", "keep"], description: "How to handle properties that the schema lacks." },
      },
      answer: {
        item,
        digest: text,
        old: item,
        oldDigest: text,
        at: time,
        results: listOf(open),
        failed: whole,
      },
      refusals: { ...changed, 404: "The schema has no such model.", 413: "The item is too large." },
    },
    delete: {
      summary: "Deletes an item by its key's properties.",
      headers: { "If-Match": ifMatch["If-Match"] },
      body: { "model!": text, "item!": item },
      answer: { item: orNull(item), digest: text },
      refusals: { ...changed, 404: "The schema has no such model." },
    },
  },
  "/api/items/history": {
    get: {
      summary: "What the log knows of an item, the newest first.",
      query: { ...key, next: page.next },
      answer: { channel: text, versions: listOf(open), entries: whole, read: whole, next: text },
    },
  },
  "/api/items/where": {
    get: {
      summary: "How far an item's last change got: saved, logged, on the devices.",
      query: {
        ...key,
        since: "The `at` of a write's answer.",
        wait: "Ms to wait until all connected devices have it.",
      },
      answer: { item: orNull(item), digest: text, channel: text, logged: open, devices: open, read: whole },
    },
  },
  "/api/unidentified": {
    get: {
      summary: "Items that reach no device.",
      query: page,
      answer: { "items!": listOf(open), "read!": whole, next: text },
    },
  },
  "/api/feed": {
    get: {
      summary: "Events after an id, for polling.",
      query: {
        after: "The `next` of the answer before.",
        limit: page.limit,
        on: "Types, by comma: change, item, stage, row, kept.",
        model: "Changes of this model.",
        device: "Of this device.",
      },
      answer: { rows: listOf(open), next: text, gap: orNull(whole), scope: { enum: ["fleet", "process"] } },
    },
  },
  "/api/events": {
    get: {
      summary: "Events as they happen, as server-sent events.",
      query: {
        after: "As Last-Event-ID.",
        on: "Types, by comma: change, item, stage, row, kept.",
        model: "Changes of this model.",
        device: "Of this device.",
      },
      headers: { "Last-Event-ID": "Go on after this event." },
      answer: "text/event-stream",
      refusals: { 503: "Too many streams are open." },
    },
  },
  "/api/metrics": {
    get: {
      summary: "The workers' activity, minute by minute; null where there is no sample.",
      query: {
        from: "ISO time or ms; default an hour before `to`.",
        to: "ISO time or ms; default now.",
        step: "Seconds, whole minutes; default 60.",
        worker: "Of this worker only.",
        namespace: "With `field`: what devices sent, in the place of what workers did.",
        field: "The field.",
        dimensions: 'Its dimensions as a JSON object: `{"Device":"d1"}`; default `{}`.',
      },
      answer: { series: listOf(open), workers: listOf(text), read: whole, fields: listOf(open) },
    },
  },
  "/api/metrics/series": {
    get: {
      summary: "The series of fields that something arrived for in a day (UTC).",
      query: {
        namespace: "Of this namespace.",
        field: "Of this field.",
        at: "A time of the day; default now.",
        ...page,
      },
      answer: { series: listOf(open), next: text },
    },
  },
  "/api/devices": {
    get: {
      summary: "The devices; with `q` or `sort` searched and sorted over all.",
      query: { ...page, q: "Words that all hold: `state:trouble account:acme outbox:>100`.", sort: "A field; `-lag`." },
      answer: { "devices!": listOf(open), next: text, total: whole, states: open, asOf: time },
    },
    post: {
      summary: "Adds a device. The token in the answer can't be read again. Wants the scope admin.",
      body: { "deviceId!": text, "accountId!": text, validSeconds: whole },
      status: 201,
      answer: { "deviceId!": text, "accountId!": text, "token!": text, untilMs: number },
      refusals: { 409: "There is such a device." },
    },
  },
  "/api/devices/{device}": {
    get: {
      summary: "One device: identity, report, state.",
      answer: device,
      refusals: unknownDevice,
    },
    delete: {
      summary:
        "Revokes a device; with `erase` also deletes its items and all that is stored about it. Requires the scope admin.",
      query: { erase: "`true`: with everything." },
      refusals: unknownDevice,
    },
  },
  "/api/devices/{device}/erasure": {
    get: { summary: "The progress of an erasure, or its receipt.", refusals: unknownDevice },
  },
  "/api/devices/{device}/verify": {
    get: {
      summary: "The report of the last verification; `running` while it is under way, `report` in the end.",
      answer: { request: text, atMs: number, report: open, running: open },
      refusals: unknownDevice,
    },
    post: {
      summary: "Asks a connected device to compare itself with the table.",
      body: { repair: flag, keysPerSecond: whole },
      status: 202,
      answer: { request: text },
      refusals: { ...unknownDevice, 503: "Nothing is published here." },
    },
  },
  "/api/devices/{device}/orders": {
    get: {
      summary: "A device's orders, the newest first.",
      query: { limit: page.limit },
      answer: { orders: listOf({ type: "object", properties: order }) },
      refusals: unknownDevice,
    },
    post: {
      summary: "Gives a device an order, now or when it connects.",
      body: {
        "do!": { enum: ["sync", "verify", "retry", "restore", "drop", "rotate"] },
        table: { enum: ["rejected", "conflicts", "aside"] },
        id: whole,
        model: text,
        all: flag,
        force: flag,
        repair: flag,
        keysPerSecond: whole,
      },
      status: 202,
      answer: { order: text },
      refusals: {
        ...unknownDevice,
        409: "The device has too many open orders.",
        503: "Nothing is published here.",
      },
    },
  },
  "/api/devices/{device}/kept": {
    get: {
      summary: "Asks a connected device for the versions that it stores for people.",
      query: {
        table: "rejected (default), conflicts or aside.",
        model: "Of this model.",
        after: "Behind this number.",
        limit: "At most 100.",
      },
      answer: { rows: listOf(open), next: whole },
      refusals: { ...unknownDevice, 504: "It is not connected: `command` shows it on the device." },
    },
  },
  "/api/claim-codes": {
    post: {
      summary: "Makes a code by which a device claims its credentials, once. Wants the scope admin.",
      body: { "account!": text, device: text, validSeconds: whole },
      status: 201,
      answer: { code: text, until: time },
      refusals: { 409: "There is such a device." },
    },
  },
  "/api/claim": {
    post: {
      summary:
        "Turns a claim code into a device's credentials: with a token or a certificate request that it has made.",
      body: { "code!": text, "device!": text, token: text, csr: text },
      answer: { device: text, account: text, certificate: text },
      refusals: {
        403: "The code is wrong, has expired, or was used.",
        409: "There is such a device.",
        429: "Too many tries.",
        501: "No certificates are issued here.",
      },
      open: true,
    },
  },
  "/api/audit": {
    get: {
      summary: "Who did what through the API, the console and the command line.",
      query: { ...page, from: "ISO time.", to: "ISO time.", who: "By this name." },
    },
  },
  "/api/openapi.json": { get: { summary: "This document." } },
  "/metrics": { get: { summary: "Metrics for Prometheus.", answer: "text/plain" } },
  "/healthz": { get: { summary: "The process is alive.", answer: "text/plain", open: true } },
  "/readyz": {
    get: {
      summary: "It reaches the services that it needs.",
      answer: "text/plain",
      open: true,
      refusals: { 503: "The services that it does not reach." },
    },
  },
  "/stream": {
    post: {
      summary: "A batch of the table's stream (scope forward).",
      body: {},
      answer: { batchItemFailures: listOf(open) },
    },
  },
  "/stream/lost": { post: { summary: "Records were discarded: all devices take a snapshot.", body: {} } },
  "/up": {
    post: {
      summary: "What devices published, from a broker (scope forward).",
      body: {},
      answer: { received: whole, refused: whole },
    },
  },
  "/sync": { post: { summary: "As /up.", body: {}, answer: { received: whole, refused: whole } } },
};

const error = {
  type: "object",
  required: ["error"],
  properties: { error: { type: "object", required: ["code", "message"], properties: { code: text, message: text } } },
};

/** The document, with the schema's models. */
export function openApi(schema: Schema): Json {
  const models = [...schema.models.values()].filter(({ inCloud }) => inCloud).map(({ name }) => name);
  return {
    openapi: "3.1.0",
    info: {
      title: "Twintable",
      version: config.version,
      description: `Schema ${schema.version}: ${models.join(", ")}.`,
      // For `doctor`, which compares it with a device's.
      "x-schema": { version: schema.version, fingerprint: schema.fingerprint },
    },
    security: [{ bearer: [] }],
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
      schemas: { Error: error },
    },
    paths: Object.fromEntries(
      Object.entries(operations).map(([path, methods]) => [
        path,
        Object.fromEntries(Object.entries(methods).map(([method, one]) => [method, operationOf(path, one)])),
      ]),
    ),
  };
}

function operationOf(
  path: string,
  { summary, query = {}, headers = {}, body, answer, status = 200, refusals = {}, open: isOpen }: Operation,
): Json {
  const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: text,
  }));
  const parameters = (all: Parameters, place: string) =>
    Object.entries(all).map(([name, description]) => ({
      name: name.replace(/!$/, ""),
      in: place,
      ...(name.endsWith("!") ? { required: true } : {}),
      description,
      schema: text,
    }));
  const refused = {
    400: "The request is wrong.",
    ...(isOpen ? {} : { 401: "A token is required.", 403: "This token may not." }),
    ...refusals,
  };
  return {
    summary,
    ...(isOpen ? { security: [] } : {}),
    parameters: [...named, ...parameters(query, "query"), ...parameters(headers, "header")],
    ...(body ? { requestBody: { required: true, content: { "application/json": { schema: objectOf(body) } } } } : {}),
    responses: {
      [status]: { description: summary, content: contentOf(answer) },
      ...Object.fromEntries(
        Object.entries(refused).map(([code, description]) => [code, {
          description,
          content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
        }]),
      ),
    },
  };
}

function contentOf(answer: Operation["answer"]): Json {
  if (typeof answer === "string") return { [answer]: { schema: text } };
  return {
    "application/json": { schema: answer ? objectOf(answer) : open },
  };
}

function objectOf(properties: Readonly<Record<string, Json>>): Json {
  const required = Object.keys(properties).filter((name) => name.endsWith("!")).map((name) => name.slice(0, -1));
  return {
    type: "object",
    ...(required.length > 0 ? { required } : {}),
    properties: Object.fromEntries(Object.entries(properties).map(([name, one]) => [name.replace(/!$/, ""), one])),
  };
}
