/**
 * What the cloud's parts say of their work, for whoever measures it: how long tables took, how changes were answered, how old
 * the stream's records were. Nothing depends on it, and by default nobody listens. How long small reads took is also what
 * `ask_limit.ts` goes by.
 *
 * @module
 */
import type { Ack, Changes, Up } from "../../protocol.ts";
import type { Identity } from "../../schema/model.ts";
import type { Table, Tables } from "../table/port.ts";

/** Listens. Its methods must not throw. */
export interface Observer {
  /** A request to a table ended. */
  request(table: "data" | "log", op: TableOp, seconds: number, failed: boolean): void;
  /** Changes of a model from devices were answered so: `ok`, `stale`, … */
  answered(model: string, code: string): void;
  /** Records of the stream were passed on, the newest this old by then; undefined where the stream does not tell. */
  passed(records: number, ageSeconds: number | undefined): void;
  /** A device's batch was handled. */
  acknowledged(identity: Identity, up: Up, ack: Ack): void;
  /** An entry of a channel's log is in the log, and published. */
  published(entry: Changes): void;
}

/** A table's requests. */
export type TableOp = "get" | "write" | "query" | "scan";

/** Nobody listens. */
export const noObserver: Observer = {
  request() {},
  answered() {},
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
    acknowledged: (...args) => (a.acknowledged(...args), b.acknowledged(...args)),
    published: (...args) => (a.published(...args), b.published(...args)),
  };
}

/** A read of a few keys, or of a short page: these take equally long, so that a slow one tells of the table. */
const smallMax = 4;

const ops: ReadonlySet<PropertyKey> = new Set<TableOp>(["get", "write", "query", "scan"]);

/** Who is told of each request, and by which clock. */
export interface Timing {
  readonly observer: Observer;
  /** Told of small reads, how long they took, ms. */
  readonly readTook?: (ms: number) => void;
  /** Monotonic, ms. */
  readonly monotonicMs: () => number;
}

/** The tables, with each request timed. */
export function observedTables(tables: Tables, all: Timing): Tables {
  return { data: observed(tables.data, "data", all), log: observed(tables.log, "log", all) };
}

function isSmallRead(op: PropertyKey, [asked]: unknown[]): boolean {
  if (op === "get") return (asked as readonly unknown[]).length <= smallMax;
  return op === "query" && ((asked as { limit?: number }).limit ?? Infinity) <= smallMax;
}

function observed<T extends Table>(
  table: T,
  name: "data" | "log",
  { observer, readTook, monotonicMs }: Timing,
): T {
  const methods = new Map<PropertyKey, unknown>();
  const methodOf = (property: PropertyKey, value: (...args: unknown[]) => unknown) => {
    const own = (...args: unknown[]) => value.apply(table, args);
    if (!ops.has(property)) return own;
    return async (...args: unknown[]) => {
      const begun = monotonicMs();
      let failed = true;
      try {
        const result = await own(...args);
        failed = false;
        return result;
      } finally {
        const tookMs = monotonicMs() - begun;
        observer.request(name, property as TableOp, tookMs / 1000, failed);
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
