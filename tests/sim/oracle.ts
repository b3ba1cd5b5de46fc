/**
 * The oracles: what must hold when writing has stopped and every link has healed (docs/correctness.md). Order of the table's
 * changes is judged in `order_oracle.ts`.
 *
 * @module
 */
import { canonicalJson, isExpired, jsonEquals, parsePlain, stripItem, versionOf } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Item, Json } from "../../schema/values.ts";
import type { SimDevice } from "./device.ts";
import { Kept } from "./kept.ts";
import { ordered } from "./order_oracle.ts";
import { type Commit, names, type Values } from "./workload.ts";
import { Violation, type World } from "./world.ts";

/** Checks everything. @throws Violation */
export async function check(world: World): Promise<void> {
  const table = await world.cloud.items();
  for (const device of world.devices) {
    for (const model of world.config.models) {
      for (const name of names) converged(world, device, model, name, table);
    }
    atRest(world, device);
  }
  const kept = new Kept(world.devices);
  for (const commit of world.commits) if (!commit.forgotten) accounted(world, commit, table, kept);
  for (const one of world.lost) healed(world, one, table, kept);
  if (world.config.alone) alone(world);
  if (world.config.poisoned) innocent(world);
  isolated(world);
  nothingGivenUp(world);
  nothingSwept(world);
  ordered(world, kept);
  notRevived(world, table);
  bounded(world);
}

/** I1: device rows equal table items, and a row's base is exactly the table's item, whatever the schema knows of it. */
export function converged(world: World, device: SimDevice, model: Model, name: string, table: Map<string, Item>): void {
  // A model that only syncs up is the device's own: what others write to it never comes down.
  if (model.sync === "up" && !world.config.alone) return;
  const key = world.keyText(device.identity, model, name), there = table.get(key);
  if (world.config.unique && waitsFairly(device, model, key, there)) return;
  const item = there && world.isExpired(there, world.now) ? undefined : there;
  const updated = model.updatedField ? `"${model.updatedField}"` : "NULL";
  const own = device.schema.models.get(model.name)!, knowsX = world.knowsX(device);
  const x = knowsX ? "x" : "NULL", expires = world.config.expiring ? "expires" : "NULL";
  const row = device.store.db.sql(
    `SELECT _id, v, w, ${x} AS x, ${updated} AS updated, ${expires} AS expires FROM "${model.name}"
     WHERE name = ? AND (${expires} IS NULL OR julianday(${expires}) > julianday('${
      new Date(world.now).toISOString()
    }'))`,
  ).get(
    name,
  );
  const shown = (json: Json | undefined) => json ?? null;
  const same = row === undefined ? item === undefined : item !== undefined && shown(item.v) === row.v &&
    shown(item.w) === row.w && (!knowsX || shown(item.x) === row.x) &&
    (!model.updatedField || shown(item.updated) === row.updated) &&
    shown(item.expires) === (row.expires === null ? null : Math.ceil(Date.parse(row.expires as string) / 1000));
  if (!same) {
    throw new Violation(`I1 ${device.name} ${key}: device ${JSON.stringify(row)} table ${JSON.stringify(item)}`);
  }
  if (world.config.unique) {
    const u = device.store.db.sql(`SELECT u FROM "${model.name}" WHERE name = ?`).get(name)?.u ?? null;
    if (u !== (item?.u ?? null)) throw new Violation(`I1 ${device.name} ${key}: u ${u}, table ${JSON.stringify(item)}`);
  }
  if (world.config.odd) oddlyEqual(device, model, name, key, item);
  if (model.sync !== "both") return;
  const record = row && device.store.rows(own).keyById(Number(row._id));
  const { base, version } = record && device.twin.context.records.get(record) || {};
  const wanted = item && stripItem(world.config.cloudSchema, model, item, device.identity);
  const equal = wanted === undefined || base === undefined ? base === wanted : jsonEquals(base, wanted);
  if (!equal || !jsonEquals(version ?? null, item && versionOf(item) || null)) {
    throw new Violation(
      `I1 ${device.name} ${key}: base ${JSON.stringify({ base, version })} table ${JSON.stringify(item)}`,
    );
  }
}

