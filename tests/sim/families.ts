/**
 * Families of schedules: what each leans on. A seed within a family gives a configuration and a list of steps. The first
 * sixteen are those of the executable model that the sync rules came from.
 *
 * @module
 */
import { type Action, type Step, weights } from "./actions.ts";
import { Random } from "./random.ts";
import { type SimModel, simModels } from "./schema.ts";
import { type ExternalKind, type Setup, startMs } from "./setup.ts";

const hourMs = 3_600_000;

/** A mix of schedules. */
export interface Family {
  readonly weights?: Partial<Record<Action, number>>;
  readonly devices?: number;
  readonly clones?: number;
  readonly timed?: boolean;
  readonly models?: (model: SimModel) => boolean;
  readonly skewless?: boolean;
  readonly external?: readonly ExternalKind[];
  readonly table?: Setup["table"];
  readonly refusing?: boolean;
  readonly poisoned?: boolean;
  readonly odd?: boolean;
  readonly still?: boolean;
  readonly alone?: boolean;
  readonly names?: readonly string[];
  readonly tailers?: number;
  /** Questions that a worker answers at once. */
  readonly asksAtOnce?: number;
  /** There is one worker: repetitions come to the one that has the question. */
  readonly single?: boolean;
  readonly copies?: number;
  readonly prompt?: boolean;
  /** There are two versions of the schema. */
  readonly versions?: boolean;
  readonly restores?: boolean;
  /** A restored table has another stream. */
  readonly otherStream?: boolean;
  readonly expiring?: boolean;
  /** Items have an attribute that is unique on a device, and of which there are few values. */
  readonly unique?: boolean;
  /** Reads of a table fail in the middle of a page. */
  readonly misread?: boolean;
  /** Versions of the schema go back as well. */
  readonly back?: boolean;
  /** The broker swallows messages, or damages them, without a word. */
  readonly silent?: boolean;
  /** Somebody who writes no version overwrites and removes: see `World.usurp`. */
  readonly usurped?: boolean;
  /** Items in a page at most. */
  readonly pageItems?: number;
  /** Local and cloud writes at most; a run's own share is drawn from it. */
  readonly writesMax?: number;
  readonly stepsMax?: number;
}

const both = (m: SimModel) => m.sync === "both";
const two = (conflict: string) => (m: SimModel) => both(m) && (m.conflict ?? "newest") === conflict;
const newest = two("newest");
/** No fault at all. */
const gentle = Object.fromEntries(
  (Object.keys(weights) as Action[])
    .filter((a) => !["write", "ext", "pump", "deliver", "step", "stream", "tiny"].includes(a)).map((a) => [a, 0]),
);

