/**
 * Items from the cloud that their table on the device cannot accept: another row has the value of a `unique` field, or
 * a constraint refuses a value. Such an item waits in `_sync_aside`, visible to applications, and the cursor moves on.
 * It leaves when it fits, when a newer version of it comes, when the device's own write to its key reaches the table,
 * or when the cloud removes it.
 *
 * It is tried again (1) in the transaction that set it aside, after all other items of that page, so that a swap (A:
 * x→y, B: y→x) or a ring inside one page is applied at once and no reader sees it half done; (2) after each message, a
 * few at a time, so that a thousand items that never fit cost a bounded time; and (3) every minute.
 *
 * Meanwhile the row and its base stay as they were: a local write is then based on what the device had, and the cloud
 * judges it accordingly. A key with unsettled local changes is not tried before these are settled.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import { type Attributes, parseJson, SyncError } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { Current, Key, Version } from "../../protocol.ts";
import type { Context } from "./context.ts";
import { type ItemRecord, keyAttributesOf, keyText } from "./items.ts";
import { isEnvironmental } from "../store/faults.ts";
import type { Store } from "../store/store.ts";
import { clashingKeys, Park } from "../store/park.ts";

const log = new Log("agent");
/** Items tried after a message, in addition to those that its page set aside: a few milliseconds. */
const triesMax = 64;
/** Items that one ring of clashes may have. */
const ringMax = 1024;
/** How often a ring is tried again without the items that failed. Each try writes all of its rows. */
const roundsMax = 8;

/** An item that waits. */
interface Waiting {
  readonly model: Model;
  readonly key: Key;
  readonly text: string;
  /** Null: the item was removed. */
  readonly current: Current | null;
  readonly keyAttributes: Attributes;
}

/**
 * Whether an error comes from the item, not from the database: then it stops only this item. An error of an
 * application's trigger does, too, unless the trigger rolled the transaction back.
 */
export function isPoison({ db }: Store, error: unknown): error is SyncError {
  if (!(error instanceof SyncError) || !db.inTransaction) return false;
  return error.code === "constraint" || error.code === "invalid" ||
    (error.cause !== undefined && !isEnvironmental(error.cause));
}

/** The items set aside. Methods must run inside the store's transaction. */
export class Asides {
  /** Set aside since the last {@link retry}. */
  readonly #fresh: Map<string, Key> = new Map();
  /** Where the next round continues. */
  #after: Key = ["", ""];

  /** False: no item has waited since the start, so no key needs a look-up. A rolled-back transaction leaves it true. */
  #maybeAny: boolean;

  constructor(readonly store: Store) {
    this.#maybeAny = this.any;
  }

  /** Whether anything waits. */
  get any(): boolean {
    return this.store.db.sql("SELECT 1 FROM _sync_aside LIMIT 1").get() !== undefined;
  }

  /** Whether an item waits under a key. */
  has(key: Key): boolean {
    return this.#maybeAny &&
      this.store.db.sql("SELECT 1 FROM _sync_aside WHERE hash = ? AND sort = ?").get(...key) !== undefined;
  }

  /** The next {@link retry} tries every item that waits. */
  all(): void {
    for (const { hash, sort } of this.store.db.sql("SELECT hash, sort FROM _sync_aside").all()) {
      const key: Key = [hash as string, sort as string];
      this.#fresh.set(keyText(key), key);
    }
  }

  /** The model of the item that waits under a key. */
  modelOf(key: Key): Model | undefined {
    const row = this.store.db.sql("SELECT model FROM _sync_aside WHERE hash = ? AND sort = ?").get(...key);
    return row && this.store.modelByNumber(Number(row.model));
  }

  /** The item that waits under a key, and since when (cloud time); undefined also for a removal, or one that is unreadable. */
  itemOf(key: Key): { readonly current: Omit<Current, "model">; readonly atMs: number } | undefined {
    const row = this.#maybeAny
      ? this.store.db.sql("SELECT item, source, stamp, time FROM _sync_aside WHERE hash = ? AND sort = ?").get(...key)
      : undefined;
    if (!row || row.item === null) return undefined;
    const version: Version | undefined = row.source === null ? undefined : [row.source as string, Number(row.stamp)];
    return { current: { item: parseJson(row.item as string) as Attributes, version }, atMs: Number(row.time) };
  }

  /** Stores an item that its table refused, or (null) a removal that an application's trigger refused. */
  add(record: ItemRecord, current: Current | null, error: SyncError, timeMs: number): void {
    const [hash, sort] = record.key;
    // Without a row, nothing is based on the base: a later row of this key is a new one.
    if (this.store.rows(record.model).idByKey(record.key) === undefined) record.base = record.version = undefined;
    this.store.db.sql(
      "INSERT OR REPLACE INTO _sync_aside(hash, sort, model, item, source, stamp, error, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    ).run(
      hash,
      sort,
      this.store.number(record.model),
      current && JSON.stringify(current.item),
      current?.version?.[0] ?? null,
      current?.version?.[1] ?? null,
      error.message,
      timeMs,
    );
    this.#journal(record.key, record.model.name, error.message);
    this.#fresh.set(keyText(record.key), record.key);
    this.#maybeAny = true;
  }

