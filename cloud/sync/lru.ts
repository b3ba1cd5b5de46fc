/**
 * A map that forgets what was not used for longest, once it holds too many entries or too many bytes. A cache that is
 * smaller than what passes through it in turn helps nobody: with the oldest forgotten first its hit rate falls from 90 % to
 * nothing at once. So the bounds are wide, and in bytes, which is what they are for.
 *
 * @module
 */

/** Bounds of an {@link Lru}. */
export interface LruOptions<K, V> {
  /** Default 200,000: the devices of a large fleet, some 50 MB in all caches of a worker. */
  readonly entriesMax?: number;
  /** Default 32 MB. */
  readonly bytesMax?: number;
  /** Bytes of an entry in memory, about. */
  readonly sizeOf: (key: K, value: V) => number;
  /** Told of each value that leaves: forgotten, deleted or replaced. */
  readonly left?: (key: K, value: V) => void;
}

const entriesMaxDefault = 200_000;
const bytesMaxDefault = 32 * 1024 * 1024;
/** What a map's entry takes beside key and value. */
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

  /** Bytes that it holds, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The value, which counts as used now. */
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
