/** The HTTP publishers against a double that looks at every byte, and the choice of a publisher by its URL. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { MqttPublisher } from "../../../cloud/publishers/mqtt.ts";
import { EmqxPublisher } from "../../../cloud/publishers/emqx.ts";
import { IotDataPublisher } from "../../../cloud/publishers/iot_data.ts";
import { openPublisher } from "../../../cloud/publishers/open.ts";
import { Decoder, type FromCloud } from "../../../protocol.ts";
import { SyncError } from "../../../schema.ts";
import { assertSigned } from "../../support/sigv4.ts";
import { until } from "../../support/until.ts";
import { BrokerDouble, emqxAnswer, iotPayloadMax } from "./double.ts";

const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret/with+signs", sessionToken: "session==" };
const now = () => Date.UTC(2026, 1, 3, 4, 5, 6);
const message: FromCloud = { type: "time", request: "k/1", time: 1_700_000_000_000 };
/** Larger than one payload of 2 KB, with characters of several bytes. */
const large: FromCloud = {
  type: "items",
  request: "k/2",
  entries: [{ key: ["h", "s"], current: { model: "M", item: { text: "ünïcödé ".repeat(1000) } } }],
  time: 1,
};

Deno.test("publishers: AWS IoT Core gets the payload as it is on the encoded topic, signed for iotdata", async () => {
  await using broker = new BrokerDouble();
  const publisher = new IotDataPublisher({
    endpoint: `http://${broker.host}`,
    region: "eu-west-1",
    credentials,
    now,
  });
  await publisher.publish({ device: "dev:1" }, message);
  await publisher.publish({ account: "acme" }, message);
  await publisher.publish("all", message);
  assert.deepEqual(broker.requests.map(({ method, target }) => `${method} ${target}`), [
    "POST /topics/tt%2Fd%2Fdev%3A1%2Fdown?qos=1",
    "POST /topics/tt%2Fa%2Facme?qos=1",
    "POST /topics/tt%2Fall?qos=1",
  ]);
  for (const request of broker.requests) {
    assert.equal(request.headers.get("x-amz-date"), "20260203T040506Z");
    assert.equal(request.headers.get("x-amz-security-token"), credentials.sessionToken);
    assertSigned(request, { host: broker.host, ...credentials, region: "eu-west-1", service: "iotdata" });
    assert.deepEqual(new Decoder({ now }).accept(request.body, "down"), message);
  }
  assert.deepEqual(publisher.counters.published, 3);
  await publisher.close();
});

Deno.test("publishers: EMQX gets base64 with QoS 1 and the API key; nobody listening is a success", async () => {
  await using broker = new BrokerDouble();
  broker.answer = () => Response.json({ reason_code: 16, message: "no_matching_subscribers" }, { status: 202 });
  const publisher = await openPublisher(`emqx+http://key%40x:s%2Fcret@${broker.host}/api/v5/publish`, {
    prefix: "x/y",
  });
  await publisher.publish({ device: "d1" }, message);
  const [request] = broker.requests;
  assert.equal(`${request!.method} ${request!.target}`, "POST /api/v5/publish");
  assert.equal(
    Buffer.from(request!.headers.get("authorization")!.slice("Basic ".length), "base64").toString(),
    "key@x:s/cret",
  );
  assert.match(request!.headers.get("content-type")!, /^application\/json/);
  const { payload, ...rest } = JSON.parse(new TextDecoder().decode(request!.body));
  assert.deepEqual(rest, { topic: "x/y/d/d1/down", qos: 1, retain: false, payload_encoding: "base64" });
  assert.deepEqual(new Decoder({ now }).accept(Buffer.from(payload, "base64"), "down"), message);
  await publisher.close();
});

Deno.test("publishers: a large message travels in parts, each a request of its own", async () => {
  await using broker = new BrokerDouble();
  const publisher = new EmqxPublisher({
    url: `http://${broker.host}/p`,
    key: "k",
    secret: "s",
    payloadBytesMax: 2048,
  });
  await publisher.publish("all", large);
  assert.ok(broker.requests.length > 3);
  const decoder = new Decoder({ now });
  const whole = broker.requests.map(({ body }) => {
    const bytes = Buffer.from(JSON.parse(new TextDecoder().decode(body)).payload, "base64");
    assert.ok(bytes.length <= 2048);
    return decoder.accept(bytes, "down");
  }).filter((one) => one !== undefined);
  assert.deepEqual(whole, [large]);
  await publisher.close();
});

