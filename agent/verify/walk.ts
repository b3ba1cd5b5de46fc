/**
 * How a verification walks: through a channel by ranges of keys, comparing range digests first, and item digests only
 * where these differ; through a model that only syncs up by its rows, whose digests are requested by key. Keys that
 * seem to differ are passed to a {@link Finder}; the walk judges nothing, and writes only `_sync_seen`. Memory is
 * bounded by a range and by the finder's capacity: when it is full, the walk pauses, and later continues from there.
 *
 * @module
 */
import { beforeRows, type RowId } from "../sqlite/driver.ts";
import type { Model } from "../../schema/model.ts";
import { type Channel, type Digests, DigestSum, type FromDevice, type Key, probeKeysMax } from "../../protocol.ts";
import type { Context } from "../sync/context.ts";
import { keyText } from "../sync/items.ts";
import type { RangeRow } from "../store/rows.ts";
import { rowDefaults } from "../store/row_values.ts";
import { readRow, rowAttributes, rowDigest } from "./keys.ts";

const rowsAtOnce = 500;

/** A question of a walk; the caller supplies the request's id. */
export type Question = (request: string) => FromDevice;

/** Receives a walk's findings. */
export interface Finder {
  /** A key that seems to differ. */
  suspect(model: Model, key: Key): void;
  /** Counts compared rows of a model. */
  counted(model: Model, rows: number): void;
  /** The finder can accept no further suspect now. */
  readonly full: boolean;
}

/** A walk. */
export interface Walk {
  readonly models: Iterable<Model>;
  /** The next question; `again`: a step was done without a question; undefined: the walk is complete. */
  step(): Question | "again" | undefined;
  /** The answer to its question. */
  answered(message: Digests): void;
}

/** Asks for the digests of rows by key. */
export function probe(model: Model, keys: readonly Key[]): Question {
  const attributes = rowAttributes(model), defaults = rowDefaults(model);
  const more = Object.keys(defaults).length > 0 ? { defaults } : {};
  return (request) => ({ type: "probe", request, model: model.name, attributes, keys, ...more });
}

/** The name under which a verification stores the listed keys. No channel has it. */
export function seenName(channel: Channel): string {
  return `verify ${channel}`;
}

/** A model that only syncs up, walked by its rows. */
export class RowWalk implements Walk {
  #afterId: RowId = beforeRows;

  constructor(readonly context: Context, readonly model: Model, readonly finder: Finder) {}

  get models(): Model[] {
    return [this.model];
  }

  #rows(): ReturnType<ReturnType<Context["store"]["rows"]>["after"]> {
    return this.context.store.rows(this.model).after(this.#afterId, probeKeysMax);
  }

  step(): Question | undefined {
    const rows = this.#rows();
    return rows.length === 0 ? undefined : probe(this.model, rows.map(({ key }) => key));
  }

  answered({ items = [] }: Digests): void {
    const { context, model, finder } = this;
    const theirs = new Map(items.map(({ key, digest }) => [keyText(key), digest]));
    for (const { id, key, row } of this.#rows()) {
      this.#afterId = id;
      finder.counted(model, 1);
      const own = row && rowDigest(context, model, row);
      if ((row && own === undefined) || (own !== undefined && own === theirs.get(keyText(key)))) continue;
      finder.suspect(model, key);
    }
  }
}

/** A channel, walked by ranges. */
export class ChannelWalk implements Walk {
  #after: string | undefined;
  /** The last sort value of the range before, "" if there is none under this hash value. */
  #from = "";
  /** The range's digests differ: the next question asks for each item's digest. */
  #each = false;
  /** By model, how far the rows of this range were examined before there were too many suspects. */
  readonly #reached: Map<string, string> = new Map();
  /** Models of a secondary index: rows that no range named are examined at the end. */
  readonly #listed: Set<string> = new Set();
  #ended = false;
  #sweptId: RowId = beforeRows;
  readonly #models: ReadonlyMap<string, Model>;

  constructor(
    readonly context: Context,
    readonly channel: Channel,
    models: readonly Model[],
    readonly finder: Finder,
    /** The name under which the listed keys are stored in `_sync_seen`. */
    readonly seen: string = seenName(channel),
  ) {
    this.#models = new Map(models.map((model) => [model.name, model]));
  }

  get models(): Iterable<Model> {
    return this.#models.values();
  }

