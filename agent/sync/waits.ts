/**
 * Models whose changes wait because the cloud's schema defines them differently (answer `schema`, rules E1 and E2).
 * Their changes are in the outbox, not in the window, so that no other model waits with them; `_sync_waits` holds which
 * models wait, and under which two schemas.
 *
 *            answer `schema`                        other schema on either side
 *   sending ─────────────────▶ waiting ────────────────────────────────────────▶ sending
 *                               │  ▲ nothing accepted: one change, after 10 s, doubling to an hour
 *                               ▼  │ something accepted: at once, twice as many
 *                              asking
 *
 * While a model waits, a few of its changes are sent as probes, each time of other keys: after a rollback, only later
 * changes fit, and the first one would probe for ever. After an accepted probe, twice as many follow at once, so that a
 * single change that does not fit holds up no other for long. An answer also contains the cloud's schema, which a quiet
 * device would not learn otherwise.
 *
 * @module
 */
import { modelDigest } from "../../schema.ts";
import type { Model } from "../../schema/model.ts";
import type { DeviceClock } from "./clock.ts";
import type { Problems } from "../upkeep/problems.ts";
import type { Store } from "../store/store.ts";

const waitMinMs = 10_000;
const waitMaxMs = 3_600_000;
/** The most changes that probe at once: a batch. */
const widthMax = 1000;
/** Names in the problem's sentence. */
const namedMax = 5;

/** A model that waits. */
export interface Wait {
  readonly model: Model;
  /** The fingerprint of the cloud's schema that refused; undefined: it did not say. */
  readonly cloud: string | undefined;
  /** The model's digest on the device. */
  readonly own: string;
  readonly reason: string;
  /** How many changes probe next. */
  width: number;
  waitMs: number;
  /** Monotonic time from which they probe. */
  dueMs: number;
  /** The cloud has another schema now; the model continues when it is due. */
  freed?: boolean;
}

/** See the module. What writes must run inside a transaction. */
export class Waits {
  readonly #waits: Map<Model, Wait> = new Map();

  constructor(
    readonly store: Store,
    readonly clock: DeviceClock,
    readonly problems: Problems,
    readonly random: () => number,
  ) {}

  /** Reads `_sync_waits`: after a start, or after a transaction failed. What waited under another schema continues. */
  restart(): void {
    const { store } = this;
    this.#waits.clear();
    for (const row of store.db.sql("SELECT model, cloud, own, reason FROM _sync_waits").all()) {
      const model = store.modelByNumber(Number(row.model));
      if (!model || row.own !== modelDigest(store.schema, model)) {
        store.tx(() => store.db.sql("DELETE FROM _sync_waits WHERE model = ?").run(Number(row.model)));
        continue;
      }
      const cloud = row.cloud === null ? undefined : row.cloud as string;
      this.#hold({ model, cloud, own: row.own as string, reason: row.reason as string });
    }
    this.#tell();
  }

  #hold(wait: Omit<Wait, "width" | "waitMs" | "dueMs">): void {
    this.#waits.set(wait.model, { ...wait, width: 1, waitMs: waitMinMs, dueMs: this.#after(waitMinMs) });
  }

  #after(ms: number): number {
    return this.clock.monotonicMs() + ms * (0.75 + this.random() / 2);
  }

  get any(): boolean {
    return this.#waits.size > 0;
  }

  has(model: Model): boolean {
    return this.#waits.has(model);
  }

  /** The numbers of the models that wait. */
  get numbers(): number[] {
    return [...this.#waits.keys()].map((model) => this.store.number(model));
  }

  /** The models whose changes may probe now. */
  due(): Wait[] {
    const now = this.clock.monotonicMs();
    return [...this.#waits.values()].filter(({ dueMs }) => dueMs <= now);
  }

  /** When the next are due; Infinity: none waits. */
  nextDueMs(): number {
    return Math.min(Infinity, ...[...this.#waits.values()].map(({ dueMs }) => dueMs));
  }

  /** The cloud answered `schema`. Returns whether the model starts to wait. */
  refused(model: Model, cloud: string | undefined, reason: string): boolean {
    const begins = !this.#waits.has(model);
    const own = modelDigest(this.store.schema, model);
    this.store.db.sql("INSERT OR REPLACE INTO _sync_waits(model, cloud, own, reason) VALUES (?, ?, ?, ?)")
      .run(this.store.number(model), cloud ?? null, own, reason);
    const { width = 1, waitMs = waitMinMs, dueMs = this.#after(waitMinMs) } = this.#waits.get(model) ?? {};
    this.#waits.set(model, { model, cloud, own, reason, width, waitMs, dueMs });
    this.#tell();
    return begins;
  }

  /** The probes were answered. */
  asked(model: Model, accepted: boolean): void {
    const wait = this.#waits.get(model);
    // Changes that were in flight when the model started to wait are answered, too; they do not count as failed probes.
    if (!wait || (!accepted && wait.dueMs > this.clock.monotonicMs())) return;
    if (accepted) {
      wait.width = Math.min(wait.width * 2, widthMax);
      wait.waitMs = waitMinMs;
      wait.dueMs = this.clock.monotonicMs();
    } else {
      wait.width = 1;
      wait.dueMs = this.#after(wait.waitMs);
      wait.waitMs = Math.min(wait.waitMs * 2, waitMaxMs);
    }
  }

  /** Every key has probed. Refused keys probe again after a while. */
  exhausted(wait: Wait): void {
    this.asked(wait.model, false);
  }

  /**
   * A message contains the cloud's schema. A model that waits under another schema continues, but no sooner than ten
   * seconds after its last refusal, because workers of two versions may answer in turns.
   */
  heard(cloud: string): void {
    for (const wait of this.#waits.values()) {
      if (wait.cloud === cloud || wait.freed) continue;
      wait.freed = true;
      wait.dueMs = Math.min(wait.dueMs, this.#after(waitMinMs));
    }
  }

  /** Ends the waiting of models that are freed and due. Returns whether any continues. */
  release(): boolean {
    const freed = this.due().filter((wait) => wait.freed);
    if (freed.length === 0) return false;
    this.store.tx(() => {
      for (const { model } of freed) {
        this.store.db.sql("DELETE FROM _sync_waits WHERE model = ?").run(this.store.number(model));
      }
    });
    for (const { model } of freed) this.#waits.delete(model);
    this.#tell();
    return true;
  }

  #tell(): void {
    const waits = [...this.#waits.values()];
    if (waits.length === 0) return this.problems.clear("schema");
    const names = waits.slice(0, namedMax).map(({ model }) => model.name).join(", ");
    const more = waits.length > namedMax ? ` and of ${waits.length - namedMax} more models` : "";
    this.problems.raise(
      "schema",
      `changes of ${names}${more} wait: the cloud has another version of the schema (${
        waits[0]!.reason
      }); they are sent ` +
        "when both sides have the same version",
    );
  }
}
