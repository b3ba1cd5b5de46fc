/**
 * One trace follows a change from its commit on a device to the table and to another device, as Deno's own OpenTelemetry sends it
 * to a collector over OTLP/HTTP; and where nothing is traced, nothing is sent and every message is as it was.
 */
import assert from "node:assert/strict";
import { serveHttp } from "../../cloud/api/http_server.ts";
import { emitSpan, isTraced, traceOf } from "../../protocol/tracing.ts";
import { freePort } from "../support/mosquitto.ts";
import { Program } from "../support/process.ts";
import { writeSchema } from "../support/schema.ts";
import { connect } from "../support/sql.ts";
import { TempDir } from "../support/temp_dir.ts";
import { until } from "../support/until.ts";

interface SdkOptions {
  readonly startTime: number;
  readonly attributes: object;
}

interface SdkContext {
  getValue(key: symbol): { spanContext(): { readonly traceId: string } };
}

interface SentSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly parentSpanId: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** A collector: what it was sent, of Twintable's own spans. */
async function openCollector() {
  const spans: SentSpan[] = [];
  let requests = 0;
  const server = await serveHttp(async (request) => {
    requests++;
    const body = await request.json();
    if (!new URL(request.url).pathname.endsWith("/v1/traces")) return Response.json({});
    const attributesOf = (list: { key: string; value: Record<string, unknown> }[]) =>
      Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]));
    for (const { resource, scopeSpans } of body.resourceSpans) {
      for (const span of scopeSpans.flatMap(({ spans }: { spans: unknown[] }) => spans)) {
        if (!span.name.startsWith("twintable.")) continue;
        spans.push({
          service: String(attributesOf(resource.attributes)["service.name"]),
          name: span.name,
          traceId: span.traceId,
          parentSpanId: span.parentSpanId,
          startMs: Number(span.startTimeUnixNano) / 1e6,
          endMs: Number(span.endTimeUnixNano) / 1e6,
          attributes: attributesOf(span.attributes),
        });
      }
    }
    return Response.json({});
  }, { host: "127.0.0.1", port: 0 });
  return {
    spans,
    url: `http://127.0.0.1:${server.port}`,
    requests: () => requests,
    async close() {
      server.destroy();
      await server.shutdown().catch(() => {});
    },
  };
}

const schema = {
  version: "1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Note: {
      pk: { type: "string", value: "a#${accountId}" },
      sk: { type: "string", value: "note#${id}" },
      accountId: { type: "string", required: true },
      id: { type: "string", required: true },
      text: { type: "string" },
    },
  },
  process: { Note: { sync: "both" } },
};

