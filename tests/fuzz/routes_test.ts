/**
 * Every route of the handler, as the router has them, with path parameters, query strings, forms and bodies of every shape,
 * by one who may do all: an answer of 2xx to 4xx (504 where a device is asked that is away), nothing of what was sent
 * stands in a page as markup or as a script's address, no redirect leads out of the console, and good requests are served
 * all the while.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { host, Place, rows, secretOf } from "../hostile/place.ts";
import { fuzzSeed, oddJson, runs, type Spoil, spoil, spoiled } from "./mutate.ts";

/** Names of parameters and fields that the sources read. */
const names = [
  ...["account", "accountId", "after", "all", "as", "ask", "at", "back", "by", "channel", "column", "confirm", "desc"],
  ...[
    "device",
    "deviceId",
    "digest",
    "dimensions",
    "do",
    "edit",
    "field",
    "field.name",
    "field.value",
    "from",
    "group",
  ],
  ...["host", "id", "index", "item", "items", "key", "limit", "model", "next", "offline", "on", "op", "origin", "q"],
  ...["range", "reason", "scan", "side", "since", "sort", "step", "tab", "table", "telemetry", "text", "theme", "to"],
  ...["token", "topic", "travel", "typed", "until", "usual", "value", "version", "view", "wait", "whose", "words"],
];
const mark = "data-planted";
const texts = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
  {
    weight: 12,
    arbitrary: fc.constantFrom(
      ...[
        "d1",
        "Setting",
        "acme",
        "load",
        "value",
        "primary",
        "gs1",
        "rejected",
        "conflicts",
        "cloud",
        "device",
        "live",
      ],
      ...[
        '{"deviceId":"d1","name":"load"}',
        '["d1","load"]',
        "0",
        "1",
        "-1",
        "1e9",
        "1e400",
        "NaN",
        "9007199254740993",
      ],
      ...[
        "",
        " ",
        "\u0000",
        "a\u0000b",
        "\u202e\u2066",
        "\r\nset-cookie: x=1",
        "../../etc/passwd",
        "%2e%2e%2f",
        "%",
        "%zz",
      ],
      ...[
        "__proto__",
        "constructor",
        "toString",
        "[]",
        "{}",
        "null",
        "[".repeat(2_000),
        "x".repeat(6_000),
        " ".repeat(6_000),
      ],
      ...[`"><i ${mark}=1>`, `'><i ${mark}=1>`, `</script><i ${mark}=1>`, `<i ${mark}=1>`, "javascript:alert(1)"],
      ...[
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/fleet?x=1#y",
        "2026-01-01T00:00:00Z",
        "1h",
        "P1D",
      ],
      ...[
        "-9999999999999",
        "8640000000000001",
        "275760-09-13T00:00:00.001Z",
        "🦉",
        "e\u0301",
        '{"$n":"1e5"}',
        '{"$b":"!"}',
      ],
    ),
  },
);
/** As it stands in an address: encoded, or bytes that are no UTF-8, which no URL's constructor makes. */
const inAddress = fc.oneof(
  { weight: 6, arbitrary: texts.map((text) => encodeURIComponent(text.toWellFormed())) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("%ED%A0%80", "%ff%fe", "%c0%af", "%", "%f0%9f", "d1%00", "d1%2f..%2fd2", ".%2e"),
  },
);
const fields = fc.array(fc.tuple(fc.constantFrom(...names), texts), { maxLength: 6 });
const query = fc.array(fc.tuple(fc.constantFrom(...names), inAddress), { maxLength: 5 });

interface Asked {
  readonly route: string;
  readonly path: readonly string[];
  readonly isPathOdd: boolean;
  readonly query: readonly (readonly [string, string])[];
  readonly keepsQuery: boolean;
  readonly fields: readonly (readonly [string, string])[];
  readonly spoils: readonly Spoil[];
  readonly json: unknown;
  readonly isJsonOdd: boolean;
}

