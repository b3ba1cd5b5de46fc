/**
 * Capture, for random schemas and scripts: no row changes without a hint in the outbox that leads to its key, whatever the
 * statement, with `recursive_triggers` on or off; and on SQLite 3.38 a script does exactly what it does on the current one.
 *
 * `PROPERTY_SEED` and `PROPERTY_PATH` replay a failure.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Model, Schema } from "../../schema.ts";
import { type Cell, currentEngine, type Engine, oldestEngine, prepare } from "./engines.ts";
import { schema as schemaArbitrary } from "./schemas.ts";
import { script, seeding } from "./scripts.ts";

interface Scenario {
  readonly schema: Schema;
  readonly seeds: readonly string[];
  readonly statements: readonly string[];
}

const scenario: fc.Arbitrary<Scenario> = schemaArbitrary.chain((schema) =>
  fc.tuple(seeding(schema), seeding(schema, true), script(schema)).map(([seeds, applied, statements]) => ({
    schema,
    seeds: [...seeds, ...asAgent(schema, applied), "UPDATE _sync_flag SET applying = 0"],
    statements,
  }))
).map((value) =>
  Object.assign(value, {
    [fc.toStringMethod]: () => JSON.stringify({ ...value, schema: value.schema.source }),
  })
);

/** Statements as the agent runs them: with the number of the model that each writes in the flag. */
function asAgent(schema: Schema, statements: readonly string[]): string[] {
  const names = [...schema.models.keys()];
  return statements.flatMap((sql) => {
    const number = names.findIndex((name) => sql.includes(` "${name}"`)) + 1;
    return [`UPDATE _sync_flag SET applying = ${number}`, sql];
  });
}

const env = (name: string) => Deno.env.get(name);

function options(numRuns: number) {
  return {
    numRuns: Number(env("PROPERTY_RUNS") ?? numRuns),
    seed: env("PROPERTY_SEED") ? Number(env("PROPERTY_SEED")) : undefined,
    path: env("PROPERTY_PATH"),
    endOnFailure: env("PROPERTY_SHRINK") === undefined,
  };
}

/** The models whose changes are to be captured, by their number in the database. */
function captured(schema: Schema): [number, Model][] {
  return [...schema.models.values()].map((model, i): [number, Model] => [i + 1, model])
    .filter(([, model]) => model.sync === "both" || model.sync === "up");
}

/** Rows by key: `_id`, then what travels. */
function state(engine: Engine, model: Model): Map<string, Cell[]> {
  const columns = model.fields.filter((field) => !field.template && field.synced).map(({ name }) => `"${name}"`);
  const rows = engine.rows(["pk", "sk", "_id", ...columns], `FROM "${model.name}"`);
  return new Map(rows.map(([pk, sk, ...rest]) => [`${pk} ${sk}`, rest]));
}

/** The keys that the outbox leads to: of a row by its present key, of a lost key by name. */
function hinted(engine: Engine, number: number, model: Model): Set<string> {
  const byRow = engine.rows(
    ["pk", "sk"],
    `FROM "${model.name}" WHERE _id IN (
    SELECT row FROM _outbox WHERE model = ${number} AND key IS NULL)`,
  );
  const byKey = engine.rows(["hash", "sort"], `FROM _outbox WHERE model = ${number} AND key IS NOT NULL`);
  return new Set([...byRow, ...byKey].map(([pk, sk]) => `${pk} ${sk}`));
}

Deno.test("property: no row changes without a hint in the outbox that leads to its key", () => {
  let changes = 0;
  fc.assert(
    fc.property(scenario, ({ schema, seeds, statements }) => {
      using engine = currentEngine();
      prepare(engine, schema);
      for (const sql of seeds) engine.run(sql);
      engine.run("DELETE FROM _outbox");
      const before = new Map(captured(schema).map(([, model]) => [model, state(engine, model)]));
      const downs = [...schema.models.values()].filter((model) => model.sync === "down");
      const fixed = downs.map((model) => state(engine, model));
      for (const sql of statements) engine.run(sql);
      assert.deepEqual(downs.map((model) => state(engine, model)), fixed, "a read-only model was changed");
      for (const [number, model] of captured(schema)) {
        const old = before.get(model)!, now = state(engine, model), hints = hinted(engine, number, model);
        for (const key of new Set([...old.keys(), ...now.keys()])) {
          // A row that moved to another `_id` and is otherwise the same is no change.
          const [, ...was] = old.get(key) ?? [], [, ...is] = now.get(key) ?? [];
          if (old.has(key) === now.has(key) && was.join() === is.join()) continue;
          changes++;
          assert.ok(hints.has(key), `${model.name} ${key}: nothing in the outbox leads to it`);
        }
      }
    }),
    options(400),
  );
  assert.ok(changes > 1000, `only ${changes} changes were tried`);
});

/** What generated ids and the clock decide is no part of the comparison. */
const ulid = /[0-9A-HJKMNP-TV-Z]{26}/g;

/** A literal in one spelling: versions write the same REAL with more digits or fewer. */
function steadied(cell: Cell): Cell {
  if (cell !== null && /^-?[\d.]+(e[+-]?\d+)?$/i.test(cell) && /[.e]/i.test(cell)) return String(Number(cell));
  return cell?.replace(ulid, "?") ?? null;
}

function dump(engine: Engine, schema: Schema): unknown {
  const steady = (rows: Cell[][]) => rows.map((row) => row.map(steadied));
  const tables = [...schema.models.values()].map((model) => {
    const fields = model.fields.filter((field) => !field.generate && !field.timestamp).map(({ name }) => `"${name}"`);
    return [model.name, steady(engine.rows(["_id", "pk", "sk", ...fields], `FROM "${model.name}" ORDER BY _id`))];
  });
  // Whether an UPDATE has to set `updated` depends on the millisecond: its entry comes once or twice.
  const entries = steady(engine.rows(["model", "row", "kind", "segment", "hash", "sort", "key"], "FROM _outbox"));
  const outbox = [...new Set(entries.map((entry) => entry.join()))].sort();
  const pending = steady(engine.rows(["model", "key"], "FROM _pending ORDER BY model, since, key"));
  return { tables, outbox, pending: pending.length };
}

Deno.test("property: on SQLite 3.38 the tables, triggers and views do what they do on the current one", () => {
  fc.assert(
    fc.property(scenario, ({ schema, seeds, statements }) => {
      using current = currentEngine();
      using oldest = oldestEngine();
      assert.match(oldest.version, /^3\.38\./);
      for (const engine of [current, oldest]) prepare(engine, schema);
      for (const sql of [...seeds, ...statements]) {
        const [mine, theirs] = [current.run(sql), oldest.run(sql)];
        assert.equal(theirs === undefined, mine === undefined, `${sql}: ${mine} on the current one, ${theirs} on 3.38`);
      }
      assert.deepEqual(dump(oldest, schema), dump(current, schema));
    }),
    options(60),
  );
});