Deno.test("trace: one trace follows a change from the commit to the table and to the other device", async () => {
  const collector = await openCollector();
  using dir = new TempDir();
  const file = writeSchema(dir.path, schema), table = `embedded:${dir.path}/cloud.db`, port = await freePort();
  const traced = (service: string) => ({
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_SERVICE_NAME: service,
    OTEL_BSP_SCHEDULE_DELAY: "200",
  });
  const tokenOf = async (device: string) => {
    const add = ["device", "add", device, "--account", "acme", "--table", table, "--schema", file];
    await using program = new Program(add);
    assert.equal(await program.ended(), 0, program.stderr);
    return program.stdout.trim();
  };
  const tokens = { "dev-1": await tokenOf("dev-1"), "dev-2": await tokenOf("dev-2"), "dev-3": await tokenOf("dev-3") };
  await using cloud = new Program(
    ["cloud", "--schema", file, "--table", table, "--broker", "--mqtt-port", String(port)],
    traced("worker"),
  );
  await cloud.printed(/cloud: /);
  const agent = (device: keyof typeof tokens, env: Record<string, string>) =>
    new Program([
      ...["agent", "--schema", file, "--db", `${dir.path}/${device}.db`, "--mqtt", `mqtt://127.0.0.1:${port}`],
      ...["--device", device, "--account", "acme", "--password", tokens[device]],
    ], env);
  await using one = agent("dev-1", traced("one"));
  await using two = agent("dev-2", traced("two"));
  // It takes part in the same changes, and traces nothing.
  await using three = agent("dev-3", {});
  const open = async (device: string) => {
    const path = `${dir.path}/${device}.db`;
    await until(`${device} has its table`, () => {
      try {
        // Before, opening it would make it.
        Deno.statSync(path);
        using db = connect(path);
        return db.prepare('SELECT count(*) FROM "Note"').all().length === 1;
      } catch {
        return false;
      }
    }, 30_000);
    return connect(path);
  };
  using first = await open("dev-1");
  using second = await open("dev-2");
  using third = await open("dev-3");
  // What comes in a snapshot was not passed on to anybody, and is in no trace.
  for (const db of [first, second]) {
    await until("it follows its channels", () => {
      const { connected } = db.prepare("SELECT connected FROM _status").get()!;
      const { n, following } = db.prepare("SELECT count(*) AS n, count(seq) AS following FROM _sync_channels").get()!;
      return connected === 1 && Number(n) > 0 && n === following;
    }, 30_000);
  }
  const began = Date.now();
  first.exec(`INSERT INTO "Note"(id, text) VALUES ('n1', 'hello')`);
  for (const db of [second, third]) {
    await until(
      "it is on the other device",
      () => db.prepare(`SELECT text FROM "Note" WHERE id = 'n1'`).all().length === 1,
      30_000,
    );
  }
  const names = ["apply", "fan_out", "ingest", "send"].map((name) => `twintable.${name}`);
  const ofOne = () => {
    const { traceId } = collector.spans.find(({ name }) => name === "twintable.send") ?? {};
    return collector.spans.filter((span) => span.traceId === traceId);
  };
  await until("all spans are sent", () => new Set(ofOne().map(({ name }) => name)).size === 4, 30_000);
  const spans = ofOne().sort((a, b) => a.name < b.name ? -1 : 1);
  assert.deepEqual(spans.map(({ name }) => name), names);
  assert.deepEqual(spans.map(({ service }) => service), ["two", "worker", "worker", "one"]);
  const [apply, fanOut, ingest, send] = spans as [SentSpan, SentSpan, SentSpan, SentSpan];
  assert.equal(new Set(spans.map(({ parentSpanId }) => parentSpanId)).size, 1);
  // From the commit on: the write and all that followed are within the trace.
  assert.ok(
    send.startMs >= began - 1_000 && send.startMs <= ingest.endMs && apply.endMs >= fanOut.startMs,
    JSON.stringify(spans),
  );
  assert.deepEqual([send.attributes["twintable.code"], apply.attributes["twintable.device"]], ["ok", "dev-2"]);
  // Another change has another trace.
  second.exec(`UPDATE "Note" SET text = 'again' WHERE id = 'n1'`);
  await until(
    "its spans are sent",
    () => collector.spans.some(({ service, name }) => service === "one" && name === "twintable.apply"),
    30_000,
  );
  assert.equal(new Set(collector.spans.map(({ traceId }) => traceId)).size, 2);
  for (const program of [one, two, three, cloud]) await program.stop();
  await collector.close();
});

Deno.test("trace: where nobody has registered OpenTelemetry nothing is done, and an SDK that has is handed each span", () => {
  const key = Symbol.for("opentelemetry.js.api.1"), global = globalThis as { [key: symbol]: unknown };
  const version = ["dev-1#abc", 1_800_000_000_000_000] as const,
    options = {
      ...{ kind: 2, startMs: 5, endMs: 7, attributes: { code: "stale", reason: undefined }, fault: "stale" },
    };
  assert.equal(isTraced(), false);
  emitSpan("send", version, options);
  const told: unknown[] = [];
  const span = { setStatus: (status: unknown) => told.push(status), end: (time: number) => told.push(time) };
  const startSpan = (...[name, { startTime, attributes }, context]: [string, SdkOptions, SdkContext]) => {
    const parent = context.getValue(Symbol.for("OpenTelemetry Context Key SPAN"));
    told.push(name, startTime, attributes, parent.spanContext().traceId);
    return span;
  };
  global[key] = { trace: { getTracer: () => ({ startSpan }) } };
  try {
    assert.equal(isTraced(), true);
    emitSpan("send", version, options);
  } finally {
    delete global[key];
  }
  const { traceId } = traceOf(version);
  const attributes = { "twintable.code": "stale" };
  assert.deepEqual(told, ["twintable.send", 5, attributes, traceId, { code: 2, message: "stale" }, 7]);
});

Deno.test("trace: the ids are made of the version alone, as every build makes them", () => {
  assert.deepEqual(traceOf(["dev-1#abc", 1_800_000_000_000_000]), {
    traceId: "6cf5e046b97beb3f5da5d589c870acc7",
    spanId: "3a8d6aeeaf7dd607",
  });
});
