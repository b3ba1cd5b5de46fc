/** Stream events of Lambda and EventBridge Pipes. */
import assert from "node:assert/strict";
import { recordsFromLambda, wantedImages } from "../../../cloud/dynamodb/records.ts";
import { SyncError } from "../../../schema.ts";
import { schema } from "./fixture.ts";

const entry = (n: number, images: object = {}, eventName?: string) => ({
  eventID: `event-${n}`,
  ...(eventName === undefined ? {} : { eventName }),
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
      record: { id: "101", key: ["device#d1", "thing#1"], new: { pk: "device#d1", sk: "thing#1", b: { $b: "AQI=" } } },
    },
    {
      failureId: "102",
      record: { id: "102", key: ["device#d1", "thing#2"], old: { pk: "device#d1", sk: "thing#2", n: 1 } },
    },
  ]);
});

Deno.test("records: EventBridge Pipes post the array itself and know failures by the event's id", () => {
  assert.deepEqual(recordsFromLambda(schema, [entry(1)]).map(({ failureId }) => failureId), ["event-1"]);
  assert.deepEqual(recordsFromLambda(schema, []), []);
});

Deno.test("records: what is not a batch of this table's stream is refused", () => {
  const faults = [
    null,
    "x",
    {},
    { Records: 1 },
    { Records: [null] },
    { Records: [{}] },
    { Records: [{ dynamodb: { Keys: entry(1).dynamodb.Keys } }] },
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

Deno.test("records: one that can't be read, or is of another table, says so by itself", () => {
  const bad = [{ Keys: { id: { S: "x" } } }, { NewImage: { a: { X: 1 } } }, { NewImage: 1 }];
  const found = recordsFromLambda(schema, { Records: [...bad.map((images) => entry(1, images)), entry(2)] });
  assert.deepEqual(found.map(({ record, unreadable }) => [record !== undefined, unreadable !== undefined]), [
    ...bad.map(() => [false, true]),
    [true, false],
  ]);
});

Deno.test("records: of a stream that tells too little each record says so", () => {
  const image = { pk: { S: "device#d1" }, sk: { S: "thing#1" } };
  const cases: [string, object, RegExp | undefined][] = [
    ["INSERT", { NewImage: image }, undefined],
    ["MODIFY", { NewImage: image, OldImage: image }, undefined],
    ["REMOVE", { OldImage: image }, undefined],
    ["INSERT", {}, /no new image/],
    ["MODIFY", { NewImage: image }, /no old image/],
    ["MODIFY", { OldImage: image }, /no new image/],
    ["MODIFY", {}, /neither image/],
    ["REMOVE", {}, /no old image/],
    ["INSERT", { NewImage: image, StreamViewType: "NEW_IMAGE" }, /of NEW_IMAGE/],
    ["REMOVE", { StreamViewType: "KEYS_ONLY" }, /of KEYS_ONLY/],
  ];
  for (const [name, images, wanted] of cases) {
    const [{ record, lacks } = {}] = recordsFromLambda(schema, [entry(1, images, name)]);
    if (wanted) assert.match(lacks ?? "", wanted, name);
    assert.equal(record === undefined, wanted !== undefined, name);
  }
});
