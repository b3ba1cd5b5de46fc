/**
 * The order of the table's changes: an older change never silently takes the place of a newer one, and a device's change
 * is made from what it says it was made from.
 *
 * @module
 */
import { jsonEquals, stripItem, versionOf } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Item, Json } from "../../schema/values.ts";
import type { Kept } from "./kept.ts";
import { type History, type Sent, Violation, type World } from "./world.ts";

/** The agent takes an offset of its clock up to a second for none. */
const toleranceMs = 1500;

/** Checks each change that a device made against the one before it. @throws Violation */
export function ordered(world: World, kept: Kept): void {
  for (const [key, history] of world.history) {
    history.forEach((change, i) => {
      const sent = sentOf(world, key, change);
      if (!sent || change.raw !== undefined) return;
      const model = world.config.schema.models.get(sent.change.model)!;
      keepsUnknown(world, key, sent);
      if (!change.old) {
        // What it sent as an update it may have offered to a restored table, as new.
        if (sent.change.op === "update" && model.sync === "both" && !world.restored) {
          throw new Violation(`I2 ${key}: an update of ${sent.device} brought back what was removed`);
        }
        return;
      }
      const { old } = change;
      // A dead copy stands in nobody's way, but by its stamp.
      if (world.isExpired(old, change.at)) return stampsRise(key, model, change, sent);
      stampsRise(key, model, change, sent);
      madeFromBase(world, key, model, old, sent);
      const before = history[i - 1];
      if (before) newerStays(world, key, model, before, change, sent, kept);
      if (model.conflict === "merge" && model.sync === "both") bothStay(world, key, old, change, sent);
      if (world.config.still) overIsKept(world, key, model, old, sent, kept);
    });
  }
}

/** The change of a device that made this one; undefined for a removal, which leaves no version. */
function sentOf(world: World, key: string, { new: item }: History): Sent | undefined {
  const version = item && versionOf(item);
  return version && world.sent.get(`${version[0]} ${version[1]} ${key}`);
}

/** Unknown attributes of the base are in what is sent. */
function keepsUnknown(world: World, key: string, { device, change, madeFrom }: Sent): void {
  // To the next version of the schema it is no unknown one, and an application may clear it.
  if (world.devices.some((d) => d.name === device && world.knowsX(d))) return;
  const x = madeFrom?.x, wasThere = world.before.get(key)?.some((h) => h.new?.v === change.item?.v && h.new?.x !== x);
  // What a restored table is offered is as the table before had it.
  if (wasThere) return;
  if (change.op === "update" && x !== undefined && change.item!.x !== x) {
    throw new Violation(`§3 ${device} dropped the unknown x = ${x} of ${key}`);
  }
}

function stampsRise(key: string, model: Model, { old }: History, { device, change, at }: Sent): void {
  const before = old && versionOf(old);
  // Further ahead of when the change was stamped, it counts as no stamp (rules §2).
  if (!before || before[1] > (at + 60_000) * 1000) return;
  // Above its own earlier ones only, where the device is the authority over whatever stands there.
  const own = before[0].startsWith(`${device.split("~")[0]}#`);
  if (model.sync === "up" && model.scope === "device" && !own) return;
  if (before[1] > change.stamp) {
    throw new Violation(
      `I2 ${key}: ${JSON.stringify(old)} was overwritten by the older stamp ${change.stamp} of ${device}`,
    );
  }
}

/** Under every policy but `newest` a change is written only onto the base that it was made from. */
function madeFromBase(world: World, key: string, model: Model, old: Item, { device, change }: Sent): void {
  const version = versionOf(old), { base } = change;
  const strict = model.sync === "both" ? model.conflict !== "newest" : version === undefined;
  const updated = model.updatedField ? old.updated : undefined;
  const blind = model.sync === "both" && version === undefined && updated === undefined;
  if (!strict && !blind) return;
  const content = stripItem(world.config.cloudSchema, model, old, { deviceId: device.split("~")[0]!, accountId: "A" });
  const same = base !== undefined && jsonEquals(base.version ?? null, version ?? null) &&
    (base.item === undefined || includes(content, base.item));
  if (!same) throw new Violation(`I2 ${key}: ${device} wrote ${JSON.stringify(change)} onto ${JSON.stringify(old)}`);
}

/** Attributes that the base lacks are not compared (rules §7). */
function includes(content: Item, base: Item): boolean {
  return Object.entries(base).every(([name, value]: [string, Json]) =>
    name in content && jsonEquals(content[name]!, value)
  );
}

