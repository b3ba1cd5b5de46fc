/** Notifications to Amazon EventBridge, against a double that is as strict as the service, and as careless. */
import assert from "node:assert/strict";
import { EventBridgeClient, PutEventsCommand } from "@aws-sdk/client-eventbridge";
import { EventBus, NotTaken } from "../../../cloud/notify/receivers.ts";
import { eventBytesMax } from "../../../cloud/notify/event.ts";
import { until } from "../../support/until.ts";
import { entriesMax, entrySize, EventBridgeDouble, requestBytesMax } from "./event_bridge.ts";
import { NotifyWorld, schemaOf } from "./fixture.ts";

const event = (id: string, more: Record<string, unknown> = {}) =>
  JSON.stringify({ id, type: "twintable.item.created", time: "2026-03-01T12:00:00.000Z", subject: "a", ...more });

/** What the bus says of it: taken, or whether it is worth another try. */
async function told(bus: EventBus, text: string): Promise<"taken" | "later" | "never"> {
  try {
    await bus.send(text, AbortSignal.timeout(10_000));
    return "taken";
  } catch (error) {
    assert.ok(error instanceof NotTaken, String(error));
    return error.retryable ? "later" : "never";
  }
}

Deno.test("event bridge: the double refuses what the service refuses: entries, bytes, sources, details, buses", async () => {
  await using double = await EventBridgeDouble.open();
  const client = new EventBridgeClient({ maxAttempts: 1 });
  const good = { Source: "s", DetailType: "t", Detail: "{}" };
  const put = async (...Entries: Record<string, unknown>[]) => {
    try {
      const answer = await client.send(new PutEventsCommand({ Entries: Entries as never }));
      return [answer.FailedEntryCount, ...answer.Entries!.map(({ ErrorCode }) => ErrorCode)];
    } catch (error) {
      return (error as Error).name;
    }
  };
  assert.deepEqual(await put(good), [0, undefined]);
  assert.equal(await put(), "ValidationException");
  assert.equal(await put(...Array(entriesMax + 1).fill(good)), "ValidationException");
  assert.deepEqual((await put(...Array(entriesMax).fill(good)))[0], 0);
  // Each counts its own bytes of UTF-8, and 14 for a time; the bus' name none.
  assert.equal(entrySize({ ...good, Time: 1, Detail: '{"a":"é"}', Resources: ["rr"] }), 1 + 1 + 10 + 14 + 2);
  const detail = (size: number) => `{"a":"${"é".repeat((size - 8) / 2)}"}`;
  const most = requestBytesMax - 2 - 2;
  assert.deepEqual(await put({ ...good, Detail: detail(most) }), [0, undefined]);
  assert.equal(await put({ ...good, Detail: detail(most + 2) }), "ValidationException");
  assert.equal(await put(...Array(2).fill({ ...good, Detail: detail(most / 2 + 2) })), "ValidationException");
  assert.equal(await put({ ...good, Detail: detail(most), Time: new Date(0) }), "ValidationException");
  assert.deepEqual(await put(good, { ...good, Detail: "[1]" }, { ...good, Detail: "{" }), [
    2,
    ...[undefined, "MalformedDetail", "MalformedDetail"],
  ]);
  assert.deepEqual(await put({ ...good, Source: "aws.x" }, { ...good, DetailType: "x".repeat(129) }, { Source: "s" }), [
    3,
    ...["NotAuthorizedForSourceException", "InvalidArgument", "InvalidArgument"],
  ]);
  assert.equal(await put({ ...good, EventBusName: "a b" }), "ValidationException");
  assert.deepEqual(await put({ ...good, EventBusName: "nobody" }), [0, undefined]);
  assert.equal(double.dropped.length, 1);
  Deno.env.set("AWS_SECRET_ACCESS_KEY", "another");
  const other = new EventBridgeClient({ maxAttempts: 1 });
  await assert.rejects(other.send(new PutEventsCommand({ Entries: [good] })), { name: "InvalidSignatureException" });
  for (const one of [client, other]) one.destroy();
});

