/**
 * Erasing a device: its credentials, its items, and what the log table holds of it. A job of steps that a crash, a
 * throttled table or a short request may interrupt anywhere: its record stores its progress, and the next call
 * continues.
 *
 *     begin ─▶ revoked ─▶ items, model by model ─▶ (45 s after the revocation) items once more ─▶ rows ─▶ done: the receipt
 *
 * The items are deleted in two passes, because a worker may still be writing a batch that came before the revocation:
 * it caches a device for 10 s, and starts no write 30 s after a batch was sent.
 *
 * In the log table: `erasing#<bucket>` / `<device>`: the record, then the receipt, which expires with the audit. The
 * log removes copies on other devices: each deleted item is a removal like any other.
 *
 * @module
 */
import { backoffMs } from "../../protocol/backoff.ts";
import type { Key } from "../../protocol.ts";
import { pause } from "../../protocol/within.ts";
import { fieldOf, idIn, idOfItem, keyOf, modelOf, renderTemplate, SyncError, type Template } from "../../schema.ts";
import type { Identity, Model, Schema } from "../../schema/model.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import { bucketKey, lookedKey } from "../sync/buckets.ts";
import { ordersHash } from "../sync/orders.ts";
import type { Registry } from "../sync/registry.ts";
import { pointsHash } from "../sync/report_points.ts";
import { isPrimary } from "../sync/snapshot.ts";
import type { ItemPage, Query, Table, Tables } from "../table/port.ts";
import { auditDaysDefault } from "./audit.ts";
import { keptDays } from "./field_series.ts";
import { retainedMark } from "./retained.ts";

/** Something that remains of the device, where, and until when. */
export interface Remains {
  readonly what: string;
  /** When it disappears by itself; absent: it does not. */
  readonly until?: string;
}

/** The progress of an erasure; with `done`, the receipt. */
export interface ErasureState {
  readonly device: string;
  readonly account: string;
  readonly begun: string;
  readonly done?: string;
  /** Items that were deleted, by model. */
  readonly items: Readonly<Record<string, number>>;
  /** Deleted entries of its channel's log. */
  readonly logEntries: number;
  /** If not done: when it can continue, if it has to wait. */
  readonly waitsUntil?: string;
  readonly remains: readonly Remains[];
}

/** The context of an {@link Erasure}. */
export interface ErasureOptions {
  readonly schema: Schema;
  readonly tables: Pick<Tables, "data" | "log">;
  readonly registry: Pick<Registry, "identityOf" | "revoke">;
  readonly now: () => number;
  /** How long the receipt is retained. */
  readonly days?: number;
  readonly pause?: (ms: number) => Promise<void>;
}

/** See the module. */
const settleMs = 45_000;
/** A call works for this long and then reports its progress: an HTTP client waits longer. */
const callMs = 20_000;
const pageItems = 100;
/**
 * A stream holds deleted items for a day; a log entry that a late worker appends lives as long as the log's retention.
 */
const streamMs = 24 * 3600_000;

/** A job's progress: an index into its lists of items, and the token of the next page. */
interface Job {
  readonly deviceId: string;
  readonly accountId: string;
  readonly begunMs: number;
  readonly revokedMs?: number;
  readonly pass: 1 | 2;
  readonly list: number;
  readonly after?: string;
  readonly items: Readonly<Record<string, number>>;
  readonly logEntries: number;
  readonly doneMs?: number;
}

/** A list in which the device's items of some models are found: a query, or all of the table. */
interface List {
  readonly models: ReadonlySet<string>;
  readonly query?: Omit<Query, "limit" | "after">;
}

/** See the module. */
export class Erasure {
  constructor(private readonly options: ErasureOptions) {}

  /** The progress; undefined: not started. */
  async state(deviceId: string): Promise<ErasureState | undefined> {
    const job = await this.#read(deviceId);
    return job && this.#told(job);
  }