Deno.test("publishers: an answer for a device that reads it is compressed, through either API", async () => {
  await using broker = new BrokerDouble();
  const iot = new IotDataPublisher({ endpoint: `http://${broker.host}`, region: "eu-west-1", credentials, now });
  const emqx = new EmqxPublisher({ url: `http://${broker.host}/p`, key: "k", secret: "s" });
  for (const publisher of [iot, emqx]) await publisher.publish({ device: "d1" }, large, { deflate: true });
  const [raw, wrapped] = broker.requests.map(({ body }) => body);
  const payloads = [raw!, Buffer.from(JSON.parse(new TextDecoder().decode(wrapped)).payload, "base64")];
  for (const payload of payloads) {
    assert.equal(payload[0], 0x21);
    assert.deepEqual(new Decoder({ now }).accept(payload, "down"), large);
  }
  await iot.close();
  await emqx.close();
});

Deno.test("publishers: what passes by itself is unavailable and retryable, what doesn't is not", async () => {
  await using broker = new BrokerDouble();
  const publisher = new EmqxPublisher({ url: `http://${broker.host}/p`, key: "k", secret: "s", timeoutMs: 100 });
  const codeOf = async (answer: () => Response | Promise<Response>) => {
    broker.answer = answer;
    const error = await publisher.publish("all", message).then(() => undefined, (error) => error);
    assert.ok(error instanceof SyncError, String(error));
    assert.equal(error.message.includes("secret"), false);
    return [error.code, error.retryable];
  };
  const status = (status: number) => () => new Response("why", { status });
  for (const passing of [408, 429, 500, 503]) {
    assert.deepEqual(await codeOf(status(passing)), ["unavailable", true], String(passing));
  }
  for (const denied of [401, 403]) assert.deepEqual(await codeOf(status(denied)), ["denied", false]);
  for (const refused of [301, 400, 404, 413]) {
    assert.deepEqual(await codeOf(status(refused)), ["refused", false], String(refused));
  }
  const never = Promise.withResolvers<Response>();
  assert.deepEqual(await codeOf(() => never.promise), ["unavailable", true]);
  never.resolve(new Response());
  assert.equal(publisher.counters.published, 0);
  assert.equal(publisher.counters.failed, 11);
  await publisher.close();
  await assert.rejects(publisher.publish("all", message), SyncError);
});

Deno.test("publishers: a proxy's page with a status of success published nothing", async () => {
  await using broker = new BrokerDouble();
  const iot = new IotDataPublisher({ endpoint: `http://${broker.host}`, region: "eu-west-1", credentials, now });
  const emqx = new EmqxPublisher({ url: `http://${broker.host}/p`, key: "k", secret: "s" });
  const html = "<html><title>Sign in</title></html>";
  const pages = [html, "ok", '"id"', "[1", "null", "5"];
  for (const publisher of [iot, emqx]) {
    // EMQX always says something; AWS IoT Core may say nothing. `{}` and lists name no message.
    for (const page of publisher === emqx ? [...pages, "", "{}", "[]", '{"id":5}'] : pages) {
      broker.answer = () => new Response(page);
      await assert.rejects(publisher.publish("all", message), (error) => {
        assert.ok(error instanceof SyncError && error.code === "unavailable" && error.retryable, String(error));
        assert.match(error.message, /what answered 200 for tt\/all is not/);
        return true;
      }, page);
    }
    assert.equal(publisher.counters.published, 0);
    broker.answer = publisher === emqx
      ? () => Response.json({ reason_code: 16 }, { status: 202 })
      : () => new Response("");
    await publisher.publish("all", message);
    await publisher.close();
  }
});

Deno.test("publishers: a broker that is not there is unavailable", async () => {
  const publisher = new EmqxPublisher({ url: "http://127.0.0.1:1/p", key: "k", secret: "s" });
  await assert.rejects(
    publisher.publish("all", message),
    (error) => error instanceof SyncError && error.code === "unavailable" && error.retryable,
  );
  await publisher.close();
});

