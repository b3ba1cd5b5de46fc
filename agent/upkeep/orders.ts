/**
 * Carries out the cloud's orders (`order`): compare, put stored versions back, drop them, list them. For operators who
 * cannot reach a device by hand.
 *
 * An order is stored before it starts, and its outcome after it ends; a repeated order is answered from the stored
 * outcome, so that it is carried out once however often it is delivered. After a crash in between, it continues where
 * it was: each stored version is handled in one transaction with its row. Many versions are handled in portions,
 * between which everything else has its turn.
 *
 *     take ─▶ running ─ step, step, … ─▶ done or failed ─▶ (answered again from the table)
 *
 * @module
 */
import type { Order, Ordered } from "../../protocol.ts";
import { type Attributes, parseJson, SyncError } from "../../schema.ts";
import { dropKept, type Kept, type KeptTable, listKept, restoreKept, rowOfKept } from "../store/kept.ts";
import type { TokenRotation } from "../ports.ts";
import type { Store } from "../store/store.ts";
import { asideRetryFact } from "../store/tables.ts";
import { isEnvironmental } from "../store/faults.ts";
import { askVerify, orderedReport, verifyReport } from "../verify/report.ts";

/** What orders work on. */
export interface OrdersContext {
  readonly store: Store;
  /** Wall clock, ms. */
  readonly nowMs: () => number;
  /** Ms that only go forward. */
  readonly monotonicMs: () => number;
  readonly tell: (ordered: Ordered) => void;
  /** Asks the cloud for every channel. */
  readonly resync: () => void;
  readonly arrived: () => boolean;
  /** A verification was ordered. */
  readonly noticeVerify: () => void;
  /** Rows were written. */
  readonly wrote: () => void;
  /** How the device's token is replaced; absent: it can't be. */
  readonly rotation?: () => TokenRotation | undefined;
}

/** Stored versions in a portion: some 50 ms. */
const portion = 50;
/** Progress is reported at most this often. */
const progressMs = 1_000;
/** Outcomes are stored for longer than the cloud stores an order. */
const rememberedMs = 8 * 86_400_000;
/** Orders under way at once; the cloud sends others again. */
const runningMax = 20;
/** A list must fit in an answer. */
const listedMax = 100, listedBytesMax = 64 * 1024;
/** How many reasons a report names; all are counted. */
const reasonsMax = 5;

interface Running {
  readonly order: Order;
  /** It was started before, by this agent or an earlier one. */
  readonly begun: boolean;
  after: number;
  done: number;
  failed: number;
  readonly reasons: string[];
  verify?: number;
  toldMs: number;
}

/** See the module. */
export class Orders {
  readonly #running = new Map<string, Running>();
  /** Tokens that orders have brought, until they are stored; never in the database, which others read. */
  readonly #tokens = new Map<string, string>();

  constructor(private readonly context: OrdersContext) {
    for (const { content } of context.store.db.sql("SELECT content FROM _sync_orders WHERE state = 'running'").all()) {
      this.#begin(parseJson(String(content)) as unknown as Order, true);
    }
  }

