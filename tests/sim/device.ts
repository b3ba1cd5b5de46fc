/**
 * A simulated device: the real store (SQLite in memory) and the real `Twin`, under a clock that may be wrong, a process
 * that may die between any two transactions, and a disk that may forget what was not synced. A schema may come with a new
 * start.
 *
 * @module
 */
import { rmSync } from "node:fs";
import { openDatabase } from "../../agent/sqlite/driver.ts";
import { openStore, type Store } from "../../agent/store/store.ts";
import type { Limits } from "../../agent/sync/context.ts";
import { Twin } from "../../agent/twin.ts";
import { SyncError } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { FromCloud, FromDevice, ProtocolError } from "../../protocol.ts";
import { copyRows, openPooled, type RowsCopy } from "./pool.ts";
import type { Random } from "./random.ts";

/** What the world gives a device. */
export interface DeviceWorld {
  /** A device died before it had noted a jump of its clock: the times of what it has recorded are not known. */
  jumpLost?(device: SimDevice): void;
  /** True time, ms. */
  readonly now: number;
  readonly random: Random;
  /** Nobody can connect. */
  readonly brokerIsDown?: boolean;
  /** Takes a message that the device sends. */
  up(device: SimDevice, message: FromDevice): void;
}

/** Messages of one moment, at most. */
const gatheredMax = 3;

/** The process died: nothing of it runs on. */
class Killed extends Error {}

/** A database as it was: its rows, or where these lie in tables that grew by a migration, a file. */
type Copy =
  & { readonly order: number }
  & ({ readonly rows: RowsCopy; readonly path?: undefined } | { readonly path: string });

/** One device (or a clone of one: the same identity, a database of its own). */
export class SimDevice {
  store!: Store;
  twin!: Twin;
  online = false;
  /** The wall clock's error, ms. */
  skewMs: number;
  /** How much faster than true time its clocks run: the wall clock and the monotonic one alike. */
  drift = 0;
  /** It ran wrong at some time: how old its changes are can't be told exactly. */
  hasDrifted = false;
  #driftSinceMs = 0;
  /** Dies at the so-manieth transaction from now, before its commit or right after it. */
  dieIn: { count: number; readonly committed: boolean } | undefined;
  dead = false;
  /** So many of the agent's transactions find the disk full. */
  fullFor = 0;
  /** What it sends is lost. */
  mute = false;
  /** What is sent to it is lost. */
  deaf = false;
  /** Copies of the database as it was at earlier times, newest last: what a power loss may fall back to. */
  readonly #copies: Copy[] = [];
  readonly #files: string[] = [];
  #bootMs: number;
  /** The clock's error, and the segment of recorded times, when the process last looked at its clock. */
  #seenSkewMs = 0;
  #segment = 0;
  /** Messages of one moment are handed to the agent together, as its shell does. */
  gathers = false;
  #inbox: FromCloud[] = [];
  /** Where faults of the store go that a test expects; undefined: nobody expects any. */
  faults: unknown[] | undefined;
  /** The agent's process is at work, not an application. */
  #running = false;

  constructor(
    readonly world: DeviceWorld,
    readonly name: string,
    public schema: Schema,
    readonly identity: Identity,
    skewMs: number,
    readonly folder: string,
    readonly limits: Partial<Limits>,
  ) {
    this.skewMs = skewMs;
    this.#bootMs = world.now;
    this.#openAnew();
    this.start();
  }

