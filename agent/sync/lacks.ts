/**
 * Models that come down by the device's schema, but not by the cloud's, which is of another version. Rows of such a
 * model stay as they are, whatever a snapshot or an answer shows. Once the cloud has the model, the channel takes a
 * snapshot, because meanwhile no change of its items entered the log (rules E3).
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
  /** For each channel, the fingerprint of the cloud's schema for its last page. */
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
   * Notes which of a channel's models the cloud lacks, by its last page. Must run inside a transaction.
   *
   * @returns whether the cloud now has a model that it lacked: then the channel must take a snapshot
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
   * Whether an entry of a channel's log means nothing to this device: there is an item, of a model that the cloud's
   * schema does not send down. Under the same schema, it would mean absence.
   */
  saysNothing(entry: Entry, { schema }: Told): boolean {
    return entry.foreign === true && schema !== this.#own;
  }

  /** Whether an answer without an item of the model proves nothing, because the cloud lacks the model. */
  isSilent(model: Model, { schema }: Told): boolean {
    if (schema === undefined || schema === this.#own) return false;
    return this.#context.store.db.sql("SELECT 1 FROM _sync_lacks WHERE model = ? LIMIT 1")
      .get(this.#context.store.number(model)) !== undefined;
  }

  /** Whether it is unknown what the sender of a message sends down: its schema differs from the last page's. */
  isUnknown({ schema }: Told): boolean {
    if (schema === undefined || schema === this.#own) return false;
    return ![...this.#known.values()].includes(schema);
  }

  /** Those of a channel's models about which a snapshot says something. */
  spokenOf(channel: Channel, listing: Listing): Model[] {
    const listed = this.#listed(listing);
    return modelsOf(this.#context, channel).filter(({ name }) => listed?.has(name) ?? true);
  }
}
