/**
 * Every route of the handler, as the router has them, by whom it is asked for: without a token, with one that may only
 * forward, read, write, or admin, with one that has expired, and with one that was removed. Whoever may not do it is refused
 * and changes nothing; and nobody but who may admin is shown a secret. A route without a row here fails.
 */
import assert from "node:assert/strict";
import { type Holder, holders, host, may, Place, type Row, rows, secretOf } from "./place.ts";

/** What came of a request: a stream's beginning. */
async function textOf(response: Response): Promise<string> {
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return await response.text();
  const reader = response.body!.getReader(), { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

function expected(route: string, { need, ok }: Row, holder: Holder): number {
  const at = may[need].indexOf(holder);
  if (at >= 0) return typeof ok === "number" ? ok : ok[at]!;
  const [method, path = ""] = route.split(" "), isApi = /^\/(api|stream|up|sync|metrics$)/.test(path);
  const isIn = holder === "read" || holder === "write" || holder === "admin";
  if (isApi) return isIn || holder === "forward" ? 403 : 401;
  return isIn || method === "POST" ? 403 : 303;
}

Deno.test("routes: each has its row, and no row is of none", async () => {
  await using place = await Place.open();
  const routes = place.app.routes.filter(({ method }) => method !== "ALL").map(({ method, path }) =>
    `${method} ${path}`
  );
  assert.deepEqual([...new Set(routes)].sort(), Object.keys(rows).sort());
});

Deno.test("routes: whoever may not is refused and changes nothing, and no secret is shown below admin", async () => {
  const wrong: string[] = [];
  for (const [route, row] of Object.entries(rows)) {
    await using place = await Place.open();
    for (const holder of holders) {
      const before = await place.stored(),
        response = await place.ask(route, row, holder),
        text = await textOf(response);
      const shown = `${text} ${JSON.stringify([...response.headers])}`;
      const wanted = expected(route, row, holder);
      if (response.status !== wanted) wrong.push(`${route} by ${holder}: ${response.status}, and not ${wanted}`);
      if (!may[row.need].includes(holder) && await place.stored() !== before) {
        wrong.push(`${route} by ${holder} changes something`);
      }
      if (holder === "admin") continue;
      for (const secret of place.secrets) if (shown.includes(secret)) wrong.push(`${route} shows ${holder} ${secret}`);
      // A token that is made on the way: whatever looks like one must let nobody in.
      for (const like of new Set(shown.match(/[\w-]{43}/g))) {
        for (const device of ["d1", "d9"]) {
          if (await place.registry.admit(device, like)) wrong.push(`${route} shows ${holder} a token of ${device}`);
        }
      }
    }
  }
  assert.deepEqual(wrong, []);
});

Deno.test("routes: the API takes no cookie, the console takes no bearer", async () => {
  await using place = await Place.open();
  const { cookie } = place.cookies.get("admin")!;
  for (const [route, { need, query }] of Object.entries(rows)) {
    const [method = "", path = ""] = route.split(" ");
    if (need === "all" || method !== "GET") continue;
    const isApi = path.startsWith("/api") || path === "/metrics";
    const headers: HeadersInit = isApi
      ? { host, cookie: `twintable_80=${cookie}` }
      : { host, authorization: `Bearer ${secretOf("admin")}` };
    const at = path.replace(/:device|:id/, "d1").replace(":model", "Setting");
    const response = await place.app.fetch(new Request(`http://${host}${at}${query ? `?${query}` : ""}`, { headers }));
    await response.body?.cancel();
    assert.equal(response.status, isApi ? 401 : 303, route);
  }
});
