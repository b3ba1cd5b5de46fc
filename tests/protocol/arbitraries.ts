/**
 * Arbitrary messages of every kind, within the protocol's bounds, for property tests.
 *
 * @module
 */
import fc from "fast-check";
import type { Attributes, Json } from "../../schema/values.ts";
import type {
  Answer,
  Base,
  Change,
  Current,
  CursorOf,
  Entry,
  FromCloud,
  FromDevice,
  Key,
  Version,
} from "../../protocol.ts";

const whole = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const time = fc.nat({ max: 4_000_000_000_000 });
const id = fc.stringMatching(/^[A-Za-z0-9_.:-]{1,20}$/);
const numbered = fc.tuple(fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/), fc.nat()).map(([incarnation, n]) =>
  `${incarnation}/${n}`
);
const name = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" });
const hex = fc.stringMatching(/^[0-9a-f]{16}$/);
/** A text that is no tag. */
const plainName = name.filter((text) => !text.startsWith("$") && text !== "__proto__");
const decimal = fc.bigInt().map(String);
const base64 = fc.uint8Array({ maxLength: 20 }).map((bytes) => bytes.toBase64());

/** Tagged JSON. A double that JSON would write otherwise (-0, and digits beyond a double) is not in it. */
const json: fc.Arbitrary<Json> = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.string({ unit: "grapheme" }),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => Object.is(n, -0) ? 0 : n),
    fc.constantFrom(null, true, false),
    decimal.map(($n) => ({ $n })),
    base64.map(($b) => ({ $b })),
    fc.array(fc.string(), { maxLength: 3 }).map(($ss) => ({ $ss })),
    fc.array(decimal, { maxLength: 3 }).map(($ns) => ({ $ns })),
    fc.array(base64, { maxLength: 3 }).map(($bs) => ({ $bs })),
    tie("json").map((value) => ({ $m: { $x: value } })),
    fc.array(tie("json"), { maxLength: 3 }),
    fc.dictionary(plainName, tie("json"), { maxKeys: 3 }),
  ),
})).json;

export const attributes: fc.Arbitrary<Attributes> = fc.dictionary(plainName, json, { maxKeys: 5 });
const version = fc.tuple(name, whole) as fc.Arbitrary<Version>;
const key = fc.tuple(fc.string({ unit: "grapheme" }), fc.string()) as fc.Arbitrary<Key>;
const optional = { requiredKeys: [] as [] };

const base: fc.Arbitrary<Base> = fc.record(
  { version, item: attributes, digest: hex },
  optional,
);
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record(
    { model: name, op: fc.constantFrom("create" as const, "update" as const), item: attributes, stamp: whole, base },
    { requiredKeys: ["model", "op", "item", "stamp"] },
  ),
  fc.record(
    { model: name, op: fc.constant("remove" as const), key: attributes, stamp: whole, base },
    { requiredKeys: ["model", "op", "key", "stamp"] },
  ),
);
const channel = fc.oneof(
  fc.constant("global"),
  id.map((text) => `device:${text}`),
  id.map((text) => `account:${text}`),
);
const cursor: fc.Arbitrary<CursorOf> = fc.record(
  {
    channel,
    epoch: name,
    seq: whole,
    snapshot: fc.record({ epoch: name, head: whole, after: fc.string() }),
    limit: fc.nat({ max: 500 }),
  },
  { requiredKeys: ["channel"] },
);
const current: fc.Arbitrary<Current> = fc.record(
  { model: name, item: attributes, version },
  { requiredKeys: ["model", "item"] },
);
const answer: fc.Arbitrary<Answer> = fc.record({
  at: fc.nat({ max: 999 }),
  code: fc.constantFrom("ok", "stale", "gone", "invalid", "too-large", "clock", "throttled", "late"),
  current: fc.option(current),
  over: current,
  reason: fc.string(),
}, { requiredKeys: ["at", "code"] });
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ key, current, was: version, removed: fc.boolean() }, { requiredKeys: ["key"] }),
  fc.record({ key, mark: fc.record({ model: name, version }), was: version }, { requiredKeys: ["key", "mark"] }),
  fc.record({ key, named: name, was: version, removed: fc.boolean() }, { requiredKeys: ["key", "named"] }),
);
const entries = fc.array(entry, { maxLength: 4 });