/** An item waits only as it is, and only because another row has its value. @throws Violation */
function waitsFairly({ name, store }: SimDevice, model: Model, key: string, there: Item | undefined): boolean {
  const [hash, sort] = key.split("|");
  const aside = store.db.sql("SELECT item, error FROM _sync_aside WHERE hash = ? AND sort = ?").get(hash!, sort!);
  if (!aside) return false;
  const item = aside.item === null ? undefined : JSON.parse(String(aside.item)) as Item;
  const isAsItIs = item !== undefined && there !== undefined &&
    ["v", "w", "u"].every((field) => jsonEquals(item[field] ?? null, there[field] ?? null));
  const isTaken = typeof item?.u === "string" &&
    store.db.sql(`SELECT 1 FROM "${model.name}" WHERE u = ? AND name IS NOT ?`).get(item.u, String(item.name)) !==
      undefined;
  if (isAsItIs && isTaken) return true;
  throw new Violation(`6.7 ${name} ${key}: ${aside.item} waits (${aside.error}), table ${JSON.stringify(there)}`);
}

/** 6.7: once nothing stands in the way nothing waits. @throws Violation */
export function nothingAside({ devices, config }: World): void {
  for (const { name, store } of devices) {
    for (const { hash, sort, model, item, error } of store.db.sql("SELECT * FROM _sync_aside").all()) {
      const known = model === null ? undefined : config.models.find((m) => store.number(m) === model);
      if (known) throw new Violation(`6.7 ${name} ${hash}|${sort}: ${item} still waits: ${error}`);
    }
  }
}

/** What makes the agent forget that it has seen an echo: the key is then looked at again with its next change. */
const forgetful = /crash|power|disk|restored|upgraded/;

/** I5: nothing is left behind in the agent's tables. */
function atRest({ injected }: World, { name, store }: SimDevice): void {
  const tables = ["_outbox WHERE 1", "_inflight WHERE 1", "_sync_seen WHERE 1"];
  const remembers = !Object.keys(injected).some((kind) => forgetful.test(kind));
  if (remembers) tables.push("_sync_items WHERE awaiting AND base NOT NULL");
  for (const table of tables) {
    const left = store.db.sql(`SELECT count(*) AS n FROM ${table}`).get()!.n;
    if (left !== 0) throw new Violation(`I5 ${name}: ${left} rows are left in ${table}`);
  }
}

/** I2: every local commit is in the table or was, or is superseded by a later one of its device, or is kept in the open. */
function accounted(world: World, commit: Commit, table: Map<string, Item>, kept: Kept): void {
  const { device, key, set, removed, model, order } = commit;
  const history = [...(world.before.get(key) ?? []), ...(world.history.get(key) ?? [])];
  const later = (field?: keyof Values) =>
    world.commits.some((c) =>
      c.device === device && c.key === key && c.order > order && !c.forgotten &&
      (c.whole || (field !== undefined && c.set[field] !== undefined))
    );
  for (const field of ["v", "w", "x"] as const) {
    const value = set[field];
    if (value === undefined || later(field) || kept.has(device, field, value)) continue;
    if (history.some((h) => h.new?.[field] === value)) continue;
    const there = JSON.stringify(table.get(key));
    throw new Violation(
      `I2 ${device} ${key} ${field} = ${value}: neither written, nor superseded, nor kept; table ${there}`,
    );
  }
  if (!removed || world.commits.some((c) => c.device === device && c.key === key && c.order >= order && c !== commit)) {
    return;
  }
  // What a rolled-back database has forgotten to have sent may come back (rules §7 iv).
  if (world.rolledBack.has(device)) return;
  // A removal: the table may only have what the device had not written before it.
  const item = table.get(key);
  if (commit.unknown && hadExpired(world, commit, item)) return;
  const before = world.commits.some((c) =>
    c.device === device && c.key === key && c.order < order && item?.v !== undefined && c.set.v === item.v
  );
  // It was done, and then another device brought its change of what it had seen before, with this one's values: an update
  // wins over nothing in an `up` model (rules §7 ii), and over an item that was made anew.
  const had = history.findIndex((h) => h.new?.v === item?.v);
  const wroteAgain = typeof item?._source === "string" && !item._source.startsWith(`${device}#`) && had >= 0 &&
    history.slice(had).some((h) => h.new === undefined || (h.old && world.isExpired(h.old, world.now)));
  // A removal in an `up` model is not repeated where the table goes back to before it (rules 7.6).
  const isBack = model.sync === "up" && !(world.history.get(key) ?? []).some((h) => h.new?.v === item?.v) &&
    (world.before.get(key) ?? []).some((h) => h.new === undefined && h.old?.v === item?.v);
  if (before && !wroteAgain && !isBack && !kept.hasRemoval(device, model.name, commit.name)) {
    throw new Violation(`I2 the removal of ${key} on ${device} is lost: ${JSON.stringify(item)}`);
  }
}

