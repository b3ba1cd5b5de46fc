/** The OpenAPI document against the routes that there are, and what they take. */
import assert from "node:assert/strict";
import { createApp } from "../../../cloud/api/app.ts";
import { openApi } from "../../../cloud/api/openapi.ts";
import { Feed } from "../../../cloud/feed/feed.ts";
import { Api, schema } from "./fixture.ts";

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}
interface Operation {
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: { readonly properties: object } }>>;
  };
}

const document = openApi(schema) as unknown as Document;
/** Routes of the console, whose pages are no API. */
const isApi = (path: string) =>
  path.startsWith("/api/") ||
  ["/metrics", "/healthz", "/readyz", "/stream", "/stream/lost", "/up", "/sync"].includes(path);

function appOf(api: Api, feed: Feed) {
  const { tables, registry, service, now } = api;
  return createApp({ schema, tables, registry, service, feed, now, random: Math.random });
}

Deno.test("openapi: every route is in the document, and nothing else is", async () => {
  await using api = new Api();
  const feed = new Feed({ now: api.now, random: Math.random });
  const routes = new Set(
    appOf(api, feed).routes.filter(({ method, path }) => method !== "ALL" && isApi(path))
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`),
  );
  const told = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  );
  assert.deepEqual([...routes].sort(), told.sort());
  feed.close();
  const served = await api.call("GET", "/api/openapi.json");
  assert.deepEqual(served.json, JSON.parse(JSON.stringify(document)));
});

Deno.test("openapi: each query takes the parameters that the document names, and no other", async () => {
  await using api = new Api();
  await api.registry.add("d1", "acme");
  const feed = new Feed({ now: api.now, random: Math.random }), app = appOf(api, feed);
  for (const [path, { get }] of Object.entries(document.paths)) {
    if (!get || !path.startsWith("/api/") || path === "/api/openapi.json") continue;
    const names = get.parameters.filter((one) => one.in === "query").map(({ name }) => name);
    for (const name of [...names, "colour"]) {
      const response = await app.fetch(new Request(`http://cloud${path.replace("{device}", "d1")}?${name}=1`));
      const text = response.headers.get("content-type")?.includes("json") ? await response.text() : "";
      if (!text) await response.body?.cancel();
      const isRefused = text.includes(`unknown parameter`);
      // Routes without parameters look at none.
      if (names.length > 0) assert.equal(isRefused, name === "colour", `${path}?${name}: ${text.slice(0, 200)}`);
    }
  }
  feed.close();
});
