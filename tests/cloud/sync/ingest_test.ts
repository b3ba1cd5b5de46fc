import assert from "node:assert/strict";
import { ConditionTooLargeError } from "../../../cloud/table/condition_limit.ts";
import { ingest, throttledAck } from "../../../cloud/sync/ingest.ts";
import type { DataTable, Write } from "../../../cloud/table/port.ts";
import type { Ack, Answer, Base, Change } from "../../../protocol.ts";
import { digest, renderKey } from "../../../schema.ts";
import type { Attributes, Item } from "../../../schema/values.ts";
import { Fixture, identity, other, schema } from "../fixture.ts";

const minute = 60_000;

function send(
  fixture: Fixture,
  changes: Change[],
  more: { batch?: string; sent?: number; who?: typeof identity } = {},
): Promise<Ack> {
  const { tables, now } = fixture;
  return ingest({ schema, tables, now }, more.who ?? identity, {
    type: "up",
    batch: more.batch ?? "i1/1",
    sent: more.sent ?? fixture.time,
    changes,
  });
}

async function stored(
  fixture: Fixture,
  model: string,
  attributes: Attributes,
  who = identity,
): Promise<Item | undefined> {
  return (await fixture.tables.data.get([renderKey(schema.models.get(model)!, attributes, who)!]))[0];
}

/** A stamp this many ms from the fixture's first moment. */
function at(ms: number): number {
  return (1_800_000_000_000 + ms) * 1000;
}

function iso(ms: number): string {
  return new Date(1_800_000_000_000 + ms).toISOString();
}

interface Row {
  readonly model: string;
  readonly op: Change["op"];
  /** What the table has besides the key: undefined is nothing. */
  readonly there?: Attributes;
  readonly base?: Base;
  /** ms from now. */
  readonly stamp?: number;
  readonly expect: "ok" | Answer["code"];
  readonly why: string;
}

const mine = "d1#i0", theirs = "d2#i9";
const v = (source: string, ms: number) => ({ _source: source, _stamp: at(ms) });
const version = (source: string, ms: number): Base => ({ version: [source, at(ms)] });
/** Content as a base: what the item has without key, type and hidden attributes. */
const content = (attributes: Attributes, more: Base = {}): Base => ({ ...more, item: { id: "x", ...attributes } });

