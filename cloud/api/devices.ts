/**
 * `GET /api/devices?q=…&sort=…`: the fleet searched and sorted in memory.
 *
 * `q` is words, all of which must hold: `state:trouble,lagging`, `account:acme`, `agent:0.1.0`, `schema:1.2.0`,
 * `outbox:>100`, `lag:>60` (seconds), `down:>60`, `rejected:>0`, `conflicts:>0`, `aside:>0`, `seen:>900` (seconds ago),
 * `overdue:yes` (away for longer than usual), `problem:disk` (part of its text), and a word without a colon: the beginning of the device's id.
 *
 * @module
 */
import type { DeviceStanding, Fleet } from "../sync/fleet.ts";
import { ApiError } from "./errors.ts";

/** A question about the fleet. */
export interface FleetQuery {
  readonly q?: string;
  /** A field, with `-` before it for the greatest first: `lag`, `-outbox`. Default `device`. */
  readonly sort?: string;
  readonly limit: number;
  /** The `next` of the page before. */
  readonly after?: string;
}

/** A page of devices. */
export interface FleetPage {
  readonly devices: readonly DeviceStanding[];
  /** How many devices match, over all pages. */
  readonly total: number;
  /** By state, over all devices. */
  readonly states: Readonly<Record<string, number>>;
  /** The time of this state: now, or when the registry was read. ISO text. */
  readonly asOf: string;
  readonly next?: string;
}

const badness = { trouble: 3, lagging: 2, silent: 1, online: 0 } as const;

/** The fields to compare and sort by: a number, or a text; undefined if the device did not report it. */
const fields: Readonly<Record<string, (device: DeviceStanding, nowMs: number) => number | string | undefined>> = {
  device: ({ deviceId }) => deviceId,
  account: ({ accountId }) => accountId,
  state: ({ state }) => state,
  agent: ({ report }) => report?.agent,
  schema: ({ report }) => report?.schema,
  outbox: ({ report }) => report?.outbox,
  lag: ({ lagMs }) => lagMs === undefined ? undefined : lagMs / 1000,
  down: ({ downMs }) => downMs === undefined ? undefined : downMs / 1000,
  rejected: ({ report }) => report?.rejected,
  conflicts: ({ report }) => report?.conflicts,
  aside: ({ report }) => report?.aside,
  seen: ({ seenMs }, nowMs) => seenMs === undefined ? undefined : (nowMs - seenMs) / 1000,
  problem: ({ report }) => report?.problem,
  overdue: ({ overdue }) => overdue ? "yes" : "no",
  // By state, the worst highest; within a state, who is away for longer than usual, then by lag.
  worst: ({ state, overdue, lagMs = 0 }) => (badness[state] + (overdue ? .5 : 0)) * 1e15 + lagMs,
};

/** Answers a question. @throws ApiError 400 for an unknown word or field */
export async function queryFleet(
  fleet: Pick<Fleet, "all">,
  { q = "", sort = "device", limit, after }: FleetQuery,
): Promise<FleetPage> {
  const conditions = q.split(/\s+/).filter((word) => word !== "").map(conditionOf);
  const compare = orderOf(sort);
  const { devices, asOfMs } = await fleet.all();
  const states: Record<string, number> = { online: 0, lagging: 0, trouble: 0, silent: 0 };
  for (const { state } of devices) states[state]!++;
  const found = devices.filter((device) => conditions.every((condition) => condition(device, asOfMs)));
  found.sort((a, b) => compare(a, b, asOfMs));
  // The fleet may change between two pages: a page starts after the last device of the page before, wherever that is
  // now.
  const at = after === undefined ? -1 : found.findIndex(({ deviceId }) => deviceId === after);
  if (after !== undefined && at < 0) throw new ApiError(400, "invalid", "the page's last device is gone: start again");
  const page = found.slice(at + 1, at + 1 + limit);
  const more = at + 1 + limit < found.length;
  return {
    devices: page,
    total: found.length,
    states,
    asOf: new Date(asOfMs).toISOString(),
    ...(more ? { next: page.at(-1)!.deviceId } : {}),
  };
}

type Condition = (device: DeviceStanding, nowMs: number) => boolean;

function conditionOf(word: string): Condition {
  const colon = word.indexOf(":");
  if (colon < 0) return ({ deviceId }) => deviceId.startsWith(word);
  const name = word.slice(0, colon), wanted = word.slice(colon + 1);
  const read = Object.hasOwn(fields, name) ? fields[name]! : undefined;
  if (!read || wanted === "") {
    throw new ApiError(
      400,
      "invalid",
      `${JSON.stringify(word)} is not a condition: ${Object.keys(fields).join(", ")} are fields`,
    );
  }
  if (name === "problem") {
    return (device) => device.report?.problem?.toLowerCase().includes(wanted.toLowerCase()) ?? false;
  }
  const bound = /^([<>])(\d+(?:\.\d+)?)$/.exec(wanted);
  if (bound) {
    const [, sign, text] = bound, limit = Number(text);
    return (device, nowMs) => {
      const value = read(device, nowMs);
      return typeof value === "number" && (sign === "<" ? value < limit : value > limit);
    };
  }
  const choices = wanted.split(",");
  return (device, nowMs) => choices.includes(String(read(device, nowMs) ?? ""));
}

function orderOf(sort: string): (a: DeviceStanding, b: DeviceStanding, nowMs: number) => number {
  const down = sort.startsWith("-"), name = down ? sort.slice(1) : sort;
  const read = Object.hasOwn(fields, name) ? fields[name]! : undefined;
  if (!read) {
    throw new ApiError(
      400,
      "invalid",
      `can't sort by ${JSON.stringify(name)}: ${Object.keys(fields).join(", ")} are fields`,
    );
  }
  return (a, b, nowMs) => {
    const [x, y] = [read(a, nowMs), read(b, nowMs)];
    // Unknown values come last in either direction.
    if (x === undefined || y === undefined) {
      if (x !== y) return x === undefined ? 1 : -1;
    } else if (x !== y) return (x < y ? -1 : 1) * (down ? -1 : 1);
    return a.deviceId < b.deviceId ? -1 : 1;
  };
}