  /**
   * Starts or continues, for at most {@link callMs}.
   *
   * @returns undefined: there is no such device, and none is being erased
   * @throws SyncError `exists`: it was added again meanwhile; `unavailable`: the table
   */
  async run(deviceId: string): Promise<ErasureState | undefined> {
    const until = this.options.now() + callMs;
    let job = await this.#read(deviceId);
    const identity = await this.options.registry.identityOf(deviceId);
    if (!job || (job.doneMs !== undefined && identity)) {
      if (!identity) return job && this.#told(job);
      job = await this.#save({
        deviceId,
        accountId: identity.accountId,
        begunMs: this.options.now(),
        pass: 1,
        list: 0,
        items: {},
        logEntries: 0,
      });
    }
    while (job.doneMs === undefined) {
      if (this.#waitsUntil(job) > this.options.now() || this.options.now() > until) break;
      job = await this.#save(await this.#step(job));
    }
    return this.#told(job);
  }

  #waitsUntil({ revokedMs, pass, doneMs }: Job): number {
    return pass === 2 && doneMs === undefined ? revokedMs! + settleMs : 0;
  }

  async #step(job: Job): Promise<Job> {
    const { registry, now } = this.options;
    if (job.revokedMs === undefined) {
      // The record was already written: a crash here leaves a job that knows the account.
      await registry.revoke(job.deviceId);
      return { ...job, revokedMs: now() };
    }
    if (await registry.identityOf(job.deviceId)) {
      throw new SyncError("exists", `"${job.deviceId}" was added again while it was erased`, {
        hint: "revoke it, and erase it once more",
      });
    }
    const list = this.#lists(job)[job.list];
    if (list) return await this.#stepOf(job, list);
    if (job.pass === 1) return { ...job, pass: 2, list: 0 };
    const logEntries = job.logEntries + await this.#eraseRows(job.deviceId);
    return { ...job, logEntries, doneMs: now() };
  }

  /** Deletes a page of a list. */
  async #stepOf(job: Job, list: List): Promise<Job> {
    const { schema, tables: { data } } = this.options;
    const page: ItemPage = list.query
      ? await data.query({ ...list.query, limit: pageItems, after: job.after })
      : await data.scan({ limit: pageItems, after: job.after });
    const wanted = page.items.filter((item) => this.#isOf(job.deviceId, list, item));
    const keys = wanted.map((item) => keyOf(schema, item));
    // An index's copy may be old: the table's present item decides.
    const items = list.query && isPrimary(schema, list.query.index) ? wanted : await data.get(keys);
    const own = keys.filter((_, i) => items[i] && this.#isOf(job.deviceId, list, items[i]));
    const counts = { ...job.items };
    for (const old of await deleteAll(data, own, this.#pause)) {
      const model = old && modelOf(schema, old)?.name;
      if (model) counts[model] = (counts[model] ?? 0) + 1;
    }
    return {
      ...job,
      items: counts,
      ...(page.next === undefined ? { list: job.list + 1, after: undefined } : { after: page.next }),
    };
  }

  #isOf(deviceId: string, { models }: List, item: Item): boolean {
    const model = modelOf(this.options.schema, item);
    return model !== undefined && models.has(model.name) && idOfItem(model, item, "deviceId") === deviceId;
  }

  /**
   * The lists in which the device's items are found. Items that no key or index leads to are searched in the whole
   * table, together.
   */
  #lists({ deviceId, accountId }: Job): List[] {
    const { schema } = this.options, lists: { models: Set<string>; query?: List["query"] }[] = [];
    for (const model of erasable(schema)) {
      const query = queryOf(schema, model, { deviceId, accountId });
      const text = JSON.stringify(query);
      const same = lists.find((list) => JSON.stringify(list.query) === text);
      if (same) same.models.add(model.name);
      else lists.push({ models: new Set([model.name]), query });
    }
    return lists;
  }

  /** What the log table holds of the device: its channel's log and floor, its orders, its reports, its last verification. @returns how many log entries */
  async #eraseRows(deviceId: string): Promise<number> {
    const { tables: { log } } = this.options;
    await this.#eraseHash(ordersHash(deviceId));
    await this.#eraseHash(pointsHash(deviceId));
    const count = await this.#eraseHash(`log#device:${deviceId}`);
    // The floor last: without it, an appender would start at 1, below existing cursors.
    await deleteAll(
      log,
      [[`floor#device:${deviceId}`, "floor"], ["verified", deviceId], lookedKey(deviceId)],
      this.#pause,
    );
    // Whoever has a connection to the broker clears what that retains.
    const [noted] = await log.write([{ op: "put", item: retainedMark(deviceId, this.options.now()) }]);
    if (noted?.outcome !== "written") throw throttled();
    return count;
  }

  /** Everything under a hash value. @returns how many rows */
  async #eraseHash(hash: string): Promise<number> {
    const { tables: { log } } = this.options;
    let count = 0;
    let after: string | undefined;
    do {
      const page = await log.query({ index: "primary", hash, limit: pageItems, after });
      await deleteAll(log, page.items.map((item): Key => [hash, String(item.sort)]), this.#pause);
      count += page.items.length;
      after = page.next;
    } while (after !== undefined);
    return count;
  }

  readonly #pause = (ms: number) => (this.options.pause ?? pause)(ms);

  #told(job: Job): ErasureState {
    const { deviceId, accountId, begunMs, doneMs, items, logEntries } = job, waitsMs = this.#waitsUntil(job);
    return {
      device: deviceId,
      account: accountId,
      begun: dateOf(begunMs),
      ...(doneMs === undefined ? {} : { done: dateOf(doneMs) }),
      items,
      logEntries,
      ...(waitsMs > 0 ? { waitsUntil: dateOf(waitsMs) } : {}),
      remains: doneMs === undefined ? [] : this.#remains(doneMs),
    };
  }

  #remains(doneMs: number): Remains[] {
    const { schema, days = auditDaysDefault } = this.options;
    const shared = [...schema.models.values()].filter((model) =>
      model.inCloud && model.scope !== "device" && fieldOf(model, model.identityNames.deviceId)
    ).map(({ name }) => name);
    return [
      {
        what: "this receipt and the audit's entries, which name the device",
        until: dateOf(doneMs + days * 86_400_000),
      },
      { what: "the table's stream: the deleted items (DynamoDB)", until: dateOf(doneMs + streamMs) },
      ...(isMeasuredByDevice(schema)
        ? [{ what: "time series of fields that name the device", until: dateOf(doneMs + keptDays * 86_400_000) }]
        : []),
      ...(shared.length > 0
        ? [{ what: `items of an account or of all that may name the device: ${shared.join(", ")}` }]
        : []),
      { what: "the table's backups, and point-in-time recovery where it is on: 35 days at most in DynamoDB" },
      { what: "the device's own database: wipe it there" },
      {
        what:
          "its name, until its certificates have expired, if it had some: so that no other device gets it at Mosquitto",
      },
      {
        what: "the broker's last word on whether it was connected, and the mark by which a running worker clears it " +
          "within a minute",
      },
      { what: "logs of workers and broker" },
    ];
  }

  async #read(deviceId: string): Promise<Job | undefined> {
    const [item] = await this.options.tables.log.get([bucketKey("erasing", deviceId)]);
    return item && JSON.parse(String(item.job)) as Job;
  }

  async #save(job: Job): Promise<Job> {
    const [hash, sort] = bucketKey("erasing", job.deviceId), { days = auditDaysDefault } = this.options;
    const expires: Attributes = job.doneMs === undefined
      ? {}
      : { expires: Math.ceil(job.doneMs / 1000) + days * 86_400 };
    const [result] = await this.options.tables.log.write([{
      op: "put",
      item: { hash, sort, job: JSON.stringify(job), ...expires },
    }]);
    if (result?.outcome !== "written") throw throttled();
    return job;
  }
}