const rows: Row[] = [
  // both, newest
  ...(["Plain", "Newest", "NewestMs"] as const).flatMap((model): Row[] => [
    { model, op: "create", expect: "ok", why: "absent" },
    { model, op: "update", expect: "gone", why: "an update of an item that is gone" },
    { model, op: "remove", expect: "ok", why: "a removal of what is not there" },
    { model, op: "create", there: v(theirs, -10), expect: "ok", why: "older stamp" },
    { model, op: "update", there: v(theirs, -10), expect: "ok", why: "older stamp" },
    { model, op: "remove", there: v(theirs, -10), expect: "ok", why: "older stamp" },
    { model, op: "create", there: v(theirs, 10), expect: "stale", why: "newer stamp" },
    { model, op: "update", there: v(theirs, 10), expect: "stale", why: "newer stamp" },
    { model, op: "remove", there: v(theirs, 10), expect: "stale", why: "newer stamp" },
    { model, op: "update", there: v(theirs, 0), expect: "stale", why: "equal stamp of another source" },
    { model, op: "update", there: v(mine, 10), expect: "stale", why: "own newer stamp" },
    { model, op: "update", there: v(theirs, 130_000), expect: "stale", why: "far-future stamp, base unknown" },
    {
      model,
      op: "update",
      there: { ...v(theirs, 130_000), v: 1 },
      base: content({ v: 1 }, version(theirs, 130_000)),
      expect: "ok",
      why: "far-future stamp counts as none, and it is the base",
    },
    {
      model,
      op: "update",
      there: { ...v(theirs, 119_000), v: 1 },
      base: content({ v: 1 }, version(theirs, 119_000)),
      expect: "stale",
      why: "a stamp within two minutes counts",
    },
    { model, op: "update", there: { v: 1 }, expect: "stale", why: "unstamped, no base" },
    { model, op: "create", there: { v: 1 }, expect: "stale", why: "unstamped, no base" },
    {
      model,
      op: "update",
      there: { v: 1 },
      base: content({ v: 1 }),
      expect: "ok",
      why: "unstamped, the base's content",
    },
    {
      model,
      op: "remove",
      there: { v: 1 },
      base: content({ v: 1 }),
      expect: "ok",
      why: "unstamped, the base's content",
    },
    { model, op: "update", there: { v: 2 }, base: content({ v: 1 }), expect: "stale", why: "unstamped, altered" },
    {
      model,
      op: "update",
      there: { v: 1 },
      base: { item: {} },
      expect: "ok",
      why: "what the base lacks is not compared",
    },
    { model, op: "update", there: { v: 1 }, base: {}, expect: "stale", why: "a base without content shows nothing" },
    {
      model,
      op: "update",
      there: { v: 1 },
      base: version(mine, -10),
      expect: "stale",
      why: "unstamped, but the base was stamped",
    },
    {
      model,
      op: "update",
      there: { v: 1, _source: theirs },
      base: content({ v: 1 }),
      expect: "ok",
      why: "half a version is none",
    },
  ]),
  // newest: updated
  {
    model: "Newest",
    op: "update",
    there: { ...v(theirs, -10), updated: iso(5) },
    expect: "stale",
    why: "updated since, stamp left as it was",
  },
  {
    model: "Newest",
    op: "update",
    there: { ...v(theirs, -10), updated: iso(0) },
    expect: "ok",
    why: "updated at the stamp's ms",
  },
  {
    model: "Newest",
    op: "update",
    there: { ...v(theirs, -10), updated: iso(61_000) },
    expect: "ok",
    why: "a far-future updated is ignored",
  },
  {
    model: "Newest",
    op: "update",
    there: { ...v(theirs, -10), updated: 12 },
    expect: "ok",
    why: "an updated of another type is ignored",
  },
  { model: "Newest", op: "update", there: { updated: iso(-1) }, expect: "ok", why: "unstamped, older by updated" },
  { model: "Newest", op: "create", there: { updated: iso(-1) }, expect: "ok", why: "unstamped, older by updated" },
  { model: "Newest", op: "remove", there: { updated: iso(-1) }, expect: "ok", why: "unstamped, older by updated" },
  { model: "Newest", op: "update", there: { updated: iso(0) }, expect: "stale", why: "unstamped, as old by updated" },
  { model: "Newest", op: "update", there: { updated: iso(5) }, expect: "stale", why: "unstamped, newer by updated" },
  {
    model: "Newest",
    op: "update",
    there: { updated: iso(5) },
    base: content({ updated: iso(5) }),
    expect: "ok",
    why: "unstamped, newer, but the base",
  },
  {
    model: "Newest",
    op: "update",
    there: { updated: iso(61_000) },
    expect: "stale",
    why: "a dishonest updated is no age",
  },
  {
    model: "NewestMs",
    op: "update",
    there: { updated: at(-1) / 1000 },
    expect: "ok",
    why: "unstamped, older by updated",
  },
  {
    model: "NewestMs",
    op: "update",
    there: { updated: at(1) / 1000 },
    expect: "stale",
    why: "unstamped, newer by updated",
  },
  // both, cloud, device and merge
  ...(["Cloud", "Device", "Merge"] as const).flatMap((model): Row[] => [
    { model, op: "create", expect: "ok", why: "absent" },
    { model, op: "update", expect: "gone", why: "an update of an item that is gone" },
    { model, op: "update", base: content({ v: 1 }, version(mine, -10)), expect: "gone", why: "gone, with a base" },
    { model, op: "remove", expect: "ok", why: "a removal of what is not there" },
    { model, op: "create", there: v(theirs, -10), expect: "stale", why: "there, and no base" },
    { model, op: "update", there: v(theirs, -10), expect: "stale", why: "there, and no base" },
    {
      model,
      op: "update",
      there: { ...v(theirs, -10), v: 1 },
      base: content({ v: 1 }, version(theirs, -10)),
      expect: "ok",
      why: "the base",
    },
    {
      model,
      op: "remove",
      there: { ...v(theirs, -10), v: 1 },
      base: content({ v: 1 }, version(theirs, -10)),
      expect: "ok",
      why: "the base",
    },
    {
      model,
      op: "update",
      there: { ...v(theirs, -9), v: 1 },
      base: content({ v: 1 }, version(theirs, -10)),
      expect: "stale",
      why: "another version",
    },
    {
      model,
      op: "update",
      there: { ...v(theirs, -10), v: 2 },
      base: content({ v: 1 }, version(theirs, -10)),
      expect: "stale",
      why: "altered, the version left as it was",
    },
    {
      model,
      op: "remove",
      there: { ...v(theirs, -10), v: 2 },
      base: content({ v: 1 }, version(theirs, -10)),
      expect: "stale",
      why: "altered, the version left as it was",
    },
    {
      model,
      op: "update",
      there: { ...v(theirs, 50), v: 1 },
      base: content({ v: 1 }, version(theirs, 50)),
      expect: "ok",
      why: "the base, its stamp ahead",
    },
    { model, op: "update", there: { v: 1 }, base: content({ v: 1 }), expect: "ok", why: "the unstamped base" },
    {
      model,
      op: "update",
      there: { ...v(theirs, -10), v: 1 },
      base: content({ v: 1 }),
      expect: "stale",
      why: "stamped since",
    },
  ]),
  // up, device scope
  ...(["create", "update", "remove"] as const).flatMap((op): Row[] => [
    { model: "Up", op, expect: "ok", why: "absent" },
    { model: "Up", op, there: v(mine, -10), expect: "ok", why: "own older" },
    { model: "Up", op, there: v(mine, 10), expect: "stale", why: "own newer" },
    { model: "Up", op, there: v("d1#i7", 10), expect: "stale", why: "own newer of another incarnation" },
    { model: "Up", op, there: v("d11#i7", 10), expect: "ok", why: "another device's, whose name begins with ours" },
    { model: "Up", op, there: v(theirs, 10), expect: "ok", why: "another's newer: the device is the authority" },
    { model: "Up", op, there: { v: 1 }, expect: "stale", why: "unstamped, no base" },
    { model: "Up", op, there: { v: 1 }, base: content({ v: 1 }), expect: "ok", why: "unstamped, the base" },
    { model: "Up", op, there: { v: 2 }, base: content({ v: 1 }), expect: "stale", why: "unstamped, altered" },
    { model: "Up", op, there: { ...v(theirs, 130_000), v: 1 }, expect: "stale", why: "far-future stamp, no base" },
    // up, account scope
    { model: "UpAccount", op, expect: "ok", why: "absent" },
    { model: "UpAccount", op, there: v(theirs, -10), expect: "ok", why: "older" },
    { model: "UpAccount", op, there: v(theirs, 10), expect: "stale", why: "another device's newer" },
    { model: "UpAccount", op, there: { v: 1 }, expect: "stale", why: "unstamped, no base" },
    { model: "UpAccount", op, there: { v: 1 }, base: content({ v: 1 }), expect: "ok", why: "unstamped, the base" },
  ]),
];

