/**
 * A check after a snapshot whose list came from a secondary index. If the index missed an item that the device lacks,
 * no digest of the same reading can show it (rule C4). So the device compares the channel once more, a minute later, by
 * the walk of a verification, and fetches each key that differs by name. The pending check is stored in `_sync`: a kill
 * loses nothing, a restart starts it again.
 *
 * @module
 */
import type { Model } from "../../schema/model.ts";
import type { Channel, Digests, FromDevice, Key } from "../../protocol.ts";
import { ChannelWalk } from "../verify/walk.ts";
import type { Context } from "./context.ts";
import { waitMs } from "./requests.ts";
import { modelsOf } from "./snapshot.ts";

/** An index shows what it missed after this long, if it ever does. */
const afterMs = 60_000;

interface Run {
  readonly channel: Channel;
  readonly walk: ChannelWalk;
  ask?: { readonly message: FromDevice; readonly request: string; repeats: number; overdueMs: number };
}

/** What the check needs of the downlink. */
export interface Fetcher {
  readonly channels: readonly Channel[];
  readonly caughtUp: boolean;
  fetch(): void;
}

function metaName(channel: Channel): string {
  return `listCheck:${channel}`;
}

/** The name under which the listed keys are stored in `_sync_seen`; no channel has this name. */
function seenName(channel: Channel): string {
  return `check ${channel}`;
}

/** In the transaction that ends a snapshot from an index that lags. */
export function planListCheck({ store, clock }: Context, channel: Channel): void {
  store.setMeta(metaName(channel), clock.nowMs() + afterMs);
}

/** See the module. Methods must run inside the twin's guard, `tick` only while the link is up. */
export class ListCheck {
  readonly #context: Context;
  readonly #fetcher: Fetcher;
  #run: Run | undefined;
  #counter = 0;

  constructor(context: Context, fetcher: Fetcher) {
    this.#context = context;
    this.#fetcher = fetcher;
  }

  /** Whether a check is due, now or later. */
  get pending(): boolean {
    return this.#fetcher.channels.some((channel) => this.#context.store.getMeta(metaName(channel)) !== undefined);
  }

  /** Memory is void, or the link is down: the current check starts again. */
  restart(): void {
    this.#run = undefined;
  }

  /** Continues the current check, or starts one that is due. Returns the next monotonic time that something is due. */
  tick(): number {
    const { clock, limits, random } = this.#context, now = clock.monotonicMs();
    if (!this.#run) this.#begin();
    const ask = this.#run?.ask;
    if (ask && ask.overdueMs <= now) {
      ask.overdueMs = now + waitMs(limits, ++ask.repeats, random);
      this.#context.send(ask.message);
    }
    return this.#run?.ask?.overdueMs ?? Infinity;
  }

  #begin(): void {
    const { store, clock, records } = this.#context;
    if (!clock.known || !this.#fetcher.caughtUp) return;
    const channel = this.#fetcher.channels.find((channel) => {
      const due = store.getMeta(metaName(channel));
      return due !== undefined && Number(due) <= clock.nowMs();
    });
    if (channel === undefined) return;
    this.#forgetSeen(channel);
    const finder = {
      // A row that the list lacks is a candidate, as after a snapshot: only an answered absence removes it.
      suspect: (model: Model, key: Key) => {
        const record = records.open(model, key);
        if (record.recheck !== undefined) return;
        if (store.rows(model).idByKey(key) === undefined) records.mark(record);
        else records.markUnseen(record);
        store.tx(() => records.save(record));
      },
      counted: () => {},
      full: false,
    };
    const walk = new ChannelWalk(this.#context, channel, modelsOf(this.#context, channel), finder, seenName(channel));
    this.#run = { channel, walk };
    this.#advance(this.#run);
  }

  #advance(run: Run): void {
    const { clock, limits, random, incarnation, store } = this.#context;
    for (let step = run.walk.step(); step !== undefined; step = run.walk.step()) {
      if (step === "again") continue;
      const request = `${incarnation}c/${++this.#counter}`, message = step(request);
      run.ask = { message, request, repeats: 0, overdueMs: clock.monotonicMs() + waitMs(limits, 0, random) };
      this.#context.send(message);
      return;
    }
    this.#run = undefined;
    store.tx(() => {
      this.#forgetSeen(run.channel);
      store.setMeta(metaName(run.channel), undefined);
    });
    this.#fetcher.fetch();
  }

  #forgetSeen(channel: Channel): void {
    const { store } = this.#context;
    store.tx(() => store.db.sql("DELETE FROM _sync_seen WHERE channel = ?").run(seenName(channel)));
  }

  /** Handles digests. False: this check did not ask for them. */
  digests(message: Digests): boolean {
    const run = this.#run;
    if (!run?.ask || run.ask.request !== message.request) return false;
    run.ask = undefined;
    run.walk.answered(message);
    this.#advance(run);
    return true;
  }
}
