/**
 * A message of each type with each of its fields, of wire protocol 1 as it was released: what `make.ts` froze into
 * `protocol-1/messages.json`. A message or field that comes later gets an entry of its own here and there; what stands
 * here is never altered.
 *
 * @module
 */
import type { FromCloud, FromDevice, Message } from "../../protocol.ts";

/** A message, and which way it goes. */
export interface GoldenMessage {
  readonly name: string;
  readonly direction: "up" | "down";
  readonly message: Message;
}

const stamp = 1_767_225_600_000_000, time = 1_767_225_600_123, version = ["golden-2#abcdefghijkl", stamp] as const;
const item = { name: "plan", text: 'größer 𝄞 \u0000 "quoted"', level: { $n: "12345678901234567890.5" } };
const values = {
  ...item,
  active: true,
  none: null,
  due: "2026-01-01T00:00:00.000Z",
  body: { a: [1, { b: null }], "__proto__x": 1 },
  tags: { $ss: ["a", "b"] },
  counts: { $ns: ["1", "2.5"] },
  blobs: { $bs: ["AA==", "AQI="] },
  blob: { $b: "AAEC" },
  tagged: { $m: { $b: "not a binary" } },
};
const current = { model: "Note", item: values, version };
const key = ["device#golden-1", "note#plan"] as const;
const entries = [
  { key, current },
  { key: ["device#golden-1", "note#raw"] as const, current: { model: "Note", item } },
  { key: ["device#golden-1", "note#mark"] as const, mark: { model: "Note", version } },
  { key: ["device#golden-1", "note#gone"] as const, was: version },
  { key: ["device#golden-1", "note#bare"] as const, removed: true },
];

const up: readonly [string, FromDevice][] = [
  ["up", {
    type: "up",
    batch: "abcdefghijkl/1",
    sent: time,
    changes: [
      { model: "Note", op: "create", item: values, stamp },
      { model: "Note", op: "update", item, stamp: stamp + 1, base: { version, digest: "0123456789abcdef" } },
      {
        model: "Rule",
        op: "update",
        item: { name: "r", limit: 3 },
        stamp,
        base: { version, item: { name: "r", limit: 2 } },
      },
      { model: "Note", op: "remove", key: { name: "old" }, stamp, base: { version } },
    ],
  }],
  ["up, 40 measurements", {
    type: "up",
    batch: "abcdefghijkl/2",
    sent: time,
    changes: Array.from({ length: 40 }, (_, n) => ({
      model: "Sample",
      op: "create" as const,
      item: {
        id: `01KDVDNA00000000000000${String(n).padStart(4, "0")}`,
        value: n / 4,
        created: "2026-01-01T00:00:00.000Z",
      },
      stamp: stamp + n,
    })),
  }],
  ["sync, no cursor", { type: "sync", request: "abcdefghijkl/3", channels: [{ channel: "global" }] }],
  ["sync", {
    type: "sync",
    request: "abcdefghijkl/4",
    channels: [
      { channel: "device:golden-1", epoch: "e1", seq: 17 },
      { channel: "account:acme", snapshot: { epoch: "e2", head: 3, after: "token" } },
    ],
  }],
  ["sync, the time alone", { type: "sync", request: "abcdefghijkl/5", channels: [] }],
  ["fetch", { type: "fetch", request: "abcdefghijkl/6", keys: [key, ["global", ""]] }],
  ["compare", { type: "compare", request: "abcdefghijkl/7", channel: "device:golden-1" }],
  ["compare, each", {
    type: "compare",
    request: "abcdefghijkl/8",
    channel: "account:acme",
    after: "token",
    each: true,
  }],
  ["probe", { type: "probe", request: "abcdefghijkl/9", model: "Sample", attributes: ["id", "value"], keys: [key] }],
  ["verified", { type: "verified", request: "v/1", report: { rows: 12, differences: [] } }],
];

