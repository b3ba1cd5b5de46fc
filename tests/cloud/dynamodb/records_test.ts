/** Stream events of Lambda and EventBridge Pipes. */
import assert from "node:assert/strict";
import { recordsFromLambda, wantedImages } from "../../../cloud/dynamodb/records.ts";
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

Deno.test("records: one is unwanted only where none of its images is wanted: an item that changes its type is gone for the former's readers", () => {
  const isWanted = wantedImages("_type", ["Sample"]),
    sample = { _type: { S: "Sample" } },
    thing = { _type: { S: "Thing" } };
  const cases = [
    [{ NewImage: sample }, false],
    [{ OldImage: sample, NewImage: sample }, false],
    [{ OldImage: thing, NewImage: sample }, true],
    [{ OldImage: sample, NewImage: thing }, true],
    [{ OldImage: thing }, true],
    [{ NewImage: {} }, true],
    [{}, true],
  ] as const;
  for (const [images, wanted] of cases) assert.equal(isWanted(images), wanted, JSON.stringify(images));
});
