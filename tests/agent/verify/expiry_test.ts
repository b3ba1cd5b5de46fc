/**
 * Verification where an expiry time is not what it was meant to be: the device and the table read it alike, so that nothing
 * differs, and `repair` deletes nothing.
 */
import assert from "node:assert/strict";
import { openAgent } from "../../../agent/open.ts";
import { compileSchema, completeItem, defineSchema } from "../../../schema.ts";
import { query } from "../../support/sql.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { openTestCloud } from "../../support/test_cloud.ts";

const model = (name: string) => ({
  pk: { type: String, value: "device#${deviceId}" },
  sk: { type: String, value: `${name}#\${name}` },
  deviceId: { type: String, required: true },
  name: { type: String, required: true },
  expires: { type: Date, ttl: true },
} as const);
const schema = defineSchema({
  version: "1.0.0",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true },
  models: { Lease: model("lease"), Offer: model("offer") },
  process: { Lease: { sync: "both" }, Offer: { sync: "down" } },
});

Deno.test("verify: repair deletes no item whose expiry time is in milliseconds, a text, zero, or years ago", async () => {
  using dir = new TempDir();
  const compiled = compileSchema(schema), identity = { deviceId: "dev-1", accountId: "acme" };
  await using cloud = await openTestCloud({ schema: compiled });
  const nowS = Math.floor(Date.now() / 1000);
  const forms = {
    ms: Date.now() - 3_600_000,
    text: new Date(Date.now() - 3_600_000).toISOString(),
    zero: 0,
    years: nowS - 6 * 366 * 86_400,
    fits: nowS + 3_600,
    over: nowS - 3_600,
  };
  const items = ["Lease", "Offer"].flatMap((name) =>
    Object.entries(forms).map(([form, expires]) => ({
      ...completeItem(compiled, compiled.models.get(name)!, { name: form }, identity),
      expires,
    }))
  );
  await cloud.tables.data.write(items.map((item) => ({ op: "put", item })));
  const path = dir.file("dev-1.db");
  await using agent = await openAgent({
    schema,
    device: "dev-1",
    account: "acme",
    path,
    mqtt: cloud.mqttUrl,
    password: await cloud.token("dev-1", "acme"),
    synchronous: "normal",
    limits: { settleMs: 150 },
  });
  await agent.sync({ timeoutMs: 60_000 });
  const alive = ["fits", "ms", "text", "years", "zero"];
  for (const table of ["Lease", "Offer"]) {
    const rows = query(path, `SELECT name FROM ${table} ORDER BY name`);
    assert.deepEqual(rows.map(({ name }) => name), alive, table);
  }
  for (const repair of [false, true]) {
    const report = await agent.verify({ repair, timeoutMs: 60_000 });
    assert.deepEqual([report.differences, report.unsettled, report.found], [0, 0, []]);
  }
  // What has expired the cloud itself deletes, once a minute.
  const left = (await cloud.items()).map(({ name }) => name).filter((name) => name !== "over");
  assert.deepEqual(left.sort(), [...alive, ...alive].sort());
});
