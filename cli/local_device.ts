/**
 * A device of `dev` for the console's Twin page: its items through the agent, its file through a separate connection,
 * like any other program with SQLite. The connection stays open for the process's life, because closing it would drop
 * the agent's (POSIX) locks.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import type { Agent } from "../agent/agent.ts";
import type {
  LocalConflict,
  LocalDevice,
  LocalStatus,
  LocalWaiting,
  PlainItem,
} from "../cloud/console/local_device.ts";
import { type OneTableSchema, type Schema, toPlain } from "../schema.ts";
import { binaryToJson } from "../schema/values.ts";

/** How often the file is checked while somebody watches, ms. */
const lookMs = 60;
/** Another program that holds the lock for longer makes a write fail. */
const busyMs = 2_000;

/** The options of a device. */
export interface LocalDeviceOptions {
  readonly deviceId: string;
  readonly accountId: string;
  readonly path: string;
  /** The path as a person would type it. */
  readonly shownPath: string;
  readonly agent: Agent<OneTableSchema>;
  readonly schema: Schema;
  readonly now: () => number;
}

/** Opens it. */
export function openLocalDevice(options: LocalDeviceOptions): LocalDevice & Disposable {
  const { deviceId, accountId, agent, schema, now } = options;
  const db = new DatabaseSync(options.path, { timeout: busyMs });
  const watchers = new Set<() => void>();
  let timer: ReturnType<typeof setInterval> | undefined, version: unknown, pausedMs: number | undefined;
  let shown = "";
  const look = () => {
    const now = db.prepare("PRAGMA data_version").get()!.data_version, state = JSON.stringify(status());
    if (now === version && state === shown) return;
    version = now;
    shown = state;
    for (const changed of watchers) changed();
  };
  const status = (): LocalStatus => {
    const { connected, outbox, rejected, conflicts, cursors } = agent.status();
    const cursor = cursors[`device:${deviceId}`]?.seq;
    return {
      connected: connected && pausedMs === undefined,
      outbox,
      rejected,
      conflicts,
      ...(pausedMs === undefined ? {} : { pausedMs }),
      ...(cursor === undefined ? {} : { cursor }),
    };
  };
  return {
    deviceId,
    accountId,
    path: options.shownPath,
    status,
    pause() {
      agent.pause();
      pausedMs = now();
    },
    resume() {
      agent.resume();
      pausedMs = undefined;
    },
    items(model, limit) {
      const api = agent.model(model);
      const { items } = api.find({}, { limit });
      return { items: items.map((item) => plainOf(item as Record<string, unknown>)), total: api.count() };
    },
    waiting: (model, limit) => waitingOf(db, model, limit),
    conflicts: (after) => conflictsAfter(db, schema, after),
    write: (sql) => db.exec(sql),
    watch(changed) {
      watchers.add(changed);
      timer ??= setInterval(look, lookMs);
      return () => {
        watchers.delete(changed);
        if (watchers.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      };
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      db.close();
    },
  };
}

function waitingOf(db: DatabaseSync, model: string, limit: number): LocalWaiting[] {
  const rows = db.prepare("SELECT key, since FROM _pending WHERE model = ? ORDER BY since DESC LIMIT ?").all(
    model,
    limit,
  );
  return rows.map(({ key, since }) => ({ key: JSON.parse(String(key)), sinceMs: Number(since) }));
}

function conflictsAfter(db: DatabaseSync, schema: Schema, after: number): LocalConflict[] {
  const rows = db.prepare("SELECT id, model, item, time FROM _conflicts WHERE id > ? ORDER BY id LIMIT 100").all(after);
  return rows.map(({ id, model, item, time }): LocalConflict => ({
    id: Number(id),
    model: String(model),
    atMs: Number(time),
    item: plainConflict(schema, String(model), item),
  }));
}

/** Properties in the API's form. */
function plainOf(item: Record<string, unknown>): PlainItem {
  return Object.fromEntries(Object.entries(item).map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "bigint") return String(value);
  if (value instanceof Set) return [...value].map(plainValue);
  if (value instanceof Uint8Array) return binaryToJson(value);
  if (Array.isArray(value)) return value.map(plainValue);
  return typeof value === "object" && value !== null ? plainOf(value as Record<string, unknown>) : value;
}

function plainConflict(schema: Schema, model: string, text: unknown): PlainItem | undefined {
  const compiled = schema.models.get(model);
  if (typeof text !== "string" || !compiled) return undefined;
  return toPlain(schema, compiled, JSON.parse(text));
}
