/**
 * The agent as a library: opens the device's database, keeps it twinned with the cloud, and gives typed access to its
 * models. A thin shell: it owns the lifetimes (database, lease, link, timer, commit watch) and drives the `Twin`, which
 * has the logic.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { DeviceReport, FromCloud } from "../protocol.ts";
import { Log } from "../protocol/log.ts";
import { type OneTableSchema, SyncError } from "../schema.ts";
import { type ModelApi, modelApi } from "./api/models.ts";
import { type WatchedChange, Watchers, type WatchOptions } from "./api/watchers.ts";
import { tokenPath } from "./credentials/token_file.ts";
import { MqttLink } from "./link.ts";
import type { Clock, Transport } from "./ports.ts";
import { CommitWatch } from "./sqlite/commit_watch.ts";
import { closedError } from "./sqlite/driver.ts";
import type { Lease } from "./sqlite/lease.ts";
import { statusOf } from "./status.ts";
import { dropKept, type KeptTable, listKept, restoreKept } from "./store/kept.ts";
import type { Store } from "./store/store.ts";
import { Twin } from "./twin.ts";
import type { AgentOptions, AgentStatus, KeptApi, WaitOptions } from "./types.ts";
import { FileWatch } from "./upkeep/file_watch.ts";
import { Reporter } from "./upkeep/reporter.ts";
import {
  askVerify,
  type Difference,
  differences,
  type VerifyOptions,
  type VerifyReport,
  verifyReport,
} from "./verify/report.ts";
import { Waiters } from "./waiters.ts";

/** Longest sleep between two looks at the clock. */
const tickMaxMs = 1_000;
const log = new Log("agent");

/** A running agent. Close it, or use `await using`. */
export class Agent<S extends OneTableSchema = OneTableSchema> implements AsyncDisposable {
  readonly #twin: Twin;
  readonly #transport: Transport | undefined;
  readonly #watchers: Watchers;
  readonly #arrivals: FromCloud[] = [];
  readonly #release: (() => void)[] = [];
  /** Aborts with the error of calls after the close. */
  readonly #ending = new AbortController();
  readonly #waiters = new Waiters(this.#ending.signal, () => this.#lastError);
  readonly #ended = Promise.withResolvers<SyncError | undefined>();
  /** Why the agent stopped by itself. */
  #fault: SyncError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #commitQueued = false;
  #closed: Promise<void> | undefined;
  readonly #reporter: Reporter;
  readonly #fileWatch: FileWatch;

