/**
 * What an application may do to a device's table in SQL, made at random: statements of every shape, and the script of a
 * transaction around them.
 *
 * A script also notes, in a table of the application's own and in the same transaction, the rows before and after it. So
 * whatever the statements did (rows that a REPLACE evicted, keys that changed), and whether they were committed where the
 * process was killed, stands in the file itself.
 *
 * @module
 */
import type { Random } from "../../sim/random.ts";
import type { MadeModel } from "./made_schema.ts";
import { makeValue, textSql, tooLargeSql, wrongSql } from "./values.ts";

/** A write as it was meant: by its token what became of it is judged. */
export interface Intent {
  readonly token: string;
  /** A device, or `api`, `raw`. */
  readonly by: string;
  readonly model: string;
  /** The canonical value of each field that it sets. */
  readonly fields: Readonly<Record<string, string | null>>;
  /** The cloud must refuse it, or may. */
  readonly refused?: boolean;
  /** It took a row of another key along, with what that has. */
  readonly moved?: boolean;
  /** When it was made, ms on the real clock. */
  readonly time: number;
}

/** A transaction of an application. */
export interface Transaction {
  readonly id: string;
  readonly statements: readonly string[];
  readonly intents: readonly Intent[];
  /** Models that it touches. */
  readonly models: readonly string[];
}

/** Key values that several writers share. Some are odd in SQL, in a template or in a topic. */
export const sharedNames = ["a", "b", "it's", "Größe 🦊", "a#b", " ", "${x}"] as const;
const zones = ["north", "süd"] as const;

export const ident = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Makes the application's own tables. */
export const appLogSql = [
  "CREATE TABLE IF NOT EXISTS app_noted(n INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER)",
  `CREATE TABLE IF NOT EXISTS app_log(n INTEGER PRIMARY KEY AUTOINCREMENT, tx TEXT, model TEXT, before TEXT, after TEXT)`,
];

function rowsSql(model: string): string {
  return `(SELECT json_group_array(json_array(pk, sk, v)) FROM ${ident(model)})`;
}

/** Writers count their tokens. */
export class Tokens {
  #next = 1;
  constructor(readonly by: string) {}
  take(): string {
    return `${this.by}:${this.#next++}`;
  }
}

/** Makes a transaction on one or two of the models, which exist on this device and can be written there. */
export function makeTransaction(
  random: Random,
  models: readonly MadeModel[],
  tokens: Tokens,
  nowMs: number,
): Transaction {
  const touched = [random.pick(models)];
  if (random.chance(0.3)) touched.push(random.pick(models));
  const names = [...new Set(touched.map(({ name }) => name))];
  const intents: Intent[] = [], body: string[] = [];
  for (let i = random.weighted({ 1: 5, 2: 3, 4: 1 } as Record<string, number>), n = Number(i); n > 0; n--) {
    body.push(...makeStatements(random, random.pick(touched), tokens, nowMs, intents));
  }
  const id = `${tokens.by}/${tokens.take()}`;
  const tx = textSql(id);
  const begun = names.map((name) =>
    `INSERT INTO app_log(tx, model, before) SELECT ${tx}, ${textSql(name)}, ${rowsSql(name)}`
  );
  const ended = names.map((name) =>
    `UPDATE app_log SET after = ${rowsSql(name)} WHERE tx = ${tx} AND model = ${textSql(name)}`
  );
  const last = random.chance(0.08) ? "ROLLBACK" : "COMMIT";
  // One that is refused taints the rows of the others: they write to the same ones.
  const all = intents.some(({ refused }) => refused)
    ? intents.map((intent) => ({ ...intent, refused: true }))
    : intents;
  return { id, models: names, intents: all, statements: ["BEGIN IMMEDIATE", ...begun, ...body, ...ended, last] };
}