  /** An order has come. */
  take({ token, ...order }: Order): void {
    if (order.do === "kept") return this.#list(order);
    const { store, nowMs } = this.context;
    const known = store.db.sql("SELECT state, report FROM _sync_orders WHERE id = ?").get(order.order);
    if (known && known.state !== "running") {
      const report = parseJson(String(known.report)) as Attributes;
      return this.context.tell({
        type: "ordered",
        order: order.order,
        state: known.state as "done" | "failed",
        report,
      });
    }
    if (token !== undefined) this.#tokens.set(order.order, token);
    if (this.#running.has(order.order)) return;
    if (this.#running.size >= runningMax) return void this.#tokens.delete(order.order);
    store.tx(() => {
      store.db.sql("DELETE FROM _sync_orders WHERE time < ?").run(Math.round(nowMs() - rememberedMs));
      store.db.sql("INSERT OR REPLACE INTO _sync_orders(id, content, state, time) VALUES (?, ?, 'running', ?)")
        .run(order.order, JSON.stringify(order), Math.round(nowMs()));
    });
    this.#begin(order, known !== undefined);
  }

  #begin(order: Order, begun: boolean): void {
    this.#running.set(order.order, { order, begun, after: 0, done: 0, failed: 0, reasons: [], toldMs: -Infinity });
  }

  /** Orders are under way. */
  get any(): boolean {
    return this.#running.size > 0;
  }

  /** Does a portion of each order. Must not run inside a transaction. */
  step(): void {
    for (const running of [...this.#running.values()]) {
      try {
        this.#stepOne(running);
      } catch (error) {
        // If the disk or another program is the cause, the order is tried again; any other error belongs to this order
        // only.
        if (isPassing(error)) throw error;
        this.#end(running, "failed", { reason: error instanceof Error ? error.message : String(error) });
      }
    }
  }

  #stepOne(running: Running): void {
    const { order } = running, { store } = this.context;
    switch (order.do) {
      case "sync":
        if (running.toldMs === -Infinity) {
          this.context.resync();
          this.#progress(running);
        } else if (this.context.arrived()) this.#end(running, "done", {});
        break;
      case "verify":
        this.#verify(running, order);
        break;
      case "retry":
        if (order.table !== "aside") this.#putBack(running, "_rejected");
        else {
          store.tx(() => store.setMeta(asideRetryFact, 1));
          this.#end(running, "done", {});
        }
        break;
      case "restore":
        this.#putBack(running, "_conflicts");
        break;
      case "drop": {
        if (order.table === "aside") {
          throw new SyncError("invalid", "items that are set aside can't be dropped: they belong to the cloud");
        }
        const done = dropKept(store.db, tableOf(order.table), order);
        this.#end(running, "done", { done });
        break;
      }
      case "rotate":
        this.#rotate(running);
        break;
      default:
        throw new SyncError("invalid", `there is no order "${order.do}"`);
    }
  }

  #verify(running: Running, { repair = false, keysPerSecond }: Order): void {
    const { store } = this.context;
    if (running.verify === undefined) {
      running.verify = askVerify(store.db, { repair, keysPerSecond });
      this.context.noticeVerify();
    }
    const report = verifyReport(store.db, running.verify);
    const told: Attributes = JSON.parse(JSON.stringify(orderedReport(store.db, report)));
    if (report.state === "done") this.#end(running, "done", told);
    else this.#progress(running, told);
  }

