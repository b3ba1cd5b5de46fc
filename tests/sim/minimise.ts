/**
 * Makes a failing schedule short: parts are left out as long as the same invariant fails without them.
 *
 * @module
 */
import type { Step } from "./actions.ts";
import type { Plan } from "./families.ts";
import { run } from "./run.ts";

/** The invariant that a failure names: its first word. */
function kindOf(failure: string): string {
  return failure.split(/[\s:]/, 1)[0]!;
}

/**
 * The shortest list of steps that was found within the time, and how it fails.
 *
 * @param budgetMs real time
 */
export async function minimise(
  plan: Plan,
  failure: string,
  options: { readonly folder: string; readonly budgetMs: number; readonly nowMs: () => number },
): Promise<{ steps: readonly Step[]; failure: string }> {
  const { folder, budgetMs, nowMs } = options;
  const deadline = nowMs() + budgetMs;
  let best = { steps: plan.steps, failure };
  for (let size = Math.ceil(plan.steps.length / 2); size > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < best.steps.length;) {
      if (nowMs() > deadline) return best;
      const steps = best.steps.toSpliced(from, size);
      const outcome = await run(plan, { folder, steps });
      if (outcome.failure !== undefined && kindOf(outcome.failure) === kindOf(failure)) {
        best = { steps, failure: outcome.failure };
      } else from += size;
    }
  }
  return best;
}
