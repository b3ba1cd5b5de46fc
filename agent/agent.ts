/**
 * The agent as a library: opens the device's database, keeps it twinned with the cloud, and gives typed access to its
 * models. A thin shell: it owns the lifetimes (database, lease, link, timer, commit watch) and drives the `Twin`, which
 * has the logic.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { FromCloud } from "../protocol.ts";
import type { Identity, Schema } from "../schema/model.ts";
import { checkId, compiledOf, identityProblem, type OneTableSchema, SyncError } from "../schema.ts";
import type { Counters, Limits } from "./sync/context.ts";
import { closedError } from "./sqlite/driver.ts";
import { shareWithGroup } from "./sqlite/private_file.ts";
import { fileIdentity } from "./sqlite/real_path.ts";
import type { Driver } from "./sqlite/driver.ts";
import { ffiDriver } from "./sqlite/driver_ffi.ts";
import { beginGeneration } from "./upkeep/generation.ts";
import { dropKept, type Kept, type KeptList, type KeptTable, listKept, restoreKept } from "./store/kept.ts";
import { type Lease, takeLease } from "./sqlite/lease.ts";
import { MqttLink } from "./link.ts";
import { type ModelApi, modelApi } from "./api/models.ts";
import type { Clock, Transport } from "./ports.ts";
import { alteredError, openStore, type Store } from "./store/store.ts";
import { Twin } from "./twin.ts";
import type { DeviceReport } from "../protocol.ts";
import { Reporter } from "./upkeep/reporter.ts";
import type { Problem } from "./upkeep/problems.ts";
import {
  askVerify,
  type Difference,
  differences,
  type VerifyOptions,
  type VerifyReport,
  verifyReport,
} from "./verify/report.ts";
import { watchCommits } from "./sqlite/commit_watch.ts";
import { type WatchedChange, Watchers, type WatchOptions } from "./api/watchers.ts";

export type { Kept, KeptList } from "./store/kept.ts";
export type { Problem, ProblemName } from "./upkeep/problems.ts";
export type { Difference, VerifyOptions, VerifyReport } from "./verify/report.ts";
export type { WatchedChange, WatchOptions } from "./api/watchers.ts";

/** How an agent is opened. */
export interface AgentOptions<S extends OneTableSchema> {
  /** A schema literal (`defineSchema`), or one that was loaded and compiled. */
  readonly schema: S | Schema;
  /** This device: 1–128 of `A-Z a-z 0-9 _ . : -`. */
  readonly device: string;
  /** The account that the device belongs to; an id like the device's. */
  readonly account: string;
  /** The database file. It is created if missing. */
  readonly path: string;
  /** The broker's URL (`mqtt://`, `mqtts://`), or a transport. Absent: the agent works locally; changes wait. */
  readonly mqtt?: string | Transport;
  /** User name at the broker; default: the device's id. */
  readonly username?: string;
  /** Password at the broker: with Twintable's own, the token that `device add` prints. */
  readonly password?: string;
  /** PEM texts for TLS. */
  readonly ca?: string;
  /** The device's certificate, PEM. */
  readonly cert?: string;
  /** The certificate's key, PEM. */
  readonly key?: string;
  /** 4 (default): MQTT 3.1.1. 5: MQTT 5. */
  readonly protocolVersion?: 4 | 5;
  /** Bytes of one MQTT message, where the broker takes less than 128 KB; larger messages travel in parts. */
  readonly payloadBytesMax?: number;
  /** Topic prefix, default `tt`. */
  readonly prefix?: string;
  /** `full` (default): a commit survives a power cut. `normal`: the last commits before a power cut may be lost, not before a crash. */
  readonly synchronous?: "full" | "normal";
  /** The runtime's SQLite (default), or a library over FFI, which needs `--allow-ffi`. */
  /**
   * Let the file's group read and write the database (0660), so that applications of other users can open it. The group is the
   * folder's where the folder has the setgid bit. Default: its owner alone (0600).
   */
  readonly group?: boolean;
  /** What opens SQLite: the runtime's own (default), or a library by FFI. */
  readonly driver?: "builtin" | "ffi";
  /** Of the driver `ffi`: the library's file; default the system's SQLite. */
  readonly sqliteLibrary?: string;
  /** Of the driver `ffi`: the key of an encrypted database (SQLCipher). */
  readonly databaseKey?: string | Uint8Array;
  /** Bounds other than the defaults. */
  readonly limits?: Partial<Limits>;
  /** For tests: other clocks and randomness than the machine's. */
  readonly clock?: Clock;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

/** Where an agent stands. Times are ISO texts in the cloud's time. */
export interface AgentStatus {
  /** Whose database this is. */
  readonly device: string;
  /** Its account. */
  readonly account: string;
  /** Whether there is a connection to the broker. */
  readonly connected: boolean;
  /** Entries in the outbox, those in flight included. */
  readonly outbox: number;
  /** Changes in flight. */
  readonly inflight: number;
  /** Changes in `_rejected`. */
  readonly rejected: number;
  /** Versions in `_conflicts`. */
  readonly conflicts: number;
  /** Items from the cloud that their table can't take, and that are tried again. */
  readonly aside: number;
  /** What is wrong now, in sentences, the most important first. */
  readonly problem?: string;
  /** The same one by one, by name. */
  readonly problems: readonly Problem[];
  /** The outbox is full: writes to synced models are refused. */
  readonly full: boolean;
  /** Rows of models with `keep: "newest"` that gave way unsent, since the database was made. */
  readonly dropped: number;
  /** When the oldest change that waits was made, by the device's clock. */
  readonly oldest?: string;
  /** By channel, where the device is in its log; `snapshot`: one is under way. */
  readonly cursors: Record<string, { epoch?: string; seq?: number; snapshot?: boolean }>;
  /** Whether every channel has been read to its end since the connection came up. */
  readonly caughtUp: boolean;
  /** When the last batch was acknowledged. */
  readonly lastAck?: string;
  /** When the cloud was last heard of a channel. */
  readonly lastSync?: string;
  /** The last error since the connection came up. */
  readonly lastError?: string;
  /** How far the cloud's clock is ahead of this device's, ms; undefined until the cloud has told it. */
  readonly clockOffsetMs?: number;
  /** What has happened since the start. */
  readonly counters: Readonly<Counters>;
}

/** How long to wait, and how to stop waiting. */
export interface WaitOptions {
  /** Ends the wait; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** After so long the promise is rejected with a SyncError `timeout`. Default: it waits for ever. */
  readonly timeoutMs?: number;
}

/** What is kept for people: changes that the cloud refused, or versions that lost a conflict. */
export interface KeptApi {
  /** A page of them, oldest first. */
  list(options?: KeptList): Kept[];
  /**
   * Writes a version to its row again, as a new local change; it is no longer kept then.
   *
   * @throws SyncError `not-found`; `newer` where the row was written since, unless `force`; `invalid`, `constraint`,
   *   `read-only`, `full`, `busy`: nothing has changed then
   */
  restore(id: number, options?: { readonly force?: boolean }): Kept;
  /** Forgets one, all of a model, or all. @returns how many */
  drop(which?: { readonly id?: number; readonly model?: string }): number;
}

/** Longest sleep between two looks at the clock. */
const tickMaxMs = 1_000;
/** What was dropped or altered must stay so for this long before the agent stops: a migration tool may still be at it. */
const alteredGraceMs = 10_000;

/** A running agent. Close it, or use `await using`. */
export class Agent<S extends OneTableSchema = OneTableSchema> implements AsyncDisposable {
  readonly #twin: Twin;
  readonly #transport: Transport | undefined;
  readonly #watchers: Watchers;
  readonly #waiters: Set<() => void> = new Set();
  readonly #arrivals: FromCloud[] = [];
  readonly #release: (() => void)[] = [];
  /** Aborts with the reason that calls after the close fail with. */
  readonly #ending = new AbortController();
  readonly #ended = Promise.withResolvers<SyncError | undefined>();
  /** Which file the path led to when it was opened; undefined: a database in memory. */
  readonly #file: string | undefined;
  /** What was found dropped or altered, and since when, monotonic ms. */
  #alteredText = "";
  #alteredSinceMs = 0;
  /** Why the agent stopped by itself. */
  #fault: SyncError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #commitQueued = false;
  #closed: Promise<void> | undefined;
  readonly #reporter: Reporter;

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
      ? new MqttLink({ ...options, url: options.mqtt, identity: store.identity })
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
    this.#reporter = new Reporter(this.#twin, options.path);
    this.#file = options.path === ":memory:" ? undefined : fileIdentity(options.path);
    // After a fault the next start has to look at the file whole.
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
      describe: () => this.#described(),
    });
    if (path !== ":memory:") {
      const watch = watchCommits(path, {
        onWake: () => this.#event(() => this.#twin.onCommit()),
        dataVersion: () => Number(store.db.sql("PRAGMA data_version").get()!.data_version),
      });
      this.#release.unshift(() => watch.close());
    }
    this.#tick();
  }

  #tick = (): void => {
    if (this.#closed) return;
    const replaced = this.#replaced();
    if (replaced) return this.#stop(replaced);
    const altered = this.#altered();
    if (altered) return this.#stop(altered);
    this.#tellLink();
    let due = tickMaxMs;
    this.#event(() => due = this.#twin.tick() - this.#twin.context.clock.monotonicMs());
    this.#tellReport();
    this.#timer = setTimeout(this.#tick, Math.max(5, Math.min(tickMaxMs, due)));
  };

  /** What the device says of itself as it comes. */
  #described(): DeviceReport {
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
      // The database can't be read now, which the twin meets as well and tells.
      if (!(error instanceof SyncError)) throw error;
    }
  }

  /**
   * Cuts the link to the cloud until {@link resume}, as if the network were away: local writes wait in the outbox. For tests,
   * demonstrations, and devices that must not talk now.
   *
   * @throws TypeError where the transport can't
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

  /**
   * Whether the path leads to another file by now, or to none: SQLite goes on with the one without a name, and what is
   * written to it is lost at the close. A look of some microseconds a second.
   */
  #replaced(): SyncError | undefined {
    if (this.#file === undefined) return undefined;
    const { path } = this.options;
    const now = fileIdentity(path);
    if (now === this.#file) return undefined;
    const what = now === undefined ? "was removed" : "was replaced by another file";
    return new SyncError("replaced", `the database "${path}" ${what} while the agent had it open`, {
      hint: "start the agent again; replace a database only while no agent runs (mod.ts restore)",
    });
  }

  /**
   * Whether somebody has dropped or altered what the agent needs, and is done with it: a migration tool takes its time from one
   * statement to the next. Meanwhile nothing is written (`Store.tx`).
   */
  #altered(): SyncError | undefined {
    let names: readonly string[];
    try {
      names = this.store.altered();
    } catch {
      // The database can't be read now: the twin meets that, too, and tells it.
      return undefined;
    }
    const now = this.#twin.context.clock.clock.monotonicMs(), text = names.join();
    if (text !== this.#alteredText) {
      this.#alteredText = text;
      this.#alteredSinceMs = now;
      if (names.length > 0) this.#twin.context.problems.raise("altered", alteredError(names).message);
      else this.#twin.context.problems.clear("altered");
    }
    return names.length > 0 && now - this.#alteredSinceMs >= alteredGraceMs ? alteredError(names) : undefined;
  }

  /** What the broker has against this device stands in `problem`, too: the twin knows only that there is no connection. */
  #tellLink(): void {
    const { problems } = this.#twin.context, trouble = this.#transport?.trouble;
    for (const name of ["credentials", "duplicate"] as const) {
      if (trouble?.name === name) problems.raise(name, trouble.sentence);
      else problems.clear(name);
    }
  }

  /** Ends the agent for a reason that it can't go on after; {@link Agent.closed} tells it. */
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
    for (const waiter of [...this.#waiters]) waiter();
  }

  /**
   * The typed API of a model: `create`, `get`, `find`, `update`, `upsert`, `remove` and more. Writes are local, durable when they
   * return, and travel by themselves.
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
   * Runs `fn` in one transaction: all writes of all models in it are committed together when it returns, none if it throws.
   * Other processes wait for it: keep it short. They see all or nothing; the cloud gets the items one by one.
   *
   * @param fn must be synchronous
   * @throws what `fn` throws; SyncError `busy`, `full`, `io`; TypeError for a function that gives a promise
   */
  transaction<T>(fn: () => T): T {
    this.#mustBeOpen();
    const result = this.store.tx(fn);
    this.#wrote();
    return result;
  }

  /**
   * Calls back for each change of a model that came from the cloud, after it is committed, in order. Changes of this
   * device's own are not told. With `since` it goes on where an earlier watch ended, over restarts: keep the `sequence` of
   * the change that was handled last. A callback that throws is told the next change all the same, and so is every other: its
   * error is reported as an uncaught one (the global `error` event).
   *
   * @returns a function that ends it
   * @throws SyncError `trimmed` where changes after `since` are no longer kept; RangeError for an unknown model
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

  /** The number of the newest change that came from the cloud: what {@link Agent.watch} takes as `since`. */
  get sequence(): number {
    this.#mustBeOpen();
    return this.#watchers.sequence;
  }

  /** Waits until every local change is acknowledged by the cloud. @throws SyncError `timeout`, `closed`; the signal's reason */
  async flush(options: WaitOptions = {}): Promise<void> {
    this.#mustBeOpen();
    this.#event(() => this.#twin.onCommit());
    await this.#until("every local change is acknowledged", () => this.#twin.drained, options);
  }

  /** Asks the cloud for what is new, and waits until every channel is caught up. @throws as `flush` */
  async sync(options: WaitOptions = {}): Promise<void> {
    this.#mustBeOpen();
    this.#event(() => this.#twin.resync());
    await this.#until(
      "every channel is caught up",
      () => this.#twin.connected && this.#twin.downlink.caughtUp,
      options,
    );
  }

  /**
   * Compares every row with the table's item, without the items being sent, and with `repair` mends what differs by the
   * rules of conflicts: for rows that were altered behind the triggers, or a table that was restored. Waits for the link.
   *
   * @returns what was compared and what differed; the first thousand differences by name
   * @throws RangeError for a model that is none; SyncError `timeout`; the signal's reason: then it goes on by itself
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
    await this.#until("the verification is done", () => verifyReport(db, id).state === "done", wait);
    return { ...verifyReport(db, id), found: differences(db) };
  }

  #until(what: string, done: () => boolean, { signal, timeoutMs }: WaitOptions): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      try {
        if (done()) resolve();
      } catch (error) {
        // The database can't be read now. Whoever waits is told; the twin itself goes on trying.
        reject(error);
      }
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
      const last = this.#lastError;
      reject(
        new SyncError("timeout", `waited ${timeoutMs} ms until ${what}${last ? ` (${last})` : ""}`, {
          retryable: true,
        }),
      );
    }, timeoutMs);
    const abort = () => reject(signal!.reason);
    const ending = this.#ending.signal;
    const ended = () => reject(ending.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    ending.addEventListener("abort", ended);
    this.#waiters.add(look);
    look();
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      ending.removeEventListener("abort", ended);
      this.#waiters.delete(look);
    });
  }

  get #lastError(): string | undefined {
    return this.#twin.lastError ?? (this.#transport instanceof MqttLink ? this.#transport.lastError : undefined);
  }

  /** Where the agent stands now. */
  status(): AgentStatus {
    this.#mustBeOpen();
    const { store } = this;
    const count = (table: string) => Number(store.db.sql(`SELECT count(*) AS n FROM ${table}`).get()!.n);
    const time = (name: string) => {
      const ms = store.getMeta(name);
      return ms === undefined ? undefined : new Date(Number(ms)).toISOString();
    };
    return {
      device: store.identity.deviceId,
      account: store.identity.accountId,
      connected: this.#twin.connected,
      outbox: count("_outbox"),
      inflight: [...this.#twin.inFlight.batches.values()].reduce((n, b) => n + b.flights.length, 0),
      rejected: count("_rejected"),
      conflicts: count("_conflicts"),
      aside: count("_sync_aside"),
      problem: this.#twin.facts.get("problem") as string | undefined,
      problems: this.#twin.context.problems.list,
      full: this.#twin.capacity.full,
      dropped: Number(store.getMeta("dropped") ?? 0),
      oldest: store.db.sql("SELECT oldest FROM _status").get()!.oldest as string | null ?? undefined,
      cursors: this.#twin.downlink.cursors(),
      caughtUp: this.#twin.downlink.caughtUp,
      lastAck: time("lastAck"),
      lastSync: time("lastSync"),
      lastError: this.#lastError,
      clockOffsetMs: this.#twin.context.clock.offsetMs,
      counters: { ...this.#twin.context.counters },
    };
  }

  /**
   * Stops syncing and closes the database. Changes that were not acknowledged stay in the outbox. Whoever waits in `flush`,
   * `sync` or `verify` is rejected with a SyncError `closed`, and so is every later call but this one.
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

const systemClock: Clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

function cryptoRandom(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}

/** Whether the database must be checked at the next start, too. Any other refusal has left it as it was. */
function meansDamage(error: unknown): boolean {
  return !(error instanceof SyncError) || error.code === "corrupt" || error.code === "io";
}

/** @throws {TypeError} where a key is given to the built-in SQLite, which would write in plaintext */
function driverOf({ driver, sqliteLibrary, databaseKey }: AgentOptions<OneTableSchema>): Driver | undefined {
  if (driver !== "ffi") {
    if (sqliteLibrary !== undefined || databaseKey !== undefined) {
      throw new TypeError('sqliteLibrary and databaseKey go with driver: "ffi"');
    }
    return undefined;
  }
  const key = typeof databaseKey === "string" ? new TextEncoder().encode(databaseKey) : databaseKey;
  if (key?.length === 0) throw new TypeError("databaseKey is empty");
  return ffiDriver({ library: sqliteLibrary, key });
}

/**
 * Opens the device's database, creating or migrating it as the schema says, and starts to sync.
 *
 * @throws SchemaError for a schema that is refused
 * @throws SyncError `in-use` (another agent has the file), `foreign-database` (it is another device's or account's),
 *   `not-a-database`, `corrupt`, `newer-format`, `migration` (rows that the schema does not fit), `busy`, `full`, `io`
 * @throws RangeError for a device or account id that is not one
 */
// deno-lint-ignore require-await -- its errors are rejections, whatever throws them
export async function openAgent<const S extends OneTableSchema>(options: AgentOptions<S>): Promise<Agent<S>> {
  const identity: Identity = { deviceId: options.device, accountId: options.account };
  checkId("device", identity.deviceId);
  checkId("account", identity.accountId);
  const schema = compiledOf(options.schema);
  const unfit = identityProblem(schema, identity);
  if (unfit !== undefined) throw new RangeError(unfit);
  const driver = driverOf(options);
  const lease = takeLease(options.path);
  // Who may open the database may see whether an agent runs on it.
  if (options.group && options.path !== ":memory:") shareWithGroup(lease.path);
  let store: Store | undefined;
  try {
    store = openStore({
      path: options.path,
      schema,
      identity,
      synchronous: options.synchronous,
      group: options.group,
      check: lease.unclean,
      driver,
      now: () => (options.clock ?? systemClock).wallMs(),
    });
    const restored = beginGeneration(store, lease);
    return new Agent<S>(store, options, lease, restored);
  } catch (error) {
    store?.close();
    if (!store && !meansDamage(error)) lease.left();
    lease[Symbol.dispose]();
    throw error;
  }
}
