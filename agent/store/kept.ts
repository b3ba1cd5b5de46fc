/**
 * The versions that the agent stores for people: changes that the cloud refused (`_rejected`), and versions that lost a
 * conflict (`_conflicts`). People can view them, drop them, and put them back as a local write, which is captured and
 * sent like any other.
 *
 * {@link keepRejected} and {@link keepConflict} are the only writers. They write in the transaction that replaces the
 * version, so that a crash leaves the version or its copy.
 *
 * The rest works on any connection of the file, beside an agent or without one. Putting back is one transaction: either
 * the row equals the stored version, its entry is in the outbox, and the stored version is gone; or nothing has
 * changed.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { type Attributes, jsonToDate, parseJson, renderKey, SyncError } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { Key, Version } from "../../protocol.ts";
import type { Database } from "../sqlite/driver.ts";
import { toSyncError } from "./faults.ts";
import { TableRows } from "./rows.ts";

const log = new Log("agent");

/** The tables of stored versions. */
export type KeptTable = "_rejected" | "_conflicts";

/** One kept version. */
export interface Kept {
  /** Its number, to name it by. */
  readonly id: number;
  /** The model's name. */
  readonly model: string;
  /** The key's attributes. */
  readonly key: unknown;
  /** `create`, `update` or `remove`. */
  readonly op: string;
  /** The item as tagged JSON, by attribute; absent for a removal, and if there was no item. */
  readonly item?: Attributes;
  /** `invalid`, `too-large`; or of a conflict: `stale`, `gone`, `yielded`, `overwritten`, `merged`, `revived`, `swept`. */
  readonly why: string;
  /** A sentence, where the cloud gave one. */
  readonly reason?: string;
  /** When it was stored, ISO text in the cloud's time. */
  readonly at: string;
}

/** The source of stored versions: an open file, and its schema. */
export interface KeptIn {
  readonly db: Database;
  readonly schema: Schema;
  readonly identity: Identity;
}

/** Options of a listing. */
export interface KeptList {
  /** This model's only. */
  readonly model?: string;
  /** After this number; default: from the oldest. */
  readonly after?: number;
  /** Default 100. */
  readonly limit?: number;
}

const columns: Record<KeptTable, string> = {
  _rejected: "id, model, key, op, item, code AS why, reason, time",
  _conflicts: "id, model, key, op, item, why, NULL AS reason, time",
};

/** A change that the cloud refused for good. */
export interface RejectedChange {
  /** The model's name. */
  readonly model: string;
  /** JSON of the key's attributes. */
  readonly key: string;
  /** Default `update`. */
  readonly op?: string;
  /** The item of the change; absent for a removal, and if the row can't be read. */
  readonly item?: Attributes;
  /** `invalid` or `too-large`. */
  readonly code: string;
  /** A sentence. */
  readonly reason?: string;
  /** The change's stamp, where it got one. */
  readonly stamp?: number;
  /** ms since 1970. */
  readonly timeMs: number;
}

