/** The audit: what is done is noted before, in the order of its time, without contents and secrets, and can't be altered. */
import assert from "node:assert/strict";
import { tokenHash } from "../../../cloud/api/tokens.ts";
import { createHandler } from "../../../cloud/handler.ts";
import { Audit } from "../../../cloud/operations/audit.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import type { Table } from "../../../cloud/table/port.ts";
import { SyncError } from "../../../schema.ts";
import { Fixture, schema } from "../fixture.ts";

const hour = 3600_000, day = 24 * hour;

/** What is written after the handler's answer came. */
async function all(audit: Audit, query: { fromMs?: number; toMs?: number; who?: string } = {}, limit = 3) {
  const entries = [];
  let after: string | undefined;
  do {
    const page = await audit.list({ fromMs: 0, ...query, after, limit });
    entries.push(...page.entries);
    after = page.next;
  } while (after !== undefined);
  return entries;
}

Deno.test("audit: entries are told by time and person, page by page, however far apart, each once", async () => {
  await using fixture = new Fixture();
  const { tables, now } = fixture;
  const audit = new Audit(tables.log, { now });
  const begun = fixture.time, times: number[] = [];
  for (let at = 0; at < 60; at++) {
    await audit.note({ who: at % 3 === 0 ? "ada" : "bob", via: "api", action: "items.put", target: `${at}` });
    times.push(fixture.time);
    // Several in one millisecond, an hour, and two days without anything.
    fixture.time += at % 4 === 0 ? 0 : at % 10 === 0 ? 2 * day : hour;
  }
  const query = { fromMs: begun };
  assert.deepEqual((await all(audit, query)).map(({ target }) => Number(target)).sort((a, b) => a - b), [
    ...times.keys(),
  ]);
  const told = await all(audit, query);
  assert.deepEqual(told.map(({ time }) => Date.parse(time)), [...times].sort((a, b) => a - b));
  assert.deepEqual((await all(audit, { ...query, who: "ada" })).length, 20);
  const [from, to] = [times[20]!, times[30]!];
  const between = await all(audit, { fromMs: from, toMs: to });
  assert.equal(between.length, times.filter((time) => time >= from && time <= to).length);
  assert.equal((await all(audit, { fromMs: from, toMs: from - 1 })).length, 0);
});

Deno.test("audit: an entry lives for its retention, and text from outside is cut and escaped", async () => {
  await using fixture = new Fixture();
  const audit = new Audit(fixture.tables.log, { now: fixture.now, days: 3 });
  await audit.note({ who: `a\n${"x".repeat(2_000)}`, via: "api", action: "x", target: "\u001b[2J" });
  const { items: [item] } = await fixture.tables.log.scan({ limit: 10 });
  assert.equal(item!.expires, Math.ceil(fixture.time / 1000) + 3 * 86_400);
  assert.ok(String(item!.who).length < 500 && !/\p{Cc}/u.test(`${item!.who}${item!.target}`));
});

const secret = "secret-of-somebody-that-is-long";
const tokens = (["write", "admin", "read"] as const).map((name) => ({
  name: `the-${name}`,
  hash: tokenHash(`${secret}-${name}`),
  scopes: [name],
}));

