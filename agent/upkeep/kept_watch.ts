/**
 * Tells people of what waits for them: changes that the cloud refused (`_rejected`), and items from the cloud that their tables
 * can't take (`_sync_aside`). Both are told within a second, by a count and the newest one's reason, until somebody has
 * retried or dropped them; of `_rejected` also that the oldest go where there are too many.
 *
 * @module
 */
import type { Context } from "../sync/context.ts";
import { trimmedName } from "../store/tables.ts";

/** A share of the most that may stand in `_rejected`: from there on somebody should look soon. */
const crowded = 0.8;
/** A reason is cut behind this: it stands in a sentence. */
const reasonMax = 200;

/** Raises and clears `rejected` and `aside`. */
export class KeptWatch {
  #seen = "";

  constructor(readonly context: Context) {}

  /** Looks, where anything has changed since the last look. Cheap: two numbers of indexes. */
  check(): void {
    const { store: { db } } = this.context;
    const { rejected, first, aside } = db.sql(
      `SELECT (SELECT max(id) FROM _rejected) AS rejected, (SELECT min(id) FROM _rejected) AS first,
        (SELECT count(*) FROM (SELECT 1 FROM _sync_aside LIMIT 1000)) AS aside`,
    ).get()!;
    const now = `${first} ${rejected} ${aside}`;
    if (now === this.#seen) return;
    this.#seen = now;
    this.look();
  }

  look(): void {
    const { problems, limits } = this.context;
    const rejected = this.#rejected();
    if (rejected === undefined) problems.clear("rejected");
    else problems.raise("rejected", rejected);
    if (limits.tellFrom === Infinity) return;
    const aside = this.#aside();
    if (aside === undefined) problems.clear("aside");
    else problems.raise("aside", aside);
  }

  #rejected(): string | undefined {
    const { store, limits } = this.context, { db } = store;
    const { n, bytes } = db.sql("SELECT count(*) AS n, sum(length(CAST(item AS BLOB))) AS bytes FROM _rejected").get()!;
    const count = Number(n), trimmed = Number(store.getMeta(trimmedName("_rejected")) ?? 0);
    if (count >= limits.rejectedMax * crowded || Number(bytes ?? 0) >= limits.rejectedBytesMax * crowded) {
      const gone = trimmed > 0 ? `, and ${trimmed} have gone since the database was made` : "";
      return `${count} changes that were refused stand in _rejected, and the oldest go where there are more than ` +
        `${limits.rejectedMax}${gone}: look at them (rejected list), and restore or drop them`;
    }
    if (count < limits.tellFrom) return undefined;
    const last = db.sql("SELECT model, code, reason FROM _rejected ORDER BY id DESC LIMIT 1").get()!;
    return `${count} ${count === 1 ? "change was" : "changes were"} refused and ${
      count === 1 ? "stands" : "stand"
    } in ` +
      `_rejected (the last of ${last.model}: ${this.#cut(last.reason ?? last.code)}): see rejected list`;
  }

  #aside(): string | undefined {
    const { store: { db }, limits } = this.context;
    const count = Number(db.sql("SELECT count(*) AS n FROM _sync_aside").get()!.n);
    if (count < limits.tellFrom) return undefined;
    const last = db.sql("SELECT error FROM _sync_aside ORDER BY time DESC LIMIT 1").get()!;
    return `${count} ${
      count === 1 ? "item" : "items"
    } from the cloud can't be put into their tables, and are tried again ` +
      `(the last: ${this.#cut(last.error)}): see aside list`;
  }

  #cut(text: unknown): string {
    const whole = String(text ?? "no reason was given");
    return whole.length > reasonMax ? `${whole.slice(0, reasonMax)}…` : whole;
  }
}