/** Stores a change that was refused for good. */
export function keepRejected(db: Database, change: RejectedChange): void {
  const { model, key, op = "update", item, code, reason, stamp, timeMs } = change;
  db.sql("INSERT INTO _rejected(model, key, op, item, code, reason, stamp, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    .run(model, key, op, item ? JSON.stringify(item) : null, code, reason ?? null, stamp ?? null, timeMs);
  const why = reason === undefined ? code : `${code}: ${reason}`;
  log.warn("rejected: {op} {model} {key}: {why}", { op, model, key, why, subject: "rejected" });
}

/** A version that lost. */
export interface LostVersion {
  /** The model's name. */
  readonly model: string;
  /** The key's attributes. */
  readonly key: Attributes | Key;
  /** `create`, `update` or `remove`. */
  readonly op: string;
  /** The item; absent for a removal. */
  readonly item?: Attributes;
  /** See {@link Kept.why}. */
  readonly why: string;
  /** The version that it had, where it had one. */
  readonly version?: Version;
  /** ms since 1970, in the cloud's time. */
  readonly timeMs: number;
}

/** Stores a version that lost. */
export function keepConflict(db: Database, { model, key, op, item, why, version, timeMs }: LostVersion): void {
  db.sql("INSERT INTO _conflicts(model, key, op, item, why, source, stamp, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)").run(
    model,
    JSON.stringify(key),
    op,
    item ? JSON.stringify(item) : null,
    why,
    version?.[0] ?? null,
    version?.[1] ?? null,
    timeMs,
  );
  log.info("lost a conflict: {op} {model} {key}: {why}", {
    ...{ op, model, why, subject: "conflicts" },
    key: JSON.stringify(key),
  });
}

/** The kept versions, oldest first. */
export function listKept(db: Database, table: KeptTable, { model, after = 0, limit = 100 }: KeptList = {}): Kept[] {
  const where = `id > ?${model === undefined ? "" : " AND model = ?"}`;
  return db.sql(`SELECT ${columns[table]} FROM ${table} WHERE ${where} ORDER BY id LIMIT ?`)
    .all(after, ...(model === undefined ? [] : [model]), limit).map(toKept);
}

/** One kept version. @throws SyncError `not-found` */
export function keptOf(db: Database, table: KeptTable, id: number): Kept {
  const row = db.sql(`SELECT ${columns[table]} FROM ${table} WHERE id = ?`).get(id);
  if (!row) throw new SyncError("not-found", `${table} has no number ${id}`);
  return toKept(row);
}

function toKept(row: Record<string, unknown>): Kept {
  const item = row.item === null ? null : parseJson(row.item as string) as Attributes | null;
  return {
    id: Number(row.id),
    model: row.model as string,
    key: parseJson(row.key as string),
    op: row.op as string,
    ...(item === null ? {} : { item }),
    why: row.why as string,
    ...(row.reason === null ? {} : { reason: row.reason as string }),
    at: new Date(Number(row.time)).toISOString(),
  };
}

/** Deletes stored versions: one, or all, or all of a model. @returns how many */
export function dropKept(
  db: Database,
  table: KeptTable,
  which: { readonly id?: number; readonly model?: string },
): number {
  if (which.id !== undefined) return db.sql(`DELETE FROM ${table} WHERE id = ?`).changes(which.id);
  if (which.model !== undefined) return db.sql(`DELETE FROM ${table} WHERE model = ?`).changes(which.model);
  return db.sql(`DELETE FROM ${table}`).changes();
}

/**
 * The present row of a stored version's key, as an item; undefined: there is none. @throws SyncError as
 * {@link restoreKept}
 */
export function rowOfKept(file: KeptIn, kept: Kept): Attributes | undefined {
  const { model, key } = placeOf(file, kept);
  return new TableRows(file.db, model, file.identity).byKey(key)?.item;
}

/**
 * Puts a stored version back as a local write: a removal removes the row, anything else makes the row equal to the
 * version. Attributes that never leave the device do not change. Must not run inside a transaction of this connection.
 *
 * @param force do it even if the row was written after the version was stored (by its `updated`)
 * @returns the number of the stored version, which is deleted
 * @throws SyncError `not-found`; `newer` without `force`; `invalid` if the version has no item or its model is gone;
 * `constraint`, `read-only`, `full`, `busy` from the write: then nothing has changed
 */
export function restoreKept(file: KeptIn, table: KeptTable, id: number, { force = false } = {}): Kept {
  const { db } = file;
  db.exec("BEGIN IMMEDIATE");
  try {
    const kept = keptOf(db, table, id);
    if (kept.op !== "remove" && !kept.item) {
      throw new SyncError("invalid", `number ${id} of ${table} has no item: its row was invalid by the schema`, {
        hint: "correct the row itself: that is sent",
      });
    }
    const { model, key } = placeOf(file, kept);
    const rows = new TableRows(db, model, file.identity), row = rows.byKey(key);
    const field = model.fields.find(({ name }) => name === model.updatedField);
    const writtenMs = field && row && jsonToDate(field, row.item[field.attribute])?.getTime();
    if (!force && writtenMs !== undefined && writtenMs > Date.parse(kept.at)) {
      throw new SyncError("newer", `${nameOf(kept)} was written again at ${new Date(writtenMs).toISOString()}`, {
        hint: "with force it is overwritten",
      });
    }
    if (kept.op === "remove") rows.remove(key);
    else rows.put(key, kept.item!);
    db.sql(`DELETE FROM ${table} WHERE id = ?`).run(id);
    db.exec("COMMIT");
    return kept;
  } catch (error) {
    db.exec("ROLLBACK");
    throw toSyncError(error, `Writing number ${id} of ${table} back`);
  }
}

function placeOf({ schema, identity }: KeptIn, kept: Kept): { model: Model; key: Key } {
  const model = schema.models.get(kept.model);
  if (!model?.onDevice) throw new SyncError("invalid", `the schema has no model "${kept.model}" any more`);
  const named = Array.isArray(kept.key) ? kept.item : kept.key as Attributes;
  const key = renderKey(model, { ...kept.item, ...named }, identity);
  if (!key) throw new SyncError("invalid", `${nameOf(kept)} does not say its key`);
  return { model, key };
}

function nameOf({ model, key }: Kept): string {
  return `${model} ${JSON.stringify(key)}`;
}
