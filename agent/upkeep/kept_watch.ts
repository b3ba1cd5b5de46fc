/**
 * Reports what needs people's attention: changes that the cloud refused (`_rejected`), and items from the cloud that
 * their tables cannot accept (`_sync_aside`). `problem` shows both within a second, with a count and the newest reason,
 * until somebody has retried or dropped them; for `_rejected`, it also says when the oldest are being evicted.
 *
 * @module
 */
import type { Context } from "../sync/context.ts";
import { trimmedName } from "../store/tables.ts";

/** The fraction of `_rejected`'s limit from which somebody should look soon. */
const crowded = 0.8;
/** A reason is cut after this length, because it is part of a sentence. */
const reasonMax = 200;

/** Each has its own line in the journal. */
const told = { journal: false } as const;

/** Raises and clears `rejected` and `aside`. */
export class KeptWatch {
  #seen = "";

  constructor(readonly context: Context) {}

  /** Checks whether anything has changed since the last check. Cheap: reads two numbers from indexes. */
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
    else problems.raise("rejected", rejected, told);
    if (limits.tellFrom === Infinity) return;
    const aside = this.#aside();
    if (aside === undefined) problems.clear("aside");
    else problems.raise("aside", aside, told);
  }

  #rejected(): string | undefined {
    const { store, limits } = this.context, { db } = store;
    const { n, bytes } = db.sql("SELECT count(*) AS n, sum(length(CAST(item AS BLOB))) AS bytes FROM _rejected").get()!;
    const count = Number(n), trimmed = Number(store.getMeta(trimmedName("_rejected")) ?? 0);
    if (count >= limits.rejectedMax * crowded || Number(bytes ?? 0) >= limits.rejectedBytesMax * crowded) {
      const gone = trimmed > 0 ? `, and ${trimmed} were dropped since the database was created` : "";
      return `${count} refused changes are in _rejected, and the oldest are dropped beyond ` +
        `${limits.rejectedMax}${gone}: look at them (rejected list), and restore or drop them`;
    }
    if (count < limits.tellFrom) return undefined;
    const last = db.sql("SELECT model, code, reason FROM _rejected ORDER BY id DESC LIMIT 1").get()!;
    return `${count} ${count === 1 ? "change was" : "changes were"} refused and ${count === 1 ? "is" : "are"} in ` +
      `_rejected (the last of ${last.model}: ${this.#cut(last.reason ?? last.code)}): see rejected list`;
  }

  #aside(): string | undefined {
    const { store: { db }, limits } = this.context;
    const count = Number(db.sql("SELECT count(*) AS n FROM _sync_aside").get()!.n);
    if (count < limits.tellFrom) return undefined;
    const last = db.sql("SELECT error FROM _sync_aside ORDER BY time DESC LIMIT 1").get()!;
    return `${count} ${
      count === 1 ? "item" : "items"
    } from the cloud can't be placed in their tables, and are tried again ` +
      `(the last: ${this.#cut(last.error)}): see aside list`;
  }

  #cut(text: unknown): string {
    const whole = String(text ?? "no reason was given");
    return whole.length > reasonMax ? `${whole.slice(0, reasonMax)}…` : whole;
  }
}
