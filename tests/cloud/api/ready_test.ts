/** `/readyz` wants no token: what it tells strangers, and what they can make it do. */
import assert from "node:assert/strict";
import { createHandler } from "../../../cloud/handler.ts";
import { tokenHash } from "../../../cloud/api/tokens.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { SyncError } from "../../../schema.ts";
import { Fixture, schema, withWrite } from "../fixture.ts";

const secret = "the log table tw-log of https://user:pass@10.1.2.3 can't be read: connect ECONNREFUSED";

Deno.test("readyz: a stranger learns whether, and who may read learns why", async () => {
  await using fixture = new Fixture();
  const { tables, now, random } = fixture, registry = new Registry(tables.log, { now });
  let lacking: string[] = [secret];
  const tokens = () => [
    { name: "r", hash: tokenHash("reader"), scopes: ["read" as const] },
    { name: "f", hash: tokenHash("forwarder"), scopes: ["forward" as const] },
    { name: "old", hash: tokenHash("old"), scopes: ["admin" as const], untilMs: 1 },
  ];
  const handler = createHandler({
    ...{ schema, tables, registry, now, random, tokens },
    lacking: () => Promise.resolve(lacking),
  });
  const ask = async (token?: string) => {
    const headers: HeadersInit = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await handler(new Request("http://cloud/readyz", { headers }));
    return [response.status, await response.text()];
  };
  for (const token of [undefined, "", "wrong", "old", "forwarder"]) {
    assert.deepEqual(await ask(token), [503, "not ready\n"], String(token));
  }
  assert.deepEqual(await ask("reader"), [503, `${secret}\n`]);
  lacking = [];
  fixture.time += 1_000;
  assert.deepEqual(await ask(), [200, "ready\n"]);
});

Deno.test("readyz: however often it is asked, the tables are read once a second", async () => {
  await using fixture = new Fixture();
  const { tables, now, random } = fixture, registry = new Registry(tables.log, { now });
  let reads = 0;
  const log = withWrite(tables.log, tables.log.write.bind(tables.log));
  log.get = () => {
    reads++;
    return Promise.reject(new SyncError("unavailable", secret, { retryable: true }));
  };
  const handler = createHandler({
    ...{ schema, registry, now, random, token: "t0ken" },
    tables: Object.assign(Object.create(tables) as typeof tables, { log }),
  });
  const ask = async () => (await handler(new Request("http://cloud/readyz"))).text();
  const answers = await Promise.all(Array.from({ length: 50 }, ask));
  for (let n = 0; n < 50; n++) answers.push(await ask());
  assert.deepEqual([new Set(answers), reads], [new Set(["not ready\n"]), 1]);
  fixture.time += 1_000;
  await ask();
  assert.equal(reads, 2);
  // A clock that was set back does not freeze the answer.
  fixture.time -= 60_000;
  await ask();
  assert.equal(reads, 3);
});