  step(): Question | "again" | undefined {
    if (this.#ended) return this.#sweep();
    const [channel, after, each] = [this.channel, this.#after, this.#each];
    return (request) => ({
      type: "compare",
      request,
      channel,
      ...(after === undefined ? {} : { after }),
      ...(each ? { each } : {}),
    });
  }

  answered(message: Digests): void {
    if (message.hash === undefined) this.#compareListed(message);
    else this.#compareRange(message, message.hash);
  }

  #next({ to, next }: Digests): void {
    this.#after = next;
    this.#from = to ?? "";
    this.#each = false;
    this.#reached.clear();
    if (next === undefined) this.#ended = true;
  }

  /** A range of a secondary index: every item is named; rows that no range names are examined at the end. */
  #compareListed(message: Digests): void {
    const { context, finder } = this;
    for (const { model } of message.models) if (this.#models.has(model)) this.#listed.add(model);
    context.store.tx(() => {
      for (const { model: name, key, digest } of message.items ?? []) {
        const model = this.#models.get(name);
        if (!model) continue;
        context.store.db.sql("INSERT OR IGNORE INTO _sync_seen(channel, hash, sort) VALUES (?, ?, ?)")
          .run(this.seen, key[0], key[1]);
        finder.counted(model, 1);
        const row = readRow(context, model, key);
        if (!row || row === "unreadable" || rowDigest(context, model, row) !== digest) finder.suspect(model, key);
      }
    });
    this.#next(message);
  }

  /** The rows that no range of a secondary index named, a page at a time. */
  #sweep(): "again" | undefined {
    const [name] = this.#listed;
    if (name === undefined) return undefined;
    const model = this.#models.get(name)!;
    const page = this.context.store.rows(model).unseen(this.seen, this.#sweptId, rowsAtOnce);
    for (const { id, key } of page) {
      this.#sweptId = id;
      this.finder.suspect(model, key);
    }
    if (page.length < rowsAtOnce) {
      this.#listed.delete(name);
      this.#sweptId = beforeRows;
    }
    return "again";
  }

  #compareRange(message: Digests, hash: string): void {
    const ranges = message.models.flatMap(({ model: name, count, digest }) => {
      const model = this.#models.get(name);
      return model ? [{ model, count, digest }] : [];
    });
    if (!this.#each) {
      const counts = new Map<Model, number>();
      const equal = ranges.every(({ model, count, digest }) => {
        const sum = this.#sumOf(model, hash, message.to, count);
        counts.set(model, sum.count);
        return sum.count === count && sum.digest === digest;
      });
      if (!equal) {
        this.#each = true;
        return;
      }
      for (const [model, count] of counts) this.finder.counted(model, count);
      return this.#next(message);
    }
    let complete = true;
    for (const { model } of ranges) {
      const theirs = new Map(
        (message.items ?? []).filter((item) => item.model === model.name).map((item) => [keyText(item.key), item]),
      );
      complete = this.#compareItems(model, hash, message.to, theirs) && complete;
    }
    if (complete) this.#next(message);
  }

  /**
   * The digest of the rows of a range. If there are far more rows than items, it ends early, because the digests will
   * differ.
   */
  #sumOf(model: Model, hash: string, to: string | undefined, theirs: number): DigestSum {
    const sum = new DigestSum();
    for (const { row } of this.#rows(model, hash, this.#from, to)) {
      // An unreadable row equals nothing.
      const digest = row ? rowDigest(this.context, model, row) : "1".repeat(16);
      if (digest !== undefined) sum.add(digest);
      if (sum.count > theirs + rowsAtOnce) break;
    }
    return sum;
  }

  *#rows(model: Model, hash: string, from: string, to: string | undefined): Iterable<RangeRow> {
    for (let after = from;;) {
      const page = this.context.store.rows(model).range(hash, after, to, rowsAtOnce);
      yield* page;
      if (page.length < rowsAtOnce) return;
      after = page.at(-1)!.key[1];
    }
  }

  /**
   * Compares row by row. False if there are too many suspects to continue: the range is requested again after they are
   * examined.
   */
  #compareItems(
    model: Model,
    hash: string,
    to: string | undefined,
    theirs: Map<string, { readonly key: Key; readonly digest?: string }>,
  ): boolean {
    const { context, finder } = this, reached = this.#reached.get(model.name);
    for (const { key, row } of this.#rows(model, hash, reached ?? this.#from, to)) {
      if (finder.full) return false;
      this.#reached.set(model.name, key[1]);
      const text = keyText(key), digest = theirs.get(text)?.digest;
      theirs.delete(text);
      finder.counted(model, 1);
      const own = row && rowDigest(context, model, row);
      if (row && own === digest) continue;
      finder.suspect(model, key);
    }
    for (const { key } of theirs.values()) {
      // The rows of earlier models were examined last time.
      if (reached !== undefined && isUpTo(key[1], reached)) continue;
      finder.suspect(model, key);
    }
    return true;
  }
}

/** Whether a sort value is at or before another, in the order of SQLite and DynamoDB: by UTF-8 bytes. */
function isUpTo(a: string, b: string): boolean {
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  const at = x.findIndex((byte, i) => byte !== y[i]);
  return at < 0 || (at < y.length && x[at]! < y[at]!);
}
