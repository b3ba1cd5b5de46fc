/**
 * Measurements of the cloud's parts: durations of table requests, answers to changes, the age of the stream's records.
 * Nothing depends on them, except that `ask_limit.ts` uses the durations of small reads; by default nobody listens.
 *
 * @module
 */
import { isTold, Log } from "../../protocol/log.ts";
import { Outage } from "../../protocol/outage.ts";
import type { Ack, Changes, Channel, Up } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Identity, Model } from "../../schema/model.ts";
import type { Attributes } from "../../schema/values.ts";
import type { Table, Tables } from "../table/port.ts";
import { isOutage } from "./faults.ts";

/** Listens. Its methods must not throw. */
export interface Observer {
  /** A request to a table ended; `throttled` of its writes were refused by a table over capacity, after all retries. */
  request(table: "data" | "log", op: TableOp, seconds: number, failed: boolean, throttled: number): void;
  /** Changes of a model from devices got this answer: `ok`, `stale`, … */
  answered(model: string, code: string): void;
  /** Records of the stream were passed on; the newest was this old; undefined if the stream does not say. */
  passed(records: number, ageSeconds: number | undefined): void;
  /**
   * A device's change was written to the table now, by us, with these attributes: not one that comes again, or is refused.
   * No removal.
   */
  stored(identity: Identity, model: Model, attributes: Attributes): void;
  /** A device's batch was handled, begun at this time, ms. */
  acknowledged(identity: Identity, up: Up, ack: Ack, begunMs: number): void;
  /** An entry of a channel's log is in the log, and published. */
  published(entry: Changes): void;
  /** Where a channel's log ends was read, for a device that asked. */
  asked?(channel: Channel, head: number): void;
}

/** A table's requests. */
export type TableOp = "get" | "write" | "query" | "scan";

/** Nobody listens. */
export const noObserver: Observer = {
  request() {},
  answered() {},
  stored() {},
  passed() {},
  acknowledged() {},
  published() {},
};

/** Both listen. */
export function bothObservers(a: Observer, b: Observer): Observer {
  return {
    request: (...args) => (a.request(...args), b.request(...args)),
    answered: (...args) => (a.answered(...args), b.answered(...args)),
    passed: (...args) => (a.passed(...args), b.passed(...args)),
    stored: (...args) => (a.stored(...args), b.stored(...args)),
    acknowledged: (...args) => (a.acknowledged(...args), b.acknowledged(...args)),
    published: (...args) => (a.published(...args), b.published(...args)),
    asked: (...args) => (a.asked?.(...args), b.asked?.(...args)),
  };
}

/** A read of a few keys, or of a short page: these always take about equally long, so a slow one shows a slow table. */
const smallMax = 4;

const ops: ReadonlySet<PropertyKey> = new Set<TableOp>(["get", "write", "query", "scan"]);

/** The observer of each request, and its clock. */
export interface Timing {
  readonly observer: Observer;
  /** Called with the duration of each small read, ms. */
  readonly readTook?: (ms: number) => void;
  /** Monotonic, ms. */
  readonly monotonicMs: () => number;
}

const log = new Log("cloud");

/**
 * The tables, with each request timed. Where a table fails for a reason that passes, and has not told so itself, that is an
 * outage of it.
 */
export function observedTables(tables: Tables, all: Timing): Tables {
  return { data: observed(tables.data, "data", all), log: observed(tables.log, "log", all) };
}

function isSmallRead(op: PropertyKey, [asked]: unknown[]): boolean {
  if (op === "get") return (asked as readonly unknown[]).length <= smallMax;
  return op === "query" && ((asked as { limit?: number }).limit ?? Infinity) <= smallMax;
}

/** Of a write's results those that were turned away; no other operation has such. */
function throttledIn(result: unknown): number {
  if (!Array.isArray(result)) return 0;
  return result.reduce((count, one) => one?.outcome === "throttled" ? count + 1 : count, 0);
}

function observed<T extends Table>(
  table: T,
  name: "data" | "log",
  { observer, readTook, monotonicMs }: Timing,
): T {
  const methods = new Map<PropertyKey, unknown>(),
    outage = new Outage(log, `the ${name} table`, { nowMs: monotonicMs });
  const methodOf = (property: PropertyKey, value: (...args: unknown[]) => unknown) => {
    const own = (...args: unknown[]) => value.apply(table, args);
    if (!ops.has(property)) return own;
    return async (...args: unknown[]) => {
      const begun = monotonicMs();
      let failed = true, throttled = 0;
      try {
        const result = await own(...args);
        failed = false;
        throttled = throttledIn(result);
        outage.over();
        return result;
      } catch (error) {
        if (error instanceof SyncError && error.code === "throttled") throttled = 1;
        if (isOutage(error) && !isTold(error)) outage.failed(error as Error, { begunMs: begun });
        throw error;
      } finally {
        const tookMs = monotonicMs() - begun;
        observer.request(name, property as TableOp, tookMs / 1000, failed, throttled);
        if (isSmallRead(property, args)) readTook?.(tookMs);
      }
    };
  };
  return new Proxy(table, {
    get(target, property) {
      const value = Reflect.get(target, property, target) as unknown;
      if (typeof value !== "function") return value;
      let method = methods.get(property);
      if (!method) methods.set(property, method = methodOf(property, value as (...args: unknown[]) => unknown));
      return method;
    },
  });
}