const asked: fc.Arbitrary<Asked> = fc.record({
  // Signing out ends the session that asks.
  route: fc.constantFrom(...Object.keys(rows).filter((route) => route !== "POST /logout")),
  path: fc.array(inAddress, { minLength: 2, maxLength: 2 }),
  isPathOdd: fc.boolean(),
  query,
  keepsQuery: fc.boolean(),
  fields,
  spoils: fc.array(spoil, { maxLength: 3 }),
  json: oddJson,
  isJsonOdd: fc.boolean(),
});

function requestOf(place: Place, one: Asked): Request {
  const [method = "", pattern = ""] = one.route.split(" "), row = rows[one.route]!;
  const isApi = /^\/(api|stream|up|sync|metrics$|healthz|readyz)/.test(pattern);
  let at = 0;
  const usual: Record<string, string> = { ":model": "Setting", ":file": "none.js" };
  const path = pattern.replaceAll(
    /:\w+/g,
    (name) => one.isPathOdd ? one.path[at++]! || "x" : usual[name] ?? (pattern.startsWith("/jobs") ? "j-1" : "d1"),
  );
  const parts = one.query.map(([name, value]) => `${name}=${value}`);
  if (one.keepsQuery && row.query) parts.unshift(row.query);
  const headers = new Headers({ host, "sec-fetch-site": "same-origin" }), init: RequestInit = { method, headers };
  const session = place.cookies.get("admin")!;
  if (isApi) headers.set("authorization", `Bearer ${secretOf("admin")}`);
  else headers.set("cookie", `twintable_80=${session.cookie}`);
  if (method !== "GET" && isApi) {
    headers.set("content-type", "application/json");
    init.body = JSON.stringify(one.isJsonOdd ? one.json : spoiled(row.body ?? {}, one.spoils)) ?? "";
  } else if (method !== "GET") {
    const form = new URLSearchParams({ ...row.body, _form: session.form });
    for (const [name, value] of one.fields) form.append(name, value.toWellFormed());
    init.body = form;
  }
  return new Request(`http://${host}${path}${parts.length > 0 ? `?${parts.join("&")}` : ""}`, init);
}

/** What came: a stream's beginning. */
async function textOf(response: Response): Promise<string> {
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return await response.text();
  await response.body!.cancel();
  return "";
}

Deno.test("fuzz: every route, whatever stands in its path, query, form or body", async () => {
  let place = await Place.open(), tried = 0;
  try {
    await fc.assert(
      fc.asyncProperty(asked, async (one) => {
        // What was asked for before may have removed the device, or used up an address's tries.
        if (++tried % 40 === 0) {
          await place[Symbol.asyncDispose]();
          place = await Place.open();
        }
        const request = requestOf(place, one), what = `${request.method} ${request.url.slice(0, 600)}`;
        const response = await place.app.fetch(request, { address: `203.0.${tried >> 8 & 255}.${tried & 255}` });
        const text = await textOf(response),
          told = `${what}: ${response.status} ${text.slice(0, 300)} (FUZZ_SEED=${fuzzSeed})`;
        assert.ok(response.status < 500 || response.status === 504, told);
        const location = response.headers.get("location") ?? "/";
        assert.match(location, /^\/(?![/\\])/, told);
        if (response.headers.get("content-type")?.startsWith("text/html")) {
          assert.ok(!text.includes(`<i ${mark}`), told);
          assert.doesNotMatch(text, /\b(?:href|action|src)="\s*(?:javascript:|\/[/\\]|https?:\/\/evil)/i, told);
        }
      }),
      runs(Number(Deno.env.get("FUZZ_RUNS") ?? 1_500)),
    );
    assert.equal((await place.ask("GET /api/devices", rows["GET /api/devices"]!, "admin")).status, 200);
    assert.equal((await place.ask("GET /fleet", rows["GET /fleet"]!, "admin")).status, 200);
  } finally {
    await place[Symbol.asyncDispose]();
  }
});
