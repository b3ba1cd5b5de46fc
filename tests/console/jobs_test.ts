/** Jobs of the console, without a browser: results, order, cancelling, bounds. */
import assert from "node:assert/strict";
import { type ApiToken, stillMay, tokenHash } from "../../cloud/api/tokens.ts";
import { EventHub } from "../../cloud/console/event_hub.ts";
import { type JobPlan, Jobs, type Outcome, type Task } from "../../cloud/console/jobs.ts";

const done: Outcome = { state: "done", text: "done" };

function plan(tasks: readonly Task[], atOnce = 2, mayGoOn = () => true): JobPlan {
  return { title: "Test", who: "me", mayGoOn, tasks, atOnce, back: { href: "/", name: "back" } };
}

function task(deviceId: string, run: Task["run"]): Task {
  return { deviceId, label: "", run };
}

Deno.test("jobs: each task has its result; one that fails leaves the others alone", async () => {
  const jobs = new Jobs({ now: () => 1 });
  const job = jobs.start(plan([
    task("a", () => Promise.resolve(done)),
    task("b", () => Promise.reject(new Error("no room"))),
    task("c", () => Promise.resolve({ state: "later", text: "runs when it connects" })),
  ]));
  assert.equal(jobs.get(job.id), job);
  assert.equal(job.state, "running");
  await job.finished;
  assert.equal(job.state, "done");
  assert.deepEqual(job.tasks.map(({ state, text }) => [state, text]), [
    ["done", "done"],
    ["failed", "no room"],
    ["later", "runs when it connects"],
  ]);
});

Deno.test("jobs: so many at a time; cancelled, nothing more begins, and what was begun has its result", async () => {
  const jobs = new Jobs({ now: () => 1 }), ends: (() => void)[] = [];
  let most = 0, running = 0, begun = 0;
  const wait: Task["run"] = async () => {
    begun++;
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => ends.push(resolve));
    running--;
    return done;
  };
  const job = jobs.start(plan(Array.from({ length: 10 }, (_, at) => task(`d-${at}`, wait)), 3));
  const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
  await turn();
  ends.shift()!();
  await turn();
  assert.deepEqual([begun, most], [4, 3]);
  job.cancel();
  assert.equal(job.state, "cancelling");
  for (const end of ends) end();
  await job.finished;
  assert.equal(job.state, "cancelled");
  assert.deepEqual([begun, job.count("done"), job.count("left")], [4, 4, 6]);
});

Deno.test("jobs: one whose token was removed, has expired or may no longer write begins nothing more", async () => {
  const token: ApiToken = { name: "one", hash: tokenHash("secret"), scopes: ["write"] };
  const ends: Record<string, readonly ApiToken[]> = {
    removed: [],
    expired: [{ ...token, untilMs: 1 }],
    "a reader's": [{ ...token, scopes: ["read"] }],
  };
  for (const [how, then] of Object.entries(ends)) {
    let tokens: readonly ApiToken[] = [token], begun = 0;
    const run = () => {
      if (++begun === 3) tokens = then;
      return Promise.resolve(done);
    };
    const mayGoOn = () => stillMay(token.hash, tokens, "write", 1);
    const job = new Jobs({ now: () => 1 })
      .start(plan(Array.from({ length: 9 }, (_, at) => task(`d-${at}`, run)), 1, mayGoOn));
    await job.finished;
    assert.deepEqual([job.state, begun, job.count("done"), job.count("left")], ["cancelled", 3, 3, 6], how);
  }
});

Deno.test("jobs: a page is told of progress, seldom; a worker that closes cancels; too many at a time are refused", async () => {
  const events = new EventHub(), told: string[] = [], jobs = new Jobs({ events, now: () => 1 });
  events.listen(({ name, topic }) => told.push(`${name} ${topic}`));
  const many = jobs.start(plan(Array.from({ length: 200 }, (_, at) => task(`d-${at}`, () => Promise.resolve(done)))));
  await many.finished;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual(told, [`job job:${many.id}`]);
  const ends: (() => void)[] = [];
  const wait: Task["run"] = async () => {
    await new Promise<void>((resolve) => ends.push(resolve));
    return done;
  };
  const open = Array.from({ length: 8 }, () => jobs.start(plan([task("a", wait), task("b", wait), task("c", wait)])));
  assert.throws(() => jobs.start(plan([task("a", wait)])), /8 jobs are under way/);
  await new Promise((resolve) => setTimeout(resolve, 0));
  events.close();
  for (const end of ends) end();
  await Promise.all(open.map(({ finished }) => finished));
  assert.deepEqual(new Set(open.map(({ state }) => state)), new Set(["cancelled"]));
  assert.equal(told.length, 1, "nobody is told after the end");
});
