/** The OpenAPI document's bodies against what the API really takes and answers. */
import assert from "node:assert/strict";
import { openApi } from "../../../cloud/api/openapi.ts";
import { createHandler } from "../../../cloud/handler.ts";
import { Feed } from "../../../cloud/feed/feed.ts";
import { Api, schema } from "./fixture.ts";

// deno-lint-ignore no-explicit-any -- a JSON document
const document = openApi(schema) as any;

/** What is wrong with a value by a schema of the document; a property that the schema lacks is wrong. */
// deno-lint-ignore no-explicit-any -- a JSON schema
function faults(one: any, value: unknown, at = "$"): string[] {
  if (one.$ref) return faults(document.components.schemas.Error, value, at);
  if (one.anyOf) {
    // deno-lint-ignore no-explicit-any -- JSON schemas
    const all = one.anyOf.map((part: any) => faults(part, value, at));
    return all.some((found: string[]) => found.length === 0) ? [] : all.flat();
  }
  if (one.enum) return one.enum.includes(value) ? [] : [`${at}: ${JSON.stringify(value)} is none of ${one.enum}`];
  if (one.type === "array") {
    if (!Array.isArray(value)) return [`${at} is no list`];
    return value.flatMap((part, n) => faults(one.items, part, `${at}[${n}]`));
  }
  if (one.type === "object") {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return [`${at} is no object`];
    const { properties = {}, required = [], additionalProperties } = one;
    return [
      ...required.flatMap((name: string) => name in value ? [] : [`${at}.${name} is missing`]),
      ...Object.entries(value).flatMap(([name, part]) => {
        if (properties[name]) return faults(properties[name], part, `${at}.${name}`);
        return additionalProperties ? [] : [`${at}.${name} is not in the document`];
      }),
    ];
  }
  const type = one.type === "integer" ? "number" : one.type;
  const kind: string = value === null ? "null" : typeof value;
  if (kind !== type) {
    return [`${at} is no ${one.type}: ${JSON.stringify(value)}`];
  }
  if (one.format === "date-time" && new Date(String(value)).toISOString() !== value) return [`${at} is no date`];
  return one.type === "integer" && !Number.isInteger(value) ? [`${at} is not whole`] : [];
}

/** A call, and what it answers. */
interface Call {
  readonly to: string;
  readonly body?: Record<string, unknown>;
  readonly status?: number;
}

const setting = { deviceId: "d1", name: "volume", value: 7 };
const key = encodeURIComponent(JSON.stringify({ deviceId: "d1", name: "volume" }));

/** In this order: later ones look at what earlier ones did. */
const calls: readonly Call[] = [
  { to: "POST /api/devices", body: { deviceId: "d1", accountId: "acme", validSeconds: 3600 }, status: 201 },
  { to: "POST /api/devices", body: { deviceId: "d1", accountId: "acme" }, status: 409 },
  { to: "POST /api/devices", body: { deviceId: "d 1", accountId: "acme" }, status: 400 },
  { to: "PUT /api/items", body: { model: "Setting", item: setting, unknown: "refuse" } },
  { to: "PUT /api/items", body: { model: "Setting", item: { ...setting, value: 8 } } },
  { to: "PUT /api/items", body: { model: "Setting", items: [setting, { name: 3 }] } },
  { to: "PUT /api/items", body: { model: "Setting", item: { ...setting, colour: 1 } }, status: 400 },
  { to: "GET /api/items?model=Setting&limit=1" },
  { to: "GET /api/size" },
  { to: "GET /api/items?model=Nothing", status: 404 },
  { to: `GET /api/items/history?model=Setting&key=${key}` },
  { to: `GET /api/items/where?model=Setting&key=${key}` },
  { to: "DELETE /api/items", body: { model: "Setting", item: { deviceId: "d1", name: "volume" } } },
  { to: "GET /api/unidentified" },
  { to: "GET /api/devices" },
  { to: "GET /api/devices?q=account:acme&sort=device" },
  { to: "GET /api/devices/d1" },
  { to: "GET /api/devices/d2", status: 404 },
  { to: "POST /api/devices/d1/orders", body: { do: "verify", repair: true, keysPerSecond: 5 }, status: 202 },
  { to: "POST /api/devices/d1/orders", body: { do: "retry", table: "rejected", id: 1, force: true }, status: 202 },
  { to: "POST /api/devices/d1/orders", body: { do: "drop", table: "conflicts", model: "Setting" }, status: 202 },
  { to: "POST /api/devices/d1/orders", body: { do: "restore", all: true }, status: 202 },
  { to: "POST /api/devices/d1/orders", body: { do: "rotate" }, status: 202 },
  { to: "GET /api/devices/d1/orders" },
  { to: "POST /api/devices/d1/verify", body: { repair: false, keysPerSecond: 5 }, status: 202 },
  { to: "GET /api/metrics" },
  { to: "GET /api/feed" },
  { to: "GET /api/audit" },
];

Deno.test("openapi: what the API takes and answers is what the document says", async () => {
  await using api = new Api();
  const { tables, registry, service, now } = api, feed = new Feed({ now, random: Math.random });
  const handler = createHandler({ schema, tables, registry, service, feed, now, random: Math.random });
  const wrong: string[] = [], bodies = new Set<string>(), covered = new Set<string>();
  for (const { to, body, status = 200 } of calls) {
    const [method, path] = to.split(" ") as [string, string];
    const template = path.split("?")[0]!.replace(/\/devices\/[^/]+/, "/devices/{device}");
    const operation = document.paths[template]?.[method.toLowerCase()];
    assert.ok(operation, `${method} ${template} is not in the document`);
    const asked = operation.requestBody?.content["application/json"].schema;
    if (body && status < 400) {
      wrong.push(...faults(asked, body).map((fault) => `${to} takes ${fault}`));
      for (const name of Object.keys(body)) bodies.add(`${method} ${template} ${name}`);
    }
    const response = await handler(
      new Request(`http://cloud${path}`, { method, ...(body ? { body: JSON.stringify(body) } : {}) }),
    );
    const answer = await response.json();
    assert.equal(response.status, status, `${to}: ${JSON.stringify(answer)}`);
    covered.add(`${method} ${template}`);
    const told = operation.responses[status]?.content["application/json"].schema;
    assert.ok(told, `${to} answers ${status}, which the document lacks`);
    // A refusal may say more than its code and message.
    const seen = status >= 400 ? { error: { code: answer.error.code, message: answer.error.message } } : answer;
    wrong.push(...faults(told, seen).map((fault) => `${to} answers ${fault}`));
  }
  feed.close();
  assert.deepEqual(wrong, []);
  // Every property of a body that the document names was really given.
  for (const [path, methods] of Object.entries<Record<string, { requestBody?: unknown }>>(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = `${method.toUpperCase()} ${path}`;
      // deno-lint-ignore no-explicit-any -- a JSON document
      const properties = (operation.requestBody as any)?.content["application/json"].schema.properties ?? {};
      if (!covered.has(name)) continue;
      for (const property of Object.keys(properties)) {
        assert.ok(bodies.has(`${name} ${property}`), `${name}: no call gives ${property}`);
      }
    }
  }
});
