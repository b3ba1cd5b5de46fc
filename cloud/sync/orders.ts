/**
 * Orders to devices: kept in the log table until the device has carried them out, for {@link keptDays} days. A device that is
 * connected gets one at once, any other when it comes; it is sent again at each connect until the device says that it is
 * done, and the device does it once however often it comes. Only the worker can send one: on the device's own topic.
 *
 * In the log table: `orders#<device>` / `<number, 16 digits>`: `{content, at, state, report, told, expires}`. The number is the
 * time, so that none is ever given twice. That a device has orders stands with its presence, which is read anyway when it
 * connects or is heard of (`presence.ts`): to look costs nothing.
 *
 * Questions (`kept`) are not stored: the device answers within moments, or is away.
 *
 * @module
 */
import { Log } from "../../protocol/log.ts";
import type { KeptName, Order, Ordered, OrderKind } from "../../protocol.ts";
import { SyncError } from "../../schema.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import type { Bus } from "../feed/bus.ts";
import type { Publisher } from "../publishers/port.ts";
import { absent, equals } from "../table/condition.ts";
import type { Table } from "../table/port.ts";
import { pause } from "./bounded.ts";
import type { DeviceInfo, Registry } from "./registry.ts";

/** What a device is to do. */
export type OrderContent = Omit<Order, "type" | "order">;

/** An order, and what became of it so far. */
export interface StoredOrder extends OrderContent {
  readonly order: string;
  /** When it was given, ISO text. */
  readonly at: string;
  /** `waiting`: the device has not said anything of it. */
  readonly state: "waiting" | "running" | "done" | "failed";
  /** When the device said so. */
  readonly told?: string;
  /** What came of it: counts, a `reason`. */
  readonly report?: Attributes;
  /** Why it waits, in a sentence. */
  readonly why?: string;
}

/** What orders are made of. */
export interface OrdersContext {
  readonly table: Table;
  readonly registry: Pick<Registry, "info" | "expectOrders">;
  readonly publisher: Publisher;
  readonly now: () => number;
  readonly random: () => number;
  /** The way to other workers, one of which may be told an answer that is waited for here. */
  readonly bus?: Bus;
  readonly sleep?: (ms: number) => Promise<void>;
}

const keptDays = 7;
/** Orders of a device that are not done: more are refused. */
const openMax = 50;
const listedMax = 200;
/** Bytes of a report that is kept: an item in the table has one KB or two. */
const reportBytesMax = 4 * 1024;
/** A question is asked for so long. */
const askMs = 2_000;
/** Without a bus an answer is left in the table, and looked for there. */
const lookEveryMs = 250, answerSeconds = 60;
const logger = new Log("cloud");

/** See the module. */
export class Orders {
  readonly #context: OrdersContext;
  readonly #asked = new Map<string, (answer: Ordered) => void>();
  readonly #release: () => void;

