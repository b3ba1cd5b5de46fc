/**
 * Verification: finds the rows that differ from the table's items, by digests instead of items, and repairs them on
 * request. It is for what the protocol can't see: a row altered without the triggers, a table restored from a backup, a
 * bug.
 *
 *   walk     a channel's ranges are compared by digest; one that differs is asked for item by item; rows of a model that
 *            only syncs up are asked for by key (`walk.ts`)
 *   settle   keys that seem to differ wait until what is under way has arrived: an ordinary sync, and a moment more
 *   look     each is fetched and compared again; only what differs now is a difference; repaired keys are looked at again
 *
 * Guarantee: only `repair` writes, and its writes are synced like any change. Memory is bounded by a range and by
 * {@link suspectsMax}; the cloud stores nothing. After a lost message, the question is repeated; after a restart, the
 * verification starts again.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import {
  type Digests,
  type Entry,
  fetchKeysMax,
  type FromDevice,
  type Items,
  type Key,
  probeKeysMax,
  runningStart,
} from "../../protocol.ts";
import type { Context } from "../sync/context.ts";
import type { Downlink } from "../sync/downlink.ts";
import { waitMs } from "../sync/requests.ts";
import { comesDown, goesUp, keyText } from "../sync/items.ts";
import { modelsOf } from "../sync/snapshot.ts";
import { ident } from "../store/sql.ts";
import { judge, judgeUp, type Verdict } from "./keys.ts";
import {
  type Difference,
  differences,
  differencesMax,
  keepReport,
  newReport,
  nextVerify,
  type VerifyOptions,
  type VerifyReport,
} from "./report.ts";
import { ChannelWalk, type Finder, probe, RowWalk, seenName, type Walk } from "./walk.ts";

/** The most keys that wait to be examined; beyond that, the walk pauses. */
const suspectsMax = 1000;
/** How long an examination waits for the ordinary sync. */
const catchUpMaxMs = 60_000;
/**
 * How long a key is examined again while it has changes under way, or is being repaired: a removal may be held for 30
 * s.
 */
const patienceMs = 90_000;
/** How often a key that awaits its echo is examined before it is judged anyway. */
const echoLooks = 5;
/** How often new requests are read, and a report is written. */
const noticeMs = 1_000;
/** How often the cloud is told how far it is. */
const progressMs = 5_000;
/** The most differences in the report for the cloud. */
const toldMax = 100;

/** A key that seems to differ. */
interface Suspect {
  readonly model: Model;
  readonly key: Key;
  looks: number;
  /** When it was first examined. */
  sinceMs?: number;
  /** It was a difference and has been repaired; its number in `_verify`, 0 if it was not stored. */
  mending?: number;
}

interface Run {
  readonly id: number;
  readonly options: VerifyOptions;
  readonly report: VerifyReport;
  readonly walks: Walk[];
  readonly suspects: Suspect[];
  /** Suspects that settle or are being examined. */
  look?: { readonly suspects: Suspect[]; readonly sinceMs: number };
  ask?: { readonly request: string; readonly message: FromDevice; readonly repeats: number; overdueMs: number };
  notBeforeMs: number;
  keptMs: number;
  progressMs: number;
}

/** See the module. Methods must run inside the twin's guard. */
export class Verify {
  readonly #context: Context;
  readonly #downlink: Downlink;
  #run: Run | undefined;
  #nextLookMs = 0;
  #counter = 0;

  constructor(context: Context, downlink: Downlink) {
    this.#context = context;
    this.#downlink = downlink;
  }

  /** Memory is void: the current verification starts again. */
  restart(): void {
    this.#run = undefined;
    this.#nextLookMs = 0;
  }

