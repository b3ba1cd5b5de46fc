/**
 * Examines one key that seems to differ: whether it does, in which attributes, and which side changed unnoticed; and
 * repairs it by the conflict rules.
 *
 * | the row and its base | the table's item and the base | what it is | repaired by |
 * | --- | --- | --- | --- |
 * | differ | equal or not | a local change that was not captured | a hint in the outbox: it goes up as any change |
 * | equal | differ | a change of the table that never arrived | a fetch |
 * | of a model that only comes down | – | the table is right | a fetch |
 * | of a model that only syncs up | – | the device is right | a hint in the outbox |
 * | of such a model, in account or global scope | the item is another one, the row as acknowledged | none: another device's |
 *
 * A key with changes under way is not judged: its difference is still being synced.
 *
 * @module
 */
import { type Attributes, isExpired, jsonEquals, SyncError } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import { type Current, itemDigest, type Key } from "../../protocol.ts";
import type { Context } from "../sync/context.ts";
import { comesDown, goesUp, isRowExpired, isTracked, keyAttributesOf } from "../sync/items.ts";
import type { LocalRow } from "../store/store.ts";
import type { Difference } from "./report.ts";

/** The result of examining a key. `repair` repairs it; it must run inside a transaction. */
export type Verdict =
  | "equal"
  | "unsettled"
  | (Omit<Difference, "model" | "mended"> & { readonly mend?: () => void });

/** Attributes that a model's rows have: a model that only syncs up is compared by these. */
export function rowAttributes(model: Model): string[] {
  return model.fields.filter((field) => field.synced && !field.template).map(({ attribute }) => attribute);
}

/**
 * The digest of a row, as the cloud would compute it from the same item; undefined for an expired row, which counts as
 * absent.
 */
export function rowDigest(context: Context, model: Model, row: LocalRow): string | undefined {
  const { store, records, clock } = context;
  const base = records.get(row.key)?.base;
  if (isRowExpired(model, row.item, base, clock.nowMs())) return undefined;
  if (!comesDown(model)) {
    return itemDigest(row.key, Object.fromEntries(Object.entries(row.item).filter(([, value]) => value !== null)));
  }
  return itemDigest(row.key, store.rows(model).merged(row, base));
}

/** Whether a local change of the key is on its way up. */
function isChanging({ outbox, store, inFlight }: Context, model: Model, key: Key): boolean {
  if (inFlight.get(key)) return true;
  if (!goesUp(model) || outbox.empty) return false;
  return isTracked(model) ? outbox.pending(model, key) : isWaiting(store, model, key);
}

/**
 * For a model without an index by row: the newest entries are scanned; if there are older ones, the change counts as on
 * its way.
 */
function isWaiting(store: Context["store"], model: Model, key: Key): boolean {
  const id = store.rows(model).idByKey(key), number = store.number(model);
  const entries = store.db.sql("SELECT model, row FROM _outbox ORDER BY seq DESC LIMIT 10001").all();
  return entries.length > 10_000 || entries.some((e) => Number(e.model) === number && Number(e.row) === id);
}

/**
 * Examines a key of a model that comes down, with the table's present item.
 *
 * @param patient an echo that is awaited may still come
 */
export function judge(
  context: Context,
  model: Model,
  key: Key,
  current: Current | undefined,
  patient: boolean,
): Verdict {
  const { store, records, clock, asides } = context;
  if (isChanging(context, model, key)) return "unsettled";
  const rows = store.rows(model), record = records.open(model, key), { base } = record;
  const item = current && !isExpired(model, current.item, clock.nowMs()) ? current.item : undefined;
  const row = readRow(context, model, key);
  const readable = row === "unreadable" ? undefined : row;
  if (row !== "unreadable" && (row ? item !== undefined && rows.equals(row, item) : !item)) return "equal";
  if (record.recheck !== undefined || (record.awaiting && patient)) return "unsettled";
  const named = keyAttributesOf(model, readable?.item ?? item ?? base ?? {});
  const fetch = () => {
    records.mark(record);
    records.save(record);
  };
  const hint = () => context.outbox.append(model, key, named, clock.clock.wallMs());
  if (asides.modelOf(key)) {
    return { key: named, what: "set aside", detail: "the table's item breaks a constraint of the device's table" };
  }
  if (row === "unreadable") {
    const detail = "the row has a value that its column's type does not allow";
    return { key: named, what: "unreadable on the device", detail, mend: goesUp(model) ? undefined : fetch };
  }
  const what = row && item ? "differs" : row ? "only on the device" : "only in the cloud";
  const which = row && item ? `${differing(model, row.item, item).join(", ")}; ` : "";
  if (!goesUp(model)) return { key: named, what, detail: `${which}the device only reads it`, mend: fetch };
  const changedHere = row ? !base || !rows.equals(row, base) : base !== undefined;
  if (!changedHere) return { key: named, what, detail: `${which}a change of the table never arrived`, mend: fetch };
  const changedThere = item ? !base || !jsonEquals(item, base) : base !== undefined;
  const who = changedThere ? "both sides changed" : "the device's side changed and it was not captured";
  return { key: named, what, detail: which + who, mend: hint };
}

/** Examines a key of a model that only syncs up, with the digest of the table's present item. */
export function judgeUp(
  context: Context,
  model: Model,
  key: Key,
  digest: string | undefined,
): Verdict {
  if (isChanging(context, model, key)) return "unsettled";
  const row = readRow(context, model, key);
  if (row === "unreadable") {
    const detail = "the row has a value that its column's type does not allow";
    return { key: {}, what: "unreadable on the device", detail };
  }
  const own = row && rowDigest(context, model, row);
  // A row that is gone or has expired says nothing about the table: devices purge rows that they have sent.
  if (!row || own === undefined || own === digest) return "equal";
  // Several devices write such an item, and none learns of the others' writes: this item is another device's, newer
  // than the acknowledged one.
  const record = isTracked(model) ? context.records.open(model, key) : undefined;
  const isAcknowledged = record?.base !== undefined && context.store.rows(model).equals(row, record.base);
  if (isAcknowledged && digest !== undefined) return "equal";
  const named = keyAttributesOf(model, row.item);
  const mend = () => {
    // The record says that it was acknowledged, so nothing would be sent otherwise.
    if (isAcknowledged) {
      record!.base = record!.version = undefined;
      context.records.save(record!);
    }
    context.outbox.append(model, key, named, context.clock.clock.wallMs());
  };
  return digest === undefined
    ? { key: named, what: "only on the device", detail: "the table does not have it", mend }
    : { key: named, what: "differs", detail: "the table's item is another one", mend };
}

/** The key's row; undefined if there is none, or it has expired. */
export function readRow(
  { store, records, clock }: Context,
  model: Model,
  key: Key,
): LocalRow | undefined | "unreadable" {
  try {
    const row = store.rows(model).byKey(key);
    return row && !isRowExpired(model, row.item, records.get(key)?.base, clock.nowMs()) ? row : undefined;
  } catch (error) {
    if (error instanceof SyncError && error.code === "invalid") return "unreadable";
    throw error;
  }
}

function differing(model: Model, a: Attributes, b: Attributes): string[] {
  return rowAttributes(model).filter((name) => !jsonEquals(a[name] ?? null, b[name] ?? null));
}
