/**
 * The accounts: each write that was committed anywhere stands, or what became of it is known, by name. A function of what was
 * meant and what was found, without I/O, so that its own tests can plant a loss.
 *
 * @module
 */
import { type AvItem, canonNow } from "./canon.ts";
import { type Finding, isExpiring, isInScope, isUnreadable, keyOfKept } from "./compare.ts";
import type { MadeModel, MadeSchema } from "./made_schema.ts";
import { type DeviceState, type LogEntry, seenOf, type TableState, tokenOf } from "./observe.ts";
import { outOfOrder } from "./order.ts";
import type { Intent } from "./writes.ts";

/** What was done, as the journal has it. */
export interface Deeds {
  readonly intents: ReadonlyMap<string, Intent>;
  /** By device, the transactions that an application was told to be committed. */
  readonly committed: ReadonlyMap<string, ReadonlySet<string>>;
  readonly cloudWrites: readonly { readonly token: string; readonly key: string }[];
  /** When what has a token was written, on the real clock: between these. Nothing where clocks are wrong. */
  readonly times?: ReadonlyMap<string, { readonly fromMs: number; readonly toMs: number }>;
}

/** How many writes met which fate. */
export type Fates = Record<string, number>;

/** What the accounts are made of. */
export interface Books {
  readonly schema: MadeSchema;
  readonly deeds: Deeds;
  readonly devices: readonly DeviceState[];
  readonly table: TableState;
  readonly nowMs: number;
  /** Devices whose file was replaced by an older copy: what they wrote since is gone, and may be made again (rules 7.4). */
  readonly rolledBack?: ReadonlySet<string>;
  /** What stood in the table, by key in order, between the copy that it was restored to and its restore: once for each. */
  readonly lost?: readonly ReadonlyMap<string, readonly (AvItem | undefined)[]>[];
  /** The channel log lost its entries: a device may never hear of a removal (rules 7.3). */
  readonly logLost?: boolean;
}

/** Accounts for everything. */
export function account(books: Books): { findings: Finding[]; fates: Fates } {
  const findings: Finding[] = [], fates: Fates = {};
  for (const device of books.devices) {
    const isRolledBack = books.rolledBack?.has(device.id) ?? false;
    if (!isRolledBack) findings.push(...ledger(books, device));
    // Rows of `keep: newest` models that gave way unsent: the device says how many.
    let dropped = Number(device.status.dropped ?? 0);
    for (const entry of device.log) {
      const model = books.schema.models.find(({ name }) => name === entry.model)!;
      for (const [key, token] of entry.after) {
        if (token === null || entry.before.get(key) === token) continue;
        let fate = fateOf(books, device, model, entry, key, token);
        if (fate === undefined && model.keep && dropped-- > 0) fate = "gave way at the cap";
        fates[fate ?? "lost"] = (fates[fate ?? "lost"] ?? 0) + 1;
        if (fate === undefined) findings.push(lost(books, device, model, entry, key, token));
      }
      for (const [key, token] of entry.before) {
        if (entry.after.has(key) || token === null || isRolledBack) continue;
        const fate = fateOfRemoval(books, device, model, entry, key, token);
        fates[fate ?? "lost"] = (fates[fate ?? "lost"] ?? 0) + 1;
        if (fate === undefined) {
          const what =
            `${device.id} ${model.name} ${key}: the removal of ${token} (${entry.tx}) is lost: the table still has it`;
          findings.push({ kind: "lost removal", sentence: what });
        }
      }
    }
    findings.push(...innocent(books, device));
  }
  findings.push(...cloudLedger(books), ...faithful(books), ...isolated(books));
  // What a device wrote since its copy was made is in no book of it.
  const isRestored = (books.lost?.length ?? 0) > 0;
  if (!books.rolledBack?.size && !isRestored) {
    findings.push(...outOfOrder(books), ...books.logLost ? [] : notRevived(books));
  }
  return { findings, fates };
}

/** What an application was told to be committed stands in the file. */
function ledger({ deeds }: Books, device: DeviceState): Finding[] {
  const there = new Set(device.log.map(({ tx }) => tx));
  return [...deeds.committed.get(device.id) ?? []].filter((tx) => !there.has(tx)).map((tx) => ({
    kind: "lost commit",
    sentence: `${device.id}: the transaction ${tx} was committed, and the file does not have it`,
  }));
}