const others: Readonly<Record<string, Family>> = {
  any: {},
  power: {
    weights: { power: 4, copy: 4, crash: 4, dieSoon: 4, drop: 6, sendAndForget: 3 },
    devices: 1,
    skewless: true,
    models: (m) => both(m) && m.scope === "device",
  },
  powershared: {
    weights: { power: 4, copy: 4, crash: 4, drop: 6, sendAndForget: 3 },
    devices: 2,
    models: (m) => both(m) && m.scope === "account",
  },
  dups: { weights: { dup: 15, copied: 6, off: 2, on: 4, ext: 8, tick: 6 }, models: both, copies: 0.2 },
  snap: {
    weights: { tick: 6, trim: 8, resync: 8, off: 2, on: 4, ext: 8, crash: 2, reset: 3 },
    models: (m) => m.sync !== "up",
  },
  snapgsi: {
    weights: { tick: 6, trim: 8, resync: 8, off: 2, on: 4, ext: 8, crash: 2, reset: 3 },
    models: (m) => m.indexed === true,
    table: "double",
  },
  logloss: { weights: { lose: 4, wipe: 2, reset: 2, resync: 6, ext: 8 }, models: both },
  clock: { weights: { clock: 6, off: 3, on: 5, tiny: 10, dup: 5 }, models: both, timed: true },
  clock2: { weights: { clock: 6, off: 3, on: 5, tiny: 10, dup: 5 }, timed: false, devices: 2, models: both },
  up: { weights: { dup: 12, copied: 6, tick: 8, ext: 3 }, models: (m) => m.sync === "up", copies: 0.2 },
  future: { weights: { ext: 15 }, models: newest, timed: true, external: ["put", "bump", "future", "stamped"] },
  zombies: { weights: { stream: 25, crashWorker: 3, ext: 10 }, models: both },
  clone: { weights: { crash: 2 }, clones: 1, devices: 1, models: both },
  clone2: { weights: { crash: 2 }, clones: 1, devices: 2, models: (m) => both(m) && m.scope !== "device" },
  cloudpol: { weights: { ext: 10, dup: 6, tick: 6 }, models: two("cloud") },
  devpol: { weights: { ext: 10, dup: 6, tick: 6 }, models: two("device") },
  mergepol: { weights: { ext: 10, dup: 6, tick: 6 }, models: two("merge") },
  down: { weights: { ext: 20, trim: 4, off: 3, on: 4, poison: 2 }, models: (m) => m.sync === "down" },
  refuse: { weights: { ext: 4, poison: 3, dup: 4 }, refusing: true },
  disk: { weights: { full: 8, dieSoon: 6, dup: 4, tick: 6 } },
  throttle: { weights: { trouble: 6, crashWorker: 2, redeliver: 4, tick: 6 }, table: "double" },
  stale: {
    copies: 0.3,
    weights: { tick: 12, dup: 10, copied: 8, crashWorker: 2, redeliver: 6 },
    models: both,
    table: "double",
  },
  split: { weights: { partition: 6, off: 3, on: 6, tick: 6 }, models: both },
  reread: {
    weights: { redeliver: 10, crashWorker: 6, stream: 20, ext: 10 },
    models: (m) => m.sync !== "up",
    table: "double",
    names: ["a"],
    tailers: 2,
  },
  long: { weights: {}, writesMax: 40, stepsMax: 800 },
  alone: {
    weights: { ext: 0, forge: 0, copy: 0, power: 0, sendAndForget: 0, dup: 10, drop: 5, tick: 6, crash: 3, dieSoon: 3 },
    devices: 1,
    models: (m) => m.sync !== "down",
    alone: true,
  },
  late: {
    weights: {
      ...{ ext: 0, forge: 0, copy: 0, power: 0, sendAndForget: 0, drop: 0, off: 0, trim: 0, full: 0, clock: 0 },
      ...{ write: 20, dup: 6, tick: 5, pump: 20, crash: 2, deliver: 4, newest: 40, resync: 0, step: 80, copied: 8 },
    },
    devices: 1,
    models: (m) => m.sync !== "down",
    names: ["a"],
    alone: true,
    copies: 0.5,
    writesMax: 30,
    stepsMax: 400,
  },
  fair: {
    weights: { ...gentle, ext: 8, settle: 8, off: 4, on: 6, clock: 3 },
    models: newest,
    prompt: true,
    writesMax: 20,
  },
  still: { weights: gentle, models: both, skewless: true, still: true, prompt: true },
  // What follows was added later: actions that a family does not name take no part in the draws, so that the seeds of the
  // families above mean what they meant.
  broker: { weights: { broker: 4, off: 2, on: 8, tick: 8, drop: 2, dup: 4 } },
  shards: {
    weights: { shard: 3, stream: 20, redeliver: 6, crashWorker: 4, ext: 10, lose: 1 },
    models: (m) => m.sync !== "up",
    table: "double",
  },
  drift: { weights: { drift: 6, clock: 3, tick: 10, off: 3, on: 6, tiny: 6 }, models: (m) => m.sync !== "down" },
  versions: {
    weights: { upgrade: 6, crash: 2, power: 2, copy: 2, crashWorker: 4, ext: 10, tick: 5 },
    versions: true,
    writesMax: 20,
  },
  expnew: { weights: { expire: 6, ext: 8, tick: 8, off: 3, on: 5 }, models: newest, expiring: true, writesMax: 20 },
  exppol: {
    weights: { expire: 6, ext: 8, tick: 8, off: 3, on: 5 },
    models: (m) => both(m) && m.conflict !== undefined,
    expiring: true,
    writesMax: 20,
  },
  expone: {
    weights: { expire: 4, tick: 8, dup: 8, off: 3, on: 5, copied: 6 },
    expiring: true,
    copies: 0.2,
    names: ["a"],
    writesMax: 20,
  },
  anew: {
    weights: { fresh: 8, tick: 6, trim: 3, off: 2, on: 4, ext: 8, crash: 3, lose: 1 },
    models: (m) => m.sync !== "up",
    pageItems: 1,
    writesMax: 20,
  },
  hidden: {
    weights: { hide: 8, fresh: 8, reset: 5, tick: 6, trim: 3, off: 2, on: 4, ext: 8, crash: 2, lose: 1 },
    models: (m) => m.indexed === true,
    writesMax: 20,
  },
  setback: {
    weights: {
      ...{ ext: 0, forge: 0, copy: 0, power: 0, sendAndForget: 0, dieSoon: 0, crash: 0, full: 0, clock: 0, trim: 0 },
      ...{ clockKill: 6, write: 14, tick: 6, off: 3, on: 5 },
    },
    devices: 1,
    models: (m) => m.sync === "up" && m.scope === "device",
    names: ["a"],
    alone: true,
    writesMax: 20,
  },
  poisoned: {
    weights: { write: 20, dup: 6, crash: 3, dieSoon: 2, trouble: 2, ext: 4, pump: 12 },
    refusing: true,
    poisoned: true,
    writesMax: 30,
  },
  // Many devices, few answers at once, so that what waits in the cloud's queues is most of what there is.
  storm: {
    weights: { ...gentle, storm: 3, write: 12, ext: 6, off: 3, on: 4, resync: 2, crashWorker: 1 },
    models: both,
    devices: 8,
    skewless: true,
    asksAtOnce: 2,
    single: true,
    pageItems: 500,
    stepsMax: 60,
  },
  odd: { weights: { write: 20, ext: 12, dup: 4, crash: 2 }, models: (m) => m.sync !== "up", odd: true, writesMax: 30 },
  all: {
    weights: { broker: 1, shard: 1, drift: 1, upgrade: 2, lose: 1, wipe: 1, reset: 1, poison: 1, copied: 2, settle: 2 },
    versions: true,
    copies: 0.1,
    writesMax: 30,
    stepsMax: 400,
  },
  restored: {
    weights: {
      keep: 5,
      restore: 4,
      off: 3,
      on: 4,
      tick: 6,
      ext: 6,
      lose: 0,
      wipe: 0,
      power: 0,
      sendAndForget: 0,
      trim: 0,
      clock: 0,
    },
    models: (m) => m.sync !== "up",
    table: "embedded",
    restores: true,
    skewless: true,
    writesMax: 20,
  },
  aside: {
    weights: { write: 14, ext: 12, off: 2, on: 5, tick: 6, crash: 3, fresh: 2, trim: 2, stream: 14 },
    models: (m) => m.sync !== "up",
    names: ["a", "b"],
    unique: true,
    writesMax: 24,
  },
  misread: {
    weights: { trouble: 6, fresh: 4, reset: 10, tick: 8, trim: 3, off: 2, on: 6, ext: 8, crash: 2, lose: 1 },
    models: (m) => m.sync !== "up",
    misread: true,
    pageItems: 1,
    writesMax: 12,
  },
  skew: {
    weights: { version: 8, crash: 2, crashWorker: 6, ext: 8, tick: 6, off: 2, on: 5, fresh: 1, power: 0, copy: 0 },
    versions: true,
    back: true,
    writesMax: 20,
  },
  silence: {
    weights: { hush: 3, write: 10, ext: 8, tick: 40, off: 1, on: 5, fresh: 2, clock: 0, drop: 1, forge: 0 },
    silent: true,
    skewless: true,
    writesMax: 24,
    stepsMax: 300,
  },
  // What somebody who writes no version does while an acknowledgement is lost. Nothing that forgets: no removal is missed.
  usurped: {
    weights: {
      ...{ power: 0, copy: 0, sendAndForget: 0, trim: 0, forge: 0, clock: 0, ext: 2 },
      ...{ usurp: 7, write: 14, drop: 5, dup: 4, copied: 6, tick: 8, off: 2, on: 5, crash: 2, stream: 14 },
    },
    models: both,
    names: ["a"],
    copies: 0.15,
    writesMax: 20,
    usurped: true,
  },
};

