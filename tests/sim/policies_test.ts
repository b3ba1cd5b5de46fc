/**
 * Conflict policies, exhaustively: every interleaving of two writers with up to three operations each (a write, which
 * creates or updates, and a removal), from an item that both sides have and from none, with the sides meeting at every
 * subset of the places in between (of more than four operations: nowhere or everywhere), each message delivered once; with
 * messages that come twice or late up to five operations, between two devices up to four, all with `TWINTABLE_LONG=1`. Thousands of such stories run side by side, a key each.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Item } from "../../schema/values.ts";
import { type Deed, type Delivery, Rig } from "./policies_rig.ts";
import { withScratch } from "./scratch.ts";
import { long } from "../support/long.ts";

type Writer = "first" | "second";

/** One operation of a story. */
interface Op {
  readonly by: Writer;
  readonly remove: boolean;
}

interface Story {
  readonly index: number;
  readonly name: string;
  readonly present: boolean;
  readonly ops: readonly Op[];
}

/** Every sequence of writes and removals of a length. */
function sequences(length: number): boolean[][] {
  if (length === 0) return [[]];
  return sequences(length - 1).flatMap((rest) => [[false, ...rest], [true, ...rest]]);
}

/** Every interleaving of two lists. */
function interleavings(a: readonly Op[], b: readonly Op[]): Op[][] {
  if (a.length === 0 || b.length === 0) return [[...a, ...b]];
  return [
    ...interleavings(a.slice(1), b).map((rest) => [a[0]!, ...rest]),
    ...interleavings(a, b.slice(1)).map((rest) => [b[0]!, ...rest]),
  ];
}

/** Every story with so many operations, of three by each writer at most. */
function storiesOf(count: number): Story[] {
  const stories: Story[] = [];
  for (let first = Math.max(0, count - 3); first <= Math.min(3, count); first++) {
    for (const a of sequences(first)) {
      for (const b of sequences(count - first)) {
        const mine = a.map((remove): Op => ({ by: "first", remove }));
        const theirs = b.map((remove): Op => ({ by: "second", remove }));
        for (const ops of interleavings(mine, theirs)) {
          for (const present of [false, true]) {
            const index = stories.length;
            stories.push({ index, name: `k${index}`, present, ops });
          }
        }
      }
    }
  }
  return stories;
}

/** Where the sides meet: for each place between two operations whether they do. */
function meetingsOf(count: number): boolean[][] {
  const gaps = count - 1;
  if (count > 4) return [Array(gaps).fill(false), Array(gaps).fill(true)];
  return Array.from({ length: 2 ** gaps }, (_, bits) => Array.from({ length: gaps }, (_, i) => (bits >> i & 1) === 1));
}

/** A value that tells its story and operation. */
function valueOf(story: number, op: number): number {
  return story * 10 + op + 1;
}

/**
 * Plays all stories of one length with one pattern of meetings. `second`: the cloud, or another device.
 *
 * @returns the items that there were when the sides met last in between
 */
async function play(
  rig: Rig,
  stories: readonly Story[],
  meetings: readonly boolean[],
  second: "cloud" | "device",
): Promise<Set<string>> {
  const mergesFields = rig.model.conflict === "merge" && second === "cloud";
  const present = stories.flatMap(({ name, present }, i): Deed[] =>
    present ? [{ name, value: valueOf(i, 8), remove: false }] : []
  );
  rig.local(0, present);
  await rig.meet();
  let met = new Set<string>();
  for (let at = 0; at <= meetings.length; at++) {
    const deeds = { first: [] as Deed[], second: [] as Deed[] };
    stories.forEach(({ name, ops }, i) => {
      const { by, remove } = ops[at]!;
      deeds[by].push({ name, value: valueOf(i, at), remove });
    });
    rig.local(0, deeds.first);
    if (second === "cloud") await rig.cloud(mergesFields ? "w" : "v", deeds.second);
    else rig.local(1, deeds.second);
    if (!meetings[at]) continue;
    await rig.meet();
    met = new Set((await rig.items()).keys());
  }
  // Late copies come at the meeting after, and at the next.
  for (let i = 0; i < 3; i++) await rig.meet();
  return met;
}

/** What the devices keep in the open, as one text for each name. */
function keptOf(rig: Rig): Map<string, string> {
  const kept = new Map<string, string>();
  for (const { store } of rig.devices) {
    for (const row of store.db.sql("SELECT key, item FROM _conflicts").all()) {
      const name = String(JSON.parse(row.key as string).name);
      kept.set(name, `${kept.get(name) ?? ""} ${row.item ?? "removal"}`);
    }
  }
  return kept;
}

function tell({ name, present, ops }: Story, meetings: readonly boolean[]): string {
  const told = ops.map(({ by, remove }, i) =>
    `${by} ${remove ? "removes" : "writes"}${meetings[i] ? ", they meet" : ""}`
  );
  return `${name}, ${present ? "present" : "absent"}: ${told.join("; ")}`;
}