  /** The link is down: open questions are repeated when it is up. */
  disconnected(): void {
    if (this.#run) this.#run.ask = undefined;
  }

  /** A verification was requested: it starts with the next {@link tick}. */
  notice(): void {
    this.#nextLookMs = 0;
  }

  /** Does what is due by time, while the link is up. Returns the next monotonic time that something is due. */
  tick(): number {
    const now = this.#now();
    if (!this.#run && now >= this.#nextLookMs) {
      this.#nextLookMs = now + noticeMs;
      this.#begin(now);
    }
    const run = this.#run;
    if (!run) return Infinity;
    if (run.ask && now >= run.ask.overdueMs) this.#send(run, run.ask.message);
    this.#advance(run);
    if (this.#run && now >= run.keptMs + noticeMs) this.#keep(run);
    if (this.#run && now >= run.progressMs + progressMs) this.#tellProgress(run, now);
    return Math.max(now + 1, Math.min(run.ask?.overdueMs ?? run.notBeforeMs, now + noticeMs));
  }

  #now(): number {
    return this.#context.clock.monotonicMs();
  }

  #begin(now: number): void {
    const { store, clock } = this.#context;
    const found = nextVerify(store.db);
    if (!found) return;
    const { id, options } = found;
    const wanted = (model: Model) => options.models === undefined || options.models.includes(model.name);
    const report = Object.assign(newReport("running"), { startedMs: Math.round(clock.clock.wallMs()) });
    const suspects: Suspect[] = [];
    const finder: Finder = {
      suspect: (model, key) => void suspects.push({ model, key, looks: 0 }),
      counted: ({ name }, rows) => void (report.models[name]!.rows += rows),
      get full() {
        return suspects.length >= suspectsMax;
      },
    };
    const channels = this.#downlink.channels.flatMap((channel) => {
      const models = modelsOf(this.#context, channel).filter(wanted);
      return models.length > 0 ? [new ChannelWalk(this.#context, channel, models, finder)] : [];
    });
    const up = [...store.schema.models.values()]
      .filter((model) => model.onDevice && goesUp(model) && !comesDown(model) && wanted(model))
      .map((model) => new RowWalk(this.#context, model, finder));
    const walks: Walk[] = [...channels, ...up];
    for (const { name } of walks.flatMap(({ models }) => [...models])) {
      report.models[name] = { rows: 0, differences: 0, mended: 0 };
    }
    report.of = Object.keys(report.models).reduce((sum, name) => {
      return sum + Number(store.db.prepare(`SELECT count(*) AS n FROM ${ident(name)}`).get()!.n);
    }, 0);
    this.#run = { id, options, report, walks, suspects, notBeforeMs: now, keptMs: -Infinity, progressMs: now };
    store.tx(() => {
      store.db.sql("DELETE FROM _verify").run();
      this.#forgetSeen();
    });
  }

  #forgetSeen(): void {
    for (const channel of this.#downlink.channels) {
      this.#context.store.db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(seenName(channel));
    }
  }

  #keep(run: Run): void {
    run.keptMs = this.#now();
    this.#context.store.tx(() => keepReport(this.#context.store, run.id, run.report));
  }

  #tellProgress(run: Run, now: number): void {
    run.progressMs = now;
    const { progress, request } = run.options;
    if (progress && request !== undefined) this.#tell(run, runningStart + request, {});
  }

  /** Tells the cloud, which asked. */
  #tell({ report }: Run, request: string, more: { readonly found?: readonly Difference[] }): void {
    this.#context.send({ type: "verified", request, report: JSON.parse(JSON.stringify({ ...report, ...more })) });
  }