function served(fixture: Fixture, log: Table = fixture.tables.log, open = false) {
  const { tables, now, random } = fixture;
  const registry = new Registry(tables.log, { now });
  const handler = createHandler({
    schema,
    tables: { ...tables, data: tables.data, log },
    registry,
    now,
    random,
    ...(open ? {} : { tokens: () => tokens }),
  });
  const send = async (who: "write" | "admin" | "read", method: string, path: string, body?: unknown) => {
    const response = await handler(
      new Request(`http://cloud${path}`, {
        method,
        headers: { ...(open ? {} : { authorization: `Bearer ${secret}-${who}` }), "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    );
    return { status: response.status, body: await response.json() };
  };
  return { registry, send };
}

Deno.test("audit: what the API does is noted by its token's name, failures as such, and told to admins alone", async () => {
  await using fixture = new Fixture();
  const { registry, send } = served(fixture);
  await registry.add("d9", "acme");
  const item = { deviceId: "d1", id: "x", v: 7, text: "CONTENT" };
  assert.equal((await send("write", "PUT", "/api/items", { model: "Plain", item, unknown: "keep" })).status, 200);
  fixture.time += 10;
  assert.equal((await send("write", "DELETE", "/api/items", { model: "Plain", item, unknown: "keep" })).status, 200);
  fixture.time += 10;
  assert.equal((await send("admin", "DELETE", "/api/devices/d9")).status, 200);
  fixture.time += 10;
  assert.equal((await send("write", "DELETE", "/api/devices/d9")).status, 404);
  // None of these does anything.
  assert.equal((await send("read", "PUT", "/api/items", { model: "Plain", item })).status, 403);
  assert.equal((await send("write", "PUT", "/api/items", { model: "None", item })).status, 404);
  assert.equal((await send("write", "DELETE", "/api/devices/d1?erase")).status, 403);
  assert.equal((await send("write", "GET", "/api/audit")).status, 403);
  const { status, body } = await send("admin", "GET", "/api/audit");
  assert.equal(status, 200);
  // deno-lint-ignore no-explicit-any
  const told = body.entries.map(({ who, action, target, outcome }: any) => [who, action, target, outcome]);
  const key = `Plain ["Plain#d1","x"]`;
  assert.deepEqual(told.slice(0, 3).map(([who, action]: string[]) => [who, action]), [
    ["the-write", "items.put"],
    ["the-write", "items.delete"],
    ["the-admin", "device.revoke"],
  ]);
  assert.ok(told[0][2].startsWith("Plain ["), key);
  // Both of one moment.
  assert.deepEqual(
    new Set(told.slice(3).map((entry: string[]) => entry.slice(1).join(" "))),
    new Set([
      "device.revoke d9 ",
      "device.revoke d9 404",
    ]),
  );
  assert.ok(!JSON.stringify(body).includes("CONTENT") && !JSON.stringify(body).includes("secret"));
  assert.equal((await send("admin", "GET", "/api/audit?who=the-admin")).body.entries.length, 1);
  assert.equal((await send("admin", "GET", "/api/audit?from=2099-01-01")).body.entries.length, 0);
  for (const wrong of ["from=x", "to=-1", "limit=0", "whom=x", "next=x"]) {
    assert.equal((await send("admin", "GET", `/api/audit?${wrong}`)).status, 400, wrong);
  }
});

Deno.test("audit: on loopback without tokens it is noted, too", async () => {
  await using fixture = new Fixture();
  const { send } = served(fixture, undefined, true);
  const item = { deviceId: "d1", id: "x", v: 7 };
  assert.equal((await send("write", "PUT", "/api/items", { model: "Plain", item, unknown: "keep" })).status, 200);
  const { body } = await send("write", "GET", "/api/audit");
  assert.equal(body.entries[0].who, "loopback");
});

Deno.test("audit: nothing is done that can't be noted, and no entry is put over another", async () => {
  await using fixture = new Fixture();
  const { log } = fixture.tables;
  const failing: Table = {
    get: (keys) => log.get(keys),
    query: (query) => log.query(query),
    scan: (options) => log.scan(options),
    close: () => log.close(),
    write: (writes) => Promise.resolve(writes.map(() => ({ outcome: "throttled" as const }))),
  };
  const { registry, send } = served(fixture, failing);
  await registry.add("d1", "acme");
  const item = { deviceId: "d1", id: "x", v: 7 };
  assert.equal((await send("write", "PUT", "/api/items", { model: "Plain", item })).status, 503);
  assert.equal((await send("admin", "DELETE", "/api/devices/d1")).status, 503);
  assert.ok(await registry.identityOf("d1"), "it was not revoked");
  assert.equal((await fixture.tables.data.scan({ limit: 10 })).items.length, 0);
  const audit = new Audit(log, { now: fixture.now, random: () => 0.5 });
  await audit.note({ who: "ada", via: "api", action: "x" });
  await assert.rejects(audit.note({ who: "eve", via: "api", action: "x" }), SyncError);
  assert.deepEqual((await all(audit)).map(({ who }) => who), ["ada"]);
});
