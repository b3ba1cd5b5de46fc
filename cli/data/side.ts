/**
 * Items on either side, for the commands `data`, `export` and `import`: plain JSON objects by property name, as in the
 * cloud's HTTP API. Dates are ISO texts, binary is base64, sets are lists, numbers beyond a double are decimal texts.
 *
 * @module
 */

/** An item as plain JSON. */
export type Plain = Record<string, unknown>;

/** A page of items. No `next`: there are no more. */
export interface PlainPage {
  readonly items: readonly Plain[];
  readonly next?: string;
}

/** Why an item was not written. */
export interface Failure {
  /** Its index in the given list. */
  readonly at: number;
  readonly reason: string;
}

/** How many items there are. */
export interface Size {
  readonly items: number;
  /** There may be fewer: a cloud's table counts the items of all models together. */
  readonly isMost: boolean;
}

/** A device's database, or a cloud. */
export interface DataSide extends AsyncDisposable {
  /** The most items of one call of {@link DataSide.put}. */
  readonly batchMax: number;
  /** Its models; undefined: unknown. */
  models(): readonly string[] | undefined;
  /** The properties of a model, in the schema's order, without computed ones; undefined: unknown. */
  properties(model: string): readonly string[] | undefined;
  /** A page in a fixed order that continues where the last one ended, whatever was written in between. */
  list(model: string, page: { readonly limit: number; readonly next?: string }): Promise<PlainPage>;
  /** How many items of a model there are, or at most; undefined: unknown. */
  size(model: string): Promise<Size | undefined>;
  /** The item of a key. */
  get(model: string, key: Plain): Promise<Plain | undefined>;
  /** Writes whole items, each by itself; failures are returned and hold up no other item. */
  put(model: string, items: readonly Plain[]): Promise<readonly Failure[]>;
  /** Changes the given properties of an item; null removes one. @throws if there is no such item */
  update(model: string, properties: Plain): Promise<Plain>;
  /** Removes an item. @returns whether there was one */
  remove(model: string, key: Plain): Promise<boolean>;
}
