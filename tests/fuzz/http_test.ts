/**
 * The HTTP API and what AWS hands in, under requests of every shape: an answer of 2xx or 4xx in the documented form, never
 * a fault of the server, and the next good request is served.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { createHandler } from "../../cloud/handler.ts";
import { CloudService } from "../../cloud/sync/service.ts";
import { Decoder, encode } from "../../protocol.ts";
import type { Item } from "../../schema.ts";
import { Fixture, Outbox, schema } from "../cloud/fixture.ts";
import { fuzzSeed, oddJson, runs, type Spoil, spoil, spoiled } from "./mutate.ts";

const token = "t0ken";

class Served implements AsyncDisposable {
  readonly fixture = new Fixture();
  readonly publisher = new Outbox();
  readonly #handler: (request: Request) => Promise<Response>;
  readonly service: CloudService;

  constructor() {
    const { fixture: { tables, now, random }, publisher } = this;
    this.service = new CloudService({ schema, tables, publisher, now, random });
    const { registry } = this.service;
    this.#handler = createHandler({ schema, tables, registry, service: this.service, token, now, random });
  }

  /** Sends a request. Fails where the answer is a server's fault, or no documented one. */
  async send(method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}): Promise<number> {
    const init = {
      method,
      headers: { authorization: `Bearer ${token}`, ...headers },
      ...(body === undefined ? {} : { body }),
    };
    const response = await this.#handler(new Request(`http://cloud${path}`, init));
    const text = await response.text();
    const what = `${method} ${path} ${String(body).slice(0, 500)}: ${response.status} ${text} (FUZZ_SEED=${fuzzSeed})`;
    assert.ok(response.status < 500, what);
    if (response.status >= 400) {
      const { error } = JSON.parse(text);
      assert.deepEqual([typeof error.code, typeof error.message], ["string", "string"], what);
    }
    return response.status;
  }

  /** A good request is served as if nothing had been. */
  async good(): Promise<void> {
    const body = JSON.stringify({ model: "Down", item: { deviceId: "d1", id: "good", v: 1 } });
    assert.equal(await this.send("PUT", "/api/items", body), 200);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fixture[Symbol.asyncDispose]();
  }
}

function typed(value: unknown): unknown {
  if (typeof value === "number") return { N: String(value) };
  return { S: String(value) };
}

/** A valid event of a stream, with attributes of every type of DynamoDB. */
function event(item: Item): unknown {
  const image = Object.fromEntries(Object.entries(item).map(([name, value]) => [name, typed(value)]));
  const every = {
    ...{
      a: { BOOL: true },
      b: { NULL: true },
      c: { L: [{ S: "x" }] },
      d: { M: { e: { N: "1" } } },
      f: { SS: ["x", "y"] },
    },
    ...{
      g: { NS: ["1", "2.5"] },
      h: { BS: ["AQI="] },
      i: { B: "AQI=" },
      j: { N: "12345678901234567890123456789012345678" },
    },
  };
  return {
    Records: [{
      eventID: "1",
      eventName: "MODIFY",
      eventSource: "aws:dynamodb",
      dynamodb: {
        Keys: { pk: image.pk, sk: image.sk },
        OldImage: image,
        NewImage: { ...image, ...every },
        SequenceNumber: "000000000000000000001",
        StreamViewType: "NEW_AND_OLD_IMAGES",
      },
    }],
  };
}

/** No name in it is one of tagged JSON's: such a map has another form (`schema/values.ts`). */
function isUntagged(value: unknown): boolean {
  return !JSON.stringify(value).includes('"$');
}

const spoils = fc.array(spoil, { minLength: 1, maxLength: 4 });

Deno.test("fuzz: whatever is put, deleted or asked for over HTTP is answered with 2xx or 4xx", async () => {
  await using served = new Served();
  const body = { model: "Newest", item: { deviceId: "d1", id: "x", v: 1, updated: "2026-01-01T00:00:00.000Z" } };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom("PUT", "DELETE"), spoils, async (method, list: Spoil[]) => {
      await served.send(method, "/api/items", JSON.stringify(spoiled(body, list)));
    }),
    runs(300),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("PUT", "DELETE"),
      fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.json()),
      async (m, b) => {
        await served.send(m, "/api/items", b as BodyInit);
      },
    ),
    runs(150),
  );
  const name = fc.constantFrom("model", "device", "account", "next", "limit", "x");
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.constantFrom("Down", "Account", "d1", "0", "1e9", "W10"),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("/api/items", "/api/devices"),
      fc.array(fc.tuple(name, text)),
      async (path, query) => {
        await served.send("GET", `${path}?${new URLSearchParams(query.map(([n, t]) => [n, t.toWellFormed()]))}`);
      },
    ),
    runs(200),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom("GET", "POST"), text, oddJson, async (method, device, odd) => {
      const path = `/api/devices/${encodeURIComponent(device.toWellFormed())}/verify`;
      await served.send(method, path, method === "POST" ? JSON.stringify(odd) ?? "" : undefined);
    }),
    runs(100),
  );
  await served.good();
});