/** A cloud application's write stays before an older local commit, where the policy can know which is older. */
function newerStays(
  world: World,
  key: string,
  model: Model,
  before: History,
  change: History,
  sent: Sent,
  kept: Kept,
): void {
  if (model.sync !== "both" || !before.new) return;
  if (before.raw === undefined) {
    // Between devices, where every clock is known well.
    const theirs = world.config.prompt ? sentOf(world, key, before)?.commit : undefined;
    if (model.conflict !== "newest" || !theirs || !sent.commit || theirs.at - sent.commit.at <= toleranceMs) return;
    const changes = `${JSON.stringify(before.new)}, overwritten by ${JSON.stringify(change.new)}`;
    throw new Violation(`I2 ${key}: ${changes}, committed ${theirs.at - sent.commit.at} ms earlier`);
  }
  if (!isDatable(model, before)) return;
  const { commit } = sent;
  if (!commit || commit.undated || commit.order > before.order) return;
  // By its time the device knows its own clock only so well.
  if (model.conflict === "newest" && model.updatedField && before.at - commit.at <= toleranceMs) return;
  // A raw write that leaves the version has the age of the version that it altered (rules 7.1).
  if (world.restored || isOverlooked(world, before.new, sent)) return;
  const lost = (["v", "w"] as const).some((field) => {
    const value = before.new![field] as number | string | undefined;
    return value !== undefined && (world.config.prompt || !kept.has(sent.device, field, value)) &&
      change.new?.[field] !== value;
  });
  if (!lost) return;
  throw new Violation(
    `I2 ${key}: ${JSON.stringify(before.new)} was overwritten by ${JSON.stringify(change.new)}, committed before it`,
  );
}

/** Attributes that the base lacks are not compared: accepted (rules §7 v). */
function isOverlooked(world: World, item: Item, { device, change }: Sent): boolean {
  const base = change.base?.item, model = world.config.schema.models.get(change.model)!;
  const identity = { deviceId: device.split("~")[0]!, accountId: "A" };
  return base !== undefined &&
    Object.keys(stripItem(world.config.cloudSchema, model, item, identity)).some((n) => !(n in base));
}

/** Whether the item tells that it was written when it was: under `cloud` by itself, under `newest` by `updated` or no version. */
function isDatable(model: Model, { at, new: item }: History): boolean {
  if (model.conflict === "cloud") return true;
  if (model.conflict !== "newest") return false;
  if (model.updatedField) return Date.parse(String(item!.updated)) === at;
  return versionOf(item!) === undefined;
}

/** Under `merge` a device alters only what was written on it. */
function bothStay(world: World, key: string, old: Item, { new: item }: History, { device }: Sent): void {
  const own = world.commits.filter((c) => c.device === device && c.key === key);
  for (const field of ["v", "w"] as const) {
    const value = item![field];
    if (jsonEquals(value ?? null, old[field] ?? null)) continue;
    if (own.some((c) => c.set[field] === value || (value === undefined && c.whole))) continue;
    // What a restored table is offered is as the table before had it, whoever had written it.
    if (world.before.get(key)?.some((h) => jsonEquals(h.new?.[field] ?? null, value ?? null))) continue;
    throw new Violation(`I2 ${key}: ${device} merged ${field} of ${JSON.stringify(old)} into ${JSON.stringify(item)}`);
  }
}

/** Where every answer arrives: a raw write that nobody had seen, and that a change replaced, is in `_conflicts`. */
function overIsKept(
  world: World,
  key: string,
  model: Model,
  old: Item,
  { device, change, madeFrom }: Sent,
  kept: Kept,
): void {
  const version = versionOf(old), { base } = change;
  if (version && !(base?.version && jsonEquals(base.version, version))) return;
  const content = stripItem(world.config.cloudSchema, model, old, { deviceId: device.split("~")[0]!, accountId: "A" });
  if (madeFrom && jsonEquals(madeFrom, content)) return;
  for (const field of ["v", "w"] as const) {
    const value = old[field] as number | string | undefined;
    if (value !== undefined && !jsonEquals(madeFrom?.[field] ?? null, value) && !kept.has(device, field, value)) {
      throw new Violation(`I2 ${key}: ${JSON.stringify(old)} was replaced by ${device}, unseen, and is not kept`);
    }
  }
}
