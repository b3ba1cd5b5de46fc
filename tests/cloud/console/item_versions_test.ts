import assert from "node:assert/strict";
import { bytesMax, ItemVersions, versionsMax } from "../../../cloud/console/item_versions.ts";
import type { ChangeRow } from "../../../cloud/feed/rows.ts";

const key = ["device#d-1", "setting#load"] as const, channel = "device:d-1";
const at = "2026-01-01T00:00:00.000Z";
const row = (more: Partial<ChangeRow>): ChangeRow => ({ type: "change", at: 1, key, op: "put", by: "cloud", ...more });

Deno.test("versions: an entry has the values that the feed told of it, by number or by stamp, and no other's", () => {
  const versions = new ItemVersions();
  versions.heard(row({ channel, seq: 5, item: { value: 5 } }));
  versions.heard(row({ by: "d-1", stamp: 77, item: { value: 6 } }));
  assert.deepEqual(versions.of(key, channel, { seq: 5, at, by: "cloud" }), { value: 5 });
  assert.deepEqual(versions.of(key, channel, { seq: 6, at, by: "d-1", stamp: 77 }), { value: 6 });
  // Never the nearest: another number, another stamp, another channel, another device, another key.
  for (
    const [of, version] of [
      [key, { seq: 4, at, by: "cloud" }],
      [key, { seq: 6, at, by: "cloud" }],
      [key, { seq: 5, at, by: "d-1", stamp: 78 }],
      [key, { seq: 5, at, by: "d-2", stamp: 77 }],
      [["device#d-1", "setting#disk"], { seq: 5, at, by: "cloud" }],
    ] as const
  ) assert.equal(versions.of(of, channel, version), undefined);
  assert.equal(versions.of(key, "global", { seq: 5, at, by: "cloud" }), undefined);
  assert.equal(versions.of(key, channel, { seq: 5, at, by: "cloud", removed: true }), undefined);
});

Deno.test("versions: the console's page says how many are remembered", async () => {
  const page = await Deno.readTextFile(new URL("../../../docs/console.md", import.meta.url));
  const said = `the last ${versionsMax} of an item, ${bytesMax / 1024 / 1024} MB in all`;
  assert.ok(page.replaceAll(/\s+/g, " ").includes(said), said);
});

Deno.test("versions: what has no values, no number and no stamp is not remembered; twenty of an item are", () => {
  assert.equal(versionsMax, 20);
  const versions = new ItemVersions();
  versions.heard(row({ item: { value: 1 } }));
  versions.heard(row({ channel, seq: 1 }));
  versions.heard(row({ channel, seq: 2, op: "remove" }));
  for (const seq of [1, 2]) assert.equal(versions.of(key, channel, { seq, at, by: "cloud" }), undefined);
  for (let seq = 10; seq < 40; seq++) versions.heard(row({ channel, seq, item: { value: seq } }));
  assert.equal(versions.of(key, channel, { seq: 19, at, by: "cloud" }), undefined);
  assert.deepEqual(versions.of(key, channel, { seq: 20, at, by: "cloud" }), { value: 20 });
});
