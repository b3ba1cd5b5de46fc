import assert from "node:assert/strict";
import { ApiError } from "../../cloud/api/errors.ts";
import { IotDestinations } from "../../cloud/api/iot_destination.ts";
import { Api } from "./api/fixture.ts";

Deno.test("handler: health is open, and everything else wants the token where there is one", async () => {
  await using api = new Api("s3cret");
  assert.deepEqual([(await api.call("GET", "/healthz")).status, (await api.call("GET", "/healthz")).text], [
    200,
    "ok\n",
  ]);
  const paths = [
    ["GET", "/api/items?model=Setting"],
    ["PUT", "/api/items"],
    ["DELETE", "/api/items"],
    ["GET", "/api/devices"],
    ["GET", "/metrics"],
    ["GET", "/api/none"],
  ];
  for (const [method, path] of paths) {
    for (const authorization of ["", "Bearer wrong", "s3cret", "Bearer s3cret2", "Basic s3cret"]) {
      const { status, json } = await api.call(method!, path!, undefined, authorization ? { authorization } : {});
      assert.deepEqual([status, json.error.code], [401, "unauthorized"], `${method} ${path} ${authorization}`);
    }
  }
  const headers = { authorization: "Bearer s3cret" };
  assert.equal((await api.call("GET", "/api/items?model=Setting", undefined, headers)).status, 200);
});

Deno.test("handler: an item is put with defaults, ids and timestamps, listed as it was, and deleted by its key", async () => {
  await using api = new Api();
  const given = {
    deviceId: "d1",
    name: "interval",
    value: 5,
    big: "12345678901234567890",
    at: "2026-01-02T03:04:05.678Z",
    data: "AAEC",
    tags: ["a", "b"],
    secret: "hush",
    extra: { unknown: [1] },
  };
  const { status, json } = await api.call("PUT", "/api/items", { model: "Setting", item: given, unknown: "keep" });
  assert.equal(status, 200, JSON.stringify(json));
  const { secret: _secret, ...visible } = given;
  const moment = new Date(api.now()).toISOString();
  const expected = { ...visible, level: "low", created: moment, updated: moment };
  const { pk: _pk, sk: _sk, ...item } = json.item;
  assert.deepEqual(item, expected);
  const [stored] = await api.tables.data.get([["device#d1", "setting#interval"]]);
  assert.deepEqual([stored?.secret, stored?._type, stored?._source, stored?._stamp], [
    "hush",
    "Setting",
    undefined,
    undefined,
  ]);
  const listed = await api.call("GET", "/api/items?model=Setting&device=d1");
  assert.deepEqual(listed.json, { items: [json.item], digests: [json.digest] });
  const deleted = await api.call("DELETE", "/api/items", {
    model: "Setting",
    item: { deviceId: "d1", name: "interval" },
  });
  assert.deepEqual([deleted.status, deleted.json.item.value], [200, 5]);
  const again = await api.call("DELETE", "/api/items", {
    model: "Setting",
    item: { deviceId: "d1", name: "interval" },
  });
  assert.deepEqual([again.status, again.json], [200, { item: null }]);
  assert.deepEqual((await api.call("GET", "/api/items?model=Setting&device=d1")).json, { items: [], digests: [] });
});

Deno.test("handler: items are listed by their device's account, and what can't be filtered by is refused", async () => {
  await using api = new Api();
  await api.registry.add("d1", "acme");
  await api.registry.add("d2", "other");
  for (const deviceId of ["d1", "d2", "unknown"]) await api.put("Setting", { deviceId, name: "interval", value: 1 });
  await api.put("Note", { day: 1, accountId: "acme" });
  await api.put("Note", { day: 1, accountId: "other" });
  const devices = async (query: string) => {
    const { status, json } = await api.call("GET", `/api/items?model=Setting&${query}`);
    assert.equal(status, 200, JSON.stringify(json));
    return json.items.map((item: { deviceId: string }) => item.deviceId);
  };
  assert.deepEqual(await devices("account=acme"), ["d1"]);
  assert.deepEqual(await devices("device=d2&account=other"), ["d2"]);
  assert.deepEqual(await devices("device=d2&account=acme"), []);
  assert.equal((await api.call("GET", "/api/items?model=Note&account=acme")).json.items.length, 1);
  for (
    const [query, message] of [
      ["model=Note&device=d1", /Note items name no device/],
      ["model=Setting&devcie=d1", /unknown parameter "devcie"/],
    ] as const
  ) {
    const { status, json } = await api.call("GET", `/api/items?${query}`);
    assert.equal(status, 400);
    assert.match(JSON.stringify(json), new RegExp(message.source.replaceAll('"', '\\\\"')));
  }
});

