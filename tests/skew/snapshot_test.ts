/**
 * What the pages of a snapshot prove (rules C1, C3, C4): whatever is lost, repeated, killed or fails in between, an item that
 * the table had all the time is shown by the list, and reaches the device without being asked for by its name; and no row is
 * removed that the table has.
 */
import assert from "node:assert/strict";
import { compileSchema } from "../../schema.ts";
import { SyncError } from "../../schema/errors.ts";
import { Random } from "../sim/random.ts";
import { SkewRig } from "./rig.ts";

const schema = compileSchema({
  version: "1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true, timestamps: true },
  models: Object.fromEntries(
    ["First", "Second"].map((name) => [name, {
      pk: { type: "string", value: "d#${deviceId}" },
      sk: { type: "string", value: `${name}#\${name}` },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      v: { type: "number" },
    }]),
  ),
  process: { First: { sync: "both" }, Second: { sync: "down" } },
});
const seeds = Number(Deno.env.get("SNAPSHOT_SEEDS") ?? 8);

Deno.test(`snapshot: what the table had all the time arrives by the list alone (${seeds} seeds)`, async () => {
  for (let seed = 1; seed <= seeds; seed++) await one(seed);
});

async function one(seed: number): Promise<void> {
  const random = new Random(seed);
  await using rig = new SkewRig(schema, schema);
  const put = (model: string, name: string) => rig.put(model, { deviceId: "D0", name, v: random.below(1000) });
  const stable = Array.from({ length: random.between(5, 40) }, (_, i) => `stable${i}`);
  for (const name of stable) await put(random.pick(["First", "Second"]), name);
  // Their entries go into the log, which a device without a cursor does not read.
  await rig.pass(1000, []);
  rig.pageItems = random.between(1, 7);
  rig.deployCloud(schema);
  const { device } = rig;
  device.giveUpCursors(false);
  const faults = random.pick([0.1, 0.3, 0.5]);
  rig.reading = () => {
    if (random.chance(faults)) throw new SyncError("io", "disk I/O error", { retryable: true });
  };
  rig.spoils = () => random.chance(0.1) ? "swallowed" : undefined;
  for (let step = 0; step < 30; step++) {
    // Others come and go, before and after the places that the list has reached.
    const name = `other${random.below(5)}`, model = random.pick(["First", "Second"]);
    if (random.chance(0.5)) await put(model, name);
    else await rig.write([{ op: "delete", key: ["d#D0", `${model}#${name}`] }]);
    if (random.chance(0.15)) device.crash();
    if (random.chance(0.1)) rig.deployCloud(schema);
    if (random.chance(0.1)) device.dieIn = { count: random.below(4), committed: random.chance(0.5) };
    if (random.chance(0.05)) device.giveUpCursors(random.chance(0.5));
    await rig.pass(random.pick([1000, 20_000]));
  }
  rig.reading = () => undefined;
  rig.spoils = () => undefined;
  await rig.pass(600_000);
  const rows = rig.rows("SELECT name FROM First UNION ALL SELECT name FROM Second").map(({ name }) => String(name));
  assert.deepEqual(stable.filter((name) => !rows.includes(name)), [], `seed ${seed}: what the list left out`);
  assert.deepEqual(
    rig.rows("SELECT * FROM _conflicts WHERE why = 'swept' AND item LIKE '%stable%'"),
    [],
    `seed ${seed}`,
  );
}
