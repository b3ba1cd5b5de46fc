/**
 * The current problems, by name: each part of the agent raises and clears its own, and people read one text, in
 * `_status.problem`, in `status()` and once in the log.
 *
 * Guarantee: a problem is in `_status.problem` from the next tick after it was raised until the next tick after it was
 * cleared, the most important first. Problems are in memory by name, and stored with the facts (`facts.ts`): a start
 * begins without any, and a part that knows of one from its durable state raises it again; the last problems of a
 * killed agent stay readable until then. Raising inside a transaction is fine: it is not part of the transaction.
 *
 * Many small causes make one problem with a count in its sentence (`3 items are set aside …`), so the list is bounded
 * by {@link problemNames}.
 *
 * @module
 */
import { Log, Sentence } from "../../protocol/log.ts";
import type { Facts } from "./facts.ts";

/**
 * Every problem's name, the most important first: first what stops everything, then what loses or refuses something,
 * then what waits.
 */
export const problemNames = [
  /** The database can't be written or read: disk full, I/O error. */
  "storage",
  /** Somebody has dropped or altered what the agent made: changes go unnoticed. */
  "altered",
  /** A check after an unclean end had complaints that are not damage. */
  "contents",
  /** Applications' writes are refused: the outbox or the database is at its cap. */
  "outbox",
  /** The broker refuses this device: credentials, certificate. */
  "credentials",
  /** Another agent uses this device's id. */
  "duplicate",
  /** There is no connection to the broker, and why. */
  "offline",
  /** Changes wait because the cloud has another schema. */
  "schema",
  /** Sent batches are not answered. */
  "unanswered",
  /** A snapshot would remove suspiciously many rows: they are fetched at a limited rate. */
  "review",
  /** Changes were rejected that nobody has seen yet. */
  "rejected",
  /** Items from the cloud that their tables cannot accept. */
  "aside",
  /** Rows that the agent can't delete or purge: a trigger or constraint of an application refuses. */
  "rows",
  /** The WAL can't be checkpointed. */
  "wal",
] as const;

/** The name of a problem. */
export type ProblemName = typeof problemNames[number];

/** A problem as it is stored and shown. */
export interface Problem {
  /** Its name. */
  readonly name: ProblemName;
  /** What is wrong and, if useful, what to do: one sentence for people, without a full stop. */
  readonly sentence: string;
  /** Since when, ms since 1970 by the device's clock. */
  readonly since: number;
}

/** How often the log repeats a problem that comes and goes. */
const journalAgainMs = 600_000;

/** What is wrong now. */
export class Problems {
  readonly #log = new Log("agent");
  readonly #present: Map<ProblemName, Problem> = new Map();
  readonly #journaledMs: Map<ProblemName, number> = new Map();
  /** Of those that are raised, which the journal has. */
  readonly #journaled: Set<ProblemName> = new Set();

  /** @param now the wall clock, ms since 1970 */
  constructor(private readonly facts: Facts, private readonly now: () => number) {
    this.#tell();
  }

  /** All current problems, the most important first. */
  get list(): Problem[] {
    return problemNames.flatMap((name) => this.#present.get(name) ?? []);
  }

  /** The sentence of a problem, if raised. */
  get(name: ProblemName): string | undefined {
    return this.#present.get(name)?.sentence;
  }

  /**
   * Raises a problem, or changes its sentence. Calling it again with the same sentence costs nothing.
   *
   * @param options.journal false: the caller logs it
   */
  raise(name: ProblemName, sentence: string, { journal = true }: { readonly journal?: boolean } = {}): void {
    const present = this.#present.get(name);
    if (present?.sentence === sentence) return;
    this.#present.set(name, { name, sentence, since: present?.since ?? Math.round(this.now()) });
    this.#tell();
    // A changed count is not logged again.
    if (!present && journal) this.#journal(name, sentence);
  }

  /** Clears a problem. Does nothing if it is not raised. */
  clear(name: ProblemName, { journal = true }: { readonly journal?: boolean } = {}): void {
    const present = this.#present.get(name);
    if (!present) return;
    this.#present.delete(name);
    this.#tell();
    // One that comes and goes: its end is told where its begin was.
    if (!journal || !this.#journaled.delete(name)) return;
    const seconds = Math.max(0, Math.round((this.now() - present.since) / 1000));
    this.#log.info("over after {seconds} s: {sentence}", { seconds, sentence: new Sentence(present.sentence) });
  }

  #journal(name: ProblemName, sentence: string): void {
    const last = this.#journaledMs.get(name), now = this.now();
    if (last !== undefined && Math.abs(now - last) < journalAgainMs) return;
    this.#journaledMs.set(name, now);
    this.#journaled.add(name);
    this.#log.warn("{sentence}", { sentence: new Sentence(sentence) });
  }

  #tell(): void {
    const list = this.list;
    this.facts.set("problem", list.map(({ sentence }) => sentence).join("; ") || undefined);
    this.facts.set("problems", list.length > 0 ? JSON.stringify(list) : undefined);
  }
}
