/**
 * Items on either side, as the commands `data`, `export` and `import` see them: plain JSON objects by property name, as the
 * cloud's HTTP API speaks it. Dates are ISO texts, binary is base64, sets are lists, numbers beyond a double are decimal texts.
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
  /** Its place among those that were given. */
  readonly at: number;
  readonly reason: string;
}

/** A device's database, or a cloud. */
export interface DataSide extends AsyncDisposable {
  /** Items that one call of {@link DataSide.put} takes. */
  readonly batchMax: number;
  /** The models that it has; undefined: it can't tell. */
  models(): readonly string[] | undefined;
  /** The properties of a model, in the schema's order, computed ones left out; undefined: it can't tell. */
  properties(model: string): readonly string[] | undefined;
  /** A page in a fixed order that goes on where the last one ended, whatever was written in between. */
  list(model: string, page: { readonly limit: number; readonly next?: string }): Promise<PlainPage>;
  /** How many items there are; undefined: it would have to read them all. */
  count(model: string): number | undefined;
  /** The item of a key. */
  get(model: string, key: Plain): Promise<Plain | undefined>;
  /** Writes items whole, each by itself; what can't be written is told and holds up no other. */
  put(model: string, items: readonly Plain[]): Promise<readonly Failure[]>;
  /** Changes the given properties of an item; null removes one. @throws where there is no such item */
  update(model: string, properties: Plain): Promise<Plain>;
  /** Removes an item. @returns whether there was one */
  remove(model: string, key: Plain): Promise<boolean>;
}
