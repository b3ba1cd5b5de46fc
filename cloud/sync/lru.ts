/**
 * A map that evicts the least recently used entry, once it holds too many entries or too many bytes. If more keys than
 * it holds are used in turn, a cache with this policy is useless: its hit rate falls from 90 % to nothing at once. So
 * the bounds are wide, and in bytes, because they protect memory.
 *
 * @module
 */

/** Bounds of an {@link Lru}. */
export interface LruOptions<K, V> {
  /** Default 200,000: the devices of a large fleet, some 50 MB in all caches of a worker. */
  readonly entriesMax?: number;
  /** Default 32 MB. */
  readonly bytesMax?: number;
  /** The approximate bytes of an entry in memory. */
  readonly sizeOf: (key: K, value: V) => number;
  /** Called for each value that leaves: evicted, deleted or replaced. */
  readonly left?: (key: K, value: V) => void;
}

const entriesMaxDefault = 200_000;
const bytesMaxDefault = 32 * 1024 * 1024;
/** The bytes of a map's entry in addition to key and value. */
const entryBytes = 64;

/** See the module. */
export class Lru<K, V> {
  readonly #options: LruOptions<K, V>;
  readonly #entries = new Map<K, { readonly value: V; readonly bytes: number }>();
  #bytes = 0;

  constructor(options: LruOptions<K, V>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The approximate bytes that it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The value; reading it counts as a use. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: K, value: V): void {
    this.delete(key);
    const bytes = this.#options.sizeOf(key, value) + entryBytes;
    this.#entries.set(key, { value, bytes });
    this.#bytes += bytes;
    const { entriesMax = entriesMaxDefault, bytesMax = bytesMaxDefault } = this.#options;
    while (this.#entries.size > 1 && (this.#entries.size > entriesMax || this.#bytes > bytesMax)) {
      this.delete(this.#entries.keys().next().value!);
    }
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    this.#options.left?.(key, entry.value);
    return true;
  }
}
