/**
 * Summarises many numbers: count, sum, minimum, maximum, average and p95, in bounded memory, and so that summaries of
 * several workers or periods can be merged. For p95, a number counts in a bucket of its magnitude (DDSketch: bucket i
 * holds numbers above g^(i-1), up to g^i); while there are too many buckets, neighbours are merged and g is squared
 * (UDDSketch), so that the error stays relative: 1% where the numbers' magnitudes differ up to five-fold, 2% up to
 * twenty-five-fold, 4% up to 600-fold.
 *
 * @module
 */

/** The finest buckets; each coarser level squares it. */
const growth = 1.02;
/** All of one summary: with the rest of its item it stays below a write unit of 1 KB. */
const bucketsMax = 80;

/** A summary as it is stored: count, sum, min, max, level, zeros, then buckets below and above 0 as index and count in turn. */
export type StoredSummary = readonly [
  count: number,
  sum: number,
  min: number,
  max: number,
  level: number,
  zeros: number,
  below: readonly number[],
  above: readonly number[],
];

/** What a summary says. */
export interface SummaryValues {
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly average: number;
  readonly p95: number;
}

/** See the module. */
export class Summary {
  #count = 0;
  #sum = 0;
  #min = Infinity;
  #max = -Infinity;
  #level = 0;
  #zeros = 0;
  #below = new Map<number, number>();
  #above = new Map<number, number>();

  /** How many numbers were added. */
  get count(): number {
    return this.#count;
  }

  /** Adds a finite number. */
  add(value: number): void {
    this.#count++;
    this.#sum += value;
    this.#min = Math.min(this.#min, value);
    this.#max = Math.max(this.#max, value);
    if (value === 0) this.#zeros++;
    else {
      const side = value < 0 ? this.#below : this.#above, index = this.#indexOf(Math.abs(value));
      side.set(index, (side.get(index) ?? 0) + 1);
      this.#collapse();
    }
  }

  /** Adds the numbers of another summary. */
  merge(other: Summary): void {
    this.#count += other.#count;
    this.#sum += other.#sum;
    this.#min = Math.min(this.#min, other.#min);
    this.#max = Math.max(this.#max, other.#max);
    this.#zeros += other.#zeros;
    let { below, above } = { below: other.#below, above: other.#above };
    for (let level = other.#level; level < this.#level; level++) [below, above] = [halved(below), halved(above)];
    while (this.#level < other.#level) this.#coarser();
    for (const [side, added] of [[this.#below, below], [this.#above, above]] as const) {
      for (const [index, count] of added) side.set(index, (side.get(index) ?? 0) + count);
    }
    this.#collapse();
  }

  /** The result; undefined if nothing was added. */
  values(): SummaryValues | undefined {
    if (this.#count === 0) return undefined;
    const [count, sum, min, max] = [this.#count, this.#sum, this.#min, this.#max];
    return { count, sum, min, max, average: sum / count, p95: this.#quantile(0.95) };
  }

  /** See {@link StoredSummary}. */
  stored(): StoredSummary {
    const flat = (side: Map<number, number>) => [...side].sort(([a], [b]) => a - b).flat();
    return [
      this.#count,
      this.#sum,
      this.#min,
      this.#max,
      this.#level,
      this.#zeros,
      flat(this.#below),
      flat(this.#above),
    ];
  }

  /** One that was stored. */
  static of([count, sum, min, max, level, zeros, below, above]: StoredSummary): Summary {
    const summary = new Summary();
    // Without numbers there is no minimum, and JSON has no infinity.
    if (count === 0) return summary;
    [summary.#count, summary.#sum, summary.#min, summary.#max] = [count, sum, min, max];
    [summary.#level, summary.#zeros] = [level, zeros];
    [summary.#below, summary.#above] = [pairsOf(below), pairsOf(above)];
    return summary;
  }

  get #growth(): number {
    return growth ** 2 ** this.#level;
  }

  #indexOf(magnitude: number): number {
    return Math.ceil(Math.log(magnitude) / Math.log(growth) / 2 ** this.#level);
  }

  #collapse(): void {
    while (this.#below.size + this.#above.size > bucketsMax) this.#coarser();
  }

  #coarser(): void {
    this.#level++;
    this.#below = halved(this.#below);
    this.#above = halved(this.#above);
  }

  /** The number that a given share of all numbers do not exceed: nearest rank, within the bucket's error. */
  #quantile(share: number): number {
    const rank = Math.ceil(share * this.#count), g = this.#growth;
    // The middle of a bucket, with equal relative error to both sides.
    const middle = (index: number) => 2 * g ** index / (g + 1);
    const ordered: [number, number][] = [
      ...[...this.#below].sort(([a], [b]) => b - a).map(([index, count]): [number, number] => [-middle(index), count]),
      [0, this.#zeros],
      ...[...this.#above].sort(([a], [b]) => a - b).map(([index, count]): [number, number] => [middle(index), count]),
    ];
    let seen = 0;
    for (const [value, count] of ordered) {
      seen += count;
      if (seen >= rank) return Math.min(this.#max, Math.max(this.#min, value));
    }
    return this.#max;
  }
}

function halved(side: ReadonlyMap<number, number>): Map<number, number> {
  const result = new Map<number, number>();
  for (const [index, count] of side) {
    const half = Math.ceil(index / 2);
    result.set(half, (result.get(half) ?? 0) + count);
  }
  return result;
}

function pairsOf(flat: readonly number[]): Map<number, number> {
  return new Map(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]));
}
