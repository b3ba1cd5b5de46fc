/**
 * What takes longer than a request: the same thing done with many devices or kept versions, a few at a time, with a result
 * for each, and to be cancelled between two of them. A job lives in the worker that was asked, and ends with it: what it has
 * ordered by then stands in the log table and is carried out all the same.
 *
 *     open ─▶ running ─▶ done, failed, or later (ordered; it runs when the device comes)
 *       └── cancelled: left
 *
 * Guarantees: memory is bounded (the oldest jobs that have ended are forgotten); a cancelled job, and one whose token was removed
 * or has expired, begins nothing more, and everything that it began has its result.
 *
 * @module
 */
import { ApiError } from "../api/errors.ts";
import { mapBounded } from "../sync/bounded.ts";
import type { EventHub } from "./event_hub.ts";

/** What became of one. */
export interface Outcome {
  readonly state: "done" | "failed" | "later";
  /** In words. */
  readonly text: string;
}

/** One of a job's tasks. */
export interface Task {
  readonly deviceId: string;
  /** What of the device: a kept version; empty: the device itself. */
  readonly label: string;
  /** @param progress tells how far it is, in words */
  run(progress: (text: string) => void, signal: AbortSignal): Promise<Outcome>;
}

/** A task with how it stands. */
export interface TaskView {
  readonly deviceId: string;
  readonly label: string;
  readonly state: "open" | "running" | "left" | Outcome["state"];
  readonly text: string;
}

/** What a job is made of. */
export interface JobPlan {
  /** `Retry 214 changes`. */
  readonly title: string;
  /** Who asked. */
  readonly who: string;
  /** Whether their token may still do this. */
  mayGoOn(): boolean;
  readonly tasks: readonly Task[];
  /** Where to go on from its page. */
  readonly back: { readonly href: string; readonly name: string };
  /** Tasks under way at a time. */
  readonly atOnce: number;
  /** What else may be said of it. */
  readonly note?: string;
}

/** Jobs under way at a time, in this worker. */
const runningMax = 8;
/** Tasks that are remembered, of all jobs together: some 300 bytes each. */
const tasksMax = 50_000;
/** Its page is told so often at most. */
const tellMs = 250;

/** One job. */
export class Job {
  readonly id: string;
  readonly plan: JobPlan;
  readonly startedMs: number;
  readonly tasks: readonly TaskView[];
  /** Resolves when all that was begun has ended. Never rejects. */
  readonly finished: Promise<void>;
  readonly #tasks: { deviceId: string; label: string; state: TaskView["state"]; text: string }[];
  readonly #cancelled = new AbortController();
  readonly #changed: () => void;
  #isOver = false;

  constructor(id: string, plan: JobPlan, startedMs: number, changed: () => void) {
    this.id = id;
    this.plan = plan;
    this.startedMs = startedMs;
    this.#changed = changed;
    this.#tasks = plan.tasks.map(({ deviceId, label }) => ({ deviceId, label, state: "open", text: "" }));
    this.tasks = this.#tasks;
    this.finished = this.#run();
  }

  get state(): "running" | "cancelling" | "cancelled" | "done" {
    const isCancelled = this.#cancelled.signal.aborted;
    if (!this.#isOver) return isCancelled ? "cancelling" : "running";
    return isCancelled ? "cancelled" : "done";
  }

  /** How many tasks are in a state. */
  count(...states: readonly TaskView["state"][]): number {
    return this.#tasks.filter(({ state }) => states.includes(state)).length;
  }

  /** Begins nothing more. */
  cancel(): void {
    if (this.#isOver) return;
    this.#cancelled.abort();
    this.#changed();
  }

  async #run(): Promise<void> {
    const { signal } = this.#cancelled;
    // Not in the turn of the request: its page is there first.
    await Promise.resolve();
    await mapBounded(this.#tasks, this.plan.atOnce, async (task, at) => {
      if (!this.plan.mayGoOn()) this.#cancelled.abort();
      if (signal.aborted) task.state = "left";
      else await this.#runOne(task, this.plan.tasks[at]!, signal);
      this.#changed();
    });
    this.#isOver = true;
    this.#changed();
  }

  async #runOne(view: { state: TaskView["state"]; text: string }, task: Task, signal: AbortSignal): Promise<void> {
    view.state = "running";
    this.#changed();
    try {
      const { state, text } = await task.run((text) => {
        view.text = text;
        this.#changed();
      }, signal);
      Object.assign(view, { state, text });
    } catch (error) {
      // One that fails is no reason to leave the others: it is told beside it.
      Object.assign(view, { state: "failed", text: error instanceof Error ? error.message : String(error) });
    }
  }
}

/** See the module. */
export class Jobs {
  readonly #jobs = new Map<string, Job>();
  readonly #events: EventHub | undefined;
  readonly #now: () => number;
  readonly #told = new Map<string, ReturnType<typeof setTimeout>>();
  /** Ids of another worker, or of this one before it was restarted, name nothing here. */
  readonly #life: string;
  #count = 0;

  constructor({ events, now }: { readonly events?: EventHub; readonly now: () => number }) {
    this.#events = events;
    this.#now = now;
    this.#life = events?.life ?? crypto.randomUUID().slice(0, 8);
    events?.closing.addEventListener("abort", () => {
      for (const job of this.#jobs.values()) job.cancel();
      for (const timer of this.#told.values()) clearTimeout(timer);
    }, { once: true });
  }

  /** Begins one. @throws ApiError 409 where too many are under way */
  start(plan: JobPlan): Job {
    const running = [...this.#jobs.values()].filter(({ state }) => state === "running" || state === "cancelling");
    if (running.length >= runningMax) {
      throw new ApiError(409, "busy", `${running.length} jobs are under way: wait for one, or cancel it.`);
    }
    const id = `${this.#life}-${++this.#count}`;
    const job = new Job(id, plan, this.#now(), () => this.#tell(id));
    this.#jobs.set(id, job);
    this.#forget();
    return job;
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  #forget(): void {
    let tasks = [...this.#jobs.values()].reduce((sum, job) => sum + job.tasks.length, 0);
    for (const [id, job] of this.#jobs) {
      if (tasks <= tasksMax) return;
      if (job.state === "running" || job.state === "cancelling") continue;
      this.#jobs.delete(id);
      tasks -= job.tasks.length;
    }
  }

  #tell(id: string): void {
    if (this.#told.has(id) || this.#events?.closing.aborted) return;
    const tell = () => {
      this.#told.delete(id);
      this.#events?.publish({ name: "job", topic: `job:${id}`, data: { id } });
    };
    this.#told.set(id, setTimeout(tell, tellMs));
  }
}
