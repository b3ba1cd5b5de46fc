/**
 * The contract of the `Table` port: one suite that every adapter passes. An adapter's test file calls
 * {@link tableContract} with a function that makes empty tables for {@link contractSchema}.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  absent,
  all,
  any,
  atMost,
  beginsWith,
  equals,
  exists,
  greater,
  less,
  not,
} from "../../cloud/table/condition.ts";
import type { Condition, StreamBatch, StreamRecord, Table, Tables, Write } from "../../cloud/table/port.ts";
import type { Key } from "../../protocol.ts";
import { compileSchema } from "../../schema.ts";
import { readTagged } from "../../schema/tagged.ts";
import type { Item, Json } from "../../schema/values.ts";

/** The schema that the tables under test are made for: string keys `pk`, `sk`; the secondary index `gs1`; ttl `expires`. */
export const contractSchema = compileSchema({
  version: "0.0.1",
  indexes: {
    primary: { hash: "pk", sort: "sk" },
    gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" },
  },
  models: {
    Thing: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "thing#${id}" },
      gs1pk: { type: "string", value: "things" },
      gs1sk: { type: "string", value: "thing#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", required: true },
      expires: { type: "date", ttl: true },
    },
    Reading: {
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: "reading#${id}" },
      deviceId: { type: "string", required: true },
      id: { type: "string", required: true },
    },
  },
  process: { Thing: { sync: "both" }, Reading: { sync: "up" } },
});

/** Tables under test, and how to be rid of them. */
export interface ContractTables {
  readonly tables: Tables;
  dispose(): Promise<void>;
}

