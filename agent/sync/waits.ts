/**
 * Models whose changes wait because the cloud's schema says something else of them (answer `schema`, rules E1 and E2).
 * Their changes stand in the outbox, out of the window, so that no other model waits with them; `_sync_waits` holds which
 * models wait, and under which two schemas.
 *
 *            answer `schema`                        other schema on either side
 *   sending ─────────────────▶ waiting ────────────────────────────────────────▶ sending
 *                               │  ▲ nothing accepted: one change, after 10 s, doubling to an hour
 *                               ▼  │ something accepted: at once, twice as many
 *                              asking
 *
 * While a model waits a few of its changes ask, each time those of other keys: after a roll-back only later changes fit,
 * and the first one would ask for ever. One that is accepted is followed at once by twice as many, so that a single
 * change that does not fit holds up no other for long. An answer also tells the cloud's schema, which a quiet device would
 * not hear of otherwise.
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
/** Changes that ask at once, at most: a batch. */
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
  /** How many changes ask next. */
  width: number;
  waitMs: number;
  /** Monotonic time from which they ask. */
  dueMs: number;
  /** The cloud has another schema since; the model goes on when it is due. */
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

  /** Reads `_sync_waits`: after a start, or after a transaction failed. What waited under another schema goes on. */
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

  /** Those whose changes may ask now. */
  due(): Wait[] {
    const now = this.clock.monotonicMs();
    return [...this.#waits.values()].filter(({ dueMs }) => dueMs <= now);
  }

  /** When the next are due; Infinity: none waits. */
  nextDueMs(): number {
    return Math.min(Infinity, ...[...this.#waits.values()].map(({ dueMs }) => dueMs));
  }

  /** The cloud answered `schema`. Returns whether the model begins to wait with it. */
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

  /** What asked was answered: whether the cloud took anything of it. */
  asked(model: Model, accepted: boolean): void {
    const wait = this.#waits.get(model);
    // What was in flight when the model began to wait is answered, too: that is not asking in vain.
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

  /** Nothing was left to ask with: every key has asked. Those that were refused ask again after a while. */
  exhausted(wait: Wait): void {
    this.asked(wait.model, false);
  }

  /**
   * The cloud's schema as a message tells it. A model that waits under another one is to go on: within ten seconds of its
   * last refusal when those are over, for workers of two versions may answer in turns.
   */
  heard(cloud: string): void {
    for (const wait of this.#waits.values()) {
      if (wait.cloud === cloud || wait.freed) continue;
      wait.freed = true;
      wait.dueMs = Math.min(wait.dueMs, this.#after(waitMinMs));
    }
  }

  /** Ends the waiting of models that are freed and due. Returns whether any goes on. */
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
