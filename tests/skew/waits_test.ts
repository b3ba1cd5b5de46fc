/**
 * Changes that wait because the cloud has another version of the schema (rules E1–E3): none is lost, no other model waits
 * with them, one that fits neither version holds up no other, and what a snapshot can't speak of stays.
 */
import assert from "node:assert/strict";
import { compileSchema } from "../../schema.ts";
import { SkewRig } from "./rig.ts";

const field = { type: "string" };
function fieldsOf(name: string, more: object = {}): object {
  return {
    pk: { type: "string", value: "d#${deviceId}" },
    sk: { type: "string", value: `${name.toLowerCase()}#\${name}` },
    deviceId: { type: "string", required: true },
    name: { type: "string", required: true },
    v: { type: "number" },
    ...more,
  };
}

function schemaOf(models: Record<string, { sync: string; conflict?: string; more?: object }>, version = "1") {
  return compileSchema({
    version,
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true, timestamps: "update" },
    models: Object.fromEntries(Object.entries(models).map(([name, { more }]) => [name, fieldsOf(name, more)])),
    process: Object.fromEntries(Object.entries(models).map(([name, { sync, conflict }]) => [name, { sync, conflict }])),
  });
}

const lamp = schemaOf({ Lamp: { sync: "both" }, Meter: { sync: "up" } });
const withPlug = schemaOf({ Lamp: { sync: "both" }, Meter: { sync: "up" }, Plug: { sync: "up" } }, "2");

Deno.test("waits: 12,000 rows of a model that the cloud lacks wait, across a restart, and all arrive when it has it", async () => {
  await using rig = new SkewRig(lamp, withPlug);
  rig.sql(
    "Plug",
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
     INSERT INTO Plug(name, v) SELECT 'p' || i, i FROM n`,
  );
  await rig.pass(60_000);
  assert.equal(rig.count("_rejected"), 0);
  assert.equal(rig.count("_outbox"), 12_000);
  assert.match(
    rig.problem ?? "",
    /changes of Plug wait: the cloud has another version of the schema \(.*no model "Plug"/,
  );
  // Others don't wait behind them.
  rig.sql("Lamp", "INSERT INTO Lamp(name, v) VALUES ('l', 1)");
  rig.sql("Meter", "INSERT INTO Meter(name, v) VALUES ('m', 1)");
  await rig.pass(1_000);
  assert.deepEqual(Object.keys(await rig.itemsOf("Lamp")), ["l"]);
  assert.deepEqual(Object.keys(await rig.itemsOf("Meter")), ["m"]);
  const before = rig.sent.length;
  rig.device.crash();
  await rig.pass(300_000);
  assert.match(rig.problem ?? "", /changes of Plug wait/);
  const asked = rig.sent.slice(before).flatMap((m) => m.type === "up" ? m.changes : []);
  assert.ok(asked.length > 0 && asked.length <= 8, `${asked.length} changes asked in five minutes`);
  assert.equal(new Set(asked.map((change) => change.item?.name)).size, asked.length, "each time another key asks");
  rig.deployCloud(withPlug);
  await rig.pass(700_000);
  assert.equal(rig.count("_outbox"), 0);
  assert.equal(Object.keys(await rig.itemsOf("Plug")).length, 12_000);
  assert.equal(rig.problem, undefined);
});

const narrow = schemaOf({ Lamp: { sync: "both", more: { kind: { ...field, enum: ["a"] } } } });
const wide = schemaOf({ Lamp: { sync: "both", more: { kind: { ...field, enum: ["a", "b"] } } } }, "2");

Deno.test("waits: of a model's changes only those that the cloud's schema refuses wait for long", async () => {
  await using rig = new SkewRig(narrow, wide);
  rig.sql("Lamp", "INSERT INTO Lamp(name, kind) VALUES ('bad1', 'b'), ('bad2', 'b')");
  rig.sql(
    "Lamp",
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     INSERT INTO Lamp(name, kind) SELECT 'good' || i, 'a' FROM n`,
  );
  await rig.pass(120_000);
  assert.equal(Object.keys(await rig.itemsOf("Lamp")).length, 3000);
  assert.deepEqual(rig.rows("SELECT key ->> 'name' AS name FROM _pending ORDER BY 1"), [{ name: "bad1" }, {
    name: "bad2",
  }]);
  // An application changes its mind: what it wrote last goes, without waiting for a schema.
  rig.sql("Lamp", "UPDATE Lamp SET kind = 'a' WHERE name = 'bad1'");
  rig.sql("Lamp", "DELETE FROM Lamp WHERE name = 'bad2'");
  await rig.pass(7_200_000);
  assert.deepEqual(Object.keys(await rig.itemsOf("Lamp")).filter((name) => name.startsWith("bad")), ["bad1"]);
  assert.equal(rig.count("_outbox"), 0);
});

