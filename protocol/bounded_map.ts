/**
 * A map of at most so many entries: for what is remembered of names that come from outside.
 *
 * @module
 */

/** The entry that was set longest ago gives way. */
export class BoundedMap<K, V> extends Map<K, V> {
  constructor(private readonly entriesMax: number) {
    super();
  }

  /** Sets a value and makes it the newest. */
  override set(key: K, value: V): this {
    this.delete(key);
    super.set(key, value);
    if (this.size > this.entriesMax) this.delete(this.keys().next().value!);
    return this;
  }
}