/** Registers the suite's tests, each on tables of its own. */
export function tableContract(
  name: string,
  make: () => Promise<ContractTables>,
  options: { ignore?: boolean } = {},
): void {
  const test = (sentence: string, body: (tables: Tables) => Promise<void>) =>
    Deno.test({
      name: `${name}: ${sentence}`,
      ignore: options.ignore ?? false,
      // Adapters keep sockets alive between requests; each is closed by its own `dispose`.
      sanitizeResources: false,
      sanitizeOps: false,
      async fn() {
        const { tables, dispose } = await make();
        try {
          await body(tables);
        } finally {
          await dispose();
        }
      },
    });

  test("an item is put, read, replaced and deleted; each write gives the item before it", async ({ data }) => {
    const first = itemOf("a", { v: 1 }), second = itemOf("a", { v: 2 });
    assert.deepEqual(await data.write([{ op: "put", item: first }]), [{ outcome: "written", old: undefined }]);
    assert.deepEqual(await data.get([keyOf("a")]), [first]);
    assert.deepEqual((await data.write([{ op: "put", item: second }]))[0], { outcome: "written", old: first });
    assert.deepEqual((await data.write([{ op: "delete", key: keyOf("a") }]))[0], { outcome: "written", old: second });
    assert.deepEqual(await data.write([{ op: "delete", key: keyOf("a") }]), [{ outcome: "written", old: undefined }]);
    assert.deepEqual(await data.get([keyOf("a")]), [undefined]);
  });

  test("a refused write changes nothing and gives the item that it failed on", async ({ data }) => {
    const item = itemOf("a", { v: 1 });
    await data.write([{ op: "put", item }]);
    const refused = [{ outcome: "refused", current: item }];
    assert.deepEqual(await data.write([{ op: "put", item: itemOf("a", { v: 2 }), condition: absent }]), refused);
    assert.deepEqual(await data.write([{ op: "delete", key: keyOf("a"), condition: equals("v", 2) }]), refused);
    const none = await data.write([{ op: "put", item: itemOf("b", {}), condition: exists }]);
    assert.deepEqual(none, [{ outcome: "refused", current: undefined }]);
    assert.deepEqual(await data.get([keyOf("a"), keyOf("b")]), [item, undefined]);
  });

  test("a write of an item that is held for new goes by its whole condition where it is not", async ({ data }) => {
    const condition = any(absent, equals("v", 1));
    const put = (v: number): Write => ({ op: "put", item: itemOf("a", { v }), condition, isNew: true });
    assert.deepEqual(await data.write([put(1)]), [{ outcome: "written", old: undefined }]);
    assert.deepEqual(await data.write([put(2)]), [{ outcome: "written", old: itemOf("a", { v: 1 }) }]);
    assert.deepEqual(await data.write([put(3)]), [{ outcome: "refused", current: itemOf("a", { v: 2 }) }]);
    assert.deepEqual(await data.get([keyOf("a")]), [itemOf("a", { v: 2 })]);
  });

  test("what DynamoDB has no value of is invalid, says why, and leaves what was there", async ({ data }) => {
    await data.write([{ op: "put", item: itemOf("a", { v: 1 }) }]);
    const digits = (n: number): Json => ({ $n: "1".repeat(n) });
    const bad: [Json, RegExp][] = [
      [digits(39), /more than 38 digits/],
      [{ $n: "1e126" }, /beyond what DynamoDB holds/],
      [1e-200, /beyond what DynamoDB holds/],
      [{ $ns: ["1", "1e-131"] }, /beyond what DynamoDB holds/],
      [{ $ss: [] }, /set is empty/],
      [{ $b: "?" }, /not base64/],
      [{ "": 1 }, /empty name/],
      ["a\ud800", /half a surrogate pair/],
      [{ $ss: ["a", "\udc00b"] }, /half a surrogate pair/],
      [{ "\ud800": 1 }, /half a surrogate pair/],
      [JSON.parse("[".repeat(32) + "]".repeat(32)) as Json, /deeper than 32/],
    ];
    for (const [value, message] of bad) {
      for (const v of [value, [value], { a: { b: [{ c: value }] } }]) {
        const [result] = await data.write([{ op: "put", item: itemOf("a", { v }) }]);
        assert.equal(result?.outcome, "invalid", JSON.stringify(v));
        assert.match((result as { message: string }).message, message);
      }
    }
    const good: Json[] = [digits(38), { $n: "9.9e125" }, 1e-130, JSON.parse("[".repeat(31) + "]".repeat(31)) as Json];
    for (const v of good) {
      const [result] = await data.write([{ op: "put", item: itemOf("b", { v }) }]);
      assert.equal(result?.outcome, "written", `${JSON.stringify(v)}: ${JSON.stringify(result)}`);
    }
    assert.deepEqual(await data.get([keyOf("a")]), [itemOf("a", { v: 1 })]);
  });

  test("a key that no item can have is absent, and is no other's", async ({ data }) => {
    await data.write([{ op: "put", item: itemOf("\ufffd", { v: 1 }) }]);
    const [hash, sort] = keyOf("a");
    const keys: Key[] = [keyOf("\ud800"), ["\ud800", sort], [hash, ""], ["", sort], [hash, "s".repeat(2_000)]];
    const all = await data.get([keyOf("\ufffd"), ...keys]);
    assert.deepEqual(all, [itemOf("\ufffd", { v: 1 }), ...keys.map(() => undefined)]);
    for (const key of keys) {
      const [result] = await data.write([{ op: "delete", key }]);
      assert.equal(result?.outcome, "invalid", JSON.stringify(key));
    }
    const found = async (query: { hash: string; sortPrefix?: string }) =>
      (await data.query({ index: "primary", limit: 10, ...query })).items;
    assert.deepEqual(await found({ hash, sortPrefix: "thing#\ud800" }), []);
    assert.deepEqual(await found({ hash: "\ud800" }), []);
    assert.equal((await found({ hash, sortPrefix: "thing#\ufffd" })).length, 1);
    const [put] = await data.write([{ op: "put", item: itemOf("\ud800", {}) }]);
    assert.equal(put?.outcome, "invalid");
    assert.deepEqual(await data.get([keyOf("\ufffd")]), [itemOf("\ufffd", { v: 1 })]);
  });

  test("each kind of condition holds exactly where it should", async ({ data }) => {
    const item = itemOf("a", {
      n: 5,
      big: { $n: "12345678901234567890123" },
      s: "b\u{1f600}",
      t: true,
      z: null,
      list: [1, { a: ["x"] }],
      set: { $ss: ["x", "y"] },
      bin: { $b: "AAEC" },
      empty: "",
    });
    await data.write([{ op: "put", item }]);
    const cases: [Condition, boolean][] = [
      [exists, true],
      [absent, false],
      [equals("n", 5), true],
      [equals("n", 6), false],
      [equals("n", "5"), false],
      [equals("missing", null), false],
      [equals("z", null), true],
      [equals("t", true), true],
      [equals("empty", ""), true],
      [equals("big", { $n: "12345678901234567890123" }), true],
      [equals("big", { $n: "12345678901234567890124" }), false],
      [equals("list", [1, { a: ["x"] }]), true],
      [equals("list", [1, { a: ["y"] }]), false],
      [equals("set", { $ss: ["y", "x"] }), true],
      [equals("set", ["x", "y"]), false],
      [equals("bin", { $b: "AAEC" }), true],
      [less("n", 6), true],
      [less("n", 5), false],
      [less("n", "6"), false],
      [less("missing", 6), false],
      [not(less("missing", 6)), true],
      [atMost("n", 5), true],
      [atMost("n", 4), false],
      [greater("n", 4.5), true],
      [greater("n", 5), false],
      [greater("n", -1), true],
      [greater("big", 1e15), true],
      [less("big", 1e15), false],
      [greater("s", "b"), true],
      // By bytes of UTF-8, U+1F600 stands behind U+FFFD; by UTF-16 units it stands before.
      [greater("s", "b\ufffd"), true],
      [less("s", "c"), true],
      [atMost("s", "b\u{1f600}"), true],
      [greater("s", 1), false],
      [{ kind: "has", attribute: "z" }, true],
      [{ kind: "has", attribute: "missing" }, false],
      [{ kind: "lacks", attribute: "missing" }, true],
      [{ kind: "lacks", attribute: "z" }, false],
      [beginsWith("s", "b"), true],
      [beginsWith("s", "c"), false],
      [beginsWith("n", "5"), false],
      [all(equals("n", 5), equals("t", true)), true],
      [all(equals("n", 5), equals("t", false)), false],
      [any(equals("n", 6), equals("t", true)), true],
      [any(equals("n", 6), equals("t", false)), false],
      [not(any(equals("n", 6), all(exists, equals("t", false)))), true],
    ];
    for (const [condition, holds] of cases) {
      const [result] = await data.write([{ op: "put", item, condition }]);
      assert.equal(result?.outcome, holds ? "written" : "refused", JSON.stringify(condition));
    }
  });

  test("conditions on an item that is not there see no attribute", async ({ data }) => {
    const cases: [Condition, boolean][] = [
      [absent, true],
      [exists, false],
      [equals("n", null), false],
      [less("n", 1), false],
      [not(less("n", 1)), true],
      [{ kind: "lacks", attribute: "n" }, true],
      [{ kind: "has", attribute: "n" }, false],
      [any(absent, equals("n", 1)), true],
    ];
    for (const [condition, holds] of cases) {
      const [result] = await data.write([{ op: "delete", key: keyOf("none"), condition }]);
      assert.equal(result?.outcome, holds ? "written" : "refused", JSON.stringify(condition));
    }
  });

  test("the writes of a call are independent of each other, and answered in their order", async ({ data }) => {
    await data.write([{ op: "put", item: itemOf("b", { v: 1 }) }]);
    const writes: Write[] = ["a", "b", "c"].map((id) => ({ op: "put", item: itemOf(id, { v: 2 }), condition: absent }));
    const results = await data.write(writes);
    assert.deepEqual(results.map(({ outcome }) => outcome), ["written", "refused", "written"]);
    assert.deepEqual((await data.get(["a", "b", "c"].map((id) => keyOf(id)))).map((item) => item?.v), [2, 1, 2]);
  });

  test("of concurrent conditional puts of one key exactly one is written", async ({ data }) => {
    const puts = Array.from(
      { length: 10 },
      (_, v) => data.write([{ op: "put", item: itemOf("a", { v }), condition: absent }]),
    );
    const outcomes = (await Promise.all(puts)).map(([result]) => result?.outcome);
    assert.equal(outcomes.filter((outcome) => outcome === "written").length, 1);
  });

  test("get answers in the order of the keys, with duplicates and gaps, any number of them", async ({ data }) => {
    const ids = Array.from({ length: 230 }, (_, i) => String(i).padStart(3, "0"));
    await data.write(ids.map((id): Write => ({ op: "put", item: itemOf(id, { v: Number(id) }) })));
    const asked = [...ids].reverse().flatMap((id) => [id, `no-${id}`]).concat("007", "007");
    const items = await data.get(asked.map((id) => keyOf(id)));
    assert.deepEqual(items.map((item) => item?.id), asked.map((id) => id.startsWith("no-") ? undefined : id));
    assert.deepEqual(await data.get([]), []);
  });

  test("every value comes back as it was", async ({ data }) => {
    const values: Record<string, Json> = {
      zero: 0,
      negative: -12.5,
      tiny: 1e-100,
      large: 2 ** 53,
      digits: { $n: "12345678901234567890123456789012345678" },
      fraction: { $n: "-0.1234567890123456789012345678901" },
      yes: true,
      no: false,
      nothing: null,
      empty: "",
      text: 'line\n\ttab "quote" \\ \u0001',
      emoji: "👩‍👩‍👧 😀 ÅéЖ漢",
      binary: { $b: "AP8QgA==" },
      strings: { $ss: ["a", "b\u{1f600}"] },
      numbers: { $ns: ["-1.5", "12345678901234567890123"] },
      binaries: { $bs: ["AAEC", "/w=="] },
      list: [1, "two", [3, [null]], { four: { $n: "12345678901234567890" } }],
      map: { a: { b: { c: [] } }, " ": "blank name" },
      emptyList: [],
      emptyMap: {},
      escaped: { $m: { $n: "not a number" } },
    };
    const item = itemOf("a", values);
    await data.write([{ op: "put", item }]);
    const [found] = await data.get([keyOf("a")]);
    for (const [name, value] of Object.entries(values)) assert.deepEqual(sorted(found?.[name]), sorted(value), name);
  });

  test("a query lists one hash value's items in the bytes' order of the sort value", async ({ data }) => {
    const ids = ["a", "B", "b", "ä", "10", "2", "\ufffd", "\u{1f600}", "_"];
    await data.write(ids.map((id): Write => ({ op: "put", item: itemOf(id, {}) })));
    await data.write([{ op: "put", item: itemOf("other", {}, "d2") }]);
    const expected = ["10", "2", "B", "_", "a", "b", "ä", "\ufffd", "\u{1f600}"];
    const query = { index: "primary", hash: "device#d1", limit: 100 };
    assert.deepEqual(idsOf((await data.query(query)).items), expected);
    assert.deepEqual(idsOf((await data.query({ ...query, reverse: true })).items), [...expected].reverse());
    const last = await data.query({ ...query, reverse: true, limit: 1 });
    assert.deepEqual(idsOf(last.items), ["\u{1f600}"]);
  });

  test("a query keeps to a prefix and begins behind a sort value", async ({ data }) => {
    const ids = ["a", "a1", "a2", "a3", "b"];
    await data.write(ids.map((id): Write => ({ op: "put", item: itemOf(id, {}) })));
    const query = { index: "primary", hash: "device#d1", limit: 100 };
    const listed = async (more: { sortPrefix?: string; sortAfter?: string; reverse?: boolean }) =>
      idsOf(await allPages((after) => data.query({ ...query, ...more, after })));
    assert.deepEqual(await listed({ sortPrefix: "thing#a" }), ["a", "a1", "a2", "a3"]);
    assert.deepEqual(await listed({ sortPrefix: "thing#x" }), []);
    assert.deepEqual(await listed({ sortAfter: "thing#a1" }), ["a2", "a3", "b"]);
    assert.deepEqual(await listed({ sortAfter: "thing#a11" }), ["a2", "a3", "b"]);
    assert.deepEqual(await listed({ sortAfter: "thing#b" }), []);
  });

  test("pages of queries and scans give every item once", async ({ data }) => {
    const ids = Array.from({ length: 57 }, (_, i) => String(i).padStart(3, "0"));
    await data.write(ids.map((id): Write => ({ op: "put", item: itemOf(id, {}) })));
    for (const limit of [1, 10, 57, 58]) {
      const query = { index: "primary", hash: "device#d1", limit };
      assert.deepEqual(idsOf(await allPages((after) => data.query({ ...query, after }), limit)), ids);
      const reversed = await allPages((after) => data.query({ ...query, reverse: true, after }), limit);
      assert.deepEqual(idsOf(reversed), [...ids].reverse());
      assert.deepEqual(idsOf(await allPages((after) => data.scan({ limit, after }), limit)).sort(), ids);
    }
    // AWS's own counts every six hours, which is as if there were none until then.
    const size = await data.size?.();
    assert.ok(size === undefined || size === ids.length || size === 0, String(size));
  });

  test("a secondary index lists complete items in its own order, without those that lack its attributes", async ({ data }) => {
    const ids = ["c", "a", "b"];
    await data.write(ids.map((id, i): Write => ({
      op: "put",
      item: { ...itemOf(id, { v: i }, `d${i}`), gs1pk: "things", gs1sk: `thing#${id}` },
    })));
    await data.write([{ op: "put", item: itemOf("bare", {}) }]);
    const query = { index: "gs1", hash: "things", limit: 2 };
    const items = await until(async () => {
      const found = await allPages((after) => data.query({ ...query, after }), 2);
      return found.length === 3 ? found : undefined;
    });
    assert.deepEqual(items.map(({ id, v }) => [id, v]), [["a", 1], ["b", 2], ["c", 0]]);
    const some = await data.query({ ...query, sortPrefix: "thing#b" });
    assert.deepEqual(idsOf(some.items), ["b"]);
  });

  test("an item of 400 KB is taken and one above is too large, whatever stands beside it", async ({ data }) => {
    const room = 400 * 1024 - ["pk", "device#d1", "sk", "thing#x", "id", "x", "deviceId", "d1", "_type", "Thing", "v"]
      .join("").length;
    const [fits, not, small] = await data.write([
      { op: "put", item: itemOf("x", { v: "a".repeat(room) }) },
      { op: "put", item: itemOf("y", { v: "a".repeat(room + 1) }) },
      { op: "put", item: itemOf("z", { v: 1 }) },
    ]);
    assert.equal(fits?.outcome, "written");
    assert.equal(not?.outcome, "too-large");
    assert.match((not as { message: string }).message, /\S/);
    assert.equal(small?.outcome, "written");
    const items = await data.get(["x", "y", "z"].map((id) => keyOf(id)));
    assert.deepEqual(items.map((item) => item !== undefined), [true, false, true]);
    assert.equal((items[0]?.v as string).length, room);
  });

  test("pages of large items come in pieces and lose none", async ({ data }) => {
    const ids = Array.from({ length: 12 }, (_, i) => String(i).padStart(2, "0"));
    for (const id of ids) await data.write([{ op: "put", item: itemOf(id, { v: "x".repeat(300_000) }) }]);
    const query = { index: "primary", hash: "device#d1", limit: 100 };
    const first = await data.query(query);
    assert.ok(first.items.length < ids.length && first.next !== undefined);
    assert.deepEqual(idsOf(await allPages((after) => data.query({ ...query, after }))), ids);
    assert.equal((await data.get(ids.map((id) => keyOf(id)))).filter((item) => item !== undefined).length, ids.length);
  });

  test("a write that would begin after its deadline is late", async ({ data }) => {
    const item = itemOf("a", {});
    assert.deepEqual(await data.write([{ op: "put", item }], { deadline: Date.now() - 1000 }), [{ outcome: "late" }]);
    assert.deepEqual(await data.get([keyOf("a")]), [undefined]);
    const [result] = await data.write([{ op: "put", item }], { deadline: Date.now() + 60_000 });
    assert.equal(result?.outcome, "written");
  });

  test("the log table is a table of its own, keyed by hash and sort", async ({ data, log }) => {
    const entries = Array.from(
      { length: 5 },
      (_, i): Item => ({ hash: "log#x", sort: String(i).padStart(16, "0"), v: i }),
    );
    await log.write(entries.map((item): Write => ({ op: "put", item, condition: absent })));
    const [again] = await log.write([{ op: "put", item: { ...entries[2]!, v: 9 }, condition: absent }]);
    assert.deepEqual(again, { outcome: "refused", current: entries[2] });
    assert.deepEqual(await log.get([["log#x", "0000000000000001"]]), [entries[1]]);
    const query = { index: "primary", hash: "log#x", limit: 10 };
    const behind = await log.query({ ...query, sortAfter: "0000000000000002" });
    assert.deepEqual(behind.items, entries.slice(3));
    assert.deepEqual((await log.query({ ...query, reverse: true, limit: 1 })).items, entries.slice(4));
    await log.write([{ op: "delete", key: ["log#x", "0000000000000004"] }]);
    assert.deepEqual((await log.query({ ...query, reverse: true, limit: 1 })).items, entries.slice(3, 4));
    assert.deepEqual(await data.get([["log#x", "0000000000000001"]]), [undefined]);
  });

  test("the stream tells of each change in its key's order, with the images before and after", async ({ data }) => {
    const [v1, v2, v3] = [1, 2, 3].map((v) => itemOf("a", { v })) as [Item, Item, Item];
    const abort = new AbortController();
    const read = readStream(data, abort.signal, (records) => of("a", records).length === 5);
    await data.write([{ op: "put", item: v1 }]);
    await data.write([{ op: "put", item: itemOf("b", { v: 1 }) }]);
    await data.write([{ op: "put", item: v2 }]);
    await data.write([{ op: "put", item: v3, condition: equals("v", 9) }]);
    await data.write([{ op: "delete", key: keyOf("a") }]);
    await data.write([{ op: "put", item: v3 }]);
    await data.write([{ op: "delete", key: keyOf("a") }]);
    await data.write([{ op: "delete", key: keyOf("none") }]);
    const records = await read;
    assert.deepEqual(of("a", records).map((record) => [record.old?.v, record.new?.v]), [
      [undefined, 1],
      [1, 2],
      [2, undefined],
      [undefined, 3],
      [3, undefined],
    ]);
    const b = records.filter(({ key }) => key[1] === "thing#b");
    // When it was written is not every table's to say.
    assert.deepEqual(b.map(({ atMs: _, id: _id, ...record }) => record), [{
      key: keyOf("b"),
      new: itemOf("b", { v: 1 }),
    }]);
    // Notifications are told apart by it.
    assert.equal(new Set(records.map(({ id }) => id ?? "none")).size, records.length);
  });

  test("a batch that was not checkpointed comes again; one that was does not", async ({ data }) => {
    const put = (...values: number[]) =>
      data.write(values.map((v): Write => ({ op: "put", item: itemOf(String(v), { v }) })));
    const ids = new Map<string, string | undefined>();
    const read = async (count: number, checkpoint: boolean) => {
      const records = await readStream(data, new AbortController().signal, (some) => some.length >= count, checkpoint);
      for (const { key, id } of records) {
        assert.equal(ids.get(key[1]!) ?? id, id, "an id changes when it is read again");
      }
      for (const { key, id } of records) ids.set(key[1]!, id);
      return records.map((record) => record.new?.v as number).sort((a, b) => a - b);
    };
    await put(1, 2, 3);
    assert.deepEqual(await read(3, true), [1, 2, 3]);
    await put(4, 5);
    assert.deepEqual(await read(2, false), [4, 5]);
    await put(6);
    assert.deepEqual(await read(3, true), [4, 5, 6]);
  });

  test("any name is a name, at the top and nested, in items, keys of conditions and the stream", async ({ data }) => {
    // dynoxide 1.2.1 now and then loses a name that JSON has to escape.
    const escaped = name === "dynoxide" ? [] : ['"', "\\", "\n"];
    const plain = ["__proto__", "constructor", "toString", "hasOwnProperty", "0", "-1", "é😀", "a b", "$", "$n"];
    const odd = [...plain, ...escaped];
    const nested = Object.fromEntries(odd.map((name) => [name, Object.fromEntries([[name, name === "$n" ? "x" : 1]])]));
    const named = (value: Json) => readTagged(Object.fromEntries(odd.map((name) => [name, value]))) as Item;
    const first: Item = { ...itemOf("a", {}), ...named({ ...nested, list: [nested] } as Json) };
    const second: Item = { ...itemOf("a", {}), ...named('{"__proto__":1}') };
    assert.deepEqual(Object.keys(first).filter((name) => name === "__proto__"), ["__proto__"]);
    await data.write([{ op: "put", item: first }]);
    assert.deepEqual(await data.get([keyOf("a")]), [first]);
    assert.deepEqual((await data.query({ index: "primary", hash: keyOf("a")[0], limit: 5 })).items, [first]);
    assert.deepEqual((await data.scan({ limit: 5 })).items, [first]);
    for (const name of odd) {
      const wrong = { op: "put" as const, item: second, condition: equals(name, 1) };
      assert.deepEqual(await data.write([wrong]), [{ outcome: "refused", current: first }], name);
    }
    const right = {
      op: "put" as const,
      item: second,
      condition: all(...odd.map((name) => equals(name, first[name]!))),
    };
    assert.deepEqual(await data.write([right]), [{ outcome: "written", old: first }]);
    assert.deepEqual(await data.write([{ op: "delete", key: keyOf("a") }]), [{ outcome: "written", old: second }]);
    const records = await readStream(data, new AbortController().signal, (some) => some.length >= 3);
    const images = records.map(({ old, new: fresh }) => [old, fresh]);
    assert.deepEqual(images, [[undefined, first], [first, second], [second, undefined]]);
  });

  test("a stream leaves out what is unwanted, and goes on behind it", async ({ data }) => {
    const reading = (id: string): Item => ({ ...itemOf(id, {}), sk: `reading#${id}`, _type: "Reading" });
    const put = (...items: Item[]) => data.write(items.map((item) => ({ op: "put", item })));
    const read = async (enough: number) => {
      const records: StreamRecord[] = [], abort = new AbortController();
      const timer = setTimeout(() => abort.abort(new Error("timeout")), 30_000);
      for await (const batch of data.stream({ unwanted: ["Reading"] }).batches(abort.signal)) {
        assert.ok("records" in batch);
        records.push(...batch.records);
        await batch.checkpoint();
        if (records.length >= enough) break;
      }
      clearTimeout(timer);
      abort.abort();
      // Between keys a stream of several shards has no order.
      return records.map((record) => [record.old?._type, record.new?._type]).sort();
    };
    await put(reading("r1"), reading("r2"));
    await data.write([{ op: "delete", key: ["device#d1", "reading#r2"] }]);
    await put(itemOf("t1", {}));
    assert.deepEqual(await read(1), [[undefined, "Thing"]]);
    // What becomes another model's is wanted once more, for those who have it.
    await put({ ...itemOf("t1", {}), _type: "Reading" });
    await put(reading("r1"));
    await put({ ...reading("r1"), _type: "Thing" });
    assert.deepEqual(await read(2), [["Reading", "Thing"], ["Thing", "Reading"]]);
  });

  test("a stream that waits ends when its signal aborts", async ({ data }) => {
    const abort = new AbortController();
    const ended = (async () => {
      for await (const _ of data.stream().batches(abort.signal)) assert.fail("there is nothing to read");
      return true;
    })();
    setTimeout(() => abort.abort(), 50);
    assert.equal(await ended, true);
  });
}

