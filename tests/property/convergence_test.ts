/**
 * Random schemas × random SQL scripts in a second process × random edits in the cloud: both sides are equal at the end,
 * attribute by attribute; nothing is rounded; attributes that the device does not know stay; what never leaves the device
 * stays where it is.
 *
 * `PROPERTY_RUNS` sets the number of runs, `PROPERTY_SEED` and `PROPERTY_PATH` replay a failure.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { isExpired, type Schema } from "../../schema.ts";
import { applyEdits, type Edit, edits } from "./edits.ts";
import { checkEqual, type Row, rowsOf, unknownOf } from "./oracle.ts";
import { schema as schemaArbitrary } from "./schemas.ts";
import { script, seeding } from "./scripts.ts";
import { type Process, SecondProcess } from "../support/second_process.ts";
import { testWith } from "../support/tools.ts";
import { Twinned } from "./twinned.ts";

/** What happens before both sides come to rest again. */
interface Round {
  readonly process: Process;
  /** What an application on the device does. */
  readonly statements?: readonly string[];
  /** What a cloud application does, unseen by the device. */
  readonly edits?: readonly Edit[];
  /** The edits may give a unique field a value that another row of the device has: such an item is set aside. */
  readonly clashing?: boolean;
}

interface Scenario {
  readonly schema: Schema;
  readonly rounds: readonly Round[];
}

function round(schema: Schema): fc.Arbitrary<Round> {
  const process = fc.constantFrom<Process>("sqlite3", "python3");
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ process, statements: script(schema) }) },
    { weight: 2, arbitrary: fc.record({ process, edits: edits(schema) }) },
    { weight: 2, arbitrary: fc.record({ process, statements: script(schema), edits: edits(schema) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        process,
        statements: script(schema),
        edits: edits(schema, true),
        clashing: fc.constant(true),
      }),
    },
  );
}

const scenario: fc.Arbitrary<Scenario> = schemaArbitrary.chain((schema) =>
  fc.tuple(seeding(schema), fc.array(round(schema), { minLength: 1, maxLength: 3 })).map(([statements, rounds]) => ({
    schema,
    rounds: [{ process: "python3" as const, statements }, ...rounds],
  }))
).map((value) =>
  Object.assign(value, {
    // What a failure shows.
    [fc.toStringMethod]: () => JSON.stringify({ schema: value.schema.source, rounds: value.rounds }),
  })
);

/** Runs of CI: about a quarter of a minute on one idle core. */
const usualRuns = 150;

function env(name: string): string | undefined {
  return Deno.env.get(name);
}

testWith("sqlite3", "python3")(
  "property: whatever SQL does on the device and applications do in the cloud, both sides end equal",
  async () => {
    await using second = new SecondProcess();
    const counts = { statements: 0, refused: 0, rows: 0, messages: 0 };
    const run = async (twinned: Twinned, { process, statements = [] }: Round) => {
      const errors = await second.run(process, twinned.path, statements);
      counts.statements += statements.length;
      counts.refused += errors.length;
      if (env("PROPERTY_ERRORS")) { for (const error of errors) console.log(error); }
    };
    await fc.assert(
      fc.asyncProperty(scenario, async ({ schema, rounds }) => {
        await using twinned = new Twinned(schema);
        // What is set aside may find its place in any later round: then nobody is alone with the rows any more.
        let clashed = false;
        for (const round of rounds) {
          clashed ||= round.clashing === true;
          if (clashed || (round.statements && round.edits)) await both(twinned, round, run);
          else if (round.statements) await deviceOnly(twinned, round, run);
          else if (round.edits) await cloudOnly(twinned, round);
          await checkEqual(twinned);
        }
        counts.messages += twinned.messages;
        for (const model of schema.models.values()) counts.rows += rowsOf(twinned, model).size;
      }),
      {
        numRuns: Number(env("PROPERTY_RUNS") ?? usualRuns),
        seed: env("PROPERTY_SEED") ? Number(env("PROPERTY_SEED")) : undefined,
        path: env("PROPERTY_PATH"),
        endOnFailure: env("PROPERTY_SHRINK") === undefined,
      },
    );
    console.log(`property: ${JSON.stringify(counts)}`);
    assert.ok(counts.refused < counts.statements / 2, "most statements must be right, else little is tried");
  },
);

type Run = (twinned: Twinned, round: Round) => Promise<void>;

/** Nobody else writes: rows stay as the script left them, the cloud refuses nothing, unknown attributes stay. */
async function deviceOnly(twinned: Twinned, round: Round, run: Run) {
  const before = await unknown(twinned);
  await run(twinned, round);
  const rows = dump(twinned);
  await twinned.settle();
  assert.deepEqual(dump(twinned), rows, "the rows are no more what the script left");
  for (const table of ["_rejected", "_sync_aside"]) {
    assert.deepEqual(twinned.store.db.prepare(`SELECT * FROM ${table}`).all(), [], table);
  }
  for (const [key, attributes] of await unknown(twinned)) {
    if (before.has(key)) assert.deepEqual(attributes, before.get(key), `the unknown attributes of ${key}`);
  }
}

/** Nobody else writes: the items stay as they were put. */
async function cloudOnly(twinned: Twinned, round: Round) {
  const local = kept(twinned);
  await applyEdits(twinned, round.edits!);
  const items = await twinned.items();
  await twinned.settle();
  assert.deepEqual(await twinned.items(), items, "the device wrote what it only was to receive");
  const left = kept(twinned);
  for (const [key, value] of local) {
    if (left.has(key)) assert.deepEqual(left.get(key), value, `what is local in ${key}`);
  }
}

async function both(twinned: Twinned, round: Round, run: Run) {
  await run(twinned, round);
  await applyEdits(twinned, round.edits ?? []);
  await twinned.settle();
}

/** All rows, but for timestamps, which follow the stamp. */
function dump(twinned: Twinned): Record<string, Row> {
  const all: Record<string, Row> = {};
  for (const model of twinned.schema.models.values()) {
    for (const [key, row] of rowsOf(twinned, model)) {
      for (const field of model.fields) if (field.timestamp) delete row[field.name];
      all[`${model.name} ${key}`] = row;
    }
  }
  return all;
}

/** What never leaves the device, by key. */
function kept(twinned: Twinned): Map<string, Row> {
  const all = new Map<string, Row>();
  for (const model of twinned.schema.models.values()) {
    for (const [key, row] of rowsOf(twinned, model)) {
      const local = model.fields.filter((field) => !field.synced).map(({ name }) => [name, row[name]!] as const);
      if (local.length > 0) all.set(`${model.name} ${key}`, Object.fromEntries(local));
    }
  }
  return all;
}

/**
 * The unknown attributes of the items of tracked models, by key. An expired item is none (rule A5): who makes its key anew
 * makes another item. Of an `up` model of one device the device is the author.
 */
async function unknown(twinned: Twinned): Promise<Map<string, unknown>> {
  const { schema } = twinned.service;
  const found = new Map<string, unknown>();
  for (const item of await twinned.items()) {
    const model = schema.models.get(String(item[schema.typeField]))!;
    if (isExpired(model, item, twinned.nowMs)) continue;
    const attributes = unknownOf(model, item, schema.typeField);
    found.set(`${item.pk} ${item.sk}`, attributes);
  }
  return found;
}