const isSent = ({ sync, enable }: MadeModel) => enable === "both" && (sync === "up" || sync === "both");

/** What became of a row that was written; undefined: nobody knows. */
function fateOf(
  { table, schema, lost = [], nowMs }: Books,
  device: DeviceState,
  model: MadeModel,
  entry: LogEntry,
  key: string,
  token: string,
): string | undefined {
  const isNext = device.log.some(({ n, model: name, before, after }) =>
    n > entry.n && name === model.name && before.get(key) === token && after.get(key) !== token
  );
  if (!isSent(model)) {
    if (device.rows.get(model.name)?.get(key)?.token === token) return "stands";
    if (isNext) return "changed on";
    return model.fields.some(({ ttl }) => ttl) ? "expired" : undefined;
  }
  if (tokenOf(table.items.get(key)) === token) return "stands";
  if (table.history.get(key)?.some((item) => tokenOf(item) === token)) return "overwritten in the table";
  for (const window of lost) {
    const states = window.get(key) ?? [], at = states.findIndex((item) => tokenOf(item) === token), item = states[at];
    if (!item) continue;
    if (at < states.length - 1) return "overwritten before the table was restored";
    if (isExpiring(model, seenOf(model, schema.iso, item), nowMs)) return "expired";
  }
  // Of a row that can't be read no copy can be kept: its key is.
  const kept = device.kept.find((row) =>
    row.model === model.name && (row.token === token || (isUnreadable(row) && keyOfKept(model, device, row) === key))
  );
  if (kept) return kept.table;
  return isNext ? "changed on" : undefined;
}

function lost(
  { table }: Books,
  device: DeviceState,
  model: MadeModel,
  entry: LogEntry,
  key: string,
  token: string,
): Finding {
  const history = table.history.get(key)?.map((item) => item ? tokenOf(item) : "none").join(", ") ?? "nothing";
  const row = device.rows.get(model.name)?.get(key)?.token ?? "no row";
  const what = `${device.id} ${model.name} ${key}: ${token}, committed by ${entry.tx}, is lost: ` +
    `the row is ${row}, the table had ${history}`;
  return { kind: "lost", sentence: what };
}

/** What became of a removal. The version that was removed must not stand, unless the device says so in the open. */
function fateOfRemoval(
  { table, lost = [] }: Books,
  device: DeviceState,
  model: MadeModel,
  entry: LogEntry,
  key: string,
  token: string,
): string | undefined {
  if (!isSent(model)) return device.rows.get(model.name)?.get(key)?.token === token ? undefined : "removed";
  const item = table.items.get(key);
  if (tokenOf(item) !== token) return "removed";
  // Rules 7.6 and B7: others that never heard of the removal offer the item; an item without a version comes back, and one of
  // a model that only syncs up.
  if (lost.length > 0 && (model.sync === "up" || model.scope !== "device" || !item!._stamp)) {
    return "back with the restored table";
  }
  // Made anew since by others: without a version that is kept, and the table's is taken (B4).
  if (lost.some((window) => window.get(key)?.at(-1) !== undefined)) return "made anew before the table was restored";
  const isKept = device.kept.some((row) =>
    row.op === "remove" && row.model === model.name && keyOfKept(model, device, row) === key
  );
  if (isKept) return "removal kept";
  // Made anew before the removal was sent, and that was refused: the key is back to what the table had.
  const anew = device.log.filter(({ n, model: name }) => n >= entry.n && name === model.name)
    .map(({ before, after }) => after.get(key) !== before.get(key) ? after.get(key) : undefined);
  const isRefused = device.kept.some((row) =>
    row.table === "_rejected" && row.token !== null && anew.includes(row.token)
  );
  return isRefused ? "made anew and rejected" : undefined;
}

/** What was rejected is what the cloud must refuse: nothing innocent with it. */
function innocent({ schema, deeds }: Books, device: DeviceState): Finding[] {
  // A value that a row got stays in it, whatever is written besides; a changed key takes it along.
  const keys = new Set<string>(), moved = new Set<string>();
  for (const { model, before, after } of device.log) {
    for (const [key, token] of after) {
      const intent = before.get(key) === token ? undefined : deeds.intents.get(token ?? "");
      if (intent?.refused) keys.add(key);
      if (intent?.moved) moved.add(model);
    }
  }
  return device.kept.filter((row) => {
    const model = schema.models.find(({ name }) => name === row.model);
    return row.table === "_rejected" && !moved.has(row.model) && !(model && keys.has(keyOfKept(model, device, row)));
  }).map((row) => ({
    kind: "rejected",
    sentence: `${device.id} ${row.model} ${
      JSON.stringify(row.key)
    } (${row.token}) was rejected as ${row.why}, ${row.reason}: ${row.item?.slice(0, 300)}`,
  }));
}