/**
 * What the device had written had run out, as far as it could know: that somebody had prolonged it, it had not heard. The
 * row that was removed was one made anew and never sent, and its removal says nothing of an item that others keep alive.
 */
function hadExpired({ sent }: World, { device, key, model, at }: Commit, item: Item | undefined): boolean {
  return [...sent].some(([version, { device: by, change }]) =>
    by === device && version.endsWith(` ${key}`) && change.item !== undefined && change.item.v === item?.v &&
    isExpired(model, change.item, at)
  );
}

/** I1 for the object of odd values: what an application reads on the device is what it reads of the item. */
function oddlyEqual(device: SimDevice, model: Model, name: string, key: string, item: Item | undefined): void {
  const row = device.store.db.sql(`SELECT o FROM "${model.name}" WHERE name = ?`).get(name);
  const here = row?.o == null ? "" : canonicalJson(parsePlain(String(row.o)) as Json);
  const there = item?.o == null ? "" : canonicalJson(plainOf(item.o));
  if (here !== there) {
    throw new Violation(`I1 ${device.name} ${key}: o is ${here} on the device and ${there} in the table`);
  }
}

function plainOf(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(plainOf);
  const entries = Object.entries(value as { readonly [name: string]: Json }), [only] = entries;
  if (entries.length === 1 && ["$n", "$b", "$ss"].includes(only![0])) return only![1];
  const members = only?.[0] === "$m" && entries.length === 1
    ? Object.entries(only[1] as { [name: string]: Json })
    : entries;
  return Object.fromEntries(members.map(([name, member]) => [name, plainOf(member)]));
}

/** I7: what is rejected is what can't be read, and nothing that only stood in a batch with it (rules D1, D2). */
function innocent({ devices }: World): void {
  for (const { name, store } of devices) {
    for (const { model, key, item, reason } of store.db.sql("SELECT model, key, item, reason FROM _rejected").all()) {
      if (String((JSON.parse(String(item ?? "{}")) as Item).w).startsWith("bad")) continue;
      throw new Violation(`I7 ${name} has the innocent ${model} ${key} ${item} in _rejected: ${reason}`);
    }
  }
}

/** I6: where one device is the only writer, nothing ever conflicts, whatever is lost, repeated or late. */
function alone({ devices, injected, config, history }: World): void {
  const restarted = Object.keys(injected).some((kind) => forgetful.test(kind));
  for (const { name, store } of devices) {
    for (const table of ["_conflicts", "_rejected"]) {
      for (const row of store.db.sql(`SELECT * FROM ${table}`).all()) {
        const model = config.schema.models.get(String(row.model))!;
        // What was sent lately is in memory only: after a start a close successor may have to be sent twice.
        const resent = restarted && model.sync === "up" && model.scope === "device" && row.why === "overwritten";
        // A live message from before the removal may come after a fetched answer that knew of it: it is removed again.
        if (resent || row.why === "revived") continue;
        throw new Violation(`I6 ${name} writes alone and has ${JSON.stringify(row)} in ${table}`);
      }
    }
  }
  for (const [key, changes] of history) {
    const seen = new Set<string>();
    for (const { new: item } of changes) {
      const version = item && JSON.stringify(versionOf(item));
      if (version !== undefined && seen.has(version)) throw new Violation(`I6 ${key}: ${version} was written twice`);
      if (version !== undefined) seen.add(version);
    }
  }
}

/** What a restored table lost and a device had is back, superseded since, or kept in the open. */
function healed(
  world: World,
  { key, field, value, devices, order, item }: World["lost"][number],
  table: Map<string, Item>,
  kept: Kept,
): void {
  if (table.get(key)?.[field] === value || devices.some((device) => kept.has(device, field, value))) return;
  // Written or removed since, by anybody.
  const history = [...(world.before.get(key) ?? []).filter((h) => h.order > order), ...(world.history.get(key) ?? [])];
  if (history.some((h) => h.order > order || h.new?.[field] === value)) return;
  if (world.commits.some((c) => c.key === key && c.order > order)) return;
  if (devices.every((d) => world.rolledBack.has(d))) return;
  // What has expired is nobody's to offer.
  if (world.isExpired(item, world.now)) return;
  throw new Violation(`B4 ${key} ${field} = ${value} of ${devices} is lost: ${JSON.stringify(table.get(key))}`);
}

