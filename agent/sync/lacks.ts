/**
 * Models that the cloud's schema does not send down, though the device's does: it is of another version. Rows of such a
 * model stay as they are, whatever a snapshot or an answer shows; and once the cloud has the model the channel takes a
 * snapshot, for meanwhile no change of its items entered the log (rules E3).
 *
 * In `_sync_lacks`, so that a restart does not forget it.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Channel, Entry, Told } from "../../protocol.ts";
import type { Context } from "./context.ts";
import { modelsOf } from "./snapshot.ts";

/** What a page says of the cloud's schema. */
export interface Listing {
  readonly schema?: string;
  readonly models?: readonly string[];
}

/** See the module. */
export class Lacks {
  readonly #context: Context;
  /** Of each channel, the fingerprint of the cloud's schema that its last page was made by. */
  readonly #known: Map<Channel, string> = new Map();

  constructor(context: Context) {
    this.#context = context;
  }

  /** The models of a channel that a page's cloud sends down; undefined: all, as far as it says. */
  #listed({ schema, models }: Listing): ReadonlySet<string> | undefined {
    return models === undefined || schema === this.#own ? undefined : new Set(models);
  }

  get #own(): string {
    return this.#context.store.schema.fingerprint;
  }

  /**
   * Notes which of a channel's models the cloud lacks by its last page. Must run inside a transaction.
   *
   * @returns whether one that it lacked is there: the channel has to take a snapshot
   */
  note(channel: Channel, listing: Listing): boolean {
    const { store } = this.#context;
    if (listing.schema === undefined) return false;
    this.#known.set(channel, listing.schema);
    const listed = this.#listed(listing);
    const lacked = new Set(
      store.db.sql("SELECT model FROM _sync_lacks WHERE channel = ?").all(channel).map((row) => Number(row.model)),
    );
    let isBack = false;
    for (const model of modelsOf(this.#context, channel)) {
      const number = store.number(model), lacks = listed !== undefined && !listed.has(model.name);
      if (lacks === lacked.has(number)) continue;
      if (lacks) store.db.sql("INSERT INTO _sync_lacks(channel, model) VALUES (?, ?)").run(channel, number);
      else store.db.sql("DELETE FROM _sync_lacks WHERE channel = ? AND model = ?").run(channel, number);
      isBack ||= !lacks;
    }
    return isBack;
  }

  /**
   * Whether an entry of a channel's log says nothing to this device: there is an item, of a model that the cloud's schema
   * does not send down. Under the same schema it does not exist.
   */
  saysNothing(entry: Entry, { schema }: Told): boolean {
    return entry.foreign === true && schema !== this.#own;
  }

  /** Whether an answer that shows no item of the model says nothing: the cloud lacks the model. */
  isSilent(model: Model, { schema }: Told): boolean {
    if (schema === undefined || schema === this.#own) return false;
    return this.#context.store.db.sql("SELECT 1 FROM _sync_lacks WHERE model = ? LIMIT 1")
      .get(this.#context.store.number(model)) !== undefined;
  }

  /** Whether it is not known yet what a message's cloud sends down: its schema is another one than the last page's. */
  isUnknown({ schema }: Told): boolean {
    if (schema === undefined || schema === this.#own) return false;
    return ![...this.#known.values()].includes(schema);
  }

  /** Of a channel's models those that a snapshot speaks of. */
  spokenOf(channel: Channel, listing: Listing): Model[] {
    const listed = this.#listed(listing);
    return modelsOf(this.#context, channel).filter(({ name }) => listed?.has(name) ?? true);
  }
}