Deno.test("publishers: no more requests are under way at once than it was told", async () => {
  await using broker = new BrokerDouble();
  let running = 0, most = 0;
  broker.answer = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running--;
    return emqxAnswer();
  };
  const publisher = new EmqxPublisher({ url: `http://${broker.host}/p`, key: "k", secret: "s", concurrency: 3 });
  await Promise.all(Array.from({ length: 20 }, (_, i) => publisher.publish({ device: `d${i}` }, message)));
  assert.deepEqual([most, broker.requests.length], [3, 20]);
  await publisher.close();
});

Deno.test("publishers: the URL says which one it is, and what is wrong with it without the password", async () => {
  // So that the default chain of credentials asks nobody.
  const before = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map((name) => [name, Deno.env.get(name)] as const);
  for (const [name] of before) Deno.env.set(name, "AKIDEXAMPLE");
  try {
    await using broker = new BrokerDouble();
    const iot = await openPublisher(`http+iot://${broker.host}?region=eu-west-1`);
    assert.ok(iot instanceof IotDataPublisher);
    await iot.publish("all", message);
    assert.match(broker.requests[0]!.headers.get("authorization")!, /\/eu-west-1\/iotdata\/aws4_request/);
    await iot.close();
    for (const url of ["iot-data", "https+iot"].map((s) => `${s}://abc-ats.iot.eu-north-1.amazonaws.com`)) {
      const publisher = await openPublisher(url);
      assert.ok(publisher instanceof IotDataPublisher);
      await publisher.close();
    }
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  }
  const mqtt = await openPublisher("mqtt://u:p@127.0.0.1:1", { connectTimeoutMs: 1 });
  assert.ok(mqtt instanceof MqttPublisher);
  await until("the connection was tried", () => (mqtt as MqttPublisher).lastError);
  await mqtt.close();
  const wrong = [
    "",
    "http://u:hush@host/",
    "iot-data://hush.example.com",
    "emqx+https://host/api/v5/publish",
    "mqtt://",
    "emqx+https://:hush@host/p",
  ];
  for (const url of wrong) {
    await assert.rejects(openPublisher(url), (error) => {
      assert.ok(error instanceof SyncError && error.code === "config", `${url}: ${error}`);
      assert.equal(error.message.includes("hush"), false, error.message);
      return true;
    }, url);
  }
});

Deno.test("publishers: the double refuses what the services refuse, and a publisher says what and why", async () => {
  await using broker = new BrokerDouble();
  const iot = new IotDataPublisher({ endpoint: `http://${broker.host}`, region: "eu-west-1", credentials, now });
  const emqx = new EmqxPublisher({ url: `http://${broker.host}/p`, key: "k", secret: "s" });
  const told = (publishing: Promise<void>) =>
    publishing.then(() => "taken", (error: SyncError) => `${error.code}${error.retryable ? ", later" : ""}`);
  const payload = new Uint8Array(iotPayloadMax);
  assert.equal(await told(iot.publishRaw("a/b/c/d/e/f/g/h", payload)), "taken");
  assert.equal(await told(iot.publishRaw("a/b/c/d/e/f/g/h/i", new Uint8Array())), "refused");
  assert.equal(await told(iot.publishRaw("a", new Uint8Array(iotPayloadMax + 1))), "refused");
  assert.equal(await told(iot.publishRaw("é".repeat(129), new Uint8Array())), "refused");
  for (const publisher of [iot, emqx]) {
    assert.equal(await told(publisher.publishRaw("a/+", new Uint8Array())), "refused");
    assert.equal(await told(publisher.publishRaw("a", new Uint8Array())), "taken");
    // What is retained of a device is cleared by an empty message that is retained, too.
    await publisher.forget("d1");
  }
  const [cleared, emptied] = broker.requests.filter(({ target, body }) =>
    /retain=true/.test(target) || /"retain":true/.test(new TextDecoder().decode(body))
  );
  assert.equal(cleared!.target, "/topics/tt%2Fd%2Fd1%2Fpresence?qos=1&retain=true");
  assert.equal(JSON.parse(new TextDecoder().decode(emptied!.body)).payload, "");
  // By default a message is in parts that each service takes.
  const text = { a: "ü".repeat(iotPayloadMax) };
  const items: FromCloud = {
    ...{ type: "items", request: "k/3", time: 1 },
    entries: [{ key: ["h", "s"], current: { model: "M", item: { text } } }],
  };
  for (const publisher of [iot, emqx]) await publisher.publish({ device: "d1" }, items);
  for (const publisher of [iot, emqx]) await publisher.close();
});
