/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * `/jobs/:id`: how far a job is, what became of each of its tasks, and a way to stop it between two of them.
 *
 * @module
 */
import { pause } from "../../../protocol/within.ts";
import { ApiError } from "../../api/errors.ts";
import { stillMay } from "../../api/tokens.ts";
import type { ConsoleOptions, Page, PageContext } from "../context.ts";
import { count, grouped } from "../format.ts";
import { Check, Dashed, Half, Ring, Triangle } from "../icons.tsx";
import type { Job, JobPlan, TaskView } from "../jobs.ts";
import type { Routes } from "../mod.tsx";
import { FormToken, Time } from "../parts.tsx";
import { deviceHref } from "./fleet_columns.tsx";

/** Tasks that are shown; those that need somebody come first. */
const shownMax = 500;
/** Where nothing goes on after a request (a handler), a job has so long. */
const requestMs = 20_000;

/** The page's routes. */
export function mount({ page, action, jobs, options }: Routes): void {
  const jobOf = (c: PageContext): Job => {
    const job = jobs.get(c.req.param("id") ?? "");
    if (job) return job;
    const asked = options.worker === undefined ? "This process" : `The worker ${options.worker}, which answered now,`;
    throw new ApiError(
      404,
      "not-found",
      `${asked} does not know this job. A job is known only to the worker that runs it: if there are several, load the page ` +
        "again until that one answers. If it was restarted, the job has ended there; what it had ordered is on the devices' pages.",
    );
  };
  page("/jobs/:id", (c) => jobPage(options, c, jobOf(c)));
  action("/jobs/:id/cancel", (c) => {
    const job = jobOf(c);
    job.cancel();
    return c.redirect(`/jobs/${job.id}`, 303);
  });
}

/** Begins a job and shows it. In a handler, which nobody keeps running, it is done within the request, as far as it gets. */
export async function startJob(
  { jobs, options }: Routes,
  c: PageContext,
  plan: Omit<JobPlan, "who" | "mayGoOn">,
): Promise<Page | Response> {
  const { tokens, now } = options, { name: who, tokenHash } = c.get("session");
  const mayGoOn = () => !tokens || stillMay(tokenHash, tokens(), "write", now());
  const job = jobs.start({ ...plan, who, mayGoOn });
  if (options.events) return c.redirect(`/jobs/${job.id}`, 303);
  const late = new AbortController();
  await Promise.race([job.finished, pause(requestMs, late.signal)]);
  late.abort();
  job.cancel();
  await job.finished;
  return jobPage(options, c, job);
}

function jobPage({ now, worker }: ConsoleOptions, c: PageContext, job: Job): Page {
  const { plan: { title, who, note, back }, startedMs, state, tasks } = job;
  const open = job.count("open", "running"), isRunning = state === "running";
  return {
    title,
    on: `job:${job.id}`,
    scripts: ["kept.js"],
    body: (
      <div
        id="job"
        hx-get={`/jobs/${job.id}`}
        hx-select="#job"
        hx-swap="outerMorph"
        hx-trigger="tt:job from:body throttle:400ms, tt:again from:body"
        data-state={state}
      >
        <div class="head">
          <div>
            <h1>{title}</h1>
            <p class="muted">
              {`By ${who}, `}
              <Time at={startedMs} now={now()} />
              {` ago.${note ? ` ${note}` : ""}`}
            </p>
            {worker ? <p class="muted">{whereText(worker, isRunning)}</p> : null}
          </div>
          <div class="acts">
            {isRunning && c.get("session").mayWrite
              ? (
                <form method="post" action={`/jobs/${job.id}/cancel`}>
                  <FormToken token={c.get("session").formToken} />
                  <button class="btn danger" type="submit">Cancel</button>
                </form>
              )
              : null}
            <a class="btn" href={back.href} data-back>{back.name}</a>
          </div>
        </div>
        <section class="card pad job-card" aria-labelledby="job-progress">
          <p id="job-progress" class="job-said">
            <b>{progressText(job)}</b>
            {resultsText(job)}
          </p>
          <progress max={tasks.length} value={tasks.length - open} aria-labelledby="job-progress"></progress>
          {open > 0
            ? (
              <p class="muted nojs">
                <a href={`/jobs/${job.id}`}>Look again</a>
              </p>
            )
            : null}
        </section>
        <Results tasks={tasks} />
      </div>
    ),
  };
}

/** A job is in no table: whoever reloads its page, or sends the link to somebody, should know. */
function whereText(worker: string, isRunning: boolean): string {
  return isRunning
    ? `It runs in the worker ${worker}. Only that worker knows it, and a restart of that worker ends it.`
    : `It ran in the worker ${worker}. Only that worker knows its results, until it is restarted.`;
}

function progressText(job: Job): string {
  const all = job.tasks.length, ended = all - job.count("open", "running");
  switch (job.state) {
    case "running":
      return `${grouped(ended)} of ${grouped(all)}`;
    case "cancelling":
      return `Cancelling: ${grouped(ended)} of ${grouped(all)}`;
    case "cancelled":
      return `Cancelled: ${grouped(job.count("left"))} of ${grouped(all)} were not begun`;
    case "done":
      return all === 1 ? "Ended" : `All ${grouped(all)} ended`;
  }
}

function resultsText(job: Job): string {
  const parts = [
    [job.count("done"), "done"],
    [job.count("failed"), "failed"],
    [job.count("later"), "when the device connects or answers"],
  ] as const;
  const said = parts.filter(([number]) => number > 0).map(([number, word]) => `${grouped(number)} ${word}`);
  return said.length > 0 ? ` · ${said.join(" · ")}` : "";
}

const looks = {
  failed: { word: "failed", tone: "bad", Icon: Triangle },
  running: { word: "under way", tone: "warn", Icon: Half },
  later: { word: "later", tone: "quiet", Icon: Dashed },
  open: { word: "not begun", tone: "quiet", Icon: Ring },
  left: { word: "left", tone: "quiet", Icon: Ring },
  done: { word: "done", tone: "ok", Icon: Check },
} as const;
const order = Object.keys(looks);

function Results({ tasks }: { tasks: readonly TaskView[] }) {
  const sorted = tasks.toSorted((a, b) => order.indexOf(a.state) - order.indexOf(b.state)).slice(0, shownMax);
  const withLabel = tasks.some(({ label }) => label !== "");
  return (
    <section class="card after" aria-labelledby="job-results">
      <h2 id="job-results" class="pad">Results</h2>
      <div class="scroll" tabindex={0} role="region" aria-label="Results, one by one">
        <table class="results">
          <thead>
            <tr>
              <th scope="col">State</th>
              <th scope="col">Device</th>
              {withLabel ? <th scope="col">What</th> : null}
              <th scope="col">Result</th>
            </tr>
          </thead>
          <tbody data-rows>
            {sorted.map(({ deviceId, label, state, text }) => {
              const { word, tone, Icon } = looks[state];
              return (
                <tr data-row id={`task-${deviceId}-${label}`}>
                  <td>
                    <span class={`state ${tone}`}>
                      <Icon />
                      {word}
                    </span>
                  </td>
                  <td>
                    <a class="mono" data-open href={deviceHref(deviceId)}>{deviceId}</a>
                  </td>
                  {withLabel ? <td>{label}</td> : null}
                  <td class="wrap">{text}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {tasks.length > sorted.length
        ? (
          <p class="foot">
            {`${count(tasks.length - sorted.length, "result")} more, not shown: those that are done come last.`}
          </p>
        )
        : null}
    </section>
  );
}