Deno.test("fuzz: a stream's event of any shape is passed on, or refused as a whole", async () => {
  await using served = new Served();
  const item = await served.fixture.put("Down", { id: "a", v: 1 });
  assert.equal(await served.send("POST", "/stream", JSON.stringify(event(item))), 200);
  await fc.assert(
    fc.asyncProperty(spoils, async (list) => {
      await served.send("POST", "/stream", JSON.stringify(spoiled(event(item), list)));
    }),
    runs(500),
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.json()), async (b) => {
      await served.send("POST", "/stream", b as BodyInit);
    }),
    runs(150),
  );
  await served.good();
});

Deno.test("fuzz: what a broker forwards, of any shape, is taken or refused", async () => {
  await using served = new Served();
  await served.service.registry.add("d1", "acme");
  const time = served.fixture.now();
  const changes = [{ model: "Plain", op: "create", stamp: time * 1000, item: { id: "x", v: 1 } }] as const;
  const messages = [
    { type: "up", batch: "i/1", sent: time, changes },
    { type: "sync", request: "i/1", channels: [{ channel: "device:d1", epoch: "e", seq: 1 }] },
    { type: "fetch", request: "i/2", keys: [["d#d1", "Plain#x"]] },
    { type: "compare", request: "i/3", channel: "device:d1", each: true, after: '["primary","d#d1","",""]' },
    { type: "probe", request: "i/4", model: "Up", attributes: ["v"], keys: [["d#d1", "Up#x"]] },
    { type: "verified", request: "i/5", report: { differences: 1 } },
  ] as const;
  const topic = { "x-twintable-topic": "tt/d/d1/sync" };
  for (const message of messages) {
    assert.equal(await served.send("POST", "/sync", JSON.stringify({ v: 1, ...message }), topic), 200);
  }
  assert.equal(served.service.metrics().messagesReceived, messages.length);
  await fc.assert(
    fc.asyncProperty(fc.nat(), spoils, fc.boolean(), async (n, list, enveloped) => {
      const message = { v: 1, ...messages[n % messages.length]! };
      const body = enveloped ? spoiled([{ topic: "tt/d/d1/up", payload: message }], list) : spoiled(message, list);
      const headers: Record<string, string> = enveloped ? {} : topic;
      await served.send("POST", n % 2 ? "/up" : "/sync", JSON.stringify(body) ?? "", headers);
    }),
    runs(500),
  );
  // What was answered can be read by a device.
  for (const message of served.publisher.take()) {
    for (const payload of encode(message)) new Decoder({ now: () => time }).accept(payload, "down");
  }
  await served.good();
});

Deno.test("fuzz: items that no schema describes go down as messages that a device can read, or not at all", async () => {
  await using served = new Served();
  const { fixture, service } = served;
  const value = fc.oneof(
    oddJson.map((v) => JSON.parse(JSON.stringify(v ?? null))).filter(isUntagged),
    fc.constantFrom({ $n: "1".repeat(38) }, { $b: "AQI=" }, { $ss: ["a"] }),
  );
  const names = ["v", "updated", "id", "deviceId", "_type", "_source", "_stamp", "x", "gs1pk"];
  let n = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 5 }),
      fc.constantFrom("Down", "Newest"),
      async (odd, model) => {
        const whole = { _type: model, deviceId: "d1", id: `k${++n}`, pk: "d#d1", sk: `${model}#k${n}` };
        try {
          await fixture.tables.data.write([{
            op: "put",
            item: { ...whole, ...odd, pk: whole.pk, sk: whole.sk } as Item,
          }]);
        } catch {
          // The table itself does not take it.
          return;
        }
        await service.fanOutRecords(await fixture.records(), new AbortController().signal);
        await service.receive("d1", { type: "fetch", request: "i/1", keys: [[whole.pk, whole.sk]] });
        await service.receive("d1", { type: "sync", request: "i/2", channels: [{ channel: "device:d1" }] });
        for (const message of served.publisher.take()) {
          for (const payload of encode(message)) new Decoder({ now: fixture.now }).accept(payload, "down");
        }
      },
    ),
    runs(200),
  );
  assert.equal(service.metrics().messagesFailed, 0);
  assert.equal(service.metrics().recordsDropped, 0);
});