for (const row of rows) {
  const { model, op, there, base, expect, why } = row;
  Deno.test(`ingest: ${model} ${op}, ${why}: ${expect} (${JSON.stringify([there ?? "absent", base ?? "no base"])})`, async () => {
    await using fixture = new Fixture();
    const before = there && await fixture.put(model, { id: "x", ...there });
    const stamp = at(row.stamp ?? 0);
    const change: Change = op === "remove"
      ? { model, op, key: { id: "x" }, stamp, base }
      : { model, op, item: { id: "x", v: 7 }, stamp, base };
    const ack = await send(fixture, [change]);
    assert.equal(ack.answers[0]?.code ?? "ok", expect);
    const after = await stored(fixture, model, { id: "x" });
    if (expect !== "ok") {
      assert.deepEqual(after, before, "a refused change changes nothing");
      if (expect === "stale") assert.equal(ack.answers[0]?.current?.item.v, before?.v);
      return;
    }
    if (op === "remove") assert.equal(after, undefined);
    else assert.deepEqual([after?.v, after?._source, after?._stamp], [7, "d1#i1", stamp]);
  });
}

Deno.test("ingest: an item is written with keys, identity, type and version from the cloud's own knowledge", async () => {
  await using fixture = new Fixture();
  const item = { id: "x", v: 1, unknown: { a: [1] }, pk: "forged", _source: "forged", _stamp: 1, _type: "Forged" };
  await send(fixture, [{ model: "Plain", op: "create", item, stamp: at(0) }]);
  assert.deepEqual(await stored(fixture, "Plain", { id: "x" }), {
    pk: "d#d1",
    sk: "Plain#x",
    _type: "Plain",
    deviceId: "d1",
    id: "x",
    v: 1,
    unknown: { a: [1] },
    _source: "d1#i1",
    _stamp: at(0),
  });
});

