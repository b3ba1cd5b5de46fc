/**
 * Planted bugs of liveness under load: what keeps a fleet that comes back at once from asking for ever.
 *
 * @module
 */
import { guarded, type Mutant, one } from "./mutant.ts";

const questions = "agent/sync/questions.ts", answering = "cloud/sync/answering.ts";
const askLimit = "cloud/sync/ask_limit.ts", virtual = "tests/cloud/sync/storm_test.ts";
const service = "tests/cloud/sync/service_test.ts", downlink = "tests/agent/sync/downlink_test.ts";

/** The planted bugs. */
export const storms: readonly Mutant[] = [
  one(
    "asked again under a new id",
    "an answer to any transmission of a question is taken, however late",
    "storm",
    questions,
    `const moved = channels.filter((c) => this.#askedFrom.get(c) !== JSON.stringify(this.asker.cursorOf(c)));`,
    `const moved = channels;`,
  ),
  guarded(
    "every repetition worked through",
    "of a device's questions of a channel one waits, the newest",
    service,
    answering,
    `if (rest === message) continue;`,
    `if (rest === message || rest === undefined) continue;`,
  ),
  guarded(
    "answered twice at once",
    "a question that is being answered is not asked beside it",
    service,
    answering,
    `if (sync.later && this.#isBeingAnswered(work.deviceId, sync)) {`,
    `if (sync.later && work.bytes < 0) {`,
  ),
  guarded(
    "compared twice at once",
    "a comparison, a probe or a fetch that is being answered is not answered beside it",
    `${service}#a comparison or a fetch`,
    answering,
    `...this.#asking.get(work.deviceId) ?? []];`,
    `];`,
  ),
  guarded(
    "an answer for who was away",
    "a question of another id is a new one, though its cursors are the same",
    `${service}#is left to its answer`,
    answering,
    `      .filter(({ request }) => request === sync.request);`,
    `;`,
  ),
  guarded(
    "as many questions as ever",
    "the slower the table, the fewer questions are answered at once",
    "tests/cloud/sync/ask_limit_test.ts",
    askLimit,
    `if (isSlow) this.#slots = Math.max(leastSlots, Math.floor(this.#slots * 0.75));`,
    `if (isSlow) return;`,
  ),
  guarded(
    "its own queue for the table's speed",
    "how fast the table is follows from when one question at most is answered",
    "tests/cloud/sync/ask_limit_test.ts",
    askLimit,
    `if (asks <= 1) return this.#calm(meanMs, now);`,
    `if (asks <= 1 || this.#baseMs === undefined) return this.#calm(meanMs, now);`,
  ),
  guarded(
    "looked up to be told to wait",
    "who is told to wait costs no read",
    `${virtual}#who is told to wait`,
    answering,
    `    if (!this.context.registry.mayExist(deviceId)) return;`,
    `    void this.context.registry.identityOf(deviceId);`,
  ),
  guarded(
    "waited for in a slot",
    "a read that many share is waited for without a slot",
    `${virtual}#450,000 idle devices`,
    answering,
    `this.#parking.wait(deviceId, log.ready(shared, asked));`,
    `this.#parking.wait(deviceId, undefined);`,
  ),
  guarded(
    "a moment of a quarter second",
    "a channel that begins to be throttled holds up others for about as long as a batch takes",
    `${virtual}#global log is throttled`,
    "cloud/sync/stream_window.ts",
    `Math.max(momentMinMs, usualTimes * this.#usualMs)`,
    `Math.max(momentMaxMs, usualTimes * this.#usualMs)`,
  ),
  guarded(
    "one queue for all",
    "batches have slots of their own: live writes do not wait for catch-ups",
    service,
    answering,
    `return this.#take(this.#ups, work).finally(`,
    `return this.#take(this.#asks, work).finally(`,
  ),
  guarded(
    "first come, first served",
    "each device in turn, whatever one of them has sent",
    "tests/cloud/sync/fair_queue_test.ts",
    "cloud/sync/fair_queue.ts",
    `      this.#devices.delete(deviceId);
      if (list.length > 0) this.#devices.set(deviceId, list);`,
    `      if (list.length === 0) this.#devices.delete(deviceId);`,
  ),
  guarded(
    "patience that never grows",
    "the wait for an answer doubles up to a minute",
    downlink,
    "agent/sync/requests.ts",
    `backoffMs(repeats + 1, `,
    `backoffMs(1, `,
  ),
  guarded(
    "later unheard",
    "who is told when asks again only then",
    downlink,
    questions,
    `if (out.id === request) postpone(out, now, afterMs);`,
    `if (out.id === request) postpone(out, now, 0);`,
  ),
  guarded(
    "everybody at once",
    "what many devices miss is asked for after a random part of the window",
    downlink,
    questions,
    `if (windowMs === 0) return this.sync([channel], false);`,
    `if (windowMs >= 0) return this.sync([channel], false);`,
  ),
  guarded(
    "back in silence",
    "a worker that begins to receive says so, and who waits asks again",
    downlink,
    questions,
    `for (const out of new Set(this.#out())) hasten(out, now, windowMs, random);`,
    `for (const out of new Set(this.#out())) hasten(out, now, 3_600_000 + windowMs, random);`,
  ),
  guarded(
    "nobody says that the worker is back",
    "what was asked before the worker had subscribed again is asked again at once",
    "tests/e2e/storm_test.ts",
    "cloud/receiver.ts",
    `this.options.subscribed?.();`,
    ``,
  ),
  guarded(
    "a read from before the question",
    "a shared read begins after it was asked for",
    "tests/cloud/sync/shared_read_test.ts",
    "cloud/sync/shared_read.ts",
    `if (last && last.begun > asked &&`,
    `if (last && last.begun > 0 &&`,
  ),
  guarded(
    "a slow log before all others",
    "one channel that is throttled holds up no other",
    service,
    "cloud/sync/stream_window.ts",
    `await this.#moment(isBehind ? Promise.all(fresh) : done, signal);`,
    `await done;`,
  ),
  guarded(
    "oldest entry forgotten first",
    "a cache forgets what was not used for longest",
    "tests/cloud/sync/lru_test.ts",
    "cloud/sync/lru.ts",
    `    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;`,
    `    return entry.value;`,
  ),
];