/** What the cloud's writers were told to be done was done. */
function cloudLedger({ deeds, table }: Books): Finding[] {
  return deeds.cloudWrites.filter(({ key, token }) => !table.history.get(key)?.some((item) => tokenOf(item) === token))
    .map(({ key, token }) => ({
      kind: "lost in the cloud",
      sentence: `${token} was written to ${key}, and never stood there`,
    }));
}

/** A version that was overwritten or removed is not back. Where the device wins anyway it may write the same again. */
function notRevived({ schema, table, nowMs }: Books): Finding[] {
  return [...table.items].filter(([key, item]) => {
    const model = modelOf(schema, item), token = tokenOf(item);
    if (model?.sync !== "both" || (model.policy !== "newest" && model.policy !== "cloud")) return false;
    if (schema.changed?.includes(model.name)) return false;
    // What has expired is nobody's: each side takes it for an absence.
    if (isExpiring(model, seenOf(model, schema.iso, item), nowMs)) return false;
    const versions = table.history.get(key) ?? [];
    const since = versions.slice(versions.findIndex((version) => tokenOf(version) === token));
    // Of a removal that shows no version a device that never heard of its own create can't say what it removed (rules 7.3).
    const isUnknown = since.some((version, i) => i > 0 && !version && since[i - 1] && !since[i - 1]!._stamp);
    return !isUnknown && since.some((version) => tokenOf(version) !== token);
  }).map(([key, item]) => ({
    kind: "revived",
    sentence: `${key}: ${tokenOf(item)} had been overwritten or removed, and is back`,
  }));
}

function modelOf(schema: MadeSchema, item: AvItem): MadeModel | undefined {
  const type = (item._type as { S?: string } | undefined)?.S;
  return schema.models.find(({ name }) => name === type);
}

/** A version that stands has the values that were written. Under `merge` others' fields are in it, too. */
function faithful({ schema, deeds, table, nowMs }: Books): Finding[] {
  const found: Finding[] = [];
  for (const [key, item] of table.items) {
    const model = modelOf(schema, item), intent = deeds.intents.get(tokenOf(item) ?? "");
    if (!model || !intent || (model.sync === "both" && model.policy === "merge")) continue;
    const seen = seenOf(model, schema.iso, item);
    if (isExpiring(model, seen, nowMs)) continue;
    for (const field of model.fields) {
      if (field.local && item[field.attribute] !== undefined) {
        found.push({ kind: "local field", sentence: `${key} has ${field.name}, which never leaves a device` });
      }
      const meant = intent.fields[field.name];
      if (field.local || meant === undefined) continue;
      const is = seen.fields[field.name] ?? null, wanted = canonNow(field, meant) ?? field.fallback ?? null;
      if (is === wanted) continue;
      const what = `${key} ${field.name} was written as ${wanted?.slice(0, 200)} by ${intent.token} and is ${
        is?.slice(0, 200)
      }`;
      found.push({ kind: "altered", sentence: what });
    }
  }
  return found;
}

/** Nobody wrote what is not his: another device's item, another account's, or a model that only comes down. */
function isolated({ schema, deeds, devices, table }: Books): Finding[] {
  const found: Finding[] = [];
  for (const [key, versions] of table.history) {
    for (const item of versions) {
      const token = tokenOf(item),
        intent = deeds.intents.get(token ?? ""),
        device = devices.find(({ id }) => id === intent?.by);
      const model = item && modelOf(schema, item);
      if (!item || !device || !model) continue;
      if (!isSent(model)) {
        found.push({ kind: "isolation", sentence: `${key}: ${token} of ${device.id} is in the table` });
      } else if (!isInScope(model, item, device)) {
        found.push({ kind: "isolation", sentence: `${key}: ${token} was written by ${device.id}, whose it is not` });
      }
    }
  }
  return found;
}
