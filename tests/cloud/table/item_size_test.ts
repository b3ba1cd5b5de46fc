import assert from "node:assert/strict";
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