/** A device's message. */
export const fromDevice: fc.Arbitrary<FromDevice> = fc.oneof(
  fc.record({
    type: fc.constant("up" as const),
    batch: numbered,
    sent: time,
    changes: fc.array(change, { maxLength: 4 }),
  }),
  fc.record({
    type: fc.constant("sync" as const),
    request: numbered,
    channels: fc.array(cursor, { maxLength: 4 }),
    z: fc.constant(1 as const),
  }, { requiredKeys: ["type", "request", "channels"] }),
  fc.record({
    type: fc.constant("fetch" as const),
    request: numbered,
    keys: fc.array(key, { maxLength: 5 }),
    z: fc.constant(1 as const),
  }, { requiredKeys: ["type", "request", "keys"] }),
  fc.record({
    type: fc.constant("compare" as const),
    request: numbered,
    channel,
    after: fc.string(),
    each: fc.boolean(),
  }, { requiredKeys: ["type", "request", "channel"] }),
  fc.record({
    type: fc.constant("probe" as const),
    request: numbered,
    model: name,
    attributes: fc.array(name, { maxLength: 4 }),
    keys: fc.array(key, { maxLength: 5 }),
  }),
  fc.record({ type: fc.constant("verified" as const), request: numbered, report: attributes }),
  fc.record({
    type: fc.constant("ordered" as const),
    order: numbered,
    state: fc.constantFrom("running" as const, "done" as const, "failed" as const),
    report: attributes,
  }),
);

const run = fc.tuple(fc.nat(), fc.nat()).map(([from, more]) => ({ from, to: from + more }));

/** A message of the cloud. */
export const fromCloud: fc.Arbitrary<FromCloud> = fc.oneof(
  fc.record({ type: fc.constant("ack" as const), batch: numbered, time, answers: fc.array(answer, { maxLength: 4 }) }),
  fc.record({ type: fc.constant("refused" as const), batch: numbered, time, reason: fc.string() }),
  fc.record({ type: fc.constant("changes" as const), channel, epoch: name, seq: whole, entries, time }),
  fc.tuple(
    run,
    fc.record({
      type: fc.constant("page" as const),
      request: numbered,
      channel,
      epoch: name,
      more: fc.boolean(),
      entries,
      time,
    }),
  ).map(([range, page]) => ({ ...page, ...range })),
  fc.record({
    type: fc.constant("snapshot" as const),
    request: numbered,
    channel,
    epoch: name,
    head: whole,
    after: fc.string(),
    next: fc.string(),
    entries,
    time,
  }, { requiredKeys: ["type", "request", "channel", "epoch", "head", "entries", "time"] }),
  fc.record({ type: fc.constant("items" as const), request: numbered, entries, time }),
  fc.record({ type: fc.constant("time" as const), request: numbered, time }),
  fc.record({
    type: fc.constant("digests" as const),
    request: numbered,
    hash: fc.string(),
    to: fc.string(),
    models: fc.array(fc.record({ model: name, count: whole, digest: hex }), { maxLength: 3 }),
    items: fc.array(fc.record({ model: name, key, digest: hex }, { requiredKeys: ["model", "key"] }), { maxLength: 3 }),
    next: fc.string(),
    time,
  }, { requiredKeys: ["type", "request", "models", "time"] }),
  fc.record({
    type: fc.constant("verify" as const),
    request: numbered,
    repair: fc.boolean(),
    keysPerSecond: whole,
    progress: fc.constant(1 as const),
  }, { requiredKeys: ["type", "request", "repair"] }),
  fc.record({
    type: fc.constant("order" as const),
    order: numbered,
    do: fc.constantFrom("sync" as const, "verify" as const, "retry" as const, "drop" as const, "kept" as const),
    table: fc.constantFrom("rejected" as const, "conflicts" as const, "aside" as const),
    id: whole,
    model: name,
    force: fc.boolean(),
    after: whole,
    limit: whole,
    repair: fc.boolean(),
    keysPerSecond: whole,
  }, { requiredKeys: ["type", "order", "do"] }),
);