Deno.test("ingest: a batch that is delivered again is answered ok again and changes nothing", async () => {
  await using fixture = new Fixture();
  const changes: Change[] = [
    { model: "Plain", op: "create", item: { id: "x", v: 1 }, stamp: at(0) },
    { model: "Cloud", op: "create", item: { id: "x", v: 1 }, stamp: at(0) },
    { model: "Up", op: "create", item: { id: "x", v: 1 }, stamp: at(0) },
    { model: "Plain", op: "remove", key: { id: "y" }, stamp: at(0) },
  ];
  assert.deepEqual((await send(fixture, changes)).answers, []);
  await fixture.records();
  fixture.time += 5000;
  assert.deepEqual((await send(fixture, changes)).answers, []);
  assert.deepEqual(await fixture.records(), []);
});

Deno.test("ingest: another incarnation's equal stamp is no duplicate", async () => {
  await using fixture = new Fixture();
  await send(fixture, [{ model: "Plain", op: "create", item: { id: "x", v: 1 }, stamp: at(0) }]);
  const ack = await send(fixture, [{ model: "Plain", op: "create", item: { id: "x", v: 2 }, stamp: at(0) }], {
    batch: "i2/1",
  });
  assert.deepEqual(ack.answers.map(({ code }) => code), ["stale"]);
  assert.deepEqual(ack.answers[0]?.current, { model: "Plain", item: { id: "x", v: 1 }, version: ["d1#i1", at(0)] });
});

Deno.test("ingest: a stamp a minute ahead is a clock's fault; the cloud's time comes with the answer", async () => {
  await using fixture = new Fixture();
  const change = (id: string, ms: number): Change => ({ model: "Plain", op: "create", item: { id }, stamp: at(ms) });
  const ack = await send(fixture, [change("x", minute + 1), change("y", minute)]);
  assert.deepEqual(ack.answers, [{ at: 0, code: "clock" }]);
  assert.equal(ack.time, fixture.time);
  assert.equal(await stored(fixture, "Plain", { id: "x" }), undefined);
});

Deno.test("ingest: a transmission of more than 30 s ago, or from the future, is not processed", async () => {
  await using fixture = new Fixture();
  const change: Change = { model: "Plain", op: "create", item: { id: "x" }, stamp: at(0) };
  for (const sent of [fixture.time - 30_001, fixture.time + 60_001]) {
    assert.deepEqual((await send(fixture, [change], { sent })).answers, [{ at: 0, code: "late" }]);
  }
  assert.equal(await stored(fixture, "Plain", { id: "x" }), undefined);
  assert.deepEqual((await send(fixture, [change], { sent: fixture.time - 30_000 })).answers, []);
});

