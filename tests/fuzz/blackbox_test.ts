/**
 * The black-box fuzzer is not blind: in a round that holds, each loss that is planted in the files afterwards is found. Which
 * kinds of finding there are stands in `blackbox/account.ts` and `blackbox/compare.ts`.
 */
import assert from "node:assert/strict";
import { Random } from "../sim/random.ts";
import { compileSchema } from "../../schema.ts";
import { account, type Books } from "./blackbox/account.ts";
import type { KeptRow } from "./blackbox/observe.ts";
import { keyText } from "./blackbox/table.ts";
import { TempDir } from "../support/temp_dir.ts";
import { toolsMissing } from "../support/tools.ts";
import { type AvItem, canonDecimal, canonOfAttribute, canonOfColumn } from "./blackbox/canon.ts";
import { badLine } from "./blackbox/logs.ts";
import { type MadeModel, makeSchema, upgraded } from "./blackbox/made_schema.ts";
import { described, planRound } from "./blackbox/plan.ts";
import { type Planted, plantLosses } from "./blackbox/plant.ts";
import { runRound } from "./blackbox/round.ts";
import type { System } from "./blackbox/system.ts";
import { itemOfTagged, taggedOfItem } from "./blackbox/tagged.ts";

const means = { tables: ["embedded"], mosquitto: false, faketime: false, disk: false } as const;

Deno.test("black box: every schema that it makes can be used", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed), schema = makeSchema(random, 5);
    for (const { json } of [schema, upgraded(random, schema, random)]) compileSchema(json as never);
  }
});

Deno.test("black box: a seed says everything that is decided", () => {
  assert.deepEqual(planRound(7, means), planRound(7, means));
  assert.notEqual(described(planRound(7, means)), described(planRound(8, means)));
  assert.deepEqual(planRound(7, means, []).faults, []);
});

Deno.test("black box: what means the same has one form, and nothing else has it", () => {
  assert.equal(canonDecimal("100.0"), canonDecimal("1e2"));
  assert.equal(canonDecimal("-0"), "0");
  assert.notEqual(canonDecimal("9007199254740993"), canonDecimal("9007199254740992"));
  const object = { name: "o", attribute: "o", type: "object" } as const;
  const cell = {
    type: "text",
    value: new TextEncoder().encode('{"b":[1.0,"\\u0000"],"__proto__":{}}').toHex(),
  } as const;
  const item = itemOfTagged('{"o":{"__proto__":{},"b":[1,"\\u0000"]}}');
  assert.equal(canonOfColumn(object, cell), canonOfAttribute(object, item.o));
  assert.notEqual(
    canonOfAttribute(object, itemOfTagged('{"o":{"__proto__":{},"b":[2,"\\u0000"]}}').o),
    canonOfAttribute(object, item.o),
  );
  for (
    const text of [
      '{"a":{"$m":{"$n":"x"}},"b":{"$n":"12345678901234567890"},"c":{"$ss":["a"]}}',
      '{"d":[null,true,{"$b":"AA=="}]}',
    ]
  ) {
    assert.equal(taggedOfItem(itemOfTagged(text)), text);
  }
});

Deno.test("black box: a log that shows a bug is not overlooked", () => {
  assert.equal(badLine("agent d1: connected\n12:00 WRN the broker is away\n"), undefined);
  for (
    const bad of ["error: Uncaught (in promise) Error: x", "    at run (file:///x/agent/twin.ts:3:4)", "key undefined"]
  ) {
    assert.ok(badLine(`agent d1: connected\n${bad}\n`)?.includes(bad), bad);
  }
});

const models: readonly MadeModel[] = [
  {
    name: "Both",
    scope: "device",
    sync: "both",
    enable: "both",
    policy: "cloud",
    key: ["name"],
    timestamps: false,
    keep: false,
    indexed: false,
    fields: [],
  },
  {
    name: "Up",
    scope: "device",
    sync: "up",
    enable: "both",
    policy: "newest",
    key: ["id"],
    timestamps: false,
    keep: false,
    indexed: false,
    fields: [],
  },
];