function makeStatements(
  random: Random,
  model: MadeModel,
  tokens: Tokens,
  nowMs: number,
  intents: Intent[],
): string[] {
  const table = ident(model.name), token = tokens.take();
  const kind = random.weighted({
    upsert: 6,
    replace: 3,
    insert: 2,
    update: 4,
    remove: 3,
    rename: 1,
    bulk: 1,
    savepoint: 1,
    large: 0.15,
  });
  const { columns, values, fields, refused } = makeRow(random, model, token, nowMs);
  const meant = (more: Partial<Intent> = {}) =>
    void intents.push({
      token,
      by: tokens.by.split("/")[0]!,
      model: model.name,
      fields,
      time: nowMs,
      ...(refused ? { refused } : {}),
      ...more,
    });
  const key = keyOf(random, model), keyColumns = model.key.map(ident);
  const all = [...keyColumns, ...columns].join(", "), row = [...key, ...values].join(", ");
  const set = columns.map((column, i) => `${column} = ${values[i]}`).join(", ");
  const where = keyColumns.map((column, i) => `${column} = ${key[i]}`).join(" AND ");
  const conflict = `ON CONFLICT(${keyColumns.join(", ")}) DO UPDATE SET ${
    columns.map((c) => `${c} = excluded.${c}`).join(", ")
  }`;
  switch (model.key[0] === "id" && ["rename", "update", "remove"].includes(kind) ? `some ${kind}` : kind) {
    case "upsert":
      meant();
      return [`INSERT INTO ${table}(${all}) VALUES (${row}) ${conflict}`];
    case "replace":
      meant();
      return [`INSERT OR REPLACE INTO ${table}(${all}) VALUES (${row})`];
    case "insert":
      meant();
      return [`INSERT OR IGNORE INTO ${table}(${all}) VALUES (${row})`];
    case "update":
      meant();
      return [`UPDATE ${table} SET ${set} WHERE ${where}`];
    case "remove":
      return [`DELETE FROM ${table} WHERE ${where}`];
    case "rename": {
      meant({ moved: true });
      const other = keyOf(random, model);
      const moved = keyColumns.map((column, i) => `${column} = ${other[i]}`).join(", ");
      return [`UPDATE OR ${random.pick(["IGNORE", "REPLACE"])} ${table} SET ${moved}, ${set} WHERE ${where}`];
    }
    case "some remove":
      return [`DELETE FROM ${table} WHERE _id % 7 = ${random.below(7)}`];
    case "some update":
    case "some rename":
      meant();
      return [`UPDATE ${table} SET ${set} WHERE _id % 5 = ${random.below(5)}`];
    case "bulk":
      meant({ fields: {} });
      return [bulkSql(random, model, token)];
    case "large": {
      const large = largeSql(model, token, where);
      if (large) meant({ fields: {}, refused: true });
      return large ? [large] : [];
    }
    default: {
      meant();
      const aside = makeRow(random, model, `${token}!`, nowMs);
      return [
        "SAVEPOINT one",
        `UPDATE ${table} SET ${aside.columns.map((c, i) => `${c} = ${aside.values[i]}`).join(", ")}`,
        "ROLLBACK TO one",
        `INSERT INTO ${table}(${all}) VALUES (${row}) ${conflict}`,
        "RELEASE one",
      ];
    }
  }
}

/** An item too large for DynamoDB, where the model has a text for it. */
function largeSql(model: MadeModel, token: string, where: string): string | undefined {
  const text = model.fields.find(({ type, enum: list, judged }) => type === "string" && !list && !judged);
  return text && `UPDATE ${ident(model.name)} SET v = '${token}', ${ident(text.name)} = ${tooLargeSql} WHERE ${where}`;
}

/** Several rows by one statement. Without a UNIQUE field: all rows would have one value. */
function bulkSql(random: Random, model: MadeModel, token: string): string {
  const n = random.between(3, 25),
    keys = model.key.map((name) => name === "n" ? "i" : name === "zone" ? "'bulk'" : "'k' || i");
  const some = `WITH RECURSIVE list(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM list WHERE i < ${n})`;
  return `${some} INSERT OR REPLACE INTO ${ident(model.name)}(${model.key.map(ident).join(", ")}, v) ` +
    `SELECT ${keys.join(", ")}, '${token}' FROM list`;
}

/** Columns and SQL values of a row beside its key: its token, and some of its fields. */
function makeRow(random: Random, model: MadeModel, token: string, nowMs: number) {
  const fields: Record<string, string | null> = {}, columns = ["v"], values = [`'${token}'`];
  let refused = false;
  for (const field of model.fields) {
    if (random.chance(0.35)) continue;
    columns.push(ident(field.name));
    if (random.chance(0.02)) {
      values.push(wrongSql(random, field));
      refused = true;
      continue;
    }
    const value = makeValue(random, field, nowMs);
    values.push(value.sql);
    fields[field.name] = value.canon;
    refused ||= value.refused ?? false;
  }
  return { columns, values, fields, refused };
}

/** SQL values of a key. A generated id is given where rows of a known key are wanted. */
function keyOf(random: Random, { key }: MadeModel): string[] {
  return key.map((name) =>
    name === "n" ? String(random.below(3)) : textSql(
      name === "zone" ? random.pick(zones) : name === "id" ? `id${random.below(40)}` : random.pick(sharedNames),
    )
  );
}

/** A key's values for the cloud's writers. */
export function keyValues(random: Random, { key }: MadeModel): Record<string, string | number> {
  return Object.fromEntries(key.map((name) => [
    name,
    name === "n"
      ? random.below(3)
      : name === "zone"
      ? random.pick(zones)
      : name === "id"
      ? `id${random.below(40)}`
      : random.pick(sharedNames),
  ]));
}

/**
 * What programs that share a file do besides: statements outside of a transaction. Each is harmless to whoever reads
 * docs/device-database.md, and may fail while others write.
 */
export function makeChore(random: Random, models: readonly MadeModel[]): string {
  const table = ident(random.pick(models).name);
  return random.pick([
    ...["VACUUM", "ANALYZE", "REINDEX", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA optimize", "PRAGMA integrity_check"],
    `CREATE INDEX IF NOT EXISTS app_by_v ON ${table}(v)`,
    `ALTER TABLE ${table} ADD COLUMN app_note TEXT`,
    `CREATE TRIGGER IF NOT EXISTS app_notes AFTER INSERT ON ${table} BEGIN
      INSERT INTO app_noted(at) VALUES (new._id); DELETE FROM app_noted WHERE n < new._id - 100; END`,
    "DROP TRIGGER IF EXISTS app_notes",
    `SELECT count(*) FROM ${table} AS a, ${table} AS b`,
  ]);
}
