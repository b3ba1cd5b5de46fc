/**
 * A snapshot that the log did not force (after a migration, after a change of epoch, when a model is back) passes over no
 * removal: a change in flight, written and removed while its answer was lost, does not bring its item back (rule 6.5).
 */
import assert from "node:assert/strict";
import { compileSchema, keyOf } from "../../schema.ts";
import { SkewRig } from "./rig.ts";

function schemaOf(version: string, more: Record<string, unknown>) {
  return compileSchema({
    version,
    indexes: { primary: { hash: "pk", sort: "sk" } },
    params: { isoDates: true, timestamps: true },
    models: {
      Own: {
        pk: { type: "string", value: "d#${deviceId}" },
        sk: { type: "string", value: "own#${name}" },
        deviceId: { type: "string", required: true },
        name: { type: "string", required: true },
        v: { type: "number" },
        ...more,
      },
    },
    process: { Own: { sync: "both", conflict: "cloud" } },
  });
}
const older = schemaOf("1", {}), newer = schemaOf("2", { x: { type: "string" } });

Deno.test("flight: what was written, removed by the cloud and not acknowledged stays removed after an upgrade", async () => {
  await using rig = new SkewRig(newer, older);
  await rig.pass();
  // The answer and the entry that tells of the removal are lost; then the agent starts with the next schema.
  rig.spoils = ({ type }) => type === "ack" || type === "changes" ? "swallowed" : undefined;
  rig.sql("Own", "INSERT INTO Own(name, v) VALUES ('a', 1)");
  await rig.pass(1000);
  const [item] = (await rig.items()).values();
  assert.equal(item?.v, 1);
  await rig.write([{ op: "delete", key: keyOf(newer, item!) }]);
  await rig.pass(1000);
  rig.deployDevice(newer);
  rig.spoils = () => undefined;
  await rig.pass();
  assert.equal((await rig.items()).size, 0, "nobody brought it back");
  assert.deepEqual(rig.rows("SELECT name FROM Own"), []);
});

for (const unsent of ["unsent", null]) {
  const text = unsent === null ? "NULL" : `'${unsent}'`;
  for (const meanwhile of ["nobody", "the cloud"] as const) {
    Deno.test(`flight: ${text} that waited when its column went comes back with it, where ${meanwhile} wrote it since`, async () => {
      await using rig = new SkewRig(newer, newer);
      rig.sql("Own", "INSERT INTO Own(name, v, x) VALUES ('a', 1, 'first'), ('b', 1, 'first'), ('c', 1, NULL)");
      await rig.pass();
      // Written offline; then the device goes back to the older schema, which has no such column.
      rig.device.disconnect();
      rig.sql("Own", `UPDATE Own SET x = ${text} WHERE name = 'a'; UPDATE Own SET v = 7 WHERE name IN ('b', 'c')`);
      rig.deployDevice(older);
      assert.equal(rig.rows("SELECT 1 FROM _sync_kept WHERE value IS NULL").length, unsent === null ? 1 : 0);
      await rig.pass();
      rig.sql("Own", "UPDATE Own SET v = 2 WHERE name = 'a'");
      await rig.pass();
      const items = await rig.itemsOf("Own");
      assert.deepEqual(items.a, { name: "a", v: 2, x: "first", ...dates(items) });
      if (meanwhile === "the cloud") await rig.put("Own", { deviceId: "D0", name: "a", v: 3, x: "newer" });
      await rig.pass();
      rig.deployDevice(newer);
      await rig.pass();
      const x = (await rig.itemsOf("Own")).a!.x ?? null;
      const conflicts = rig.rows("SELECT item ->> 'x' AS x, why FROM _conflicts");
      if (meanwhile === "nobody") assert.deepEqual([x, conflicts], [unsent, []]);
      else assert.deepEqual([x, conflicts], ["newer", [{ x: unsent, why: "stale" }]]);
      assert.deepEqual(rig.rows("SELECT x FROM Own ORDER BY name"), [{ x }, { x: "first" }, { x: null }]);
      assert.equal(rig.rows("SELECT 1 FROM _sync_kept WHERE row = 1").length, 0);
    });
  }

  Deno.test(`flight: ${text} that was acknowledged after its column went is no conflict when it is back`, async () => {
    await using rig = new SkewRig(newer, newer);
    rig.sql("Own", "INSERT INTO Own(name, v, x) VALUES ('a', 1, 'first')");
    await rig.pass();
    rig.spoils = ({ type }) => type === "ack" || type === "changes" ? "swallowed" : undefined;
    rig.sql("Own", `UPDATE Own SET x = ${text} WHERE name = 'a'`);
    await rig.pass(1000);
    rig.deployDevice(older);
    rig.spoils = () => undefined;
    await rig.pass();
    rig.deployDevice(newer);
    await rig.pass();
    assert.equal((await rig.itemsOf("Own")).a!.x ?? null, unsent);
    assert.deepEqual(rig.rows("SELECT x FROM Own"), [{ x: unsent }]);
    assert.deepEqual(rig.rows("SELECT why FROM _conflicts"), []);
    assert.equal(rig.rows("SELECT 1 FROM _sync_kept").length, 0);
  });
}

function dates({ a }: Record<string, Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(a!).filter(([name]) => name === "created" || name === "updated"));
}
