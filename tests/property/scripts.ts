/**
 * Random SQL scripts: whatever an application may do to the tables of a schema, right or wrong. Wrong statements fail by
 * themselves; what they leave is what counts.
 *
 * @module
 */
import fc from "fast-check";
import type { Field, Model, Schema } from "../../schema.ts";
import { sqlValue } from "./values.ts";

const ident = (name: string) => `"${name}"`;

/** The columns that an application writes. The identity is left to its default; `created` and `updated` mostly, too. */
function columnsOf(model: Model): Field[] {
  return model.fields.filter((field) =>
    !field.template && !field.timestamp && !(model.identityFields as readonly string[]).includes(field.name)
  );
}

/** A row's columns and values: needed ones always, the others as it comes. */
function row(model: Model): fc.Arbitrary<[column: string, value: string][]> {
  const columns = columnsOf(model).map((field) => {
    const needed = field.required && field.default === undefined && !field.generate;
    const pair = sqlValue(model, field).map((value): [string, string] => [ident(field.name), value]);
    return needed ? pair : fc.option(pair, { nil: undefined, freq: field.unique ? 10 : 3 });
  });
  const id = fc.integer({ min: 1, max: 5 }).map((n): [string, string] => ["_id", String(n)]);
  return fc.tuple(fc.option(id, { nil: undefined, freq: 1 }), ...columns)
    .map((pairs) => pairs.filter((pair) => pair !== undefined));
}

/** Some assignments, a key attribute's among them at times. */
function assignments(model: Model): fc.Arbitrary<string> {
  const fields = columnsOf(model);
  return fc.subarray(fields, { minLength: 1, maxLength: Math.min(3, fields.length) }).chain((chosen) =>
    fc.tuple(...chosen.map((field) => sqlValue(model, field).map((value) => `${ident(field.name)} = ${value}`)))
  ).map((list) => list.join(", "));
}

/** Which rows. */
const where = fc.oneof(
  fc.constantFrom("", " WHERE _id % 2 = 0", " WHERE _id = (SELECT min(_id) FROM @)", " WHERE _id > 1"),
  fc.integer({ min: 1, max: 4 }).map((id) => ` WHERE _id = ${id}`),
);

/** An INSERT of a row. */
function insert(model: Model, head: string, tail = ""): fc.Arbitrary<string> {
  return row(model).map((pairs) =>
    pairs.length === 0 ? `${head} INTO @ DEFAULT VALUES` : `${head} INTO @(${pairs.map(([c]) => c).join(", ")}) ` +
      `VALUES (${pairs.map(([, v]) => v).join(", ")})${tail}`
  ).map((sql) => sql.replaceAll("@", ident(model.name)));
}

/** One statement on a model's table; `@` in it stands for the table. */
function statement(model: Model): fc.Arbitrary<string> {
  const keys = model.keyFields.map(ident).join(", ");
  const uniques = model.fields.filter((field) => field.unique && !field.template).map((field) => ident(field.name));
  const targets = [keys, ...uniques];
  const upsert = fc.tuple(fc.constantFrom(...targets), assignments(model)).chain(([target, set]) =>
    insert(model, "INSERT", ` ON CONFLICT(${target}) DO UPDATE SET ${set}`)
  );
  const update = (head: string) => fc.tuple(assignments(model), where).map(([set, w]) => `${head} @ SET ${set}${w}`);
  const some = model.fields.find((field) => !field.template && field.type === "string" && !field.unique);
  const updateFrom = some
    ? `UPDATE @ SET ${ident(some.name)} = f.v FROM (SELECT min(_id) AS i, '' AS v FROM @) AS f WHERE _id = f.i`
    : "UPDATE @ SET _id = _id + 100 WHERE _id < 3";
  return fc.oneof(
    { weight: 8, arbitrary: insert(model, "INSERT") },
    { weight: 4, arbitrary: insert(model, "INSERT OR REPLACE") },
    { weight: 2, arbitrary: insert(model, "INSERT OR IGNORE") },
    { weight: 3, arbitrary: upsert },
    { weight: 2, arbitrary: insert(model, "INSERT", " ON CONFLICT DO NOTHING") },
    { weight: 4, arbitrary: update("UPDATE") },
    { weight: 2, arbitrary: update("UPDATE OR REPLACE") },
    { weight: 1, arbitrary: update("UPDATE OR IGNORE") },
    { weight: 3, arbitrary: where.map((w) => `DELETE FROM @${w}`) },
    { weight: 1, arbitrary: fc.constant(updateFrom) },
    { weight: 1, arbitrary: fc.constant("UPDATE OR REPLACE @ SET _id = _id + 1 WHERE _id < 4") },
    { weight: 1, arbitrary: fc.constant("INSERT INTO @ SELECT * FROM @") },
  ).map((sql) => sql.replaceAll("@", ident(model.name)));
}

/** A statement, or a few in a transaction that may be rolled back, in part or whole. */
function step(models: readonly Model[]): fc.Arbitrary<string[]> {
  const one = fc.constantFrom(...models).chain(statement);
  const few = fc.array(one, { minLength: 1, maxLength: 4 });
  return fc.oneof(
    { weight: 8, arbitrary: one.map((sql) => [sql]) },
    { weight: 2, arbitrary: few.map((list) => ["BEGIN", ...list, "COMMIT"]) },
    { weight: 1, arbitrary: few.map((list) => ["BEGIN IMMEDIATE", ...list, "ROLLBACK"]) },
    {
      weight: 1,
      arbitrary: fc.tuple(few, few, few).map((
        [a, b, c],
      ) => ["BEGIN", ...a, "SAVEPOINT s", ...b, "ROLLBACK TO s", ...c, "RELEASE s", "COMMIT"]),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom<string[]>(["VACUUM"], ["REINDEX"], ["ANALYZE"], ["PRAGMA wal_checkpoint(TRUNCATE)"]),
    },
  );
}

/** Rows to begin with: what comes later meets something. `down`: those of read-only models, which only the agent can write. */
export function seeding(schema: Schema, down = false): fc.Arbitrary<string[]> {
  const models = [...schema.models.values()].filter((model) => model.onDevice && (model.sync === "down") === down);
  const inserts = models.flatMap((model) => Array.from({ length: 4 }, () => insert(model, "INSERT")));
  return fc.tuple(...inserts);
}

/** A script on a schema's tables. */
export function script(schema: Schema): fc.Arbitrary<string[]> {
  const models = [...schema.models.values()].filter((model) => model.onDevice);
  return fc.tuple(fc.boolean(), fc.array(step(models), { minLength: 1, maxLength: 10 })).map(([recursive, steps]) => [
    `PRAGMA recursive_triggers = ${recursive ? "ON" : "OFF"}`,
    ...steps.flat(),
  ]);
}