Deno.test("ingest: what became late while it waited for the table is not written", async () => {
  await using fixture = new Fixture();
  const data: Pick<DataTable, "write" | "get"> = {
    get: (keys) => fixture.tables.data.get(keys),
    write(writes, options) {
      fixture.time += 30_001;
      return fixture.tables.data.write(writes, options);
    },
  };
  const up = {
    type: "up" as const,
    batch: "i1/1",
    sent: fixture.time,
    changes: [{ model: "Plain", op: "create" as const, item: { id: "x" }, stamp: at(0) }],
  };
  const ack = await ingest({ schema, tables: { data }, now: fixture.now }, identity, up);
  assert.deepEqual(ack.answers, [{ at: 0, code: "late" }]);
  assert.equal(await stored(fixture, "Plain", { id: "x" }), undefined);
});

Deno.test("ingest: an invalid change gives its reason and the current item, and does not touch those beside it", async () => {
  await using fixture = new Fixture();
  await fixture.put("Plain", { id: "there", v: 3 });
  const create = (model: string, item: Attributes): Change => ({ model, op: "create", item, stamp: at(0) });
  const ack = await send(fixture, [
    create("Nope", { id: "a" }),
    create("Down", { id: "a" }),
    create("Local", { id: "a" }),
    create("Plain", { v: 1 }),
    create("Plain", { id: "there", v: "text" }),
    create("Plain", { id: "b", deviceId: "d2" }),
    create("Plain", { id: "x".repeat(2000) }),
    { model: "Plain", op: "remove", key: {}, stamp: at(0) },
    create("Plain", { id: "good" }),
  ]);
  assert.deepEqual(ack.answers.map(({ at, code }) => [at, code]), [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i, "invalid"]));
  for (const { reason } of ack.answers) assert.match(reason ?? "", /\w+ \w+/);
  assert.equal(ack.answers[0]?.current, undefined);
  assert.deepEqual(ack.answers[4]?.current, { model: "Plain", item: { id: "there", v: 3 }, version: undefined });
  assert.equal(ack.answers[5]?.current, null);
  assert.notEqual(await stored(fixture, "Plain", { id: "good" }), undefined);
});

Deno.test("ingest: an item above 400 KB is too large, with the current item", async () => {
  await using fixture = new Fixture();
  await fixture.put("Plain", { id: "x", v: 1 });
  const ack = await send(fixture, [
    { model: "Plain", op: "update", item: { id: "x", text: "a".repeat(410_000) }, stamp: at(0) },
  ]);
  assert.equal(ack.answers[0]?.code, "too-large");
  assert.match(ack.answers[0]?.reason ?? "", /409600/);
  assert.equal(ack.answers[0]?.current?.item.v, 1);
});

Deno.test("ingest: what the table finds invalid is refused with its reason, and the other changes are written", async () => {
  await using fixture = new Fixture();
  const { data } = fixture.tables;
  // As DynamoDB does where an item is nested too deep, or an index's key attribute is of another type.
  const picky: Pick<DataTable, "write" | "get"> = {
    get: (keys) => data.get(keys),
    write: (writes, options) =>
      Promise.all(writes.map(async (write) => {
        const bad = write.op === "put" && write.item.id === "bad";
        return bad ? { outcome: "invalid", message: "Type mismatch" } : (await data.write([write], options))[0]!;
      })),
  };
  const ack = await ingest({ schema, tables: { data: picky }, now: fixture.now }, identity, {
    type: "up",
    batch: "i1/1",
    sent: fixture.time,
    changes: ["bad", "good"].map((id): Change => ({ model: "Plain", op: "create", item: { id }, stamp: at(0) })),
  });
  assert.deepEqual(ack.answers, [{ at: 0, code: "invalid", reason: "Type mismatch", current: null }]);
  assert.notEqual(await stored(fixture, "Plain", { id: "good" }), undefined);
});

Deno.test("ingest: of two changes of one key in a batch the second is to be sent again", async () => {
  await using fixture = new Fixture();
  const change = (v: number): Change => ({ model: "Plain", op: "create", item: { id: "x", v }, stamp: at(v) });
  assert.deepEqual((await send(fixture, [change(1), change(2)])).answers, [{ at: 1, code: "throttled" }]);
  assert.equal((await stored(fixture, "Plain", { id: "x" }))?.v, 1);
});