Deno.test("handler: a put replaces a device's version without claiming to be it", async () => {
  await using api = new Api();
  const item = {
    pk: "device#d1",
    sk: "setting#x",
    _type: "Setting",
    deviceId: "d1",
    name: "x",
    value: 1,
    _source: "d1#i",
    _stamp: 5,
  };
  await api.tables.data.write([{ op: "put", item }]);
  await api.put("Setting", { deviceId: "d1", name: "x", value: 2, _source: "d1#i", _stamp: 5 });
  const [stored] = await api.tables.data.get([["device#d1", "setting#x"]]);
  assert.deepEqual([stored?.value, stored?._source, stored?._stamp], [2, undefined, undefined]);
});

Deno.test("handler: generated ids, numbers in keys, and a model listed by scan with a filter", async () => {
  await using api = new Api();
  const { json } = await api.put("Note", { day: 7, accountId: "acme" });
  assert.match(json.item.id, /^[0-9A-Z]{26}$/);
  await api.put("Note", { day: 8, accountId: "rival" });
  await api.put("Setting", { deviceId: "d1", name: "x" });
  const all = await api.call("GET", "/api/items?model=Note");
  assert.deepEqual(all.json.items.map(({ day }: { day: number }) => day), [7, 8]);
  const acme = await api.call("GET", "/api/items?model=Note&account=acme");
  assert.deepEqual(acme.json.items.map(({ day }: { day: number }) => day), [7]);
  const gone = await api.call("DELETE", "/api/items", { model: "Note", item: { day: 7, id: json.item.id } });
  assert.equal(gone.json.item.id, json.item.id);
});

Deno.test("handler: pages give each item once, of a device and of all", async () => {
  await using api = new Api();
  for (let i = 0; i < 25; i++) await api.put("Setting", { deviceId: `d${i % 2}`, name: `n${i}` });
  await api.put("Note", { day: 1 });
  for (const [query, count] of [["", 25], ["&device=d0", 13], ["&device=d9", 0]] as const) {
    const names: string[] = [];
    let next = "";
    do {
      const { status, json } = await api.call("GET", `/api/items?model=Setting&limit=4${query}${next}`);
      assert.equal(status, 200);
      assert.ok(json.items.length <= 4);
      names.push(...json.items.map(({ name }: { name: string }) => name));
      next = json.next === undefined ? "" : `&next=${encodeURIComponent(json.next)}`;
    } while (next !== "");
    assert.equal(names.length, count);
    assert.equal(new Set(names).size, count);
  }
});

Deno.test("handler: what is wrong with a request is said with a status and a code", async () => {
  await using api = new Api();
  const setting = (item: unknown) => ({ model: "Setting", item });
  const cases: [string, string, unknown, number, string][] = [
    ["GET", "/nowhere", undefined, 404, "not-found"],
    ["GET", "/api/items", undefined, 400, "invalid"],
    ["GET", "/api/items?model=None", undefined, 404, "not-found"],
    ["GET", "/api/items?model=Private", undefined, 400, "invalid"],
    ["GET", "/api/items?model=Setting&device=a%2Fb", undefined, 400, "invalid"],
    ["GET", "/api/items?model=Setting&limit=0", undefined, 400, "invalid"],
    ["GET", "/api/items?model=Setting&limit=x", undefined, 400, "invalid"],
    ["GET", "/api/items?model=Setting&next=%21", undefined, 400, "invalid"],
    ["GET", "/api/items?model=Setting&next=e30=", undefined, 400, "invalid"],
    ["PUT", "/api/items", "{", 400, "invalid"],
    ["PUT", "/api/items", "[]", 400, "invalid"],
    ["PUT", "/api/items", {}, 400, "invalid"],
    ["PUT", "/api/items", { model: "None", item: {} }, 404, "not-found"],
    ["PUT", "/api/items", setting(undefined), 400, "invalid"],
    ["PUT", "/api/items", setting({ name: "x" }), 400, "invalid"],
    ["PUT", "/api/items", setting({ deviceId: "a/b", name: "x" }), 400, "invalid"],
    ["PUT", "/api/items", setting({ deviceId: "d1", name: "x", value: "many" }), 400, "invalid"],
    ["PUT", "/api/items", setting({ deviceId: "d1", name: "x", level: "middle" }), 400, "invalid"],
    ["PUT", "/api/items", setting({ deviceId: "d1", name: "x", vlaue: 1 }), 400, "invalid"],
    [
      "PUT",
      "/api/items",
      { ...setting({ deviceId: "d1", name: "x", text: "x".repeat(420_000) }), unknown: "keep" },
      413,
      "too-large",
    ],
    ["PUT", "/api/items", "x".repeat(3_000_000), 413, "too-large"],
    ["DELETE", "/api/items", setting({ deviceId: "d1" }), 400, "invalid"],
    ["DELETE", "/api/items", setting("x"), 400, "invalid"],
  ];
  for (const [method, path, body, status, code] of cases) {
    const { json, ...answer } = await api.call(method, path, body);
    assert.deepEqual(
      [answer.status, json?.error.code],
      [status, code],
      `${method} ${path} ${JSON.stringify(body)?.slice(0, 80)}`,
    );
    assert.match(json.error.message, /\w+ \w+/);
  }
  assert.deepEqual((await api.tables.data.scan({ limit: 10 })).items, []);
});