  /**
   * Notes that the cloud's item of a key can't be read (rule D4). Its row stays as it is; the next version of the key
   * replaces the note. There is nothing to try again here, but if the model is known, the key is fetched again.
   */
  unreadable([hash, sort]: Key, reason: string, timeMs: number, model?: Model): void {
    this.store.db.sql(
      "INSERT OR REPLACE INTO _sync_aside(hash, sort, error, time, unread) VALUES (?, ?, ?, ?, ?)",
    ).run(hash, sort, reason, Math.round(timeMs), model ? this.store.number(model) : null);
    this.#journal([hash, sort], model?.name ?? "an item", reason);
    this.#maybeAny = true;
  }

  #journal(key: Key, model: string, why: string): void {
    log.warn("set aside: {model} {key}: {why}", { model, key: key.join(" "), why, subject: "aside" });
  }

  /** Keys whose item could not be read before, and may be readable now. */
  unread(limit: number): { readonly key: Key; readonly model: Model }[] {
    if (!this.#maybeAny) return [];
    const rows = this.store.db.sql("SELECT hash, sort, unread FROM _sync_aside WHERE unread IS NOT NULL LIMIT ?").all(
      limit,
    );
    return rows.flatMap(({ hash, sort, unread }) => {
      const model = this.store.modelByNumber(Number(unread));
      return model ? [{ key: [hash as string, sort as string] as const, model }] : [];
    });
  }

  /** The key has another version now: the waiting item is superseded. */
  drop(key: Key): void {
    if (!this.#maybeAny) return;
    this.store.db.sql("DELETE FROM _sync_aside WHERE hash = ? AND sort = ?").run(key[0], key[1]);
  }

  /** Keys of the model's items that wait. */
  of(model: Model): Key[] {
    if (!this.#maybeAny) return [];
    return this.store.db.sql("SELECT hash, sort FROM _sync_aside WHERE model = ? AND item IS NOT NULL").all(
      this.store.number(model),
    ).map((row): Key => [row.hash as string, row.sort as string]);
  }

  /** Keys of items that wait and that a snapshot did not show. */
  unseen(model: Model, channel: string): Key[] {
    return this.store.db.sql(
      `SELECT hash, sort FROM _sync_aside WHERE model = ? AND item IS NOT NULL AND NOT EXISTS (SELECT 1 FROM _sync_seen AS s
       WHERE s.channel = ? AND s.hash = _sync_aside.hash AND s.sort = _sync_aside.sort)`,
    ).all(this.store.number(model), channel).map((row): Key => [row.hash as string, row.sort as string]);
  }

  /**
   * Tries items again that may fit now. Capture must be off (`store.applying`).
   *
   * @param placed called with each item that was applied
   */
  retry(
    context: Context,
    placed: (record: ItemRecord, current: Current | null, keyAttributes: Attributes) => void,
  ): void {
    const settle = ({ model, key, current, text, keyAttributes }: Waiting) => {
      const record = context.records.open(model, key);
      record.base = current?.item;
      record.version = current?.version;
      this.drop(key);
      placed(record, current, keyAttributes);
      if (model.sync !== "down") context.records.save(record);
      waiting.delete(text);
    };
    const waiting = this.#candidates(context);
    let progress = true;
    while (progress) {
      progress = false;
      for (const one of waiting.values()) {
        if (!this.#fits(one)) continue;
        settle(one);
        progress = true;
      }
      if (progress) continue;
      const ring = this.#placeRing(context, waiting);
      ring.forEach(settle);
      progress = ring.length > 0;
    }
  }

  #candidates(context: Context): Map<string, Waiting> {
    const found = new Map<string, Waiting>();
    const add = (one: Waiting | undefined) => one && found.set(one.text, one);
    for (const key of this.#fresh.values()) add(this.#load(context, key));
    this.#fresh.clear();
    const rows = this.store.db.sql(
      "SELECT hash, sort FROM _sync_aside WHERE (hash, sort) > (?, ?) ORDER BY hash, sort LIMIT ?",
    ).all(...this.#after, triesMax);
    const keys = rows.map((row): Key => [row.hash as string, row.sort as string]);
    this.#after = keys.length < triesMax ? ["", ""] : keys.at(-1)!;
    for (const key of keys) add(this.#load(context, key));
    return found;
  }

  /** The item that waits for the key, if it may be placed: nothing local is unsettled, nothing newer was asked for. */
  #load(context: Context, key: Key): Waiting | undefined {
    const row = this.store.db.sql(
      "SELECT model, item, source, stamp, time FROM _sync_aside WHERE hash = ? AND sort = ?",
    )
      .get(...key);
    const model = row && this.store.modelByNumber(Number(row.model));
    if (!row || !model) return undefined;
    // Placed now, it would count as learnt from the restored table, which may lack it.
    if (context.restores.hasLostSince(Number(row.time)) && this.#isShownYet(context, model)) return undefined;
    const record = context.records.get(key);
    if (record?.awaiting || record?.recheck !== undefined) return undefined;
    if (context.inFlight.get(key) || (model.sync !== "down" && context.outbox.pending(model, key))) return undefined;
    const version: Version | undefined = row.source === null ? undefined : [row.source as string, Number(row.stamp)];
    const item = row.item === null ? undefined : parseJson(row.item as string) as Attributes;
    const keyAttributes = keyAttributesOf(model, item ?? this.store.rows(model).byKey(key)?.item ?? {});
    return {
      model,
      key,
      text: keyText(key),
      current: item ? { model: model.name, item, version } : null,
      keyAttributes,
    };
  }

  /** Whether what a restored table has comes yet: the model's channel has taken no whole snapshot since. */
  #isShownYet({ restores }: Context, { scope }: Model): boolean {
    const { deviceId, accountId } = this.store.identity;
    const channel = scope === "global" ? scope : `${scope}:${scope === "device" ? deviceId : accountId}`;
    const epoch = this.store.db.sql("SELECT epoch FROM _sync_channels WHERE channel = ?").get(channel)?.epoch;
    return epoch == null || restores.isOpen(String(epoch));
  }

  #fits({ model, key, current }: Waiting): boolean {
    try {
      const rows = this.store.rows(model);
      if (current) rows.put(key, current.item);
      else rows.remove(key);
      return true;
    } catch (error) {
      if (!isPoison(this.store, error)) throw error;
      return false;
    }
  }

  #blockers({ model, key, current }: Waiting): Key[] {
    return current ? clashingKeys(this.store.db, model, this.store.identity, key, current.item) : [];
  }

  /**
   * Writes items together that block only each other. If a row outside of the group blocks an item, the item is not
   * part of the group, nor is any item that waits for it.
   */
  #placeRing(context: Context, waiting: ReadonlyMap<string, Waiting>): Waiting[] {
    const ring = new Map<string, Waiting>(), blockers = new Map<string, string[]>();
    const look = [...waiting.values()];
    for (let one = look.pop(); one; one = look.pop()) {
      if (ring.has(one.text) || ring.size >= ringMax) continue;
      const keys = this.#blockers(one);
      // Refused for another reason than a clash: moving other rows does not help.
      if (keys.length === 0) continue;
      ring.set(one.text, one);
      blockers.set(one.text, keys.map(keyText));
      for (const key of keys) {
        const other = waiting.get(keyText(key)) ?? this.#load(context, key);
        if (other) look.push(other);
      }
    }
    for (let round = 0; round < roundsMax; round++) {
      shrink(ring, blockers);
      if (ring.size === 0) break;
      // If several items want one value, it goes to one whose own move makes room for others.
      const wanted = new Set([...ring.keys()].flatMap((text) => blockers.get(text)!));
      const order = [...ring.values()].sort((a, b) => Number(wanted.has(b.text)) - Number(wanted.has(a.text)));
      const failed = this.#attempt(order);
      if (failed.length === 0) return [...ring.values()];
      for (const { text } of failed) ring.delete(text);
    }
    return [];
  }

  /**
   * Writes all or none; if none, it returns those that failed because another item of the group wants the same value.
   */
  #attempt(ring: readonly Waiting[]): Waiting[] {
    const { db, identity } = this.store;
    const parks = new Map<Model, Park>(), failed: Waiting[] = [];
    for (const { model } of ring) if (!parks.has(model)) parks.set(model, new Park(db, model, identity));
    db.exec("SAVEPOINT _sync_ring");
    try {
      for (const { model, key } of ring) {
        this.store.aim(model);
        parks.get(model)!.take(key);
      }
      for (const one of ring) {
        try {
          const { model, key, current } = one;
          this.store.aim(model);
          if (!parks.get(model)!.put(key, current!.item)) this.store.rows(model).put(key, current!.item);
        } catch (error) {
          if (!isPoison(this.store, error)) throw error;
          failed.push(one);
        }
      }
      if (failed.length > 0) {
        db.exec("ROLLBACK TO _sync_ring");
        this.store.aim(undefined);
      }
    } finally {
      // If SQLite itself rolled the whole transaction back (disk full), the savepoint is gone, too.
      if (db.inTransaction) {
        db.exec("RELEASE _sync_ring");
        for (const park of parks.values()) park.close();
      }
    }
    return failed;
  }
}

/** Removes items that a row outside of the group blocks, until none is left. */
function shrink(ring: Map<string, Waiting>, blockers: ReadonlyMap<string, readonly string[]>): void {
  for (let before = -1; before !== ring.size;) {
    before = ring.size;
    for (const text of [...ring.keys()]) {
      if (blockers.get(text)!.some((other) => !ring.has(other))) ring.delete(text);
    }
  }
}