/** Checks the end of all stories. `met`: the items that there were when the sides met last in between. */
async function judge(
  rig: Rig,
  stories: readonly Story[],
  meetings: readonly boolean[],
  second: "cloud" | "device",
  met: ReadonlySet<string>,
) {
  const table = await rig.items(), kept = keptOf(rig);
  for (const { name, twin } of rig.devices) assert.ok(twin.drained, `${name} is not drained`);
  stories.forEach((story, i) => {
    const { name, ops } = story, item = table.get(name);
    const told = () => tell(story, meetings);
    for (const device of rig.devices) {
      const row = device.store.db.sql(`SELECT v, w FROM "${rig.model.name}" WHERE name = ?`).get(name);
      const shown = item && { v: item.v ?? null, w: item.w ?? null };
      assert.deepEqual(row && { ...row }, shown, `${told()}: ${device.name} has not what the table has`);
    }
    ops.forEach((op, at) => {
      if (op.remove || (second === "cloud" && op.by === "second")) return;
      // A device's write: it was in the table, or a later one of the device took its place, or it is kept.
      const value = valueOf(i, at);
      const later = ops.slice(at + 1).some(({ by }) => by === op.by);
      const there = rig.history.get(name)?.some((state) => state?.v === value) ?? false;
      const inOpen = kept.get(name)?.includes(`"v":${value},`) || kept.get(name)?.includes(`"v":${value}}`);
      assert.ok(later || there || inOpen, `${told()}: the write ${at} is lost; table ${JSON.stringify(item)}`);
    });
    const from = meetings.lastIndexOf(true) + 1, knew = from > 0 ? met.has(name) : story.present;
    const fault = decided(rig, story, knew, from, second, item);
    assert.equal(fault, undefined, `${told()}: ${fault}; table ${JSON.stringify(item)}`);
  });
}

/** What a writer's operations since the sides met come to: its last one that did something, if they come to anything. */
function netOf(round: readonly Op[], by: Writer, knew: boolean): { at: number; remove: boolean } | undefined {
  let has = knew, at: number | undefined;
  round.forEach((op, i) => {
    if (op.by !== by || (op.remove && !has)) return;
    has = !op.remove;
    at = i;
  });
  return at === undefined || (!has && !knew) ? undefined : { at, remove: !has };
}

/**
 * What the policy promises of the end, where it is broken. `knew`: both sides had the item when they met last; `from`: the
 * operations since then.
 */
function decided(
  { model: { conflict } }: Rig,
  { ops, index }: Story,
  knew: boolean,
  from: number,
  second: "cloud" | "device",
  item: Item | undefined,
): string | undefined {
  const round = ops.slice(from);
  const isAs = ({ at, remove }: { at: number; remove: boolean }) => {
    if (remove) return item === undefined;
    const value = valueOf(index, from + at);
    return conflict === "merge" && second === "cloud" && round[at]!.by === "second"
      ? item?.w === `w${value}`
      : item?.v === value;
  };
  const mine = netOf(round, "first", knew), theirs = netOf(round, "second", knew);
  const one = mine ?? theirs;
  if (!one) return (item !== undefined) === knew ? undefined : "nothing happened to it, and it is another";
  if (!mine || !theirs) return isAs(one) ? undefined : "nothing speaks against what one of them did";
  const last = mine.at > theirs.at ? mine : theirs;
  // Between two devices the removal may come to the table before or after an older write.
  if (second === "device") {
    const apart = mine.remove || theirs.remove || round.some((op) => op.remove);
    return conflict !== "newest" || apart || isAs(last) ? undefined : "the newest write is not there";
  }
  const removed = round.some((op) => op.by === "second" && op.remove);
  switch (conflict) {
    case "newest":
      // An update of an item that was removed meanwhile is gone; a create that knew of none is independent of its removal.
      if (last === mine && !mine.remove && removed) return undefined;
      if (last === theirs && theirs.remove && !knew) return undefined;
      return isAs(last) ? undefined : "the newest is undone";
    case "cloud":
      if (theirs.remove && !knew) return undefined;
      return isAs(theirs) ? undefined : "the cloud's last is undone";
    case "device":
      if (removed) return undefined;
      return isAs(mine) ? undefined : "the device's last is undone";
    case "merge": {
      if (round.some((op) => op.remove)) return undefined;
      return isAs(mine) && isAs(theirs) ? undefined : "a field is lost";
    }
  }
}

/** Three by each writer; all of them however messages come, and between two devices, where there is time. */
const opsMax = 6, opsOfDevicesMax = long ? opsMax : 4;

const models = {
  newest: ["Own", "Shared"],
  cloud: ["Cloudy", "SharedCloudy"],
  device: ["Devicey", "SharedDevicey"],
  merge: ["Merged", "SharedMerged"],
} as const;

for (const [policy, [own, shared]] of Object.entries(models)) {
  for (const delivery of ["once", "twice", "late"] as const satisfies readonly Delivery[]) {
    Deno.test(`${policy}: a device and a cloud application converge and lose nothing, each message ${delivery}`, () =>
      withScratch(async (folder) => {
        for (let count = 1; count <= (long || delivery === "once" ? opsMax : 5); count++) {
          const stories = storiesOf(count);
          for (const meetings of meetingsOf(count)) {
            const rig = new Rig(own, 1, delivery, folder);
            const met = await play(rig, stories, meetings, "cloud");
            await judge(rig, stories, meetings, "cloud", met);
            rig.close();
          }
        }
      }));
    Deno.test(`${policy}: two devices converge and lose nothing, each message ${delivery}`, () =>
      withScratch(async (folder) => {
        for (let count = 1; count <= opsOfDevicesMax; count++) {
          const stories = storiesOf(count);
          for (const meetings of meetingsOf(count)) {
            const rig = new Rig(shared, 2, delivery, folder);
            const met = await play(rig, stories, meetings, "device");
            await judge(rig, stories, meetings, "device", met);
            rig.close();
          }
        }
      }));
  }
}
