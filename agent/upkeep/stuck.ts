/**
 * Rows that the agent wants to delete, but an application's trigger or constraint refuses: each is skipped by itself,
 * and together they are one problem.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Removal } from "../store/rows.ts";
import type { Problems } from "./problems.ts";

/** The parts that delete rows in rounds. */
export type Deleter = "purge" | "capacity";

const why: Record<Deleter, string> = { purge: "have expired", capacity: "should be dropped at the cap" };

/** Tells of rows that stay. */
export class StuckRows {
  readonly #rounds: Map<Deleter, Map<Model, { count: number; reason: string }>> = new Map();

  constructor(private readonly problems: Problems) {}

  /** A round of deletions starts: rows refused in the last round may be deleted now. */
  begin(deleter: Deleter): void {
    this.#rounds.set(deleter, new Map());
  }

  note(deleter: Deleter, model: Model, { refused, reason }: Removal): void {
    if (refused.length === 0) return;
    const known = this.#rounds.get(deleter)!.get(model);
    this.#rounds.get(deleter)!.set(model, {
      count: (known?.count ?? 0) + refused.length,
      reason: known?.reason ?? reason!,
    });
  }

  /** The round is over: reports what stays. */
  end(): void {
    const sentences = [...this.#rounds].flatMap(([deleter, models]) =>
      [...models].map(([{ name }, { count, reason }]) =>
        `${count} ${count === 1 ? "row" : "rows"} of ${name} that ${why[deleter]} can't be deleted: ${reason}`
      )
    );
    if (sentences.length > 0) this.problems.raise("rows", sentences.join("; "));
    else this.problems.clear("rows");
  }
}
