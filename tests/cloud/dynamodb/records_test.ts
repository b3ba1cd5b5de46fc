/** Stream events of Lambda and EventBridge Pipes. */
import assert from "node:assert/strict";
import { recordsFromLambda } from "../../../cloud/dynamodb/records.ts";
import { SyncError } from "../../../schema.ts";
import { schema } from "./fixture.ts";

const entry = (n: number, images: object = {}) => ({
  eventID: `event-${n}`,
  eventName: "MODIFY",
  eventSource: "aws:dynamodb",
  dynamodb: {
    Keys: { pk: { S: "device#d1" }, sk: { S: `thing#${n}` } },
    SequenceNumber: `10${n}`,
    StreamViewType: "NEW_AND_OLD_IMAGES",
    ...images,
  },
});

Deno.test("records: a Lambda event gives its records and the sequence numbers by which failures are named", () => {
  const event = {
    Records: [
      entry(1, { NewImage: { pk: { S: "device#d1" }, sk: { S: "thing#1" }, b: { B: "AQI=" } } }),
      entry(2, { OldImage: { pk: { S: "device#d1" }, sk: { S: "thing#2" }, n: { N: "1" } } }),
    ],
  };
  assert.deepEqual(recordsFromLambda(schema, event), [
    {
      failureId: "101",
      record: { key: ["device#d1", "thing#1"], new: { pk: "device#d1", sk: "thing#1", b: { $b: "AQI=" } } },
    },
    {
      failureId: "102",
      record: { key: ["device#d1", "thing#2"], old: { pk: "device#d1", sk: "thing#2", n: 1 } },
    },
  ]);
});

Deno.test("records: EventBridge Pipes post the array itself and know failures by the event's id", () => {
  assert.deepEqual(recordsFromLambda(schema, [entry(1)]).map(({ failureId }) => failureId), ["event-1"]);
  assert.deepEqual(recordsFromLambda(schema, []), []);
});

Deno.test("records: what is no batch of this table's stream is refused", () => {
  const faults = [
    null,
    "x",
    {},
    { Records: 1 },
    { Records: [null] },
    { Records: [{}] },
    { Records: [{ dynamodb: { Keys: entry(1).dynamodb.Keys } }] },
    { Records: [entry(1, { Keys: { id: { S: "x" } } })] },
    { Records: [entry(1, { NewImage: { a: { X: 1 } } })] },
    { Records: [entry(1, { NewImage: 1 })] },
    [{ ...entry(1), eventID: 7 }],
  ];
  for (const fault of faults) {
    assert.throws(() => recordsFromLambda(schema, fault), (error) => {
      assert.ok(error instanceof SyncError, JSON.stringify(fault));
      assert.equal(error.code, "invalid");
      return true;
    });
  }
});
