/**
 * What a round has come to: the fuzzer's own reading of each device's file and of the table, by nothing but SQL and
 * DynamoDB's API.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { type AvItem, canonOfAttribute, canonOfColumn, type Cell } from "./canon.ts";
import type { MadeField, MadeModel } from "./made_schema.ts";
import { keyOfItem, keyText, type Version } from "./table.ts";
import { ident } from "./writes.ts";

/** A row, or an item: its token, and its fields in canonical form. */
export interface Seen {
  readonly token: string | null;
  readonly fields: Readonly<Record<string, string | null>>;
}

/** What a transaction did to a model's rows: token by key, before and after. */
export interface LogEntry {
  readonly n: number;
  readonly tx: string;
  readonly model: string;
  readonly before: ReadonlyMap<string, string | null>;
  readonly after: ReadonlyMap<string, string | null>;
}

/** A row of `_conflicts` or `_rejected`. */
export interface KeptRow {
  readonly table: "_conflicts" | "_rejected";
  readonly model: string;
  readonly key: Readonly<Record<string, unknown>>;
  readonly op: string;
  readonly token: string | null;
  readonly item: string | null;
  readonly why: string;
  readonly reason: string;
}

/** A device's file. */
export interface DeviceState {
  readonly id: string;
  readonly account: string;
  /** By model, by key. */
  readonly rows: ReadonlyMap<string, ReadonlyMap<string, Seen>>;
  readonly log: readonly LogEntry[];
  readonly kept: readonly KeptRow[];
  /** Items that its tables can't take, by key: why. */
  readonly aside: ReadonlyMap<string, string>;
  readonly status: Readonly<Record<string, unknown>>;
  /** What `PRAGMA integrity_check` says. */
  readonly integrity: string;
}

/** The table. */
export interface TableState {
  readonly items: ReadonlyMap<string, AvItem>;
  /** By key, in order: the item that stood there, or none. */
  readonly history: ReadonlyMap<string, readonly (AvItem | undefined)[]>;
}

/** The timestamps, as fields. */
export function allFields(model: MadeModel, iso: boolean): MadeField[] {
  const times: MadeField[] = model.timestamps
    ? ["created", "updated"].map((name) => ({ name, attribute: name, type: "date", iso }))
    : [];
  return [...model.fields, ...times];
}

/** Reads a device's file in one transaction. */
export function readDevice(
  { id, account, path }: { id: string; account: string; path: string },
  models: readonly MadeModel[],
  iso: boolean,
): DeviceState {
  const db = new DatabaseSync(path, { timeout: 30_000, readOnly: true });
  try {
    db.exec("BEGIN");
    const rows = new Map(models.map((model) => [model.name, readRows(db, model, allFields(model, iso))]));
    const aside = db.prepare("SELECT hash, sort, error FROM _sync_aside").all();
    return {
      ...{ id, account, rows },
      log: readLog(db),
      kept: [...readKept(db, "_conflicts", "why", "NULL"), ...readKept(db, "_rejected", "code", "reason")],
      aside: new Map(aside.map(({ hash, sort, error }) => [keyText(String(hash), String(sort)), String(error)])),
      status: { ...db.prepare("SELECT * FROM _status").get() },
      integrity: String(Object.values(db.prepare("PRAGMA integrity_check").get()!)[0]),
    };
  } finally {
    db.close();
  }
}

/** A column's class, and its bytes in hex, or its digits: the driver would cut a text at its first NUL, and round. */
function cellSql(name: string, i: number): string {
  const column = ident(name);
  return `typeof(${column}) AS t${i}, CASE typeof(${column}) WHEN 'integer' THEN CAST(${column} AS TEXT) ` +
    `WHEN 'real' THEN printf('%!.17g', ${column}) WHEN 'null' THEN '' ELSE hex(CAST(${column} AS BLOB)) END AS c${i}`;
}

function readRows(db: DatabaseSync, model: MadeModel, fields: readonly MadeField[]): Map<string, Seen> {
  const cells = fields.map(({ name }, i) => cellSql(name, i));
  const found = db.prepare(`SELECT ${["pk", "sk", "v", ...cells].join(", ")} FROM ${ident(model.name)}`).all();
  return new Map(found.map((row) => {
    const canon = fields.map((field, i): [string, string | null] => {
      const cell = { type: row[`t${i}`], value: row[`c${i}`] } as Cell;
      return [field.name, canonOfColumn(field, cell)];
    });
    const token = row.v === null ? null : String(row.v);
    return [keyText(String(row.pk), String(row.sk)), { token, fields: Object.fromEntries(canon) }];
  }));
}

function readLog(db: DatabaseSync): LogEntry[] {
  const tokens = (text: unknown) =>
    new Map(
      (JSON.parse(String(text)) as [string, string, string | null][])
        .map(([pk, sk, v]): [string, string | null] => [keyText(pk, sk), v]),
    );
  return db.prepare("SELECT n, tx, model, before, after FROM app_log ORDER BY n").all().map((row) => ({
    n: Number(row.n),
    tx: String(row.tx),
    model: String(row.model),
    before: tokens(row.before),
    after: tokens(row.after),
  }));
}

function readKept(db: DatabaseSync, table: KeptRow["table"], why: string, reason: string): KeptRow[] {
  return db.prepare(`SELECT model, key, op, item, ${why} AS why, ${reason} AS reason FROM ${table}`).all().map(
    (row) => {
      const item = row.item === null ? null : String(row.item);
      const parsed = item === null ? undefined : JSON.parse(item) as { v?: string } | null;
      return {
        ...{ table, item },
        model: String(row.model),
        key: JSON.parse(String(row.key)) as Record<string, unknown>,
        op: String(row.op),
        token: parsed?.v ?? null,
        why: String(row.why),
        reason: String(row.reason ?? ""),
      };
    },
  );
}

/** Puts the table's state together. */
export function tableState(items: readonly AvItem[], versions: readonly Version[]): TableState {
  const history = new Map<string, (AvItem | undefined)[]>();
  for (const { key, item } of versions) {
    const list = history.get(key) ?? [];
    history.set(key, [...list, item]);
  }
  return { items: new Map(items.map((item) => [keyOfItem(item), item])), history };
}

/** An item's token. */
export function tokenOf(item: AvItem | undefined): string | null {
  return item?.v && "S" in item.v ? item.v.S : null;
}

/** An item as a device of this schema sees it. */
export function seenOf(model: MadeModel, iso: boolean, item: AvItem): Seen {
  const fields = allFields(model, iso).filter(({ local }) => !local).map((field): [string, string | null] => [
    field.name,
    canonOfAttribute(field, item[field.attribute]) ?? field.fallback ?? null,
  ]);
  return { token: tokenOf(item), fields: Object.fromEntries(fields) };
}