Deno.test("event bridge: what the service can't take now comes again, what it refuses of an event does not", async () => {
  await using double = await EventBridgeDouble.open("plant");
  const bus = new EventBus("plant");
  for (const code of ["ThrottlingException", "InternalFailure", "AccessDeniedException", "RedactionFailure"]) {
    double.entryFaults.push(code);
    assert.equal(await told(bus, event(code)), "later", code);
  }
  for (const code of ["NotAuthorizedForSourceException", "InvalidAccountIdException"]) {
    double.entryFaults.push(code);
    assert.equal(await told(bus, event(code)), "later", code);
  }
  for (const code of ["MalformedDetail", "InvalidArgument"]) {
    double.entryFaults.push(code);
    assert.equal(await told(bus, event(code)), "never", code);
  }
  for (const [type, status] of [["ThrottlingException", 400], ["InternalFailure", 500], ["ServiceUnavailable", 503]]) {
    double.requestFaults.push({ type: String(type), status: Number(status) });
    assert.equal(await told(bus, event(String(type))), "later", String(type));
  }
  assert.equal(double.taken.length, 0);
  assert.equal(await told(bus, event("1")), "taken");
  // What is larger than the service takes is never sent again and again.
  assert.equal(await told(bus, event("2", { data: "é".repeat(requestBytesMax / 2) })), "never");
  assert.deepEqual(double.taken.map(({ Detail }) => JSON.parse(Detail!).id), ["1"]);
  bus.close();
});

Deno.test("event bridge: events for a bus that does not exist wait, though the service answers that it has them", async () => {
  await using double = await EventBridgeDouble.open();
  const bus = new EventBus("plnat");
  assert.equal(await told(bus, event("1")), "later");
  assert.deepEqual([double.dropped.length, double.requests], [0, ["AWSEvents.DescribeEventBus"]]);
  double.buses.add("plnat");
  assert.equal(await told(bus, event("1")), "taken");
  // It is not asked for each event.
  assert.equal(await told(bus, event("2")), "taken");
  assert.equal(double.requests.filter((target) => target.endsWith("DescribeEventBus")).length, 2);
  // Who may not look sends anyway.
  double.maySeeBuses = false;
  const blind = new EventBus("default");
  assert.equal(await told(blind, event("3")), "taken");
  for (const one of [bus, blind]) one.close();
});

Deno.test("event bridge: each change is an entry of its own, the largest as well, and what failed comes again", async () => {
  await using double = await EventBridgeDouble.open("plant");
  await using world = new NotifyWorld(schemaOf({ eventbridge: "plant" }));
  const notifier = world.notifier();
  double.entryFaults.push("ThrottlingException", undefined, "InternalFailure");
  notifier.start();
  world.reads(notifier);
  await world.put("a", { level: 4 });
  // With both items 3 times as large as an event may be, with one 1.5 times.
  await world.put("b", { level: 1, t: "é".repeat(eventBytesMax * 0.75) });
  await world.put("b", { level: 2, t: "é".repeat(eventBytesMax * 0.75) });
  await world.put("c", { level: 1, t: '"'.repeat(eventBytesMax * 0.45) });
  await until("all are taken", () => double.taken.length === 4);
  const details = double.taken.map(({ Detail }) => JSON.parse(Detail!));
  const b = details.filter(({ subject }) => subject.endsWith("#b"));
  assert.deepEqual(b.map(({ data: { op, omitted } }) => [op, omitted]), [["create", ["item"]], ["update", [
    "old",
    "item",
  ]]]);
  const a = double.taken.find(({ Detail }) => Detail!.includes("alarm#a"))!;
  assert.deepEqual([a.EventBusName, a.Source, a.DetailType], ["plant", "twintable", "twintable.item.created"]);
  assert.equal(a.Time, Math.floor(Date.parse(JSON.parse(a.Detail!).time) / 1000 * 1000) / 1000);
  assert.equal(JSON.parse(a.Detail!).data.item.level, 4);
  await until("nothing waits", async () => await world.waiting() === 0);
});