/** The accounts of one key of `Both`, to which a device wrote `d1/x:1` and then maybe something else. */
function booksOf(
  more: { readonly kept?: readonly KeptRow[]; readonly after?: Record<string, string>; readonly standing?: string },
) {
  const key = keyText("device#d1", "both#a"),
    item = (token: string): AvItem => ({
      ...{ pk: { S: "device#d1" }, sk: { S: "both#a" }, _type: { S: "Both" } },
      ...{ deviceId: { S: "d1" }, name: { S: "a" }, v: { S: token } },
    });
  const entry = (n: number, before: Record<string, string>, after: Record<string, string>) => ({
    ...{ n, tx: `tx${n}`, model: "Both" },
    ...{ before: new Map(Object.entries(before)), after: new Map(Object.entries(after)) },
  });
  const first = { [key]: "d1/x:1" }, standing = more.standing ?? "api:1";
  const log = [entry(1, {}, first), ...(more.after ? [entry(2, first, more.after)] : [])];
  const intent = (token: string, by: string) => [token, { token, by, model: "Both", fields: {}, time: 0 }] as const;
  return {
    schema: { models, json: {}, iso: true },
    nowMs: 0,
    deeds: {
      intents: new Map([intent("d1/x:1", "d1"), intent("api:1", "api")]),
      ...{ committed: new Map(), cloudWrites: [] },
    },
    table: { items: new Map([[key, item(standing)]]), history: new Map([[key, [item(standing)]]]) },
    devices: [{
      ...{ id: "d1", account: "acme", rows: new Map(), log, kept: more.kept ?? [], aside: new Map() },
      ...{ status: {}, integrity: "ok" },
    }],
  };
}

const kept: KeptRow = {
  ...{ table: "_conflicts", model: "Both", key: { name: "a" }, op: "create", token: "d1/x:1" },
  ...{ item: '{"v":"d1/x:1"}', why: "stale", reason: "" },
};

Deno.test("black box: a write that stands nowhere is lost, unless it was kept or changed on", () => {
  const kinds = (books: Books) => account(books).findings.map(({ kind }) => kind);
  assert.deepEqual(kinds(booksOf({})), ["lost"]);
  assert.deepEqual(kinds(booksOf({ kept: [kept] })), []);
  assert.deepEqual(kinds(booksOf({ kept: [{ ...kept, token: "d1/x:9" }] })), ["lost"]);
  assert.deepEqual(kinds(booksOf({ standing: "d1/x:1" })), []);
  // What the next transaction found in the row was still this write: it is that one's to stand for.
  assert.deepEqual(kinds(booksOf({ after: {} })), []);
  assert.deepEqual(kinds(booksOf({ standing: "d1/x:1", after: {} })), ["lost removal"]);
  assert.deepEqual(
    kinds(booksOf({ standing: "d1/x:1", after: {}, kept: [{ ...kept, op: "remove", item: null }] })),
    [],
  );
});

Deno.test("black box: what is rejected without a cause is found", () => {
  const books = booksOf({ kept: [{ ...kept, table: "_rejected", why: "invalid", reason: "it is no item" }] });
  assert.deepEqual(account(books).findings.map(({ kind }) => kind), ["rejected"]);
});

Deno.test({
  name: "black box: each planted loss is found",
  ignore: toolsMissing("sqlite3", "python3"),
  async fn() {
    const entry = (sync: string, conflict: string) => ({ sync, enable: "both", conflict });
    const fields = (sort: string, key: Record<string, unknown>) => ({
      pk: { type: "string", value: "device#${deviceId}" },
      sk: { type: "string", value: sort },
      deviceId: { type: "string", required: true },
      ...key,
      v: { type: "string" },
    });
    const json = {
      format: "onetable:1.1.0",
      version: "1.0.0",
      indexes: { primary: { hash: "pk", sort: "sk" } },
      params: { isoDates: true, timestamps: false },
      models: {
        Both: fields("both#${name}", { name: { type: "string", required: true } }),
        Up: fields("up#${id}", { id: { type: "string", generate: "ulid" } }),
      },
      process: { Both: entry("both", "cloud"), Up: entry("up", "newest") },
    };
    using dir = new TempDir();
    const planOf = (seed: number) => ({
      ...planRound(seed, means, []),
      ...{
        devices: [{ id: "d1", account: "acme", mqttVersion: 4 as const }],
        schema: { models, json, iso: true },
        next: undefined,
        outboxMax: undefined,
        payloadMax: undefined,
        chores: false,
        steps: 12,
      },
    });
    let planted: Planted = { names: [], unnoticed: [] };
    const inspect = async (system: System) => void (planted = await plantLosses(system));
    // Who writes a row last is the machine's timing: of a round in which the device never is, the next one is taken.
    for (let seed = 3; planted.names.length < 2; seed++) {
      assert.ok(seed < 9, "in no round a row of the device stood");
      const folder = `${dir.path}/${seed}`;
      Deno.mkdirSync(folder);
      const result = await runRound(planOf(seed), folder, means, undefined, inspect);
      assert.deepEqual(result.findings, []);
    }
    assert.deepEqual(planted.unnoticed, []);
    const all = ["a removal", "a row", "a transaction", "a value", "a version", "a write of the cloud's", "an item"];
    assert.deepEqual(planted.names.toSorted(), [...all, "another's item"].toSorted());
  },
});