  /** Use {@link openAgent}. */
  constructor(
    /** @internal */
    readonly store: Store,
    private readonly options: AgentOptions<S>,
    lease: Lease,
    /** The database was recognised as a copy of an earlier time: a snapshot brings it up to date. */
    readonly restored: boolean,
  ) {
    const clock = options.clock ?? systemClock;
    this.#transport = typeof options.mqtt === "string"
      ? new MqttLink({ ...options, url: options.mqtt, identity: store.identity, tokenFile: tokenFileOf(options.path) })
      : options.mqtt;
    this.#watchers = new Watchers(store);
    this.#twin = new Twin({
      store,
      transport: this.#transport ?? { send: () => false },
      clock,
      random: options.random ?? cryptoRandom,
      limits: options.limits,
      onApplied: () => this.#watchers.wake(),
    });
    this.#reporter = new Reporter(this.#twin, options.path, this.#transport?.rotation !== undefined);
    if (restored) {
      log.warn("{path} is a restored copy of an earlier time: a snapshot brings it up to date", { path: options.path });
    }
    this.#fileWatch = new FileWatch(options.path, store, this.#twin.context.problems);
    // After a fault, the next start must check the whole file.
    this.#release.push(() => store.close(), () => this.#fault ?? lease.ended(), () => lease[Symbol.dispose]());
    this.#startShell(options.path, store);
  }

  /** Resolves when the agent is closed: with the reason where it stopped by itself. */
  get closed(): Promise<SyncError | undefined> {
    return this.#ended.promise;
  }

  #startShell(path: string, store: Store): void {
    this.#transport?.start({
      connected: () => this.#event(() => this.#twin.onConnected()),
      disconnected: (reason) => {
        this.#arrivals.length = 0;
        this.#event(() => this.#twin.onDisconnected(reason));
      },
      message: (message) => this.#arrived(message),
      refused: (topic, reason) => this.#event(() => this.#twin.onRefused(topic, reason)),
      unreadable: (reason, answers) => this.#event(() => this.#twin.onUnreadable(reason, answers)),
      describe: () => this.#described(),
    });
    if (path !== ":memory:") {
      const watch = new CommitWatch(path, {
        onWake: () => this.#event(() => this.#twin.onCommit()),
        dataVersion: () => Number(store.db.sql("PRAGMA data_version").get()!.data_version),
      });
      this.#release.unshift(() => watch.close());
    }
    this.#tick();
  }

  #tick = (): void => {
    if (this.#closed) return;
    const reason = this.#fileWatch.look(this.#twin.context.clock.clock.monotonicMs());
    if (reason) return this.#stop(reason);
    this.#tellLink();
    let due = tickMaxMs;
    this.#event(() => due = this.#twin.tick() - this.#twin.context.clock.monotonicMs());
    this.#tellReport();
    this.#timer = setTimeout(this.#tick, Math.max(5, Math.min(tickMaxMs, due)));
  };

  /** The device's report when it connects. By then it is no longer offline. */
  #described(): DeviceReport {
    this.#tellLink();
    const report = this.#reporter.make();
    this.#reporter.sent(report);
    return report;
  }

  #tellReport(): void {
    if (this.#closed || !this.#twin.connected || !this.#transport?.report) return;
    try {
      const report = this.#reporter.due();
      if (report) this.#transport.report(report);
    } catch (error) {
      // The database can't be read now; the twin gets the same error and reports it.
      if (!(error instanceof SyncError)) throw error;
    }
  }

  /**
   * Cuts the link to the cloud until {@link resume}, as if the network were away: local writes wait in the outbox. For
   * tests, demonstrations, and devices that must not communicate now.
   *
   * @throws TypeError if the transport can't
   */
  pause(): void {
    this.#mustBeOpen();
    if (!this.#transport?.pause) throw new TypeError("this agent has no link that can be cut");
    this.#transport.pause();
  }

  /** Connects again after {@link pause}. */
  resume(): void {
    this.#mustBeOpen();
    this.#transport?.resume?.();
  }

  /** Why there is no connection is in `problem` and `last_error`, too: the twin knows only that there is none. */
  #tellLink(): void {
    const { context: { problems }, facts } = this.#twin, trouble = this.#transport?.trouble;
    for (const name of ["credentials", "duplicate", "offline"] as const) {
      if (trouble?.name === name) problems.raise(name, trouble.sentence, { journal: false });
      else problems.clear(name, { journal: false });
    }
    if (trouble && !this.#twin.connected && facts.get("lastError") !== trouble.sentence) {
      facts.error(trouble.sentence, this.#twin.context.clock.nowMs());
    }
  }

  /** Ends the agent because it cannot continue; {@link Agent.closed} has the reason. */
  #stop(reason: SyncError): void {
    this.#fault = reason;
    void this.close();
  }

  /** @throws SyncError `closed` */
  #mustBeOpen(): void {
    if (this.#closed) throw this.#ending.signal.reason;
  }

  /** Messages that arrive in one turn of the event loop are applied together: under load they share a commit. */
  #arrived(message: FromCloud): void {
    if (this.#closed) return;
    this.#twin.onArrival(message);
    if (this.#arrivals.push(message) > 1) return;
    setImmediate(() => {
      const messages = this.#arrivals.splice(0);
      if (messages.length > 0) this.#event(() => this.#twin.onMessages(messages));
    });
  }

  #event(step: () => void): void {
    if (this.#closed) return;
    step();
    if (this.#closed) return;
    this.#waiters.look();
  }

  /**
   * The typed API of a model: `create`, `get`, `find`, `update`, `upsert`, `remove` and more. Writes are local, durable
   * when they return, and are synced in the background.
   *
   * @throws RangeError for a model that the schema does not have on the device
   */
  model<const M extends keyof S["models"] & string>(name: M): ModelApi<S, M> {
    this.#mustBeOpen();
    return modelApi<S, M>(this.store, name, () => this.#wrote());
  }

  /** Changes that the cloud refused for good. */
  get rejected(): KeptApi {
    return this.#kept("_rejected");
  }

  /** Versions that lost a conflict. */
  get conflicts(): KeptApi {
    return this.#kept("_conflicts");
  }

  #kept(table: KeptTable): KeptApi {
    this.#mustBeOpen();
    const { store } = this, file = { db: store.db, schema: store.schema, identity: store.identity };
    return {
      list: (options) => listKept(store.db, table, options),
      restore: (id, options) => {
        const kept = restoreKept(file, table, id, options);
        this.#wrote();
        return kept;
      },
      drop: (which = {}) => dropKept(store.db, table, which),
    };
  }

  #wrote(): void {
    if (this.#commitQueued) return;
    this.#commitQueued = true;
    queueMicrotask(() => {
      this.#commitQueued = false;
      this.#event(() => this.#twin.onCommit());
    });
  }

  /**
   * Runs `fn` in one transaction: all writes of all models in it are committed together when it returns, none if it
   * throws. Other processes wait for it: keep it short. Other processes see all of it or nothing; the cloud gets the
   * items one by one.
   *
   * @param fn must be synchronous
   * @throws what `fn` throws; SyncError `busy`, `full`, `io`; TypeError for a function that returns a promise
   */
  transaction<T>(fn: () => T): T {
    this.#mustBeOpen();
    const result = this.store.tx(fn);
    this.#wrote();
    return result;
  }

  /**
   * Calls back for each change of a model that came from the cloud, after it is committed, in order. It does not report
   * the device's own changes. With `since`, it continues where an earlier watch ended, even after a restart: store the
   * `sequence` of the last change that you handled. If a callback throws, it still gets the next change, and so do all
   * other callbacks; the error is reported as an uncaught one (the global `error` event).
   *
   * @returns a function that ends it
   * @throws SyncError `trimmed` if changes after `since` are no longer retained; RangeError for an unknown model
   */
  watch<const M extends keyof S["models"] & string>(
    model: M,
    watcher: (change: WatchedChange) => void,
    options: WatchOptions = {},
  ): () => void {
    this.#mustBeOpen();
    const compiled = this.store.schema.models.get(model);
    if (!compiled?.onDevice) throw new RangeError(`the schema has no model "${model}" on the device`);
    return this.#watchers.add(compiled, watcher, options);
  }

  /** The number of the newest change that came from the cloud, for `since` of {@link Agent.watch}. */
  get sequence(): number {
    this.#mustBeOpen();
    return this.#watchers.sequence;
  }

  /** Waits until every local change is acknowledged by the cloud. @throws SyncError `timeout`, `closed`; the signal's reason */
  async flush(options: WaitOptions = {}): Promise<void> {
    this.#mustBeOpen();
    this.#event(() => this.#twin.onCommit());
    await this.#waiters.until("every local change is acknowledged", () => this.#twin.drained, options);
  }

  /**
   * Asks the cloud for what is new, and waits until every channel is caught up and the items that had to be asked for by
   * name are here. An item with an unsent change is asked for once that is sent: `flush` first. @throws as `flush`
   */
  async sync(options: WaitOptions = {}): Promise<void> {
    this.#mustBeOpen();
    this.#event(() => this.#twin.resync());
    await this.#waiters.until(
      "every channel is caught up",
      () => this.#twin.connected && this.#twin.downlink.arrived,
      options,
    );
  }

  /**
   * Compares every row with the table's item by digests, and with `repair` repairs differences by the conflict rules:
   * for rows that were altered without the triggers, or a table that was restored. Waits for the link.
   *
   * @returns what was compared and what differed; the first thousand differences by name
   * @throws RangeError for an unknown model; SyncError `timeout`; the signal's reason: the verification then continues
   * in the background
   */
  async verify(
    { models, repair, keysPerSecond, ...wait }: VerifyOptions & WaitOptions = {},
  ): Promise<VerifyReport & { readonly found: Difference[] }> {
    this.#mustBeOpen();
    const { db, schema } = this.store;
    for (const name of models ?? []) {
      if (!schema.models.get(name)?.onDevice) throw new RangeError(`the schema has no model "${name}" on the device`);
    }
    const id = askVerify(db, { models, repair, keysPerSecond });
    this.#twin.verify.notice();
    clearTimeout(this.#timer);
    this.#tick();
    await this.#waiters.until("the verification is done", () => verifyReport(db, id).state === "done", wait);
    return { ...verifyReport(db, id), found: differences(db) };
  }

  get #lastError(): string | undefined {
    return this.#twin.lastError ?? (this.#transport instanceof MqttLink ? this.#transport.lastError : undefined);
  }

  /** The agent's present state. */
  status(): AgentStatus {
    this.#mustBeOpen();
    return statusOf(this.#twin, this.#lastError);
  }

  /**
   * Stops syncing and closes the database. Changes that were not acknowledged stay in the outbox. Pending calls of
   * `flush`, `sync` and `verify` reject with a SyncError `closed`, and so does every later call except this one.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#ending.abort(closedError(this.#fault?.message));
    clearTimeout(this.#timer);
    this.#watchers.close();
    this.#twin.onDisconnected();
    await this.#transport?.close();
    for (const release of this.#release) release();
    this.#ended.resolve(this.#fault);
  }

  /** As {@link Agent.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** A database in memory has no place for a token. */
function tokenFileOf(path: string): string | undefined {
  return path === ":memory:" ? undefined : tokenPath(path);
}

/** The machine's clocks. */
export const systemClock: Clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

function cryptoRandom(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}