Deno.test("waits: a row that neither version takes is rejected once both sides have the same", async () => {
  const old = schemaOf({ Meter: { sync: "up", more: { meta: { type: "number" } } } });
  const levels = { level: { ...field, enum: ["low", "high"] } };
  const next = schemaOf({ Meter: { sync: "up", more: { meta: { type: "object", schema: levels } } } }, "2");
  await using rig = new SkewRig(old, next);
  rig.sql("Meter", `INSERT INTO Meter(name, meta) VALUES ('bad', '{"level":"middle"}'), ('good', '{"level":"low"}')`);
  await rig.pass(60_000);
  assert.equal(rig.count("_rejected"), 0);
  rig.deployCloud(next);
  await rig.pass(700_000);
  assert.deepEqual(rig.rows("SELECT key ->> 'name' AS name, code FROM _rejected"), [{ name: "bad", code: "invalid" }]);
  assert.deepEqual(Object.keys(await rig.itemsOf("Meter")), ["good"]);
  assert.equal(rig.count("_outbox"), 0);
});

for (const conflict of ["newest", "cloud", "merge"]) {
  Deno.test(`waits: what a worker of the newer version wrote, and one of the older refused, is no conflict (${conflict})`, async () => {
    const of = (values: string[], version: string) =>
      schemaOf({ Lamp: { sync: "both", conflict, more: { kind: { ...field, enum: values } } } }, version);
    const [narrow, wide] = [of(["a"], "1"), of(["a", "b"], "2")];
    await using rig = new SkewRig(wide, wide);
    await rig.pass();
    // Its answer is lost, and its next transmission comes to a worker of the older version.
    rig.device.deaf = true;
    rig.sql("Lamp", "INSERT INTO Lamp(name, kind) VALUES ('x', 'b')");
    await rig.pass(1);
    assert.equal((await rig.itemsOf("Lamp")).x?.kind, "b");
    rig.sql("Lamp", "UPDATE Lamp SET v = 2 WHERE name = 'x'");
    await rig.pass(1);
    rig.deployCloud(narrow);
    rig.device.deaf = false;
    await rig.pass(60_000);
    assert.match(rig.problem ?? "", /changes of Lamp wait/);
    rig.deployCloud(wide);
    await rig.pass(700_000);
    assert.equal((await rig.itemsOf("Lamp")).x?.v, 2);
    for (const table of ["_conflicts", "_rejected", "_outbox"]) {
      assert.deepEqual(rig.rows(`SELECT * FROM ${table}`), []);
    }
  });
}

Deno.test("waits: a measurement that a worker of the newer version wrote is removed, though one of the older refused it", async () => {
  const of = (values: string[], version: string) =>
    schemaOf({ Meter: { sync: "up", more: { kind: { ...field, enum: values } } } }, version);
  const [narrow, wide] = [of(["a"], "1"), of(["a", "b"], "2")];
  await using rig = new SkewRig(wide, wide);
  await rig.pass();
  rig.device.deaf = true;
  rig.sql("Meter", "INSERT INTO Meter(name, kind) VALUES ('x', 'b')");
  await rig.pass(1);
  rig.deployCloud(narrow);
  rig.device.deaf = false;
  await rig.pass(60_000);
  rig.sql("Meter", "DELETE FROM Meter WHERE name = 'x'");
  rig.deployCloud(wide);
  await rig.pass(700_000);
  assert.deepEqual(await rig.itemsOf("Meter"), {});
});