Deno.test("handler: a table that is away gives 503, and a fault of ours 500 without its inside", async () => {
  await using api = new Api();
  await api.tables.close();
  const { status, json } = await api.call("GET", "/api/items?model=Setting");
  assert.ok(status >= 500, String(status));
  assert.match(json.error.code, /\w/);
});

Deno.test("handler: devices are listed with their account and without their token", async () => {
  await using api = new Api();
  const token = await api.registry.add("d1", "acme");
  const { json, text } = await api.call("GET", "/api/devices");
  assert.deepEqual(json, { devices: [{ deviceId: "d1", accountId: "acme", createdMs: api.now() }] });
  assert.equal(text.includes(token), false);
});

Deno.test("handler: metrics are Prometheus text", async () => {
  await using api = new Api();
  const { text } = await api.call("GET", "/metrics");
  assert.match(
    text,
    /^# HELP twintable_messages_received_total Messages .*\.\n# TYPE twintable_messages_received_total counter\ntwintable_messages_received_total 0\n/m,
  );
  assert.match(text, /^twintable_build_info\{version="[^"]+",schema="[^"]+"\} 1$/m);
  for (const line of text.trim().split("\n").filter((line) => line !== "")) {
    assert.match(line, /^(# (HELP|TYPE) twintable_\w+ .*|twintable_\w+(\{.*\})? [-+.e\d]+)$/);
  }
});

Deno.test("handler: a destination of AWS IoT is confirmed without the token at AWS's own address alone", async () => {
  const asked: string[] = [];
  let nowMs = 0, answer = () => new Response("ok");
  const destinations = new IotDestinations(() => nowMs, (url) => {
    asked.push(String(url));
    return Promise.resolve(answer());
  });
  const confirmation = (enableUrl: unknown) => ({ messageType: "DestinationConfirmation", arn: "arn:x", enableUrl });
  const own = "https://iot.eu-west-1.amazonaws.com/confirmdestination/AbC-_%2F=";
  const status = (code: number) => (error: unknown) => error instanceof ApiError && error.status === code;
  for (
    const url of [
      "http://169.254.169.254/latest",
      "https://iot.eu-west-1.amazonaws.com.evil.example/confirmdestination/x",
      "https://iot.eu-west-1.amazonaws.com@evil.example/confirmdestination/x",
      "https://iot.eu-west-1.amazonaws.com/things/x",
      `${own}?x=1`,
      7,
      undefined,
    ]
  ) {
    await assert.rejects(destinations.confirm(confirmation(url), false), status(400), String(url));
  }
  assert.deepEqual(asked, []);
  await destinations.confirm(confirmation(own), false);
  await assert.rejects(destinations.confirm(confirmation(own), false), status(429), "strangers are slowed down");
  await destinations.confirm(confirmation("http://127.0.0.1:1/enable"), true);
  assert.deepEqual(asked, [own, "http://127.0.0.1:1/enable"]);
  nowMs += 10_000;
  answer = () => new Response("no", { status: 403 });
  await assert.rejects(destinations.confirm(confirmation(own), false), status(502));
});

Deno.test("handler: a confirmation is told by its header or body, and lets nothing else in without the token", async () => {
  await using api = new Api("s3cret");
  const body = JSON.stringify({ messageType: "DestinationConfirmation", enableUrl: "https://evil.example/x" });
  const post = async (path: string, text: string, headers: Record<string, string> = {}) => {
    const length = String(new TextEncoder().encode(text).length);
    return (await api.call("POST", path, text, { "content-length": length, ...headers })).status;
  };
  const named = { "x-amz-rules-engine-message-type": "DestinationConfirmation" };
  assert.equal(await post("/up", body), 400);
  assert.equal(await post("/sync", body, named), 400);
  assert.equal(await post("/up", "{}", named), 401, "the header alone is no confirmation");
  assert.equal(await post("/up", "x".repeat(9000), named), 413);
  assert.equal(await post("/up", JSON.stringify({ device: "d1", payload: "e30=" })), 401);
  assert.equal(await post("/stream", body, named), 401);
});
