/**
 * What a planted bug is: a textual change of the production code that turns off one rule or one ordering, and what must
 * find it: families of the simulation, or one test file.
 *
 *     guarded("account by prefix", "an account reads nothing of one whose id it begins", "tests/cloud/broker/access_test.ts",
 *       "cloud/broker/access.ts", `topic === own`, `topic.startsWith(own)`)
 *
 * @module
 */

/** A textual change. `find` must stand in the file exactly once. */
export interface Patch {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

interface Planted {
  readonly name: string;
  /** The rule or order that it breaks. */
  readonly breaks: string;
  readonly patches: readonly Patch[];
}

/** A planted bug that the simulation must find. */
export interface SimMutant extends Planted {
  /** Families that are looked at first. */
  readonly families: readonly string[];
}

/** A planted bug outside the simulation's reach, that a test must find. */
export interface GuardedMutant extends Planted {
  /** The test file that must fail: a path of the repository. */
  readonly guard: string;
  /** Only tests whose name has this text (`deno test --filter`). */
  readonly filter?: string;
}

/** A planted bug. */
export type Mutant = SimMutant | GuardedMutant;

/** A planted bug of one change, with the families that are looked at first, separated by spaces. */
export function one(
  name: string,
  breaks: string,
  families: string,
  file: string,
  find: string,
  replace: string,
): SimMutant {
  return { name, breaks, families: families.split(" "), patches: [{ file, find, replace }] };
}

/** A planted bug of one change that a test file must find; `FILE#TEXT` runs only its tests whose name has this text. */
export function guarded(
  name: string,
  breaks: string,
  guard: string,
  file: string,
  find: string,
  replace: string,
): GuardedMutant {
  const [path, ...filter] = guard.split("#");
  return {
    name,
    breaks,
    guard: path!,
    ...(filter.length > 0 ? { filter: filter.join("#") } : {}),
    patches: [{ file, find, replace }],
  };
}