  /** The token is stored and shown; it is done when the broker has let the device in by it. */
  #rotate(running: Running): void {
    const { order } = running.order, rotation = this.context.rotation?.(), token = this.#tokens.get(order);
    if (!rotation) throw new SyncError("invalid", "this agent shows no token that it could replace");
    this.#tokens.delete(order);
    const outcome = rotation.outcome(order);
    if (outcome === "accepted") this.#end(running, "done", {});
    else if (outcome === "refused") {
      throw new SyncError("refused", "the broker refused the new token, and the old one is in use");
    } else if (token !== undefined) rotation.begin(order, token);
    else this.#progress(running);
  }

  #putBack(running: Running, table: KeptTable): void {
    const { order } = running, { store } = this.context;
    const file = { db: store.db, schema: store.schema, identity: store.identity };
    const list = order.id === undefined
      ? listKept(store.db, table, { model: order.model, after: running.after, limit: portion }).map(({ id }) => id)
      : [order.id];
    for (const id of list) {
      try {
        restoreKept(file, table, id, { force: order.force });
        running.done++;
      } catch (error) {
        if (!(error instanceof SyncError) || isPassing(error)) throw error;
        // Started before a crash: versions that are gone were put back.
        if (error.code === "not-found" && running.begun) running.done++;
        else {
          running.failed++;
          if (running.reasons.length < reasonsMax) running.reasons.push(`${id}: ${error.message}`);
        }
      }
      running.after = id;
    }
    if (list.length > 0) this.context.wrote();
    const { done, failed, reasons } = running;
    const told = { done, failed, ...(reasons.length > 0 ? { reasons: [...reasons] } : {}) };
    if (order.id === undefined && list.length === portion) this.#progress(running, told);
    else this.#end(running, failed > 0 && done === 0 ? "failed" : "done", told);
  }

  #progress(running: Running, report: Attributes = {}): void {
    const now = this.context.monotonicMs();
    if (now < running.toldMs + progressMs) return;
    running.toldMs = now;
    this.context.tell({ type: "ordered", order: running.order.order, state: "running", report });
  }

  #end({ order }: Running, state: "done" | "failed", report: Attributes): void {
    const { store, nowMs } = this.context;
    store.tx(() =>
      store.db.sql("UPDATE _sync_orders SET state = ?, report = ?, time = ? WHERE id = ?")
        .run(state, JSON.stringify(report), Math.round(nowMs()), order.order)
    );
    this.#running.delete(order.order);
    this.context.tell({ type: "ordered", order: order.order, state, report });
  }

  /** Answers at once: changes and remembers nothing. */
  #list({ order, table = "rejected", model, after = 0, limit = 50 }: Order): void {
    const { store, tell } = this.context, most = Math.min(Math.max(limit, 1), listedMax);
    const all = table === "aside"
      ? this.#listAside(after, most, model)
      : listKept(store.db, tableOf(table), { model, after, limit: most }).map((kept) => this.#shown(kept));
    const rows: Attributes[] = [];
    let bytes = 0;
    for (const row of all) {
      bytes += JSON.stringify(row).length;
      if (rows.length > 0 && bytes > listedBytesMax) break;
      rows.push(row);
    }
    const isMore = rows.length < all.length || all.length === most;
    const last = isMore ? rows.at(-1) : undefined;
    tell({ type: "ordered", order, state: "done", report: last ? { rows, next: last.id! } : { rows } });
  }

  #shown(kept: Kept): Attributes {
    const { store } = this.context, { item, ...rest } = kept;
    const shown = { ...rest, lost: item ?? null } as unknown as Attributes;
    try {
      const now = rowOfKept({ db: store.db, schema: store.schema, identity: store.identity }, kept);
      return { ...shown, now: now ?? null };
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      return { ...shown, unknown: error.message };
    }
  }

  #listAside(after: number, limit: number, model: string | undefined): Attributes[] {
    const rows = this.context.store.db.sql(
      `SELECT * FROM (
         SELECT row_number() OVER (ORDER BY a.time, a.hash, a.sort) AS id, m.name AS model, a.hash, a.sort, a.item, a.error, a.time
         FROM _sync_aside AS a LEFT JOIN _sync_models AS m ON m.number = a.model)
       WHERE id > ? AND (? IS NULL OR model = ?) ORDER BY id LIMIT ?`,
    ).all(after, model ?? null, model ?? null, limit);
    return rows.map((row): Attributes => ({
      id: Number(row.id),
      model: String(row.model ?? "?"),
      key: [String(row.hash), String(row.sort)],
      lost: row.item === null ? null : parseJson(String(row.item)),
      why: "aside",
      reason: String(row.error),
      at: new Date(Number(row.time)).toISOString(),
    }));
  }
}

function isPassing(error: unknown): boolean {
  // A full outbox is not a fault of the disk: it refuses only this row.
  if (error instanceof SyncError && error.code === "busy") return true;
  return isEnvironmental(error instanceof SyncError ? error.cause : error);
}

function tableOf(table: string | undefined): KeptTable {
  if (table === "rejected" || table === "conflicts") return `_${table}`;
  throw new SyncError("invalid", "table is rejected or conflicts");
}
