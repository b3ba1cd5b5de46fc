/**
 * Spoils valid JSON: a value somewhere in it becomes another one, a name is dropped or added. For decoders that must give
 * a value or a typed error, whatever they are handed.
 *
 * @module
 */
import fc from "fast-check";

/** The seed of a run: `FUZZ_SEED`, else one that never was; a failure prints it. */
export const fuzzSeed: number = Number(Deno.env.get("FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** Options of a property: fixed in number, and of another seed each time. */
export function runs(numRuns: number): { numRuns: number; seed: number } {
  return { numRuns, seed: fuzzSeed };
}

const oddText = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.constantFrom("", "__proto__", "constructor", "\u0000", "d1", "+/#", "NaN", "1e400", "-0", "9".repeat(40), "null"),
);

/** Any JSON, with a liking for what trips decoders. */
export const oddJson: fc.Arbitrary<unknown> = fc.oneof(
  oddText,
  fc.constantFrom(null, true, false, 0, -0, 1e308, 5e-324, -1, 2 ** 53, 0.1, [], {}, [[]], [null], { $n: "x" }, {
    S: 1,
  }),
  fc.integer(),
  fc.double({ noDefaultInfinity: true, noNaN: true }),
  fc.jsonValue({ maxDepth: 3 }),
);

/** One spoiling: `draw` chooses the place, `value` is what is put there. */
export interface Spoil {
  readonly draw: number;
  readonly how: "replace" | "drop" | "add" | "wrap";
  readonly value: unknown;
}

export const spoil: fc.Arbitrary<Spoil> = fc.record({
  draw: fc.nat(),
  how: fc.constantFrom("replace" as const, "drop" as const, "add" as const, "wrap" as const),
  value: oddJson,
});

/** A copy of a value with the spoilings done, in turn. */
export function spoiled(value: unknown, spoils: readonly Spoil[]): unknown {
  let root = { value: structuredClone(value) };
  for (const { draw, how, value: given } of spoils) {
    // What is put in is a copy: a later spoiling may change it, and the arbitrary hands the same object out again.
    const odd = structuredClone(given);
    const places: [holder: Record<string, unknown>, name: string][] = [];
    collect(root as Record<string, unknown>, places);
    const [holder, name] = places[draw % places.length]!;
    if (how === "drop" && holder !== root) delete holder[name];
    else if (how === "add" && typeof holder[name] === "object" && holder[name] !== null) {
      (holder[name] as Record<string, unknown>)[String(draw % 7)] = odd;
    } else holder[name] = how === "wrap" ? [holder[name]] : odd;
    root = { value: root.value };
  }
  return root.value;
}

function collect(holder: Record<string, unknown>, places: [Record<string, unknown>, string][]): void {
  for (const [name, value] of Object.entries(holder)) {
    places.push([holder, name]);
    if (typeof value === "object" && value !== null) collect(value as Record<string, unknown>, places);
  }
}
