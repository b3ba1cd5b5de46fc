import assert from "node:assert/strict";
import type { Json } from "../../../schema/values.ts";
import { itemSizeBytes, keyFault, utf8Bytes } from "../../../cloud/table/item_size.ts";

Deno.test("item size: names and values are counted by DynamoDB's rules", () => {
  assert.equal(itemSizeBytes({ ab: "cde" }), 5);
  assert.equal(itemSizeBytes({ a: "ä😀" }), 1 + 6);
  assert.equal(itemSizeBytes({ a: null, b: true }), 4);
  assert.equal(itemSizeBytes({ a: 1234 }), 1 + 3);
  assert.equal(itemSizeBytes({ a: -1234 }), 1 + 4);
  assert.equal(itemSizeBytes({ a: { $n: "12345678901234567890" } }), 1 + 11);
  assert.equal(itemSizeBytes({ a: { $b: "AAEC" } }), 1 + 3);
  assert.equal(itemSizeBytes({ a: { $b: "AA==" } }), 1 + 1);
  assert.equal(itemSizeBytes({ a: ["x", "y"] }), 1 + 3 + 4);
  assert.equal(itemSizeBytes({ a: { b: "x" } }), 1 + 3 + 1 + 1 + 1);
  assert.equal(itemSizeBytes({ a: { $ss: ["xx", "y"] } }), 1 + 3 + 3);
  assert.equal(itemSizeBytes({ a: { $m: { $n: "x" } } }), 1 + 3 + 1 + 2 + 1);
});

Deno.test("item size: what looks like a tag and is none has the size of a map; nothing throws", () => {
  const odd: Json[] = [{ $b: [1] }, { $n: 5 }, { $ss: [1] }, { $bs: [true, null] }, { $m: 5 }, { $m: [] }, { $: null }];
  for (const value of odd) assert.ok(itemSizeBytes({ a: value }) > 5, JSON.stringify(value));
  assert.equal(itemSizeBytes({ a: { $b: 5 } }), itemSizeBytes({ a: { xb: 5 } }));
  assert.equal(itemSizeBytes({ a: { toString: "x" } }), itemSizeBytes({ a: { x2String: "x" } }));
});

Deno.test("item size: UTF-8 lengths are those of the encoder", () => {
  for (const text of ["", "ascii", "ä", "漢字", "😀 x"]) {
    assert.equal(utf8Bytes(text), new TextEncoder().encode(text).length);
  }
});

Deno.test("item size: keys that DynamoDB refuses are named", () => {
  assert.equal(keyFault(["h", "s"], true), undefined);
  assert.equal(keyFault(["h", ""], false), undefined);
  assert.match(keyFault(["", "s"], true)!, /empty/);
  assert.match(keyFault(["h", ""], true)!, /empty/);
  assert.match(keyFault(["h".repeat(2049), "s"], true)!, /2048/);
  assert.match(keyFault(["h", "ä".repeat(513)], true)!, /1024/);
});