  #openAnew(): void {
    this.#use(openPooled(this.schema, this.identity, () => this.wallMs()));
  }

  #openFile(path: string): void {
    const { schema, identity } = this;
    this.#use(
      openStore({ path, schema, identity, synchronous: "normal", driver: openDatabase, now: () => this.wallMs() }),
    );
  }

  #openCopy(copy: Copy): void {
    if (copy.path !== undefined) return this.#openFile(copy.path);
    this.#use(openPooled(this.schema, this.identity, () => this.wallMs(), copy.rows));
  }

  #use(store: Store): void {
    const tx = store.tx.bind(store);
    let depth = 0;
    store.tx = (fn) => {
      if (this.dead) throw new Killed();
      if (depth > 0 || !this.#running) return tx(fn);
      const dies = this.dieIn !== undefined && --this.dieIn.count < 0 ? this.dieIn : undefined;
      const result = tx(() => {
        depth++;
        try {
          const result = fn();
          if (this.fullFor > 0) throw full(this);
          if (dies && !dies.committed) throw killed(this);
          return result;
        } finally {
          depth--;
        }
      });
      if (dies) throw killed(this);
      return result;
    };
    this.store = store;
  }

  wallMs(): number {
    return this.world.now + this.skewMs + this.#drifted();
  }

  #drifted(): number {
    return this.drift === 0 ? 0 : (this.world.now - this.#driftSinceMs) * this.drift;
  }

  #monotonicMs(): number {
    return this.world.now - this.#bootMs + this.#drifted();
  }

  /** From now on its clocks run so much faster than true time. */
  driftBy(drift: number): void {
    // What they have gained stays: of the wall clock as an error that was always there, of the monotonic one as its age.
    const gained = this.#drifted();
    this.skewMs += gained;
    this.#seenSkewMs += gained;
    this.#bootMs -= gained;
    this.#driftSinceMs = this.world.now;
    this.drift = drift;
    this.hasDrifted ||= drift !== 0;
  }

  /** A new process on the database as it is. */
  start(): void {
    this.#inbox = [];
    this.dead = false;
    this.dieIn = undefined;
    // The monotonic clock begins again at nothing.
    this.#bootMs = this.world.now + this.#drifted();
    // It died before it had noted that its clock had jumped: nobody can tell any more.
    if (this.twin && this.skewMs !== this.#seenSkewMs) this.world.jumpLost?.(this);
    this.#seenSkewMs = this.skewMs;
    this.#segment = this.#segmentNow();
    this.twin = new Twin({
      store: this.store,
      transport: {
        send: (message) => {
          if (!this.online || this.dead) return false;
          if (!this.mute) this.world.up(this, message);
          return true;
        },
      },
      clock: { wallMs: () => this.wallMs(), monotonicMs: () => this.#monotonicMs() },
      random: () => this.world.random.next(),
      // What is not answered is cut into smaller batches in families of its own only: the others draw as they always have.
      limits: { unansweredMax: Infinity, tellFrom: Infinity, ...this.limits },
      onFault: (error) => {
        const full = error instanceof SyncError && error.code === "full";
        if (this.faults) this.faults.push(error);
        else if (!full && !isRootedIn(error, Killed)) throw error;
      },
    });
  }

  #segmentNow(): number {
    return Number(this.store.db.sql("SELECT segment FROM _sync_flag").get()!.segment);
  }

  /** Runs a step of the process; where it died in it, it is started anew. */
  #run(step: () => void): void {
    this.#running = true;
    try {
      step();
    } catch (error) {
      if (!isRootedIn(error, Killed)) throw error;
    } finally {
      this.#running = false;
    }
    const segment = this.dead ? this.#segment : this.#segmentNow();
    if (segment !== this.#segment) this.#seenSkewMs = this.skewMs;
    this.#segment = segment;
    if (this.dead) {
      this.start();
      if (this.online) this.#run(() => this.twin.onConnected());
    }
  }

  connect(): void {
    if (this.online || this.world.brokerIsDown) return;
    this.online = true;
    this.#run(() => this.twin.onConnected());
  }

  disconnect(): void {
    if (!this.online) return;
    this.handOver();
    this.online = false;
    this.#run(() => this.twin.onDisconnected("cut"));
  }

  receive(message: FromCloud): void {
    if (!this.online || this.deaf) return;
    if (!this.gathers) return this.#run(() => this.twin.onMessage(message));
    this.#run(() => this.twin.onArrival(message));
    this.#inbox.push(message);
    if (this.#inbox.length >= gatheredMax) this.handOver();
  }

  /** A message came that can't be read. */
  receiveUnreadable({ message, answers }: ProtocolError): void {
    if (this.online && !this.deaf) this.#run(() => this.twin.onUnreadable(message, answers));
  }

  /** Messages have arrived that the agent has not been handed yet. */
  get hasArrivals(): boolean {
    return this.#inbox.length > 0;
  }

  /** Hands what has arrived to the agent. */
  handOver(): void {
    const messages = this.#inbox.splice(0);
    if (messages.length > 0) this.#run(() => this.twin.onMessages(messages));
  }

  pump(): void {
    this.handOver();
    this.#run(() => this.twin.onCommit());
  }

  tick(): void {
    this.handOver();
    this.#run(() => void this.twin.tick());
  }

  resync(): void {
    this.handOver();
    this.#run(() => this.twin.resync());
  }

  crash(): void {
    this.online = false;
    this.start();
  }

  /** Keeps a copy to fall back to; `order`: of the last commit that it holds. */
  copy(order: number): void {
    const rows = copyRows(this.store.db, this.schema, this.identity);
    this.#copies.push(rows ? { rows, order } : { path: this.#copyOut(), order });
    if (this.#copies.length > 4) this.#copies.shift();
  }

  #copyOut(): string {
    const path = `${this.folder}/${crypto.randomUUID()}.db`;
    this.store.db.exec(`VACUUM INTO '${path}'`);
    this.#files.push(path);
    return path;
  }

  /**
   * A power loss, or an old copy restored: the database is what it was. Returns the order of the last commit that it still
   * holds; undefined where there is no copy.
   */
  rollBack(draw: number): number | undefined {
    // Copies that were made after that one are of a time that never was.
    const [copy] = this.#copies.splice(Math.floor(draw * this.#copies.length));
    if (!copy) return undefined;
    this.online = false;
    this.store.close();
    this.#openCopy(copy);
    this.start();
    return copy.order;
  }

  /** A new process that has no cursor; with `midway` a snapshot that was under way goes on. */
  giveUpCursors(midway: boolean): void {
    this.online = false;
    const snapshot = midway ? "" : ", snap_epoch = NULL, snap_head = NULL, snap_after = NULL";
    this.store.db.exec(`UPDATE _sync_channels SET seq = NULL${snapshot}`);
    this.start();
  }

  /** A start with another version of the schema, on the database as it is. `dated`: what it queues has the simulated time. */
  upgrade(schema: Schema, dated = false): void {
    const path = this.#copyOut(), before = this.schema;
    const head = this.store.db.sql("SELECT coalesce(max(seq), 0) AS seq FROM _outbox").get()!.seq;
    this.online = false;
    this.store.close();
    this.schema = schema;
    try {
      this.#openFile(path);
    } catch (error) {
      // Rows that don't fit: it goes on with the schema that it had.
      this.schema = before;
      this.#openFile(path);
      this.start();
      throw error;
    }
    if (dated) {
      this.store.db.sql("UPDATE _outbox SET time = ? WHERE seq > ?").run(Math.round(this.wallMs()), Number(head));
    }
    this.start();
  }

  /** An empty database in the old one's place. */
  reset(): void {
    this.#copies.length = 0;
    this.online = false;
    this.store.close();
    this.#openAnew();
    this.start();
  }

  /** A write of the application's, by SQL as an application makes it: not through the agent. */
  write(model: Model, statements: (db: Store["db"]) => void): void {
    const { store } = this, head = this.twin.context.outbox.head();
    statements(store.db);
    // SQLite's own clock is the machine's: what the triggers took from it becomes the simulated one's.
    const wall = Math.round(this.wallMs());
    store.db.sql("UPDATE _outbox SET time = ? WHERE seq > ?").run(wall, head);
    if (!model.updatedField) return;
    const written = `_id IN (SELECT row FROM _outbox WHERE seq > ? AND model = ${store.number(model)})`;
    const set = `UPDATE "${model.name}" SET "${model.updatedField}" = ? WHERE ${written}`;
    store.tx(() =>
      store.applying(() => {
        store.aim(model);
        store.db.sql(set).run(new Date(wall).toISOString(), head);
      })
    );
  }

  close(): void {
    this.store.close();
    for (const path of this.#files) for (const end of ["", "-wal", "-shm"]) rmSync(path + end, { force: true });
  }
}

function killed(device: SimDevice): Killed {
  device.dead = true;
  return new Killed();
}

function full(device: SimDevice): SyncError {
  device.fullFor--;
  return new SyncError("full", "database or disk is full", { retryable: true });
}

function isRootedIn(error: unknown, kind: typeof Killed): boolean {
  for (let e = error; e instanceof Error; e = e.cause) if (e instanceof kind) return true;
  return false;
}
