/**
 * What a schema says that has no effect in Twintable: annotations for people, settings of other programs, models that
 * are neither on the device nor synced. It is carried without validation, and one warning lists it, so that typing
 * errors show.
 *
 * @module
 */
import { quoted } from "./names.ts";

/** Names that a warning lists at most, for each annotation. */
const placesMax = 5;

/** Notes for people, and settings of OneTable's own queries and updates: no warning is needed for these. */
const silent = new Set([
  "comment",
  "deprecated",
  "desc",
  "description",
  "example",
  "examples",
  "label",
  "notes",
  "title",
  "$schema",
]);

/** A property that is carried without effect. */
export interface Annotation {
  /** The property. */
  readonly property: string;
  /** Where it stands. */
  readonly places: readonly string[];
}

/** Collects what is carried while a schema is compiled. */
export class Carried {
  readonly #annotations = new Map<string, string[]>();
  readonly #sentences: string[] = [];

  /**
   * A property without effect.
   *
   * @param known what the property might have been meant to be
   */
  annotation(property: string, place: string, known: readonly string[] = []): void {
    if (silent.has(property)) return;
    const meant = known.find((name) => name !== property && isNear(name, property));
    const key = meant === undefined ? property : `${property} (did you mean ${meant}?)`;
    this.#annotations.set(key, [...(this.#annotations.get(key) ?? []), place]);
  }

  /** A whole sentence. */
  warn(sentence: string): void {
    this.#sentences.push(sentence);
  }

  /** Each property without effect, and where it stands: `M.x`, `process.M`, `params`. */
  get annotations(): readonly Annotation[] {
    return [...this.#annotations].map(([property, places]) => ({ property, places }));
  }

  /** The warnings, a sentence each; empty if everything has an effect. */
  get warnings(): string[] {
    const listed = [...this.#annotations].map(([property, places]) => {
      const more = places.length - placesMax;
      return `${property} (${places.slice(0, placesMax).join(", ")}${more > 0 ? `, ${more} more` : ""})`;
    });
    return listed.length === 0 ? [...this.#sentences] : [
      ...this.#sentences,
      `carried without effect: ${listed.join("; ")}`,
    ];
  }
}

/** Why a model is carried, as a sentence. */
export function carriedSentence(model: string, problems: readonly string[]): string {
  const [first, ...more] = problems;
  return `the model ${
    quoted(model)
  } is carried as it is, with no table on the device and no items in the API: ${first}` +
    (more.length > 0 ? `; and ${more.length} more` : "");
}

/**
 * Whether the names differ by one letter left out, inserted or changed, or by two neighbours exchanged. Short names are
 * too similar to tell.
 */
function isNear(a: string, b: string): boolean {
  if (a.length < 4 || Math.abs(a.length - b.length) > 1) return false;
  const x = a.toLowerCase(), y = b.toLowerCase();
  let start = 0;
  while (start < x.length && x[start] === y[start]) start++;
  let end = 0;
  while (end < x.length - start && end < y.length - start && x.at(-1 - end) === y.at(-1 - end)) end++;
  const left = x.slice(start, x.length - end), right = y.slice(start, y.length - end);
  return left.length <= 1 && right.length <= 1 || left.length === 2 && right === `${left[1]}${left[0]}`;
}