  #ask(run: Run, message: (request: string) => FromDevice): void {
    this.#send(run, message(`${this.#context.incarnation}v/${++this.#counter}`));
  }

  #send(run: Run, message: FromDevice): void {
    const { limits, random } = this.#context;
    const request = (message as { request: string }).request;
    const repeats = run.ask ? run.ask.repeats + 1 : 0;
    run.ask = { request, message, repeats, overdueMs: this.#now() + waitMs(limits, repeats, random) };
    this.#context.send(message);
  }

  /** Does the next step, if no answer is awaited. */
  #advance(run: Run): void {
    if (run.ask || this.#now() < run.notBeforeMs) return;
    if (run.look) return this.#look(run, run.look);
    if (run.suspects.length > 0) {
      const { model } = run.suspects[0]!;
      const alike = (s: Suspect) => comesDown(model) ? comesDown(s.model) : s.model === model;
      const most = Math.min(fetchKeysMax, probeKeysMax);
      const length = run.suspects.findIndex((suspect, i) => i === most || !alike(suspect));
      run.look = { suspects: run.suspects.splice(0, length < 0 ? run.suspects.length : length), sinceMs: this.#now() };
      this.#downlink.sync(undefined, false);
      run.notBeforeMs = this.#now() + this.#context.limits.settleMs;
      return;
    }
    const [walk] = run.walks;
    if (!walk) return this.#finish(run);
    const step = walk.step();
    if (typeof step === "function") return this.#ask(run, step);
    if (step === undefined) run.walks.shift();
    this.#advance(run);
  }

  /** The answer to a comparison or a probe. */
  digests(message: Digests): void {
    const run = this.#answered(message.request);
    if (!run) return;
    if (run.look) this.#lookedUp(run, run.look, message);
    else run.walks[0]!.answered(message);
    this.#advance(run);
  }

  #answered(request: string): Run | undefined {
    const run = this.#run;
    if (run?.ask?.request !== request) {
      this.#context.counters.ignored++;
      return undefined;
    }
    run.ask = undefined;
    return run;
  }

  /** Fetches the table's present state of the suspects, after changes under way have arrived. */
  #look(run: Run, { suspects, sinceMs }: NonNullable<Run["look"]>): void {
    if (!this.#downlink.caughtUp && this.#now() < sinceMs + catchUpMaxMs) {
      run.notBeforeMs = this.#now() + this.#context.limits.settleMs / 4;
      return;
    }
    const { model } = suspects[0]!, keys = suspects.map(({ key }) => key);
    if (comesDown(model)) this.#ask(run, (request) => ({ type: "fetch", request, keys }));
    else this.#ask(run, probe(model, keys));
  }

  /** Handles fetched items. False: they are not for a verification. */
  items(message: Items): boolean {
    const run = this.#run;
    if (!run?.look || run.ask?.request !== message.request) return false;
    run.ask = undefined;
    const found = new Map(message.entries.map((entry) => [keyText(entry.key), entry]));
    this.#judgeAll(run, run.look.suspects, ({ model, key, looks }) => {
      const entry: Entry | undefined = found.get(keyText(key));
      return entry && judge(this.#context, model, key, entry.current, looks < echoLooks);
    });
    this.#advance(run);
    return true;
  }

  #lookedUp(run: Run, { suspects }: NonNullable<Run["look"]>, { items = [] }: Digests): void {
    const found = new Map(items.map((item) => [keyText(item.key), item.digest]));
    this.#judgeAll(
      run,
      suspects,
      ({ model, key }) => judgeUp(this.#context, model, key, found.get(keyText(key))),
    );
  }

  /** Judges suspects and repairs differences; keys to be examined again go after the others. */
  #judgeAll(run: Run, suspects: readonly Suspect[], verdictOf: (suspect: Suspect) => Verdict | undefined): void {
    const { store } = this.#context;
    let acted = 0;
    store.tx(() => {
      for (const suspect of suspects) {
        const verdict = verdictOf(suspect);
        suspect.looks++;
        suspect.sinceMs ??= this.#now();
        if (verdict === "equal") this.#mended(run, suspect);
        else if (verdict === undefined || verdict === "unsettled" || suspect.mending !== undefined) {
          // Left out of the answer, which would have been too large: examined again.
          if (this.#now() < suspect.sinceMs + patienceMs) run.suspects.push(suspect);
          else if (suspect.mending === undefined) run.report.unsettled++;
        } else {
          suspect.mending = this.#differs(run, suspect, verdict);
          if (!run.options.repair || !verdict.mend) continue;
          verdict.mend();
          acted++;
          run.suspects.push(suspect);
        }
      }
      keepReport(store, run.id, run.report);
    });
    run.look = undefined;
    run.notBeforeMs = this.#now() + acted * 1000 / (run.options.keysPerSecond ?? 50);
    if (acted > 0) this.#downlink.fetch();
  }

  #differs({ report }: Run, { model }: Suspect, { key, what, detail }: Exclude<Verdict, string>): number {
    const { store, clock } = this.#context;
    report.differences++;
    report.models[model.name]!.differences++;
    if (report.differences > differencesMax) return 0;
    store.db.sql("INSERT INTO _verify(model, key, what, detail, mended, time) VALUES (?, ?, ?, ?, 0, ?)")
      .run(model.name, JSON.stringify(key), what, detail, Math.round(clock.nowMs()));
    return Number(store.db.sql("SELECT max(id) AS id FROM _verify").get()!.id);
  }

  #mended({ report }: Run, { model, mending }: Suspect): void {
    if (mending === undefined) return;
    report.mended++;
    report.models[model.name]!.mended++;
    this.#context.store.db.sql("UPDATE _verify SET mended = 1 WHERE id = ?").run(mending);
  }

  #finish(run: Run): void {
    const { store, clock } = this.#context;
    Object.assign(run.report, { state: "done", endedMs: Math.round(clock.clock.wallMs()) });
    store.tx(() => {
      keepReport(store, run.id, run.report);
      this.#forgetSeen();
    });
    this.#run = undefined;
    this.#nextLookMs = 0;
    const { request } = run.options;
    if (request !== undefined) this.#tell(run, request, { found: differences(store.db, toldMax) });
  }
}