Deno.test("ingest: an overwritten item that the device had not seen goes back with the ok", async () => {
  await using fixture = new Fixture();
  const update = (id: string, base: Base): Change => ({
    model: "Newest",
    op: "update",
    item: { id, v: 9 },
    stamp: at(0),
    base,
  });
  const cases: { there: Attributes; base: Base; over: boolean }[] = [
    {
      there: { ...v(theirs, -10), v: 1 },
      base: { ...version(theirs, -10), digest: digest({ id: "0", v: 1 }) },
      over: false,
    },
    {
      there: { ...v(theirs, -10), v: 2 },
      base: { ...version(theirs, -10), digest: digest({ id: "1", v: 1 }) },
      over: true,
    },
    {
      there: { ...v(theirs, -5), v: 2 },
      base: { ...version(theirs, -10), digest: digest({ id: "2", v: 1 }) },
      over: false,
    },
    { there: { v: 1, updated: iso(-1) }, base: {}, over: true },
    { there: { v: 1, updated: iso(-1) }, base: { item: { id: "4", v: 1, updated: iso(-1) } }, over: false },
    { there: { v: 2, updated: iso(-1) }, base: { item: { id: "5", v: 1, updated: iso(-2) } }, over: true },
    { there: { v: 2, updated: iso(-1) }, base: { ...version(theirs, -10), digest: "0000000000000000" }, over: true },
  ];
  for (const [i, { there }] of cases.entries()) await fixture.put("Newest", { id: String(i), ...there });
  const ack = await send(fixture, cases.map(({ base }, i) => update(String(i), base)));
  assert.deepEqual(
    ack.answers.map(({ at, code }) => [at, code]),
    cases.flatMap(({ over }, i) => over ? [[i, "ok"]] : []),
  );
  assert.deepEqual(ack.answers[0]?.over, { model: "Newest", item: { id: "1", v: 2 }, version: [theirs, at(-10)] });
});

Deno.test("ingest: a key that two identities render alike lets neither see nor alter the other's item", async () => {
  await using fixture = new Fixture();
  // A raw item under the device's key that says it is another's, and one of another model.
  const [pk, sk] = renderKey(schema.models.get("Plain")!, { id: "x" }, identity)!;
  await fixture.tables.data.write([
    { op: "put", item: { pk, sk, _type: "Plain", id: "x", deviceId: "d2", v: 1 } },
    { op: "put", item: { pk, sk: "Plain#y", _type: "Newest", id: "y", deviceId: "d1", v: 1 } },
  ]);
  for (const op of ["create", "remove"] as const) {
    const changes = ["x", "y"].map((id): Change =>
      op === "remove"
        ? { model: "Plain", op, key: { id }, stamp: at(0), base: { item: { v: 1 } } }
        : { model: "Plain", op, item: { id }, stamp: at(0), base: { item: { v: 1 } } }
    );
    const ack = await send(fixture, changes);
    assert.deepEqual(ack.answers.map(({ code, current }) => [code, current]), [["invalid", null], ["invalid", null]]);
  }
  assert.equal((await stored(fixture, "Plain", { id: "x" }))?.v, 1);
});

Deno.test("ingest: devices of one account share its items, and each keeps its own", async () => {
  await using fixture = new Fixture();
  const change = (model: string, v: number): Change => ({ model, op: "create", item: { id: "x", v }, stamp: at(v) });
  await send(fixture, [change("Account", 1), change("Plain", 1)]);
  const ack = await send(fixture, [change("Account", 2), change("Plain", 2)], { who: other });
  assert.deepEqual(ack.answers, []);
  assert.equal((await stored(fixture, "Account", { id: "x" }))?.v, 2);
  assert.equal((await stored(fixture, "Plain", { id: "x" }))?.v, 1);
  assert.equal((await stored(fixture, "Plain", { id: "x" }, other))?.v, 2);
});

