/**
 * What Conflicts and Rejected work on: the devices that keep something, the versions that an address or a form names, and the
 * groups. All of it is asked anew each time: what counts is what the device has.
 *
 * @module
 */
import { isId } from "../../../schema.ts";
import { queryFleet } from "../../api/devices.ts";
import { ApiError } from "../../api/errors.ts";
import { mapBounded } from "../../sync/bounded.ts";
import type { DeviceStanding } from "../../sync/fleet.ts";
import type { ConsoleOptions } from "../context.ts";
import { askDevice, askDevices, askedMax, countOf, groupKey, type KeptAnswer, type KeptRow } from "../kept.ts";
import { keptName, type KeptView, type PagedTable } from "./kept_query.ts";

/** Rows of a device that are read to be grouped. */
export const readMax = 1_000;
/** Kept versions that one form names. */
const namedMax = 100;

/** A device that keeps something. */
export interface Keeper {
  readonly device: DeviceStanding;
  readonly count: number;
}

/** Who keeps something, the most first. */
export interface Keepers {
  readonly keepers: readonly Keeper[];
  /** Devices that have not said. */
  readonly unknown: number;
}

/** Devices that keep something, of those that a search finds. @throws ApiError 400 for a word that is not known */
export async function keepersOf(options: ConsoleOptions, { table, q }: KeptView): Promise<Keepers> {
  const { devices } = await queryFleet(options.fleet, { q, limit: Number.MAX_SAFE_INTEGER });
  const counted = devices.map((device) => ({ device, count: countOf(options, device, table) }));
  const keepers = counted.flatMap(({ device, count }) => count ? [{ device, count }] : []);
  keepers.sort((a, b) => b.count - a.count || (a.device.deviceId < b.device.deviceId ? -1 : 1));
  return { keepers, unknown: counted.filter(({ count }) => count === undefined).length };
}

/** The device of this id. @throws ApiError 404 */
export async function deviceNamed({ fleet }: ConsoleOptions, id: string): Promise<DeviceStanding> {
  const device = isId(id) ? await fleet.one(id) : undefined;
  if (!device) throw new ApiError(404, "not-found", `There is no device “${id}”.`);
  return device;
}

/** Whom the address asks: the device that it names, or all that are found and connected; one alone is no question. */
export async function askedOf(options: ConsoleOptions, view: KeptView, found: Keepers): Promise<DeviceStanding[]> {
  if (view.device !== "") return [await deviceNamed(options, view.device)];
  const devices = found.keepers.map(({ device }) => device);
  if (devices.length === 1) return devices;
  if (!view.ask) return [];
  return devices.filter(({ connected }) => connected === true).slice(0, askedMax);
}

/**
 * A group's changes, of all devices that the view asks.
 *
 * @throws ApiError 503 where one of them can't be asked: part of a group is not the group
 */
export async function rowsOfGroup(options: ConsoleOptions, view: KeptView): Promise<KeptRow[]> {
  const devices = await askedOf(options, view, await keepersOf(options, view));
  const answers = await askDevices(options, devices, { table: view.table, most: readMax });
  const missing = answers.find(({ away }) => away !== undefined);
  if (missing) throw awayError(missing);
  return found(answers, view).filter((row) => groupKey(row) === view.group);
}

function awayError({ device: { deviceId }, away }: KeptAnswer): ApiError {
  return new ApiError(503, "away", `${deviceId} can't be asked now: ${away!.why}. Nothing was done: try again.`);
}

/** The versions of these names, as they are now. @throws ApiError 404 for one that is gone, 504 where a device is away */
export async function rowsNamed(
  options: ConsoleOptions,
  table: PagedTable,
  names: readonly string[],
): Promise<KeptRow[]> {
  const wanted = [...new Set(names)];
  if (wanted.length === 0) throw new ApiError(400, "invalid", "Nothing is selected.");
  if (wanted.length > namedMax) throw new ApiError(400, "invalid", `At most ${namedMax} at a time.`);
  return await mapBounded(wanted, 10, async (name) => {
    const slash = name.lastIndexOf("/"), id = Number(name.slice(slash + 1));
    if (!Number.isSafeInteger(id) || id <= 0) throw new ApiError(400, "invalid", `“${name}” names no kept version.`);
    const device = await deviceNamed(options, name.slice(0, slash));
    const answer = await askDevice(options, device, { table, after: id - 1, most: 1 }), [row] = answer.rows;
    if (answer.away) throw awayError(answer);
    if (row?.id !== id) {
      throw new ApiError(404, "not-found", `${name} is not there any more: it was put back or dropped.`);
    }
    return row;
  });
}

/** What a person has seen of the versions that a form names: by name. */
export function seenIn(form: FormData): Map<string, string> {
  return new Map(
    form.getAll("seen").map((one) => {
      const text = String(one), space = text.lastIndexOf(" ");
      return [text.slice(0, space), text.slice(space + 1)];
    }),
  );
}

/** @throws ApiError 409 where a version, or the row that it would overwrite, is not what the person has seen */
export function checkSeen(rows: readonly KeptRow[], seen: ReadonlyMap<string, string>): void {
  const changed = rows.filter((row) => seen.get(keptName(row)) !== row.seen);
  if (changed.length === 0) return;
  const names = changed.slice(0, 3).map(({ model, name, device }) => `${model} ${name} on ${device.deviceId}`);
  throw new ApiError(409, "changed", `${names.join(", ")} changed since you looked: nothing was done. Look again.`);
}

/** Whether the row was written after the version was kept: the device overwrites it only when that is said. */
export function isNewer({ schema }: ConsoleOptions, { model, now, atMs }: KeptRow): boolean {
  const field = schema.models.get(model)?.updatedField, written = field && now ? Date.parse(String(now[field])) : NaN;
  return atMs !== undefined && written > atMs;
}

/** The answers' rows that a view's model and words find, in upper or lower case. */
export function found(answers: readonly KeptAnswer[], { model, words }: Pick<KeptView, "model" | "words">): KeptRow[] {
  const wanted = words.toLowerCase().split(" ");
  return answers.flatMap(({ rows }) => rows).filter((row) => {
    const text = `${row.model} ${row.name} ${row.why} ${row.reason ?? ""}`.toLowerCase();
    return (model === "" || row.model === model) && wanted.every((word) => text.includes(word));
  });
}
