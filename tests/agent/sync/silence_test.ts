/**
 * A broker that takes messages and passes them on to nobody: the problem is told after two tries, what is small enough gets
 * through by smaller batches, and what never does holds up nothing else.
 */
import assert from "node:assert/strict";
import type { FromDevice } from "../../../protocol.ts";
import { splitBatchesMax } from "../../../agent/sync/silence.ts";
import { Scripted } from "../twin_fixture.ts";

const problem = (device: Scripted) => device.rows("SELECT problem FROM _status")[0]!.problem as string | null;
const many = (n: number) => `WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < ${n})`;
const bytes = (message: FromDevice) => JSON.stringify(message).length;

Deno.test("silence: where the broker swallows large messages, smaller batches get through, and one too large for it alone stays, told", () => {
  using device = new Scripted();
  device.connect();
  device.swallows = (message) => message.type === "up" && bytes(message) > 8_192;
  device.sql(`${many(500)} INSERT INTO Sample(n) SELECT x FROM i`);
  device.sql(`INSERT INTO Slot(name, slot) VALUES ('huge', hex(zeroblob(10000)))`);
  device.sql(`INSERT INTO Slot(name, slot) VALUES ('small', 's')`);
  // Two tries and a sign of life: how long that takes is drawn.
  for (let i = 0; i < 90 && !/although the cloud answers other messages/.test(String(problem(device))); i++) {
    device.pass(1_000);
  }
  assert.match(
    String(problem(device)),
    /changes? (is|are) not answered since .*although the cloud answers other messages.*--payload-max/,
  );
  device.pass(300_000);
  assert.equal([...device.table.values()].filter(({ model }) => model === "Sample").length, 500);
  assert.ok(device.table.has("device#dev-1 slot#small"));
  assert.ok(!device.table.has("device#dev-1 slot#huge"));
  assert.match(String(problem(device)), /^1 change is not answered .*the largest change is 20\d\d\d bytes/);
  device.sql("INSERT INTO Sample(n) VALUES (501)");
  assert.equal(
    [...device.table.values()].filter(({ model }) => model === "Sample").length,
    501,
    "nothing waits for it",
  );
  device.swallows = () => false;
  device.pass(120_000);
  assert.ok(device.table.has("device#dev-1 slot#huge"));
  assert.equal(problem(device), null);
});

Deno.test("silence: more changes that never get through than the window has room for hold up none of the others", () => {
  using device = new Scripted();
  device.connect();
  device.swallows = (message) => message.type === "up" && /"n":13/.test(JSON.stringify(message));
  device.sql(`${many(400)} INSERT INTO Sample(n) SELECT x % 40 FROM i`);
  device.pass(900_000);
  assert.equal(device.table.size, 390);
  assert.match(String(problem(device)), /^10 changes are not answered/);
});

Deno.test("silence: a cloud that is away is told as such, and nothing is cut", () => {
  using device = new Scripted();
  device.connect();
  device.swallows = () => true;
  device.sql(`${many(200)} INSERT INTO Sample(n) SELECT x FROM i`);
  device.pass(60_000);
  assert.match(
    String(problem(device)),
    /^nothing that this device sends is answered since .*no worker of the cloud is running/,
  );
  device.pass(600_000);
  assert.equal(device.twin.context.inFlight.batches.size, 1);
  device.swallows = () => false;
  device.pass(120_000);
  assert.equal(device.table.size, 200);
  assert.equal(problem(device), null);
});

Deno.test("silence: an access rule that swallows every change leaves few batches in flight, and all of it goes when it is mended", () => {
  using device = new Scripted();
  device.connect();
  device.swallows = (message) => message.type === "up";
  device.sql(`${many(5_000)} INSERT INTO Sample(n) SELECT x FROM i`);
  for (let i = 0; i < 30; i++) {
    device.pass(60_000);
    assert.ok(device.twin.context.inFlight.batches.size <= splitBatchesMax + 4);
  }
  assert.match(String(problem(device)), /the broker may not forward what is published on d\/dev-1\/up/);
  const sent = device.sent.length;
  device.pass(600_000);
  assert.ok(device.sent.length - sent < splitBatchesMax * 25, `${device.sent.length - sent} messages in ten minutes`);
  device.swallows = () => false;
  device.pass(300_000);
  assert.equal(device.table.size, 5_000);
  assert.equal(problem(device), null);
});

Deno.test("silence: what the broker says (MQTT 5) is told in its words, until an answer comes", () => {
  using device = new Scripted();
  device.connect();
  device.swallows = (message) => message.type === "up";
  device.sql("INSERT INTO Sample(n) VALUES (1)");
  device.twin.onRefused("up", "Not authorized");
  device.pass(2_000);
  assert.equal(problem(device), "the broker refuses what this device publishes on d/dev-1/up: Not authorized");
  device.swallows = () => false;
  device.pass(60_000);
  assert.equal(problem(device), null);
});