const down: readonly [string, FromCloud][] = [
  ["ack", { type: "ack", batch: "abcdefghijkl/1", time, answers: [] }],
  ["ack, each code", {
    type: "ack",
    batch: "abcdefghijkl/1",
    time,
    answers: [
      { at: 0, code: "ok", over: { model: "Note", item } },
      { at: 1, code: "stale", current },
      { at: 2, code: "gone" },
      { at: 3, code: "invalid", current: null, reason: "the item has no name" },
      { at: 4, code: "too-large", current, reason: "the item has more than 409600 bytes" },
      { at: 5, code: "clock" },
      { at: 6, code: "throttled" },
      { at: 7, code: "late" },
    ],
  }],
  ["changes", { type: "changes", channel: "device:golden-1", epoch: "e1", seq: 18, entries, time }],
  ["page", {
    type: "page",
    request: "abcdefghijkl/4",
    channel: "device:golden-1",
    epoch: "e1",
    from: 17,
    to: 19,
    more: true,
    entries,
    time,
  }],
  ["snapshot, first", {
    type: "snapshot",
    request: "abcdefghijkl/3",
    channel: "global",
    epoch: "e3",
    head: 5,
    next: "token",
    entries: [{ key, current }],
    time,
  }],
  ["snapshot, last", {
    type: "snapshot",
    request: "abcdefghijkl/3",
    channel: "global",
    epoch: "e3",
    head: 5,
    after: "token",
    entries: [],
    time,
  }],
  ["items", { type: "items", request: "abcdefghijkl/6", entries, time }],
  ["time", { type: "time", request: "abcdefghijkl/5", time }],
  ["digests", {
    type: "digests",
    request: "abcdefghijkl/7",
    hash: "device#golden-1",
    to: "note#plan",
    models: [{ model: "Note", count: 2, digest: "0123456789abcdef" }],
    next: "token",
    time,
  }],
  ["digests, each", {
    type: "digests",
    request: "abcdefghijkl/8",
    models: [],
    items: [{ model: "Note", key, digest: "0123456789abcdef" }, { model: "Note", key }],
    time,
  }],
  ["verify", { type: "verify", request: "v/1", repair: true, keysPerSecond: 10 }],
];

/** What came after the first release: optional fields, messages that are sent only to who knows them. */
const schemaDigest = "89abcdef0123456789abcdef01234567";
const laterUp: readonly [string, FromDevice][] = [
  ["up, with its models' digests", {
    type: "up",
    batch: "abcdefghijkl/3",
    sent: time,
    changes: [{ model: "Note", op: "create", item, stamp }],
    schemas: { Note: schemaDigest },
  }],
  ["sync, that understands later", {
    type: "sync",
    request: "abcdefghijkl/10",
    channels: [{ channel: "global" }],
    schema: schemaDigest,
    later: 1,
  }],
  ["fetch, that understands later", { type: "fetch", request: "abcdefghijkl/11", keys: [key], later: 1 }],
  ["probe, with defaults", {
    type: "probe",
    request: "abcdefghijkl/12",
    model: "Sample",
    attributes: ["id", "value"],
    keys: [key],
    defaults: { value: 0 },
  }],
];
const laterDown: readonly [string, FromCloud][] = [
  ["ack, of another schema", {
    type: "ack",
    batch: "abcdefghijkl/3",
    time,
    schema: schemaDigest,
    answers: [{ at: 0, code: "schema", reason: "the cloud has no model Note" }, { at: 1, code: "throttled" }],
    afterMs: 20_000,
  }],
  ["refused", { type: "refused", batch: "abcdefghijkl/3", time, reason: "changes: a list was wanted" }],
  ["later", { type: "later", request: "abcdefghijkl/10", afterMs: 20_000, time }],
  ["changes, spread", {
    type: "changes",
    channel: "global",
    epoch: "e1",
    seq: 0,
    entries: [],
    time,
    spreadMs: 30_000,
  }],
  ["page, with its models", {
    type: "page",
    request: "abcdefghijkl/10",
    channel: "global",
    epoch: "e1",
    from: 3,
    to: 3,
    more: false,
    entries: [],
    time,
    schema: schemaDigest,
    models: ["Setting"],
  }],
  ["snapshot, with its models", {
    type: "snapshot",
    request: "abcdefghijkl/10",
    channel: "global",
    epoch: "e1",
    head: 3,
    entries: [],
    time,
    models: ["Setting"],
  }],
  ["ack, of a table's epoch", { type: "ack", batch: "abcdefghijkl/3", time, answers: [], epoch: "t2" }],
  ["time, of a restored table", { type: "time", request: "abcdefghijkl/5", time, epoch: "t2", since: time }],
  ["snapshot, of a restored table", {
    type: "snapshot",
    request: "abcdefghijkl/10",
    channel: "global",
    epoch: "t2-e1",
    head: 3,
    entries: [],
    time,
    since: time,
    lags: true,
  }],
  ["items, of no model", {
    type: "items",
    request: "abcdefghijkl/11",
    entries: [{ key, foreign: true }],
    time,
    schema: schemaDigest,
  }],
  ["changes, of what was overwritten without a version", {
    type: "changes",
    channel: "device:golden-1",
    epoch: "e1",
    seq: 4,
    entries: [
      { key, current: { model: "Note", item }, over: version },
      { key: ["device#golden-1", "note#mark"], mark: { model: "Note", version }, was: version, over: version },
    ],
    time,
  }],
];

