/**
 * Values that an application may hold, on every kind of table, both ways, over MQTT: what SQL wrote reads the same through the
 * cloud's API, and what the API wrote reads the same in the device's column; or that row alone is rejected, by name. Nothing
 * waits behind it.
 */
import assert from "node:assert/strict";
import { openAgent } from "../../agent/open.ts";
import { MqttLink } from "../../agent/link.ts";
import { canonicalJson, compileSchema, type Item, parsePlain, toPlain } from "../../schema.ts";
import type { Json } from "../../schema/values.ts";
import { query } from "../support/sql.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { brokerKinds, openWorld, tableKinds, type TableSource } from "../support/world.ts";

const source = {
  format: "onetable:1.1.0",
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true },
  models: {
    Doc: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "doc#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      body: { type: "object" },
      list: { type: "array" },
      note: { type: "string" },
      blobs: { type: "set", items: { type: "binary" } },
    },
  },
  process: { Doc: { sync: "both" } },
} as const;
const schema = compileSchema(source);
const model = schema.models.get("Doc")!;

/** JSON objects as an application writes them. */
const bodies = [
  ...['{"$ref":"#/defs/x"}', '{"a":{"$ref":1}}', '{"list":[{"$x":{"$y":null}}]}', '{"price":"$5","$a":1,"$b":2}'],
  ...['{"$n":"5"}', '{"$n":"x"}', '{"$n":5}', '{"$b":"AAEC"}', '{"$b":"?"}', '{"$b":5}', '{"$ss":["a"]}', '{"$ss":5}'],
  ...[
    '{"$ns":["1"]}',
    '{"$bs":["AA=="]}',
    '{"$bs":["?"]}',
    '{"$m":{"$n":"1"}}',
    '{"$m":{"a":1}}',
    '{"$m":5}',
    '{"$":1}',
  ],
  ...['{"__proto__":{"a":1}}', '{"a":{"__proto__":{"__proto__":1}}}', '{"constructor":{"prototype":1}}'],
  ...['{"toString":1,"valueOf":null,"hasOwnProperty":[]}', '{"0":1,"1":{"2":3},"-1":4}', '{"\\u0024n":"5"}'],
  ...['{"n":12345678901234567890,"f":0.1234567890123456789012345678,"z":-0.0}', '{"n":1e125}', "{}", '{"a":[]}'],
  ...['{"bom":"\\ufeff","nul":"\\u0000","emoji":"😀","line":"\\u2028"}', '{"\\ufeff":1}'],
];
/** What a table may not take: a number beyond its bounds, a depth, half a surrogate pair, an empty name. */
const unfit = [
  ...[
    '{"n":1e300}',
    '{"n":1e9999999}',
    '{"half":"\\ud800"}',
    '{"\\udc00":1}',
    `${'{"a":'.repeat(40)}1${"}".repeat(40)}`,
  ],
  '{"":{"":1}}',
];

const plain = (text: string) => canonicalJson(parsePlain(text) as Json);
const shown = (item: Item | undefined) => item && canonicalJson(toPlain(schema, model, item).body as Json);

async function check(tables: TableSource): Promise<void> {
  await using world = await openWorld({ source: tables, broker: brokerKinds[0]!, schema });
  const identity = { deviceId: "dev-1", accountId: "acme" };
  const path = world.dir.file("dev-1.db");
  const mqtt = new MqttLink({ url: world.mqttUrl, password: await world.token("dev-1", "acme"), identity });
  await using agent = await openAgent({
    schema: source,
    device: "dev-1",
    account: "acme",
    path,
    mqtt,
    synchronous: "normal",
  });
  const items = async () => new Map((await world.items("Doc")).map((item) => [String(item.name), item]));
  const rejected = () =>
    new Map(
      query(path, "SELECT key ->> '$.name' AS name, reason FROM _rejected").map(({ name, reason }) => [name, reason]),
    );

  // Up: all in one transaction, poison and innocents together.
  const rows = [...bodies, ...unfit].map((text, i) => [`up${i}`, text] as const);
  agent.transaction(() => {
    for (const [name, text] of rows) {
      agent.store.db.sql("INSERT INTO Doc(name, body, list) VALUES (?, ?, ?)").run(name, text, `[${text}]`);
    }
    agent.store.db.sql("INSERT INTO Doc(name, blobs) VALUES ('set', '[\"?\"]')").run();
    agent.store.db.sql("INSERT INTO Doc(_id, name, note) VALUES (9007199254740993, 'last', 'innocent')").run();
  });
  await until("all is answered", () => query(path, "SELECT count(*) AS n FROM _outbox")[0]!.n === 0);
  let there = await items();
  const refused = rejected();
  assert.equal(there.get("last")?.note, "innocent");
  assert.ok(refused.has("set"), "bad base64 in a set is rejected by name");
  for (const [i, [name, text]] of rows.entries()) {
    const item = there.get(name);
    if (i >= bodies.length && refused.has(name)) continue;
    assert.equal(refused.get(name), undefined, `${text} is rejected`);
    assert.equal(shown(item), plain(text), `${text} of the device, in the cloud`);
    assert.equal(canonicalJson(toPlain(schema, model, item!).list as Json), plain(`[${text}]`));
  }

  // Down: as the API writes it.
  for (const [i, text] of bodies.entries()) {
    await world.put("Doc", { name: `down${i}`, body: parsePlain(text), list: [parsePlain(text)] }, identity);
  }
  const last = `down${bodies.length - 1}`;
  await until("the last is here", () => query(path, `SELECT 1 FROM Doc WHERE name = '${last}'`).length === 1);
  await agent.sync();
  there = await items();
  for (const [i, text] of bodies.entries()) {
    const [row] = query(path, `SELECT body, list FROM Doc WHERE name = 'down${i}'`);
    assert.ok(row, `${text} of the cloud is not on the device`);
    assert.equal(plain(String(row.body)), shown(there.get(`down${i}`)), `${text} of the cloud, on the device`);
    assert.equal(plain(String(row.list)), plain(`[${row.body}]`));
  }
  assert.deepEqual(query(path, "SELECT count(*) AS n FROM _sync_aside"), [{ n: 0 }]);

  // And back: an update of another column takes none of them along altered.
  const before = new Map([...there].map(([name, item]) => [name, canonicalJson((item.body ?? null) as Json)]));
  agent.store.db.exec("UPDATE Doc SET note = 'seen' WHERE name LIKE 'down%'");
  await until("all is answered", () => query(path, "SELECT count(*) AS n FROM _outbox")[0]!.n === 0);
  for (const [name, item] of await items()) {
    if (!name.startsWith("down")) continue;
    assert.equal(item.note, "seen", name);
    assert.equal(canonicalJson((item.body ?? null) as Json), before.get(name), name);
  }
}

for (const kind of await tableKinds()) {
  Deno.test({
    name: `values: what SQL and the API hold reads the same on the other side, or is rejected alone, on ${kind.name}`,
    ignore: skipped(kind.missing),
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const tables = await kind.start();
      try {
        await check(tables);
      } finally {
        await tables.stop();
      }
    },
  });
}
