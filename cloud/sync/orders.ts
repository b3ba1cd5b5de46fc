/**
 * Orders to devices: stored in the log table until the device has carried them out, for at most {@link keptDays} days.
 * A connected device gets an order at once, any other when it connects; the order is sent again at each connect until
 * the device says that it is done, and the device carries it out once however often it arrives. Only the worker can
 * send one: on the device's own topic.
 *
 * In the log table: `orders#<device>` / `<number, 16 digits>`: `{content, at, state, report, told, expires}`. The
 * number is the time, so no number is used twice. The device's presence row says whether it has orders (`presence.ts`);
 * that row is read anyway when the device connects, so checking costs nothing.
 *
 * Questions (`kept`) are not stored: the device answers within moments, or is not connected. Without a bus, where another
 * instance may get the answer, the log table has it for a minute: `answer#<device>` / `<question>`: `{open}`, then
 * `{answer}`; an answer to what nobody has asked is not stored. What is passed on to other workers, or left for them, is
 * bounded in size and rate: a device may answer whatever it likes, as often as it likes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Log } from "../../protocol/log.ts";
import type { KeptName, Order, Ordered, OrderKind } from "../../protocol.ts";
import { pause } from "../../protocol/within.ts";
import { SyncError } from "../../schema.ts";
import type { Attributes, Item } from "../../schema/values.ts";
import type { Bus } from "../feed/bus.ts";
import type { Publisher } from "../publishers/port.ts";
import { Budget, type Rate } from "../budget.ts";
import { absent, equals } from "../table/condition.ts";
import type { Table } from "../table/port.ts";
import type { DeviceInfo, Registry } from "./registry.ts";

/** What a device is to do. */
export type OrderContent = Omit<Order, "type" | "order" | "token">;

/** An order and its state. */
export interface StoredOrder extends OrderContent {
  readonly order: string;
  /** When it was given, ISO text. */
  readonly at: string;
  /** `waiting`: the device has not reported on it. */
  readonly state: "waiting" | "running" | "done" | "failed";
  /** When the device said so. */
  readonly told?: string;
  /** The result: counts, a `reason`. */
  readonly report?: Attributes;
  /** Why it waits, in a sentence. */
  readonly why?: string;
}

/** What orders are made of. */
export interface OrdersContext {
  readonly table: Table;
  readonly registry: Pick<Registry, "info" | "expectOrders" | "offer" | "withdraw">;
  readonly publisher: Publisher;
  readonly now: () => number;
  readonly random: () => number;
  /** The connection to other workers, one of which may receive an answer that this worker waits for. */
  readonly bus?: Bus;
  readonly sleep?: (ms: number) => Promise<void>;
}

const keptDays = 7;
/** The most open orders of a device: more are refused. */
const openMax = 50;
const listedMax = 200;
/** Bytes of a stored report: an item in the table has one or two KB. */
const reportBytesMax = 4 * 1024;
/** How long to wait for the answer to a question. */
const askMs = 2_000;
/** Bytes of an answer that is passed on: a page of a device has 64 KB, or one row. Brokers take messages of 512 KB. */
const answerBytesMax = 256 * 1024;
/** Bytes of a device's answers that are passed on. */
const passedRate: Rate = { perSecond: 64 * 1024, burst: 1024 * 1024 };
/** Without a bus, the answer is stored in the table, and polled there. */
const lookEveryMs = 250, answerSeconds = 60;
const logger = new Log("cloud");

/** See the module. */
export class Orders {
  readonly #context: OrdersContext;
  readonly #asked = new Map<string, (answer: Ordered) => void>();
  readonly #passed = new Budget(passedRate);
  readonly #listeners = new Set<(deviceId: string, answer: Ordered) => void>();
  readonly #release: () => void;