  constructor(context: OrdersContext) {
    this.#context = context;
    this.#release = context.bus?.subscribe((message) => {
      if (message.kind === "answer") {
        this.#asked.get(`${message.device} ${message.request}`)?.(message.answer as Ordered);
      }
    }) ?? (() => {});
  }

  /** Hears no more of other workers. */
  close(): void {
    this.#release();
  }

  /**
   * Gives a device an order. Durable when it resolves.
   *
   * @throws SyncError `exists` where the device has too many that are not done; `unavailable` where the table fails
   */
  async give(deviceId: string, content: OrderContent): Promise<string> {
    const { table, registry, now } = this.#context;
    const open = (await this.list(deviceId, listedMax)).filter(({ state }) =>
      state === "waiting" || state === "running"
    );
    if (open.length >= openMax) {
      throw new SyncError("exists", `${open.length} orders of the device are not done: it gets no more until some are`);
    }
    for (let number = Math.floor(now()), attempt = 0; attempt < 20; number++, attempt++) {
      const item: Item = {
        ...keyOf(deviceId, number),
        content: JSON.stringify(content),
        at: now(),
        state: "waiting",
        expires: Math.floor(now() / 1000) + keptDays * 86_400,
      };
      const [result] = await table.write([{ op: "put", item, condition: absent }]);
      if (result?.outcome === "refused") continue;
      if (result?.outcome !== "written") break;
      await registry.expectOrders(deviceId, true);
      const info = await registry.info(deviceId);
      if (info?.connected === true && info.report?.orders === 1) await this.#send(deviceId, number, content);
      return idOf(number);
    }
    throw new SyncError("unavailable", "the log table did not take the order", { retryable: true });
  }

  /** A device's orders, the newest first. */
  async list(deviceId: string, limit = 50): Promise<StoredOrder[]> {
    const info = await this.#context.registry.info(deviceId), { agent, orders: understands } = info?.report ?? {};
    const orders = (await this.#items(deviceId, limit, info)).map(orderOf);
    const why = info?.report === undefined
      ? "the device has not reported yet"
      : understands !== 1
      ? `not understood by agent ${agent ?? "of an older version"}: update it`
      : info.connected === true
      ? "it is sent again when the device reports, within five minutes"
      : "the device is not connected";
    return orders.map((order) => order.state === "waiting" ? { ...order, why } : order);
  }

  /** Sends a device what it has not done: it has just come, or was heard of. Never rejects: it is tried again. */
  async deliver(deviceId: string): Promise<void> {
    const { registry } = this.#context;
    try {
      const info = await registry.info(deviceId);
      const open = (await this.#items(deviceId, listedMax, info)).filter(({ state }) =>
        state === "waiting" || state === "running"
      );
      if (open.length === 0) return await registry.expectOrders(deviceId, false);
      // To an older agent it is a message that it can't read: it would say so in its log each time.
      if (info?.report?.orders !== 1) return;
      for (const item of open.reverse()) await this.#send(deviceId, Number(item.sort), contentOf(item));
    } catch (error) {
      logger.warn("the orders of {deviceId} could not be sent: {error}", { deviceId, error });
    }
  }

  /** A device says what became of an order, or answers a question. @throws SyncError where the table fails */
  async answered(deviceId: string, answer: Ordered): Promise<void> {
    const { table, bus, now } = this.#context;
    if (answer.order.startsWith(questionPrefix)) {
      const waiting = this.#asked.get(`${deviceId} ${answer.order}`);
      if (waiting) waiting(answer);
      else if (bus) bus.publish({ kind: "answer", device: deviceId, request: answer.order, answer });
      else await this.#leave(deviceId, answer);
      return;
    }
    const number = Number(answer.order.slice(orderPrefix.length));
    if (!answer.order.startsWith(orderPrefix) || !Number.isSafeInteger(number)) return;
    const { hash, sort } = keyOf(deviceId, number), [item] = await table.get([[hash, sort]]);
    // None of this device's, or done already: it came late.
    if (!item || item.state === "done" || item.state === "failed") return;
    const text = JSON.stringify(answer.report);
    const report = text.length > reportBytesMax
      ? JSON.stringify({ reason: "its report is too large to be kept" })
      : text;
    const next: Item = { ...item, state: answer.state, report, told: now() };
    // Two answers at once: the other says it as well, or is told again.
    await table.write([{ op: "put", item: next, condition: equals("state", item.state!) }]);
  }

  /**
   * Asks a device what it keeps for people. Undefined: it did not answer within two seconds.
   *
   * @throws SyncError `unavailable` where the broker does not take it
   */
  async ask(
    deviceId: string,
    content: { readonly do: OrderKind; readonly table: KeptName } & Partial<OrderContent>,
  ): Promise<Ordered | undefined> {
    const { publisher, random, sleep = pause, bus } = this.#context;
    const order = `${questionPrefix}${Math.floor(random() * 2 ** 50)}`, name = `${deviceId} ${order}`;
    const { promise, resolve } = Promise.withResolvers<Ordered | undefined>();
    this.#asked.set(name, resolve);
    try {
      await publisher.publish({ device: deviceId }, { type: "order", order, ...content });
      if (bus) return await Promise.race([promise, sleep(askMs).then(() => undefined)]);
      for (let waitedMs = 0; waitedMs < askMs; waitedMs += lookEveryMs) {
        const answer = await Promise.race([promise, sleep(lookEveryMs).then(() => this.#left(deviceId, order))]);
        if (answer) return answer;
      }
      return undefined;
    } finally {
      this.#asked.delete(name);
    }
  }

  async #send(deviceId: string, number: number, content: OrderContent): Promise<void> {
    const order = idOf(number);
    await this.#context.publisher.publish({ device: deviceId }, { type: "order", order, ...content });
  }

  /** Not those of a device of the same name that was removed. */
  async #items(deviceId: string, limit: number, info: DeviceInfo | undefined): Promise<readonly Item[]> {
    const { table, now } = this.#context, hash = ordersHash(deviceId);
    const { items } = await table.query({ index: "primary", hash, reverse: true, limit });
    const sinceMs = info?.createdMs ?? Infinity;
    return items.filter(({ expires, at }) => Number(expires) * 1000 > now() && Number(at) >= sinceMs);
  }

  /** An answer to whoever asked, at another instance of the handler. */
  async #leave(deviceId: string, answer: Ordered): Promise<void> {
    const { table, now } = this.#context;
    const expires = Math.floor(now() / 1000) + answerSeconds;
    const item: Item = { hash: `answer#${deviceId}`, sort: answer.order, answer: JSON.stringify(answer), expires };
    await table.write([{ op: "put", item }]);
  }

  async #left(deviceId: string, order: string): Promise<Ordered | undefined> {
    const [item] = await this.#context.table.get([[`answer#${deviceId}`, order]]);
    return typeof item?.answer === "string" ? JSON.parse(item.answer) as Ordered : undefined;
  }
}

const orderPrefix = "o/", questionPrefix = "k/";

function idOf(number: number): string {
  return `${orderPrefix}${number}`;
}

function keyOf(deviceId: string, number: number): { hash: string; sort: string } {
  return { hash: ordersHash(deviceId), sort: String(number).padStart(16, "0") };
}

/** Where a device's orders stand in the log table. */
export function ordersHash(deviceId: string): string {
  return `orders#${deviceId}`;
}

function contentOf(item: Item): OrderContent {
  return JSON.parse(String(item.content)) as OrderContent;
}

function orderOf(item: Item): StoredOrder {
  return {
    order: idOf(Number(item.sort)),
    ...contentOf(item),
    at: new Date(Number(item.at)).toISOString(),
    state: item.state as StoredOrder["state"],
    ...(typeof item.told === "number" ? { told: new Date(item.told).toISOString() } : {}),
    ...(typeof item.report === "string" ? { report: JSON.parse(item.report) as Attributes } : {}),
  };
}
