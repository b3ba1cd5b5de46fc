/**
 * What is wrong now, by name: each part of the agent raises and clears its own problems, and people read one text, in
 * `_status.problem`, in `status()` and once in the journal.
 *
 * Guarantee: a problem stands in `_status.problem` from the next tick after it was raised until the next tick after it was
 * cleared, the most important first. It is kept in memory by name and stored with the facts (`facts.ts`): a start begins
 * without any, and whoever knows of one from its own durable state raises it again; a killed agent's last ones stay
 * readable until then. Raising inside a transaction is fine: it does not take part in it.
 *
 * Many small causes are one problem with a count in its sentence (`3 items are set aside …`), never a name each: the list
 * is bounded by {@link problemNames}.
 *
 * @module
 */
import { Log, Sentence } from "../../protocol/log.ts";
import type { Facts } from "./facts.ts";

/**
 * Every problem's name, the most important first: what stops everything, what loses or refuses something, what waits.
 */
export const problemNames = [
  /** The database can't be written or read: disk full, I/O error. */
  "storage",
  /** Somebody has dropped or altered what the agent made: changes go unnoticed. */
  "altered",
  /** A check after an unclean end complained about something that is no damage. */
  "contents",
  /** Applications' writes are refused: the outbox or the database is at its cap. */
  "outbox",
  /** The broker refuses this device: credentials, certificate. */
  "credentials",
  /** Another agent uses this device's id. */
  "duplicate",
  /** Changes wait because the cloud has another schema. */
  "schema",
  /** What is sent is not answered. */
  "unanswered",
  /** A snapshot would remove suspiciously many rows: asked for at a limited rate. */
  "review",
  /** Changes were rejected that nobody has seen yet. */
  "rejected",
  /** Items from the cloud that their tables can't take. */
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
  /** What is wrong and, where it helps, what to do: one sentence for people, without a full stop. */
  readonly sentence: string;
  /** Since when, ms since 1970 by the device's clock. */
  readonly since: number;
}

/** The same problem that comes and goes is told in the journal this often. */
const journalAgainMs = 600_000;

/** What is wrong now. */
export class Problems {
  readonly #log = new Log("agent");
  readonly #present: Map<ProblemName, Problem> = new Map();
  readonly #journaledMs: Map<ProblemName, number> = new Map();

  /** @param now the wall clock, ms since 1970 */
  constructor(private readonly facts: Facts, private readonly now: () => number) {
    this.#tell();
  }

  /** All that is wrong, the most important first. */
  get list(): Problem[] {
    return problemNames.flatMap((name) => this.#present.get(name) ?? []);
  }

  /** The sentence of a problem that is raised now. */
  get(name: ProblemName): string | undefined {
    return this.#present.get(name)?.sentence;
  }

  /** A problem is there, or its sentence has changed. Calling it again with the same sentence costs nothing. */
  raise(name: ProblemName, sentence: string): void {
    const present = this.#present.get(name);
    if (present?.sentence === sentence) return;
    this.#present.set(name, { name, sentence, since: present?.since ?? Math.round(this.now()) });
    this.#tell();
    // A count that moves is no news.
    if (!present) this.#journal(name, sentence);
  }

  /** A problem is over. Nothing where it was not raised. */
  clear(name: ProblemName): void {
    if (!this.#present.delete(name)) return;
    this.#tell();
    this.#log.info("the problem is over: {name}", { name });
  }

  #journal(name: ProblemName, sentence: string): void {
    const last = this.#journaledMs.get(name), now = this.now();
    if (last !== undefined && Math.abs(now - last) < journalAgainMs) return;
    this.#journaledMs.set(name, now);
    this.#log.warn("{sentence}", { sentence: new Sentence(sentence) });
  }

  #tell(): void {
    const list = this.list;
    this.facts.set("problem", list.map(({ sentence }) => sentence).join("; ") || undefined);
    this.facts.set("problems", list.length > 0 ? JSON.stringify(list) : undefined);
  }
}