/** The families by name. */
export const families: Readonly<Record<string, Family>> = {
  ...others,
  restoredup: { ...others.restored!, models: () => true },
  restoredaside: {
    ...others.restored!,
    weights: { ...others.restored!.weights, write: 14, ext: 12, stream: 14 },
    names: ["a", "b"],
    unique: true,
  },
  restoredexp: { ...others.restored!, weights: { ...others.restored!.weights, expire: 4 }, expiring: true },
  // As in AWS: the restored table has another stream, so that a second epoch follows the restore's.
  restoredother: {
    ...others.restored!,
    weights: { ...others.restored!.weights, stream: 12, on: 6 },
    models: () => true,
    otherStream: true,
  },
  // All of that at once, while snapshots of many pages are begun and abandoned.
  restoredall: {
    ...others.restored!,
    weights: {
      ...others.restored!.weights,
      ...{ write: 14, ext: 12, stream: 14, expire: 3, fresh: 3, trim: 2, crash: 3, dup: 4, on: 6 },
    },
    names: ["a", "b"],
    unique: true,
    expiring: true,
    otherStream: true,
    pageItems: 1,
    writesMax: 30,
    stepsMax: 300,
  },
  // While devices and workers go to another version of the schema.
  restoredskew: {
    ...others.restored!,
    weights: { ...others.restored!.weights, version: 6, crash: 2, crashWorker: 4, stream: 12, on: 6 },
    models: () => true,
    versions: true,
    back: true,
    otherStream: true,
  },
  // Now and then one device's connection lasts for a while, in the middle of it all.
  calm: {
    weights: {
      ...{
        calm: 3,
        drop: 8,
        dup: 5,
        partition: 3,
        off: 2,
        on: 8,
        tick: 5,
        ext: 10,
        write: 12,
        crashWorker: 2,
        trouble: 2,
      },
      ...{ power: 0, copy: 0, sendAndForget: 0, clock: 0, forge: 0, poison: 0, crash: 0 },
    },
    external: ["put", "update", "bump", "delete"],
    skewless: true,
    writesMax: 20,
  },
};

