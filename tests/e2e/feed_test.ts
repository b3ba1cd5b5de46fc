/** The feed over real brokers: what one worker handles is seen at another, and how far each change gets, within moments. */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import { compileSchema } from "../../schema.ts";
import { mosquittoMissing } from "../support/mosquitto.ts";
import { schemaSource } from "../support/report_schema.ts";
import { skipped } from "../support/tools.ts";
import { withTwoWorkers } from "../support/two_workers.ts";
import { until } from "../support/until.ts";

interface Told {
  readonly event: string;
  readonly data: Record<string, unknown>;
  readonly ms: number;
}

/** Listens to a worker's events until it is disposed. */
class Listener implements AsyncDisposable {
  readonly all: Told[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(readonly cloud: Cloud, query = "") {
    this.#done = this.#read(query).catch((error) => {
      if (!this.#abort.signal.aborted) throw error;
    });
  }

  async #read(query: string): Promise<void> {
    const { signal } = this.#abort;
    const response = await fetch(`http://127.0.0.1:${this.cloud.httpPort}/api/events${query}`, { signal });
    let text = "";
    for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
      text += part;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s)));
        text = text.slice(end + 2);
        if (fields.event) this.all.push({ event: fields.event, data: JSON.parse(fields.data), ms: Date.now() });
      }
    }
  }

  find(what: string, fits: (told: Told) => boolean): Promise<Told> {
    return until(what, () => this.all.find(fits));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }
}

const schema = compileSchema(schemaSource);
const identity = { deviceId: "d-1", accountId: "acme" };

async function put(cloud: Cloud, id: string, text: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${cloud.httpPort}/api/items`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "Note", item: { deviceId: "d-1", id, text } }),
  });
  assert.equal(response.status, 200, await response.text());
}

/** A change up and one down, each seen in its stages at `watched`. */
async function bothWays(handles: Cloud, watched: Cloud, url: string, password: string): Promise<void> {
  await using listener = new Listener(watched);
  await listener.find("hello", ({ event }) => event === "hello");
  const agent = await openAgent({
    schema: schemaSource,
    device: "d-1",
    account: "acme",
    path: ":memory:",
    mqtt: url,
    password,
  });
  try {
    await agent.sync({ timeoutMs: 20_000 });
    await listener.find("the device comes", ({ event, data }) => event === "row" && data.device === "d-1");
    agent.model("Note").create({ id: `up ${Math.random()}`, text: "from the device" });
    const up = await listener.find("its change", ({ event, data }) => event === "change" && data.by === "d-1");
    assert.deepEqual([up.data.model, up.data.op], ["Note", "put"]);
    const item = await listener.find("its item", ({ event }) => event === "item");
    assert.deepEqual([(item.data.item as { text: string }).text, (item.data.item as { deviceId: string }).deviceId], [
      "from the device",
      "d-1",
    ]);
    const id = `down ${Math.random()}`;
    await put(handles, id, "from the cloud");
    const down = await listener.find("the cloud's", ({ event, data }) => event === "change" && data.by === "cloud");
    assert.equal(down.data.channel, "device:d-1");
    const logged = await listener.find(
      "it is logged",
      ({ event, data }) => event === "stage" && data.stage === "logged" && data.seq === down.data.seq,
    );
    assert.deepEqual(logged.data.keys, [down.data.key]);
    const seq = down.data.seq as number;
    const there = await listener.find(
      "it is on the device",
      ({ event, data }) =>
        event === "stage" && data.stage === "device" &&
        ((data.reached as Record<string, number>)["device:d-1"] ?? 0) >= seq,
    );
    assert.equal(agent.model("Note").get({ id })?.text, "from the cloud");
    assert.ok(there.ms >= down.ms - 100 && there.ms - down.ms < 10_000, `${there.ms - down.ms} ms`);
    assert.equal(watched.counters().mqttMalformed, 0);
  } finally {
    await agent.close();
  }
}

Deno.test("feed: a worker with the embedded broker tells what it handles, and how far it gets", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:", http: {} });
  const password = await cloud.registry.add("d-1", "acme");
  await bothWays(cloud, cloud, `mqtt://127.0.0.1:${cloud.mqttPort}`, password);
});

Deno.test({
  name: "feed: of two workers on Mosquitto each tells what either handles",
  ignore: skipped(mosquittoMissing),
  fn: async () => {
    await withTwoWorkers(schema, identity, async ({ a, b, mqtt }) => {
      await bothWays(a, b, mqtt, "t");
      await bothWays(b, a, mqtt, "t");
    });
  },
});

Deno.test("feed: nobody watches, nobody is asked: entries carry no question, and devices say nothing", async () => {
  await using cloud = await startCloud({ schema, table: "embedded::memory:", http: {} });
  const password = await cloud.registry.add("d-1", "acme");
  const mqtt = `mqtt://127.0.0.1:${cloud.mqttPort}`;
  const agent = await openAgent({
    schema: schemaSource,
    device: "d-1",
    account: "acme",
    path: ":memory:",
    mqtt,
    password,
  });
  try {
    await agent.sync({ timeoutMs: 20_000 });
    await put(cloud, "down", "x");
    await until("it comes down", () => agent.model("Note").get({ id: "down" }));
    const received = cloud.counters().mqttReceived!;
    await put(cloud, "down2", "x");
    await until("it comes down", () => agent.model("Note").get({ id: "down2" }));
    assert.equal(cloud.counters().mqttReceived, received);
  } finally {
    await agent.close();
  }
});