/** What came with orders: sent only to devices whose report says that they understand it. */
const ordersUp: readonly [string, FromDevice][] = [
  ["ordered, running", {
    type: "ordered",
    order: "o/1767225600123",
    state: "running",
    report: { done: 50, failed: 1 },
  }],
  ["ordered, done", { type: "ordered", order: "o/1767225600123", state: "done", report: {} }],
  ["ordered, failed", {
    type: "ordered",
    order: "o/1767225600123",
    state: "failed",
    report: { reason: "the broker refused the new token, and the old one is in use" },
  }],
  ["ordered, an answer", {
    type: "ordered",
    order: "k/981251",
    state: "done",
    report: {
      rows: [{ id: 7, model: "Note", key: { name: "plan" }, why: "invalid", reason: "too long", lost: item }],
      next: 7,
    },
  }],
];
const ordersDown: readonly [string, FromCloud][] = [
  ["order, sync", { type: "order", order: "o/1767225600123", do: "sync" }],
  ["order, verify", { type: "order", order: "o/1767225600123", do: "verify", repair: true, keysPerSecond: 10 }],
  ["order, retry", { type: "order", order: "o/1767225600123", do: "retry", table: "rejected", model: "Note" }],
  ["order, restore", {
    type: "order",
    order: "o/1767225600123",
    do: "restore",
    table: "conflicts",
    id: 3,
    force: true,
  }],
  ["order, drop", { type: "order", order: "o/1767225600123", do: "drop", table: "conflicts" }],
  ["order, kept", { type: "order", order: "k/981251", do: "kept", table: "aside", model: "Note", after: 7, limit: 20 }],
  ["order, rotate", {
    type: "order",
    order: "o/1767225600123",
    do: "rotate",
    token: "uL0Xk9vQ2m1abcdefghijklmnopqrstuvwxyz012345",
  }],
  ["changes, that ask where", {
    type: "changes",
    channel: "device:golden-1",
    epoch: "e1",
    seq: 19,
    entries: [{ key, current: { model: "Note", item } }],
    time,
    tell: 1,
  }],
  ["changes, the question alone", {
    type: "changes",
    channel: "account:acme",
    epoch: "e1",
    seq: 0,
    entries: [],
    time,
    tell: 1,
  }],
];

/** What came with certificates; their texts are only carried. */
const pem = (what: string, letter: string) =>
  `-----BEGIN ${what}-----\n${`${letter.repeat(64)}\n`.repeat(8)}-----END ${what}-----\n`;
const renewUp: readonly [string, FromDevice][] = [
  ["renew", { type: "renew", request: "renew/1767225600123", csr: pem("CERTIFICATE REQUEST", "R") }],
];
const renewDown: readonly [string, FromCloud][] = [
  ["renewed, a certificate", {
    type: "renewed",
    request: "renew/1767225600123",
    cert: pem("CERTIFICATE", "C"),
    time,
  }],
  ["renewed, none", {
    type: "renewed",
    request: "renew/1767225600123",
    reason: "no certificate was issued for this device here: device add --cert does",
    afterMs: 3_600_000,
    time,
  }],
];

/** What came with the progress of a verification. */
const progressUp: readonly [string, FromDevice][] = [
  ["verified, running", {
    type: "verified",
    request: "running-verify/1767225600123",
    report: { state: "running", of: 3, differences: 1, mended: 0, unsettled: 0, models: { Note: { rows: 2 } } },
  }],
];
const progressDown: readonly [string, FromCloud][] = [
  ["verify, with progress", { type: "verify", request: "verify/1767225600123", repair: false, progress: 1 }],
];

/** The messages of the first release, by direction. */
export const goldenMessages: readonly GoldenMessage[] = [
  ...up.map(([name, message]) => ({ name, direction: "up" as const, message })),
  ...down.map(([name, message]) => ({ name, direction: "down" as const, message })),
];

/** Those that came after it. */
export const laterMessages: readonly GoldenMessage[] = [
  ...laterUp.map(([name, message]) => ({ name, direction: "up" as const, message })),
  ...laterDown.map(([name, message]) => ({ name, direction: "down" as const, message })),
  ...ordersUp.map(([name, message]) => ({ name, direction: "up" as const, message })),
  ...ordersDown.map(([name, message]) => ({ name, direction: "down" as const, message })),
  ...renewUp.map(([name, message]) => ({ name, direction: "up" as const, message })),
  ...renewDown.map(([name, message]) => ({ name, direction: "down" as const, message })),
  ...progressUp.map(([name, message]) => ({ name, direction: "up" as const, message })),
  ...progressDown.map(([name, message]) => ({ name, direction: "down" as const, message })),
];