  constructor(context: OrdersContext) {
    this.#context = context;
    this.#release = context.bus?.subscribe((message) => {
      if (message.kind !== "answer") return;
      if (message.request.startsWith(orderPrefix)) return this.#tell(message.device, message.answer as Ordered);
      this.#asked.get(`${message.device} ${message.request}`)?.(message.answer as Ordered);
    }) ?? (() => {});
  }

  /** Stops listening to other workers. */
  close(): void {
    this.#release();
  }

  /**
   * Calls with what devices say of their orders, whichever worker hears it: for people who look on. Best effort; the table has
   * it for certain ({@link list}).
   *
   * @returns what ends that
   */
  listen(listener: (deviceId: string, answer: Ordered) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(deviceId: string, answer: Ordered): void {
    for (const listener of this.#listeners) listener(deviceId, answer);
  }

  /**
   * Gives a device an order. Durable when it resolves. @throws SyncError `exists` if the device has too many open
   * orders; `unavailable` if the table fails
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
      if (info?.connected === true && understands(info, content)) await this.#send(deviceId, number, content);
      return idOf(number);
    }
    throw new SyncError("unavailable", "the log table did not take the order", { retryable: true });
  }

  /** A device's orders, the newest first. */
  async list(deviceId: string, limit = 50): Promise<StoredOrder[]> {
    const info = await this.#context.registry.info(deviceId);
    const orders = (await this.#items(deviceId, limit, info)).map(orderOf);
    return orders.map((order) => order.state === "waiting" ? { ...order, why: whyWaiting(info, order) } : order);
  }

  /** Sends a device its open orders, after it has connected or sent a message. Never rejects: it is tried again. */
  async deliver(deviceId: string): Promise<void> {
    const { registry } = this.#context;
    try {
      const info = await registry.info(deviceId);
      const open = (await this.#items(deviceId, listedMax, info)).filter(({ state }) =>
        state === "waiting" || state === "running"
      );
      if (open.length === 0) return await registry.expectOrders(deviceId, false);
      // An older agent can't read the message, and would log that each time.
      for (const item of open.reverse()) {
        const content = contentOf(item);
        if (understands(info, content)) await this.#send(deviceId, Number(item.sort), content);
      }
    } catch (error) {
      logger.warn("the orders of {deviceId} could not be sent: {error}", { deviceId, error });
    }
  }

  /** Handles a device's report on an order, or its answer to a question. @throws SyncError if the table fails */
  async answered(deviceId: string, answer: Ordered): Promise<void> {
    const { table, bus, now, registry } = this.#context;
    if (answer.order.startsWith(questionPrefix)) {
      const waiting = this.#asked.get(`${deviceId} ${answer.order}`);
      if (waiting) waiting(answer);
      else await this.#pass(deviceId, answer);
      return;
    }
    const number = Number(answer.order.slice(orderPrefix.length));
    if (!answer.order.startsWith(orderPrefix) || !Number.isSafeInteger(number)) return;
    const { hash, sort } = keyOf(deviceId, number), [item] = await table.get([[hash, sort]]);
    // Not an order of this device, or already done: the report came late.
    if (!item || item.state === "done" || item.state === "failed") return;
    const report = fitted(reportBytesMax, answer.report, "its report is too large to be kept");
    // Sent again after it was used, one has been offered that nobody will use.
    if (answer.state !== "running" && contentOf(item).do === "rotate") await registry.withdraw(deviceId);
    await this.#note(item, { state: answer.state, report: JSON.stringify(report), told: now() });
    this.#tell(deviceId, answer);
    if (bus) await this.#pass(deviceId, { ...answer, report });
  }

  /** Passes an answer on to whichever worker waits for it; beyond the bounds it does not hear of it. */
  async #pass(deviceId: string, given: Ordered): Promise<void> {
    const { bus, now } = this.#context;
    const report = fitted(answerBytesMax, given.report, "its answer is too large to be passed on: ask for fewer rows");
    const answer: Ordered = report === given.report ? given : { ...given, state: "failed", report };
    if (this.#passed.waitMs(deviceId, now()) > 0) return;
    this.#passed.take(deviceId, bytesOf(answer), now());
    if (bus) bus.publish({ kind: "answer", device: deviceId, request: answer.order, answer });
    else await this.#leave(deviceId, answer);
  }

  async #note(item: Item, outcome: Attributes): Promise<void> {
    const { table } = this.#context;
    // Two reports at once: the other says the same, or comes again.
    await table.write([{ op: "put", item: { ...item, ...outcome }, condition: equals("state", item.state!) }]);
  }

  /**
   * Asks a device for the versions that it stores for people. Undefined: it did not answer within two seconds.
   *
   * @throws SyncError `unavailable` if the broker does not accept it
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
      if (!bus) await this.#expect(deviceId, order);
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
    const order = idOf(number), { publisher } = this.#context;
    if (content.do !== "rotate") {
      return void await publisher.publish({ device: deviceId }, { type: "order", order, ...content });
    }
    let token: string;
    try {
      token = await this.#context.registry.offer(deviceId);
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== "not-found") throw error;
      return await this.#failed(deviceId, number, error.message);
    }
    await publisher.publish({ device: deviceId }, { type: "order", order, ...content, token });
  }

  async #failed(deviceId: string, number: number, reason: string): Promise<void> {
    const { table, now } = this.#context, { hash, sort } = keyOf(deviceId, number);
    const [item] = await table.get([[hash, sort]]);
    if (item) await this.#note(item, { state: "failed", report: JSON.stringify({ reason }), told: now() });
  }

  /** Not those of a device of the same name that was removed. */
  async #items(deviceId: string, limit: number, info: DeviceInfo | undefined): Promise<readonly Item[]> {
    const { table, now } = this.#context, hash = ordersHash(deviceId);
    const { items } = await table.query({ index: "primary", hash, reverse: true, limit });
    const sinceMs = info?.createdMs ?? Infinity;
    return items.filter(({ expires, at }) => Number(expires) * 1000 > now() && Number(at) >= sinceMs);
  }

  #answerItem(deviceId: string, order: string, more: Attributes): Item {
    const expires = Math.floor(this.#context.now() / 1000) + answerSeconds;
    return { hash: `answer#${deviceId}`, sort: order, expires, ...more };
  }

  /** A question whose answer may come to another instance of the handler. @throws SyncError `unavailable` */
  async #expect(deviceId: string, order: string): Promise<void> {
    const item = this.#answerItem(deviceId, order, { open: 1 });
    const [result] = await this.#context.table.write([{ op: "put", item }]);
    if (result?.outcome === "written") return;
    throw new SyncError("unavailable", "the log table did not take the question", { retryable: true });
  }

  /** The answer to a question of another instance of the handler. */
  async #leave(deviceId: string, answer: Ordered): Promise<void> {
    const item = this.#answerItem(deviceId, answer.order, { answer: JSON.stringify(answer) });
    await this.#context.table.write([{ op: "put", item, condition: equals("open", 1) }]);
  }

  async #left(deviceId: string, order: string): Promise<Ordered | undefined> {
    const [item] = await this.#context.table.get([[`answer#${deviceId}`, order]]);
    return typeof item?.answer === "string" ? JSON.parse(item.answer) as Ordered : undefined;
  }
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** What a device reports, or why there is nothing of it. */
function fitted(bytesMax: number, report: Attributes, why: string): Attributes {
  return bytesOf(report) > bytesMax ? { reason: why } : report;
}

const orderPrefix = "o/", questionPrefix = "k/";

/** To an agent that can't read it, it would be a message that is dropped each time. */
function understands(info: DeviceInfo | undefined, { do: kind }: OrderContent): boolean {
  const { orders, rotates } = info?.report ?? {};
  return orders === 1 && (kind !== "rotate" || rotates === 1);
}

function whyWaiting(info: DeviceInfo | undefined, content: OrderContent): string {
  if (info?.report === undefined) return "the device has not reported yet";
  const { agent = "of an older version", orders } = info.report;
  if (orders !== 1) return `not understood by agent ${agent}: update it`;
  if (!understands(info, content)) return `the device has no token that agent ${agent} could replace`;
  if (info.connected !== true) return "the device is not connected";
  return "it is sent again when the device reports, within five minutes";
}

function idOf(number: number): string {
  return `${orderPrefix}${number}`;
}

function keyOf(deviceId: string, number: number): { hash: string; sort: string } {
  return { hash: ordersHash(deviceId), sort: String(number).padStart(16, "0") };
}

/** The key of a device's orders in the log table. */
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