/** I4: a device alters its own items only. */
function isolated(world: World): void {
  for (const [key, history] of world.history) {
    const owner = /^[dx]#([^#|]+)/.exec(key)?.[1];
    if (owner === undefined) continue;
    for (const { new: item, raw } of history) {
      const source = item?._source;
      if (raw === undefined && typeof source === "string" && !source.startsWith(`${owner}#`)) {
        throw new Violation(`I4 ${key} of ${owner} was written by ${source}`);
      }
    }
  }
}

/** Of these a device may never be told that its item was removed, and a late copy of its creation brings it back (rules §7 iii). */
const forgetsRemovals = ["stream history lost", "log trimmed", "log table lost"] as const;

/** I6: a version that had been superseded or removed is not back. */
function notRevived(world: World, table: Map<string, Item>): void {
  if (world.rolledBack.size > 0 || world.restored) return;
  const forgets = forgetsRemovals.some((kind) => (world.injected[kind] ?? 0) > 0);
  for (const [key, history] of world.history) {
    const item = table.get(key), version = item && versionOf(item);
    if (!item || !version || world.cloud.modelOf(item)?.sync === "up") continue;
    const is = (other: Item | undefined) => other !== undefined && jsonEquals(versionOf(other) ?? null, version);
    // A snapshot in the place of a log that can't be read tells its device of no removal (rules 7.3).
    if ([...world.leftLog].some((name) => version[0].startsWith(`${name}#`))) continue;
    const wins = (at: number) =>
      is(history[at]?.new) && (versionOf(history[at]!.old ?? {})?.[1] ?? Infinity) < version[1];
    if (
      history.some((h, i) => is(h.old) && !is(h.new) && !h.swept && !(forgets && h.new === undefined) && !wins(i + 1))
    ) {
      throw new Violation(`I6 ${key}: ${JSON.stringify(item)} had been superseded, and is back`);
    }
  }
}

/** Rows of `_conflicts` with a reason, of all devices, and the key of each. */
function conflictsOf({ devices, config, keyText }: World, why: string) {
  const world = { config } as World;
  return devices.flatMap((device) =>
    device.store.db.sql("SELECT * FROM _conflicts WHERE why = ?").all(why).map((row) => {
      const model = config.schema.models.get(String(row.model))!;
      const { name } = JSON.parse(String(row.key)) as { name: string };
      return { device, row, key: keyText.call(world, device.identity, model, name) };
    })
  );
}

/** A2: a living row that a device gave up as gone was removed by somebody, or its expiry was one that the device never saw. */
function nothingGivenUp(world: World): void {
  if (!world.config.expiring) return;
  for (const { device, row, key } of conflictsOf(world, "gone")) {
    const history = world.history.get(key) ?? [];
    if (history.some((h) => h.new === undefined && !h.swept)) continue;
    const sent = world.sent.get(`${row.source} ${row.stamp} ${key}`), item = sent?.change.item;
    const swept = history.findLast((h) => h.swept)?.old;
    if (!sent || !item || !swept || sent.madeFrom?.expires !== swept.expires) continue;
    if (world.isExpired({ ...swept, expires: item.expires ?? null }, world.now)) continue;
    throw new Violation(`A2 ${device.name} gave up ${JSON.stringify(item)} as gone, and nobody removed it`);
  }
  // A purge is never sent as a removal.
  for (const [key, history] of world.history) {
    for (const { new: item, raw, swept } of history) {
      if (item || raw !== undefined || swept || world.commits.some((c) => c.key === key && c.whole)) continue;
      if (conflictsOf(world, "revived").some((conflict) => conflict.key === key)) continue;
      throw new Violation(`A3 ${key} was removed by a device, where no application removed it`);
    }
  }
}

/** C2: nothing was swept that the table held all the time. */
function nothingSwept(world: World): void {
  if (world.restored) return;
  for (const { device, row, key } of conflictsOf(world, "swept")) {
    const history = world.history.get(key) ?? [];
    // An item that became one of another model is none of this one.
    const isAway = (item: Item | undefined) => item === undefined || world.cloud.modelOf(item)?.name !== row.model;
    if (history.length === 0 || history.some((h) => isAway(h.new))) continue;
    throw new Violation(`C2 ${device.name} swept ${row.item}, which the table never lacked`);
  }
}

/** I3: messages per change are bounded by a constant. */
function bounded(world: World): void {
  const changes = world.commits.length + [...world.history.values()].reduce((n, h) => n + h.length, 0);
  const injected = Object.values(world.injected).reduce((a, b) => a + b, 0);
  const bound = 400 + world.devices.length * 60 * (changes + injected + 20);
  if (world.messages > bound) throw new Violation(`I3 ${world.messages} messages for ${changes} changes`);
}