Deno.test("ingest: where a table can't take a whole condition, a narrower one takes its place, for that change only", async () => {
  await using fixture = new Fixture();
  const wide = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`a${i}`, i]));
  await fixture.put("Cloud", { id: "x", ...wide });
  await fixture.put("Cloud", { id: "y", v: 1 });
  const sizes: number[][] = [];
  const data: Pick<DataTable, "write" | "get"> = {
    get: (keys) => fixture.tables.data.get(keys),
    write(writes: readonly Write[], options) {
      const lengths = writes.map(({ condition }) => JSON.stringify(condition).split('"equals"').length - 1);
      sizes.push(lengths);
      const large = lengths.flatMap((length, i) => length > 150 ? [i] : []);
      if (large.length > 0) return Promise.reject(new ConditionTooLargeError(large));
      return fixture.tables.data.write(writes, options);
    },
  };
  const update = (id: string, base: Attributes): Change => ({
    model: "Cloud",
    op: "update",
    item: { id, v: 2 },
    stamp: at(0),
    base: { item: { id, ...base } },
  });
  const up = {
    type: "up" as const,
    batch: "i1/1",
    sent: fixture.time,
    changes: [update("x", wide), update("y", { v: 1 })],
  };
  const ack = await ingest({ schema, tables: { data }, now: fixture.now }, identity, up);
  assert.deepEqual(ack.answers, []);
  assert.equal(sizes.length, 2);
  assert.equal(sizes[0]![1], sizes[1]![1], "the narrow condition stays as it was");
  assert.ok(sizes[1]![0]! < 70);
});

Deno.test("ingest: an outage is an error, which the service answers with throttled for each change", async () => {
  const up = {
    type: "up" as const,
    batch: "i1/1",
    sent: 0,
    changes: [{ model: "Plain", op: "create" as const, item: { id: "x" }, stamp: 1 }],
  };
  assert.deepEqual(await Promise.resolve(throttledAck(up, 5)), {
    type: "ack",
    batch: "i1/1",
    time: 5,
    answers: [{ at: 0, code: "throttled" }],
  });
});

Deno.test("ingest: an unfit change on a taken key shows nothing of the item that is there", async () => {
  await using fixture = new Fixture();
  // Of another model, and of another device, under the key that the change renders.
  for (const there of [{ _type: "Other" }, { deviceId: "d2" }] as Attributes[]) {
    const item = await fixture.put("Plain", { id: "x", v: 7 });
    await fixture.tables.data.write([{ op: "put", item: { ...item, ...there } }]);
    const ack = await send(fixture, [
      { model: "Plain", op: "create", item: { id: "x", v: "no number" }, stamp: at(0) },
    ]);
    assert.equal(ack.answers[0]!.code, "invalid");
    assert.equal(ack.answers[0]!.current, null);
  }
  await fixture.put("Plain", { id: "x", v: 7 });
  const own = await send(fixture, [{ model: "Plain", op: "create", item: { id: "x", v: "no number" }, stamp: at(0) }]);
  assert.equal(own.answers[0]!.current!.item.v, 7, "its own it is shown");
});

Deno.test("ingest: a transmission's 30 s count from when it was sent, not from when it came", async () => {
  await using fixture = new Fixture();
  const data: Pick<DataTable, "write" | "get"> = {
    get: (keys) => fixture.tables.data.get(keys),
    write(writes, options) {
      fixture.time += 11_000;
      return fixture.tables.data.write(writes, options);
    },
  };
  const changes: Change[] = [{ model: "Plain", op: "create", item: { id: "x" }, stamp: at(0) }];
  const up = { type: "up" as const, batch: "i1/1", sent: fixture.time - 20_000, changes };
  const ack = await ingest({ schema, tables: { data }, now: fixture.now }, identity, up);
  assert.deepEqual(ack.answers, [{ at: 0, code: "late" }]);
  assert.equal(await stored(fixture, "Plain", { id: "x" }), undefined);
});