/** The family that a seed means where none is named. */
export function familyOf(seed: number): string {
  const names = Object.keys(families);
  return names[seed % names.length]!;
}

const later: readonly Action[] = [
  "keep",
  "restore",
  "broker",
  "shard",
  "drift",
  "upgrade",
  "expire",
  "fresh",
  "clockKill",
  "hide",
  "storm",
  "version",
  "hush",
  "usurp",
  "calm",
];

/** A run, before it is made. */
export interface Plan {
  readonly family: string;
  /** Also of what the steps don't draw themselves: first names, the order of healing. */
  readonly seed: number;
  readonly setup: Setup;
  readonly steps: readonly Step[];
}

/** Sets the choice of {@link Setup.gathers} apart from the others. */
const gathering = 9633939;

/** What a seed means within a family. @throws RangeError for a family that there is not */
export function plan(name: string, seed: number): Plan {
  const family = families[name];
  if (!family) throw new RangeError(`no family "${name}"; there are ${Object.keys(families).join(", ")}`);
  const random = new Random(seed);
  const setup = setupOf(random, family), mix = weightsOf(random, family);
  const steps: Step[] = [];
  const most = random.between(4, family.writesMax ?? 14);
  let writes = 0;
  for (let i = random.between(30, family.stepsMax ?? 200); i > 0; i--) {
    const action = random.weighted(mix), draw = random.below(2 ** 31);
    if ((action === "write" || action === "ext") && ++writes > most) continue;
    steps.push([action, draw]);
  }
  // Of a generator of its own: what else a seed means stays as it was.
  const gathers = new Random(seed ^ gathering).chance(0.5);
  return { family: name, seed, setup: { ...setup, gathers }, steps };
}

