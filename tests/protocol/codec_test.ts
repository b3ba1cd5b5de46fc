import assert from "node:assert/strict";
import fc from "fast-check";
import {
  changeText,
  Decoder,
  encode,
  type FromDevice,
  type Page,
  partHeader,
  ProtocolError,
  type Up,
} from "../../protocol.ts";
import { canonicalDecimal } from "../../schema/numbers.ts";
import { readTagged } from "../../schema/tagged.ts";
import type { Json } from "../../schema/values.ts";
import { fromCloud, fromDevice } from "./arbitraries.ts";

const text = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
/** Prototypes don't count: fast-check makes objects without one. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value));
const decoder = () => new Decoder({ now: () => 0 });

function acceptAll(to: Decoder, payloads: readonly Uint8Array[], direction: "up" | "down") {
  const got = payloads.map((payload) => to.accept(payload, direction as "up")).filter((message) =>
    message !== undefined
  );
  assert.ok(got.length <= 1, "a message came more than once");
  return got[0];
}

function upOf(bytes: number, batch = "k/1"): Up {
  return {
    type: "up",
    batch,
    sent: 1_700_000_000_000,
    changes: [{ model: "M", op: "create", item: { text: "ü".repeat(bytes / 2) }, stamp: 1_700_000_000_000_000 }],
  };
}

Deno.test("codec: a batch that was measured and stored before is the text of the whole message", () => {
  const message: Up = {
    type: "up",
    batch: "k/1",
    sent: 5,
    changes: [{ model: "A", op: "create", item: { a: 'q"\u2028' }, stamp: 1 }, {
      model: "A",
      op: "remove",
      key: {},
      stamp: 2,
    }],
  };
  for (const change of message.changes) assert.equal(changeText(change), JSON.stringify(change));
  const text = new TextDecoder().decode(encode(message)[0]);
  assert.equal(text, JSON.stringify({ v: 1, ...message }));
  const empty = new TextDecoder().decode(encode({ ...message, changes: [] })[0]);
  assert.equal(empty, JSON.stringify({ v: 1, ...message, changes: [] }));
});

Deno.test("codec: every message of a device comes out as it went in", () => {
  fc.assert(
    fc.property(fromDevice, (message) => {
      assert.deepEqual(plain(decoder().accept(encode(message)[0]!, "up")), plain(message));
    }),
    { numRuns: 400 },
  );
});

Deno.test("codec: every message of the cloud comes out as it went in", () => {
  fc.assert(
    fc.property(fromCloud, (message) => {
      assert.deepEqual(plain(decoder().accept(encode(message)[0]!, "down")), plain(message));
    }),
    { numRuns: 400 },
  );
});

Deno.test("codec: a message of the other direction is refused", () => {
  fc.assert(
    fc.property(fromDevice, fromCloud, (up, down) => {
      assert.throws(() => decoder().accept(encode(up)[0]!, "down"), ProtocolError);
      assert.throws(() => decoder().accept(encode(down)[0]!, "up"), ProtocolError);
    }),
    { numRuns: 50 },
  );
});

Deno.test("codec: an oversize message travels in parts of at most the limit, in any order and doubled", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2_000, max: 60_000 }),
      fc.integer({ min: 1024, max: 9_000 }),
      fc.infiniteStream(fc.nat()),
      (bytes, maxBytes, random) => {
        const message = upOf(bytes);
        const parts = encode(message, { maxBytes });
        assert.ok(parts.every((part) => part.length <= maxBytes));
        assert.equal(parts.length > 1, encode(message)[0]!.length > maxBytes);
        if (parts.length === 1) return;
        const some = parts.slice(1).map((part) => ({ part, order: random.next().value }));
        const shuffled = [...some, ...some.slice(0, 3)].sort((a, b) => a.order - b.order).map(({ part }) => part);
        // The first part is held back to the end: all others are there, some doubled, and give nothing.
        const to = decoder();
        assert.equal(acceptAll(to, shuffled, "up"), undefined);
        assert.deepEqual(to.accept(parts[0]!, "up"), message);
        assert.equal(to.pendingBytes, 0);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("codec: a 400 KB item in parts of 128 KB arrives", () => {
  const message = upOf(400 * 1024);
  const parts = encode(message);
  assert.equal(parts.length, 4);
  assert.deepEqual(acceptAll(decoder(), parts.toReversed(), "up"), message);
});

Deno.test("codec: equal messages have equal payloads, so that a resend completes what its first sending began", () => {
  const first = encode(upOf(5_000), { maxBytes: 2_000 }), again = encode(upOf(5_000), { maxBytes: 2_000 });
  assert.deepEqual(first, again);
  const to = decoder();
  assert.equal(to.accept(first[0]!, "up"), undefined);
  assert.deepEqual(acceptAll(to, again.slice(1), "up"), upOf(5_000));
});

Deno.test("codec: parts of another message under the same id are refused", () => {
  const [a, b] = encode(upOf(3_000), { maxBytes: 2_000 });
  const forged = b!.slice();
  forged[forged.length - 20]! ^= 1;
  const to = decoder();
  to.accept(a!, "up");
  assert.throws(() => to.accept(forged, "up"), (error) => error instanceof ProtocolError && error.code === "protocol");
  assert.equal(to.pendingBytes, 0);
});

Deno.test("codec: what parts make is what their id says, though it would be a message", () => {
  const parts = encode(upOf(3_000), { maxBytes: 2_000 }), last = parts.at(-1)!.slice();
  // The stamp's last digit: still JSON, still a batch.
  const at = last.lastIndexOf("0".charCodeAt(0));
  last[at] = "1".charCodeAt(0);
  const to = decoder();
  acceptAll(to, parts.slice(0, -1), "up");
  assert.throws(() => to.accept(last, "up"), ProtocolError);
  assert.equal(to.pendingBytes, 0);
});

Deno.test("codec: a message that is cut anew for another limit replaces what its first cut left", () => {
  const message = upOf(5_000), to = decoder();
  to.accept(encode(message, { maxBytes: 2_000 })[0]!, "up");
  assert.deepEqual(acceptAll(to, encode(message, { maxBytes: 3_000 }), "up"), message);
  assert.equal(to.pendingBytes, 0);
});

Deno.test("codec: a part that waits has bytes of its own: the connection's buffer is used again", () => {
  const to = decoder(), buffer = new Uint8Array(2_000);
  const parts = encode(upOf(3_000), { maxBytes: 2_000 });
  const got = parts.map((part) => {
    buffer.fill(0);
    buffer.set(part);
    return to.accept(buffer.subarray(0, part.length), "up");
  });
  assert.deepEqual(got.at(-1), upOf(3_000));
});

Deno.test("codec: incomplete messages are bounded by sender, in all, and in time", () => {
  let nowMs = 0;
  const to = new Decoder({ now: () => nowMs, maxPending: 3, maxTotalBytes: 40_000, timeoutMs: 1_000 });
  const begin = (batch: string, sender: string) =>
    to.accept(encode(upOf(10_000, batch), { maxBytes: 6_000 })[0]!, "up", sender);
  for (let n = 0; n < 10; n++) begin(`k/${n}`, "greedy");
  assert.equal(to.dropped, 7, "of one sender's messages the newest three are kept");
  const modest = encode(upOf(10_000, "m/1"), { maxBytes: 6_000 });
  to.accept(modest[0]!, "up", "modest");
  for (let n = 0; n < 30; n++) begin(`k/${n}`, `sender-${n}`);
  assert.ok(to.pendingBytes <= 40_000, `holds ${to.pendingBytes}`);
  nowMs = 1_000;
  const last = encode(upOf(10_000, "z/1"), { maxBytes: 6_000 });
  assert.equal(to.accept(last[0]!, "up", "late"), undefined);
  assert.ok(to.pendingBytes < 7_000, "what was begun a timeout ago is forgotten");
  assert.deepEqual(acceptAll(to, [], "up"), undefined);
});

Deno.test("codec: a sender that fills the memory displaces its own messages before another's", () => {
  const to = new Decoder({ now: () => 0, maxPending: 100, maxBytes: 1_000_000, maxTotalBytes: 50_000 });
  const modest = encode(upOf(10_000, "m/1"), { maxBytes: 6_000 });
  to.accept(modest[0]!, "up", "modest");
  for (let n = 0; n < 50; n++) to.accept(encode(upOf(10_000, `k/${n}`), { maxBytes: 6_000 })[0]!, "up", "greedy");
  assert.ok(to.pendingBytes <= 50_000);
  assert.deepEqual(
    modest.slice(1).map((part) => to.accept(part, "up", "modest")).at(-1),
    upOf(10_000, "m/1"),
  );
});

Deno.test("codec: a whole message above the decoder's limit is refused, in one payload or in parts", () => {
  const to = new Decoder({ now: () => 0, maxBytes: 4_000 });
  assert.throws(() => to.accept(encode(upOf(5_000))[0]!, "up"), ProtocolError);
  const parts = encode(upOf(4_200), { maxBytes: 2_000 });
  assert.throws(() => acceptAll(to, parts, "up"), ProtocolError);
  for (const part of encode(upOf(50_000), { maxBytes: 2_000 })) {
    assert.equal(to.accept(part, "up"), undefined);
    assert.ok(to.pendingBytes <= 5_200, "far larger ones are not collected first");
  }
});

Deno.test("codec: numbers that a double can't hold keep their digits, tagged or raw", () => {
  const tagged: FromDevice = {
    type: "up",
    batch: "k/1",
    sent: 0,
    changes: [{ model: "M", op: "create", item: { n: { $n: "12345678901234567890.5" } }, stamp: 1 }],
  };
  assert.deepEqual(decoder().accept(encode(tagged)[0]!, "up"), tagged);
  const rawNumber = fc.tuple(
    fc.stringMatching(/^-?[1-9][0-9]{0,25}$/),
    fc.stringMatching(/^(\.[0-9]{1,20})?$/),
    fc.stringMatching(/^([eE][+-]?[0-9]{1,3})?$/),
  ).map((parts) => parts.join(""));
  fc.assert(
    fc.property(rawNumber, (raw) => {
      const json = JSON.stringify({ v: 1, ...tagged }).replace('{"$n":"12345678901234567890.5"}', raw);
      const n = (decoder().accept(text(json), "up") as Up).changes[0]!.item!.n;
      const digits = typeof n === "number" ? String(n) : (n as { $n: string }).$n;
      assert.equal(canonicalDecimal(digits), canonicalDecimal(raw));
    }),
    { numRuns: 500 },
  );
});

Deno.test("codec: unknown fields are left out, another version is refused", () => {
  const message = { v: 1, type: "time", request: "k/1", time: 5, later: { what: "ever" } };
  assert.deepEqual(decoder().accept(text(message), "down"), { type: "time", request: "k/1", time: 5 });
  for (const v of [0, 2, "1", null, undefined]) {
    assert.throws(() => decoder().accept(text({ ...message, v }), "down"), ProtocolError);
  }
});

Deno.test("codec: what is malformed is refused, naming the field", () => {
  const up = { v: 1, type: "up", batch: "k/1", sent: 0, changes: [] as unknown[] };
  const change = { model: "M", op: "create", item: {}, stamp: 1 };
  const cases: [string, unknown][] = [
    ["batch", { ...up, batch: "k" }],
    ["batch", { ...up, batch: `${"k".repeat(65)}/1` }],
    ["changes", { ...up, changes: {} }],
    ["changes", { ...up, changes: Array(1001).fill(change) }],
    ["channels[].channel", { v: 1, type: "sync", request: "k/1", channels: [{ channel: "device:a/b" }] }],
    ["channels", { v: 1, type: "sync", request: "k/1", channels: Array(17).fill({ channel: "global" }) }],
    ["keys", { v: 1, type: "fetch", request: "k/1", keys: Array(101).fill(["a", "b"]) }],
    ["keys[]", { v: 1, type: "fetch", request: "k/1", keys: [["a"]] }],
    ["type", { v: 1, type: "constructor" }],
  ];
  for (const [field, message] of cases) {
    assert.throws(
      () => decoder().accept(text(message), "up"),
      (error) => error instanceof ProtocolError && error.message.includes(`"${field}"`),
      `${field}: ${JSON.stringify(message).slice(0, 120)}`,
    );
  }
});

Deno.test("codec: a change that can't be read says so itself, naming the field and its item, and spoils no other", () => {
  const change = { model: "M", op: "create", item: { id: "x" }, stamp: 1 };
  const cases: [string, unknown][] = [
    ["changes[].stamp", { ...change, stamp: 1.5 }],
    ["changes[].stamp", { ...change, stamp: -1 }],
    ["changes[].stamp", { ...change, stamp: 2 ** 53 }],
    ["changes[].op", { ...change, op: "upsert" }],
    ["changes[].key", { ...change, op: "remove" }],
    ["changes[].base.version", { ...change, base: { version: ["a"] } }],
    ["changes[].base.digest", { ...change, base: { digest: "xyz" } }],
    ["changes[].item", { ...change, item: { id: "x", ["n".repeat(65536)]: 1 } }],
  ];
  for (const [field, bad] of cases) {
    const message = decoder().accept(
      text({ v: 1, type: "up", batch: "k/1", sent: 0, changes: [change, bad, change] }),
      "up",
    );
    const { changes } = message as Up;
    assert.deepEqual([changes[0], changes[2]], [change, change]);
    assert.ok(changes[1]!.unreadable?.includes(`"${field}"`), `${field}: ${changes[1]!.unreadable}`);
    assert.deepEqual(changes[1]!.item, { id: "x" });
  }
  for (const bad of [null, 5, [], { ...change, item: undefined }, { ...change, item: [] }]) {
    const message = decoder().accept(text({ v: 1, type: "up", batch: "k/1", sent: 0, changes: [bad] }), "up");
    assert.ok((message as Up).changes[0]!.unreadable !== undefined, JSON.stringify(bad));
  }
});

Deno.test("codec: what looks like a tag and is none means itself", () => {
  for (
    const value of [
      ...[{ $q: 1 }, { $ref: "#/defs/x" }, { $n: "1x" }, { $n: 5 }, { $b: "*" }, { $b: "aH==" }, { $ss: [1] }],
      ...[{ $ss: "a" }, { $bs: ["*"] }, { $ns: ["x"] }, { $m: { a: 1 } }, { $m: 5 }, { $m: { $q: 1, $r: 2 } }, {
        $: null,
      }],
    ]
  ) {
    const item = { a: value, list: [value], map: { in: value, n: 1 } };
    const change = { model: "M", op: "create", stamp: 1, item };
    const message = decoder().accept(text({ v: 1, type: "up", batch: "k/1", sent: 0, changes: [change] }), "up");
    const escaped = { $m: value };
    assert.deepEqual((message as Up).changes[0]!.item, { a: escaped, list: [escaped], map: { in: escaped, n: 1 } });
  }
  const nested = { $ref: { $n: 5 } };
  assert.deepEqual(readTagged(nested as unknown as Json), { $m: { $ref: { $m: { $n: 5 } } } });
});

Deno.test("codec: a batch that can't be read as a whole is named by its error, so that it can be answered", () => {
  const up = { v: 1, type: "up", batch: "k/1", sent: 0, changes: {} };
  const whole = JSON.stringify({ ...up, changes: [{ model: "M", op: "create", stamp: 1, item: { a: 1 } }] });
  const cases = [
    JSON.stringify(up),
    JSON.stringify({ ...up, changes: Array(1001).fill({}) }),
    whole.slice(0, -1),
    whole.replace('"a":1', '"a":1e1234567890'),
  ];
  for (const payload of cases) {
    assert.throws(
      () => decoder().accept(text(payload), "up"),
      (error) => error instanceof ProtocolError && error.batch === "k/1",
      payload,
    );
  }
  for (
    const payload of [
      "{",
      "{}",
      '{"v":2,"type":"up","batch":"k/1"}',
      '{"v":1,"type":"sync","request":"k/1","channels":5}',
    ]
  ) {
    assert.throws(
      () => decoder().accept(text(payload), "up"),
      (error) => error instanceof ProtocolError && error.batch === undefined,
      payload,
    );
  }
});

Deno.test("codec: an entry that can't be read says so under its key, and spoils none of its page", () => {
  const good = { key: ["a", "1"], current: { model: "M", item: { v: 1 } } };
  const page = {
    v: 1,
    type: "page",
    request: "k/1",
    channel: "global",
    epoch: "e",
    from: 0,
    to: 1,
    more: false,
    time: 0,
  };
  const bad = [{ ...good, key: ["a", "2"], current: { model: 5 } }, { key: ["a"] }, null];
  const message = decoder().accept(text({ ...page, entries: [...bad, good] }), "down") as Page;
  assert.deepEqual(message.entries.map(({ key, unreadable }) => [key[1], unreadable !== undefined]), [["2", true], [
    "1",
    false,
  ]]);
});

Deno.test("codec: values nested too deep are refused alone, not followed", () => {
  const deep = (depth: number) =>
    `{"v":1,"type":"up","batch":"k/1","sent":0,"changes":[{"model":"M","op":"create","stamp":1,"item":{"a":${
      "[".repeat(depth)
    }1${"]".repeat(depth)}}}]}`;
  assert.ok(decoder().accept(text(deep(2_000)), "up"));
  for (const depth of [2_200, 10_000, 200_000]) {
    const message = decoder().accept(text(deep(depth)), "up") as Up;
    assert.match(message.changes[0]!.unreadable ?? "", /nested deeper/);
  }
  // A number with too many digits sends parsing through the reviver, which recurses.
  assert.throws(
    () => decoder().accept(text(deep(200_000).replace("1]", "12345678901234567890]")), "up"),
    ProtocolError,
  );
});

function survives(payload: Uint8Array): void {
  for (const direction of ["up", "down"] as const) {
    try {
      decoder().accept(payload, direction as "up");
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `threw ${error}`);
    }
  }
}

Deno.test("codec: arbitrary bytes and JSON give a message or a ProtocolError, nothing else", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), survives), { numRuns: 500 });
  fc.assert(fc.property(fc.json(), (json) => survives(text(json))), { numRuns: 500 });
  fc.assert(fc.property(fc.object(), (object) => survives(text({ v: 1, type: "up", ...object }))), { numRuns: 500 });
  fc.assert(fc.property(fc.string(), (line) => survives(text(`#1 ${line}\nrest`))), { numRuns: 500 });
});

Deno.test("codec: a valid message with one value altered gives a message or a ProtocolError, nothing else", () => {
  const odd = fc.constantFrom(null, -1, 0.5, 1e300, "", "x", [], {}, [[]], { $n: 1 }, true, "__proto__");
  const altered = fc.tuple(fc.oneof(fromDevice, fromCloud), fc.nat(), odd).map(([message, at, value]) => {
    let n = 0;
    const count = (v: unknown): number =>
      typeof v === "object" && v !== null ? Object.values(v).reduce((s: number, x) => s + 1 + count(x), 0) : 0;
    const target = at % Math.max(1, count(message));
    return JSON.stringify({ v: 1, ...message }, (key, v) => key === "" || key === "v" ? v : n++ === target ? value : v);
  });
  fc.assert(fc.property(altered, (json) => survives(text(json))), { numRuns: 1000 });
});

Deno.test("codec: truncated and bit-flipped payloads give a message or a ProtocolError, nothing else", () => {
  fc.assert(
    fc.property(
      fc.oneof(fromDevice, fromCloud),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      fc.boolean(),
      (message, at, byte, inParts) => {
        const payload = encode(message, inParts ? { maxBytes: 1024 } : {}).at(-1)!.slice();
        survives(payload.slice(0, at % payload.length));
        payload[at % payload.length] = byte;
        survives(payload);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("codec: a part's line is read back, and anything else refused", () => {
  const [part] = encode(upOf(3_000), { maxBytes: 2_000 });
  assert.deepEqual({ ...partHeader(part!), id: "" }, { id: "", index: 0, count: 2, bodyAt: 24 });
  assert.equal(partHeader(text("{}")), undefined);
  for (
    const line of [
      "#2 0123456789abcdef 0 2\nx",
      "#1 0123456789abcdef 2 2\nx",
      "#1 0123456789abcdef 0 0\nx",
      "#1 0123456789abcdef 0 99999\nx",
      "#1 0123456789abcdef 0 2\n",
      "#1 0123456789abcdef 0 2x",
      "#",
    ]
  ) {
    assert.throws(() => partHeader(text(line)), ProtocolError, line);
  }
});

Deno.test("codec: a payload limit below 1 KB is misuse", () => {
  assert.throws(() => encode(upOf(10), { maxBytes: 100 }), RangeError);
});
