/**
 * Pages that a device can't take as a whole (rule D4): they can't be read, the broker does not pass them on, or applying one
 * of their items fails. Less is asked for, until the one item at fault stands alone and is set aside; all others arrive.
 */
import assert from "node:assert/strict";
import { compileSchema } from "../../schema.ts";
import { SkewRig } from "./rig.ts";

const schema = compileSchema({
  version: "1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  params: { isoDates: true, timestamps: true },
  models: {
    Own: {
      pk: { type: "string", value: "d#${deviceId}" },
      sk: { type: "string", value: "own#${name}" },
      deviceId: { type: "string", required: true },
      name: { type: "string", required: true },
      text: { type: "string" },
    },
  },
  process: { Own: { sync: "both" } },
});
const items = 150, minuteMs = 60_000;
const nameOf = (i: number) => `n${String(i).padStart(3, "0")}`;

/** Puts the items into the table: all at once, so that one log entry has many. */
async function fill(rig: SkewRig, textOf: (i: number) => string): Promise<void> {
  for (let i = 0; i < items; i++) await rig.put("Own", { deviceId: "D0", name: nameOf(i), text: textOf(i) });
}

function shown(rig: SkewRig): { rows: number; aside: unknown[]; settled: boolean } {
  const aside = rig.rows("SELECT sort FROM _sync_aside ORDER BY sort").map(({ sort }) => sort);
  return { rows: rig.count("Own"), aside, settled: rig.device.twin.settled };
}

for (const way of ["a snapshot", "the log"] as const) {
  for (const fate of ["garbled", "swallowed"] as const) {
    Deno.test(`pages: an item in ${way} whose messages are ${fate} is set aside alone`, async () => {
      await using rig = new SkewRig(schema, schema, 1, { unansweredMax: 2, tellFrom: 1 });
      rig.spoils = (message) => JSON.stringify(message).includes("POISON") ? fate : undefined;
      if (way === "the log") {
        await rig.pass();
        rig.device.disconnect();
      }
      await fill(rig, (i) => i === 77 ? "POISON" : `text ${i}`);
      // Of a log the gap is noticed with the next sync only; each half that is silent takes half a minute.
      await rig.pass(40 * minuteMs);
      assert.deepEqual(shown(rig), { rows: items - 1, aside: [`own#${nameOf(77)}`], settled: true });
      assert.match(String(rig.problem), /aside/);
      // It is written anew, and can be read: it comes, and nothing is left of its former self.
      await rig.put("Own", { deviceId: "D0", name: nameOf(77), text: "good" });
      await rig.pass(10 * minuteMs);
      assert.deepEqual(shown(rig), { rows: items, aside: [], settled: true });
      assert.equal(rig.problem, undefined);
    });
  }

  Deno.test(`pages: where the broker passes on nothing of over 2 KB, ${way} comes in smaller pages`, async () => {
    await using rig = new SkewRig(schema, schema, 1, { unansweredMax: 2, tellFrom: 1 });
    rig.spoils = (_, bytes) => bytes > 2048 ? "swallowed" : undefined;
    if (way === "the log") {
      await rig.pass();
      rig.device.disconnect();
    }
    await fill(rig, (i) => "x".repeat(i === 40 ? 3000 : 100));
    await rig.pass(45 * minuteMs);
    assert.deepEqual(shown(rig), { rows: items - 1, aside: [`own#${nameOf(40)}`], settled: true });
  });

  Deno.test(`pages: an item in ${way} at which a trigger rolls the transaction back is set aside alone`, async () => {
    await using rig = new SkewRig(schema, schema);
    await rig.pass();
    rig.device.faults = [];
    rig.device.store.db.exec(`CREATE TRIGGER no_77 BEFORE INSERT ON Own WHEN NEW.name = '${nameOf(77)}'
      BEGIN SELECT RAISE(ROLLBACK, 'not 77'); END`);
    if (way === "a snapshot") rig.device.giveUpCursors(false);
    else rig.device.disconnect();
    await fill(rig, (i) => `text ${i}`);
    await rig.pass(20 * minuteMs);
    assert.deepEqual(shown(rig), { rows: items - 1, aside: [`own#${nameOf(77)}`], settled: true });
    assert.match(String(rig.rows("SELECT error FROM _sync_aside")[0]!.error), /not 77/);
  });
}

Deno.test("pages: a cloud of before, which knows no limit, is asked ever more rarely, and nothing is taken for absent", async () => {
  await using rig = new SkewRig(schema, schema, 1, { unansweredMax: 2, tellFrom: 1 });
  await rig.put("Own", { deviceId: "D0", name: "old", text: "here before" });
  await rig.pass();
  let garbled = true;
  rig.spoils = (message) => garbled && JSON.stringify(message).includes("POISON") ? "garbled" : undefined;
  const up = rig.up.bind(rig);
  rig.up = (device, message) =>
    up(
      device,
      message.type === "sync"
        ? { ...message, channels: message.channels.map(({ limit: _, ...cursor }) => cursor) }
        : message,
    );
  rig.device.giveUpCursors(false);
  await rig.put("Own", { deviceId: "D0", name: "bad", text: "POISON" });
  await rig.pass(60 * minuteMs);
  assert.equal(rig.count("Own"), 1, "what it had it has");
  const asked = rig.sent.filter(({ type }) => type === "sync").length;
  assert.ok(asked < 150, `asked ${asked} times in an hour`);
  garbled = false;
  await rig.pass(10 * minuteMs);
  assert.equal(rig.count("Own"), 2);
});

Deno.test("pages: what can be read again comes in whole pages again", async () => {
  await using rig = new SkewRig(schema, schema, 1, { unansweredMax: 2, tellFrom: 1 });
  await rig.pass();
  rig.device.disconnect();
  await fill(rig, (i) => i === 3 ? "POISON" : "text");
  rig.spoils = (message) => JSON.stringify(message).includes("POISON") ? "garbled" : undefined;
  await rig.pass(30 * minuteMs);
  rig.sent.length = 0;
  rig.device.resync();
  await rig.pass();
  const limits = rig.sent.flatMap((message) =>
    message.type === "sync" ? message.channels.map(({ limit }) => limit) : []
  );
  assert.ok(limits.length > 0 && limits.every((limit) => limit === undefined || limit > 1), JSON.stringify(limits));
});

for (const how of ["a new connection", "time"] as const) {
  Deno.test(`pages: what could not be read is asked for again after ${how}, and comes if it can be read by then`, async () => {
    await using rig = new SkewRig(schema, schema, 1, { unansweredMax: 2, tellFrom: 1 });
    let garbled = true;
    rig.spoils = (message) => garbled && JSON.stringify(message).includes("POISON") ? "garbled" : undefined;
    await fill(rig, (i) => i === 9 ? "POISON" : "text");
    await rig.pass(20 * minuteMs);
    assert.deepEqual(shown(rig).aside, [`own#${nameOf(9)}`]);
    garbled = false;
    if (how === "a new connection") rig.device.disconnect();
    await rig.pass(how === "time" ? 70 * minuteMs : minuteMs);
    assert.deepEqual(shown(rig), { rows: items, aside: [], settled: true });
  });
}