function setupOf(random: Random, family: Family): Setup {
  const timed = family.timed ?? random.chance(0.5);
  const wanted = Object.keys(simModels).filter((name) => family.models?.(simModels[name]!) ?? true);
  const chosen = Array.from({ length: random.pick([1, 1, 2, 3]) }, () => random.pick(wanted));
  const workers = random.between(family.tailers ?? 1, 3), skews = [0, 0, 0, 2 * hourMs, -2 * hourMs, 5000 - startMs];
  return {
    devices: family.devices ?? random.between(1, 3),
    clones: family.clones ?? 0,
    timed,
    refusing: family.refusing ?? false,
    poisoned: family.poisoned,
    odd: family.odd,
    modelNames: [...new Set(chosen)].sort(),
    names: family.names ?? (random.chance(0.5) ? ["a"] : ["a", "b"]),
    warm: random.chance(0.7),
    copies: family.copies ?? 0,
    batchChangesMax: random.pick([1, 2, 500]),
    skewsMs: [0, 1, 2].map(() => family.skewless ? 0 : random.pick(skews)),
    workers,
    tailers: family.tailers ?? random.between(1, Math.min(2, workers)),
    table: family.table ?? (random.chance(0.3) ? "double" : "embedded"),
    shards: random.between(1, 3),
    lagMaxMs: random.pick([0, 2000, 50_000]),
    still: family.still ?? false,
    ...(family.single ? { workers: 1, tailers: 1 } : {}),
    ...(family.asksAtOnce === undefined ? {} : { asksAtOnce: family.asksAtOnce }),
    alone: family.alone ?? false,
    prompt: family.prompt ?? false,
    restores: family.restores ?? false,
    ...(family.otherStream ? { otherStream: true } : {}),
    newer: family.versions
      ? { cloud: random.chance(0.5), devices: [0, 1, 2].map(() => random.chance(0.5)) }
      : undefined,
    external: family.external ?? random.pick<readonly ExternalKind[]>([
      ["put", "update", "bump", "delete"],
      ["put", "update", "bump", "delete", "future", "stamped"],
      ["update", "bump", "delete"],
      ["bump", "delete"],
      ["bump"],
    ]),
    ...(family.pageItems === undefined ? {} : { batchChangesMax: family.pageItems }),
    ...(family.expiring ? { expiring: true } : {}),
    ...(family.unique ? { unique: true } : {}),
    ...(family.misread ? { misread: true } : {}),
    ...(family.back ? { back: true } : {}),
    ...(family.silent ? { silent: true } : {}),
    ...(family.usurped ? { usurped: true } : {}),
  };
}

function weightsOf(random: Random, family: Family): Record<Action, number> {
  const mix: Record<Action, number> = { ...weights, ...family.weights };
  for (const action of Object.keys(mix) as Action[]) {
    if (later.includes(action) && !(family.weights && action in family.weights)) continue;
    const essential = ["write", "pump", "deliver", "step", "stream"].includes(action);
    if (!essential && !(family.weights && action in family.weights) && random.chance(0.4)) mix[action] = 0;
  }
  return mix;
}