/** Whether time series tell devices apart. */
function isMeasuredByDevice({ models }: Schema): boolean {
  return [...models.values()].some(({ metrics = [], identityNames }) =>
    metrics.some(({ dimensions }) => dimensions.flat().some(({ field }) => field === identityNames.deviceId))
  );
}

/** Models whose items are a device's own, by their keys. */
function erasable(schema: Schema): Model[] {
  return [...schema.models.values()].filter(({ inCloud, scope }) => inCloud && scope === "device");
}

/**
 * By the primary key if the ids alone make its hash, otherwise by the index that lists the model; undefined: by
 * neither.
 */
function queryOf(schema: Schema, model: Model, identity: Identity): List["query"] {
  const get = (name: string) => idIn(model, identity, name);
  const hash = renderTemplate(model.hashKey.template, get);
  if (hash !== undefined) {
    return { index: "primary", hash, sortPrefix: leading(model.sortKey?.template, get) || undefined };
  }
  const { enumeration } = model, value = enumeration && renderTemplate(enumeration.hash, get);
  if (!enumeration || value === undefined) return undefined;
  const index = enumeration.index === schema.primary.name ? "primary" : enumeration.index;
  return { index, hash: value, sortPrefix: leading(enumeration.sortPrefix, get) || undefined };
}

/** What every rendering of the template begins with, as far as the ids say. */
function leading(template: Template | undefined, get: (name: string) => string | undefined): string {
  if (!template) return "";
  const end = template.parts.findIndex((part) => "field" in part && get(part.field) === undefined);
  return renderTemplate({ text: "", parts: end < 0 ? template.parts : template.parts.slice(0, end) }, get) ?? "";
}

/** Deletes, and retries while the table is throttled. @returns what was there */
async function deleteAll(
  table: Pick<Table, "write">,
  keys: readonly Key[],
  pause: (ms: number) => Promise<void>,
): Promise<(Item | undefined)[]> {
  const gone: (Item | undefined)[] = [];
  let left = keys;
  for (let attempt = 0; left.length > 0; attempt++) {
    if (attempt > 0) await pause(backoffMs(attempt, () => 0, { firstMs: 50, maxMs: 2_000, least: 1 }));
    if (attempt === 8) throw throttled();
    const results = await table.write(left.map((key) => ({ op: "delete", key })));
    left = left.filter((_, i) => {
      const result = results[i]!;
      if (result.outcome === "throttled") return true;
      if (result.outcome === "written") gone.push(result.old);
      return false;
    });
  }
  return gone;
}

function throttled(): SyncError {
  return new SyncError("unavailable", "the table is throttled: call again to continue", { retryable: true });
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}