Deno.test("waits: a device that does not know a required field with a default writes at once", async () => {
  const more = { mode: { ...field, required: true, default: "auto" } };
  await using rig = new SkewRig(schemaOf({ Lamp: { sync: "both", more } }, "2"), schemaOf({ Lamp: { sync: "both" } }));
  rig.sql("Lamp", "INSERT INTO Lamp(name, v) VALUES ('l', 1)");
  await rig.pass(1_000);
  assert.equal((await rig.itemsOf("Lamp")).l?.v, 1);
  assert.equal(rig.problem, undefined);
});

Deno.test("waits: rows of a model that the cloud has no more stay, and follow again when it is back", async () => {
  const more = schemaOf({ Lamp: { sync: "both" }, Note: { sync: "down" } });
  const less = schemaOf({ Lamp: { sync: "both" } }, "2");
  await using rig = new SkewRig(more, more);
  await rig.put("Note", { name: "n1", v: 1 });
  rig.sql("Lamp", "INSERT INTO Lamp(name) VALUES ('l')");
  await rig.pass();
  const names = () => rig.rows("SELECT name FROM Note ORDER BY name").map(({ name }) => name);
  assert.deepEqual(names(), ["n1"]);
  rig.deployCloud(less);
  // A snapshot, as after months offline: it shows no Note.
  rig.device.store.tx(() => rig.device.store.setMeta("resnapshot", 1));
  rig.device.crash();
  await rig.pass(400_000);
  assert.deepEqual(names(), ["n1"]);
  // While the cloud does not know the model an application removes one and adds another.
  await rig.write([
    { op: "delete", key: ["d#D0", "note#n1"] },
    { op: "put", item: { pk: "d#D0", sk: "note#n2", _type: "Note", name: "n2", v: 2, deviceId: "D0" } },
  ]);
  await rig.pass(400_000);
  assert.deepEqual(names(), ["n1"]);
  rig.deployCloud(more);
  await rig.pass(800_000);
  assert.deepEqual(names(), ["n2"]);
});

Deno.test("waits: keys that the cloud would make otherwise are not written", async () => {
  const other = compileSchema({
    ...lamp.source,
    version: "2",
    models: {
      ...lamp.source.models as object,
      Lamp: { ...fieldsOf("Lamp"), sk: { type: "string", value: "other#${name}" } },
    },
  });
  await using rig = new SkewRig(other, lamp);
  rig.sql("Lamp", "INSERT INTO Lamp(name) VALUES ('l')");
  await rig.pass();
  assert.deepEqual(await rig.itemsOf("Lamp"), {});
  assert.equal(rig.count("_rejected"), 0);
  assert.match(rig.problem ?? "", /other keys of Lamp/);
  rig.deployCloud(lamp);
  await rig.pass(700_000);
  assert.deepEqual(Object.keys(await rig.itemsOf("Lamp")), ["l"]);
});

Deno.test("waits: a device that does not say its schema is answered as before", async () => {
  await using rig = new SkewRig(narrow, wide);
  const send = rig.up.bind(rig);
  rig.up = (device, message) => {
    const { schemas: _, ...silent } = message as { schemas?: unknown } & typeof message;
    send(device, silent as typeof message);
  };
  rig.sql("Lamp", "INSERT INTO Lamp(name, kind) VALUES ('bad', 'b')");
  await rig.pass();
  assert.deepEqual(rig.rows("SELECT code FROM _rejected"), [{ code: "invalid" }]);
});