/** The key of a contract item. */
export function keyOf(id: string, deviceId = "d1"): Key {
  return [`device#${deviceId}`, `thing#${id}`];
}

/** A contract item, complete but for the secondary index's attributes. */
export function itemOf(id: string, attributes: Item, deviceId = "d1"): Item {
  return { pk: `device#${deviceId}`, sk: `thing#${id}`, _type: "Thing", deviceId, id, ...attributes };
}

function idsOf(items: readonly Item[]): string[] {
  return items.map(({ id }) => String(id));
}

/** A value with its sets' members in one order. */
function sorted(value: Json | undefined): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) =>
      key.startsWith("$") && key.endsWith("s") && Array.isArray(member)
        ? [key, [...member].sort()]
        : [key, sorted(member)]
    ),
  );
}

async function allPages(
  page: (after?: string) => ReturnType<Table["scan"]>,
  limit = Infinity,
): Promise<Item[]> {
  const items: Item[] = [];
  let after: string | undefined;
  do {
    const { items: more, next } = await page(after);
    assert.ok(more.length <= limit, "a page is longer than its limit");
    items.push(...more);
    after = next;
  } while (after !== undefined);
  return items;
}

/** Asks until there is an answer: what lags has ten seconds. */
async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 10_000;
  while (true) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error("what was waited for did not come within ten seconds");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function of(id: string, records: readonly StreamRecord[]): StreamRecord[] {
  return records.filter(({ key }) => key[1] === `thing#${id}`);
}

/** Reads the stream until enough was read, within 30 seconds. With `checkpoint`, each batch is checkpointed. */
async function readStream(
  data: Tables["data"],
  signal: AbortSignal,
  enough: (records: StreamRecord[]) => boolean,
  checkpoint = true,
): Promise<StreamRecord[]> {
  const records: StreamRecord[] = [];
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error("timeout")), 30_000);
  try {
    for await (const batch of data.stream().batches(AbortSignal.any([signal, abort.signal]))) {
      assert.ok(!("lost" in batch), "the stream lost history");
      records.push(...(batch as StreamBatch).records);
      if (checkpoint) await (batch as StreamBatch).checkpoint();
      if (enough(records)) return records;
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
  throw new Error(`the stream gave ${records.length} records and then nothing more`);
}
