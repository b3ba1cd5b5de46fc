/**
 * Decodes devices' messages in the process's only thread: a device whose messages take long to decode waits for its
 * next message, and no other device does. The time of an ordinary message is free; anything above, and all bytes, count
 * against the device's budget and its account's. The messages of a device in debt stay in order, in a bounded queue of
 * their own.
 *
 *     message ─▶ in debt, or others of this device wait? ──no──▶ read ─▶ taken from the budgets
 *                              └──yes──▶ queue of the device ──when the debt is over──▶ read
 *
 * @module
 */
import { Budget, type Rate } from "./budget.ts";

/** Bounds of a {@link DecodeLane}. */
export interface DecodeBudgets {
  /** Payloads of a device. */
  readonly devicePackets: Rate;
  /** Bytes of JSON, of a device and of all devices of an account. */
  readonly deviceBytes: Rate;
  /** The same of all devices of an account. */
  readonly accountBytes: Rate;
  /** Milliseconds above {@link freeMs} a message. */
  readonly deviceMs: Rate;
  /** The same of all devices of an account. */
  readonly accountMs: Rate;
}

/** 128 KB of measurements are read in 3 ms; only items of hundreds of kilobytes take longer. */
export const freeMs = 10;

/** What is no message costs its sender so many times its bytes and the time it took: a device of ours sends none. */
const malformedFactor = 10;

const mb = 1024 * 1024;
/** A worker decodes some 50 MB a second. Slow messages may take a hundredth to a fiftieth of its time. */
export const defaultBudgets: DecodeBudgets = {
  devicePackets: { perSecond: 500, burst: 2_000 },
  deviceBytes: { perSecond: 8 * mb, burst: 32 * mb },
  accountBytes: { perSecond: 16 * mb, burst: 64 * mb },
  deviceMs: { perSecond: 10, burst: 100 },
  accountMs: { perSecond: 20, burst: 200 },
};

/** How often a debt is checked again: a test may move the clock, and an account's other devices share its debt. */
const stepMs = 250;
/** What waits: of a device, and of all. A device has four batches in flight, of 128 KB. */
const deviceTasksMax = 64, deviceBytesMax = 2 * mb, bytesMax = 32 * mb;

/** The result of decoding a payload. */
export interface Read {
  /** Bytes of JSON. */
  readonly bytes: number;
  /** It was not a message: genuine devices do not send such a payload. */
  readonly malformed?: boolean;
}

/** Reads a payload. It must not throw. */
type Work = (payload: Uint8Array) => Read;

interface Waiting {
  readonly tasks: { readonly payload: Uint8Array; readonly work: Work }[];
  bytes: number;
}

/** See the module. */
export class DecodeLane {
  readonly #budgets: { readonly [name in keyof DecodeBudgets]: Budget };
  readonly #waiting = new Map<string, Waiting>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #bytes = 0;
  #closed = false;
  /** Messages that had to wait, and those that found no room to wait. */
  readonly counters = { delayed: 0, dropped: 0 };

  /**
   * @param accountOf the account of a device, if known without a read
   * @param overflowed called for each message for which its own device left no room: no device of ours does
   */
  constructor(
    private readonly accountOf: (deviceId: string) => string | undefined = () => undefined,
    budgets: DecodeBudgets = defaultBudgets,
    private readonly nowMs: () => number = () => performance.now(),
    private readonly overflowed: (deviceId: string) => void = () => {},
  ) {
    const { devicePackets, deviceBytes, accountBytes, deviceMs, accountMs } = budgets;
    this.#budgets = {
      devicePackets: new Budget(devicePackets),
      deviceBytes: new Budget(deviceBytes),
      accountBytes: new Budget(accountBytes),
      deviceMs: new Budget(deviceMs),
      accountMs: new Budget(accountMs),
    };
  }

  /** Does the work now, or when the device's budget allows. */
  take(deviceId: string, payload: Uint8Array, work: Work): void {
    const waiting = this.#waiting.get(deviceId), bytes = payload.length;
    if (!waiting && this.#waitMs(deviceId) === 0) return this.#run(deviceId, payload, work);
    const own = waiting ?? { tasks: [], bytes: 0 };
    const isFull = own.tasks.length >= deviceTasksMax || own.bytes + bytes > deviceBytesMax;
    if (isFull || this.#bytes + bytes > bytesMax) {
      this.counters.dropped++;
      if (isFull) this.overflowed(deviceId);
      return;
    }
    this.counters.delayed++;
    // A copy: the payload is a view into the connection's much larger buffer.
    own.tasks.push({ payload: payload.slice(), work });
    own.bytes += bytes;
    this.#bytes += bytes;
    if (waiting) return;
    this.#waiting.set(deviceId, own);
    this.#later(deviceId, own);
  }

  /** Drops what waits. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#waiting.clear();
  }

  #later(deviceId: string, own: Waiting): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#waitMs(deviceId) > 0) return this.#later(deviceId, own);
      const task = own.tasks.shift()!;
      own.bytes -= task.payload.length;
      this.#bytes -= task.payload.length;
      this.#run(deviceId, task.payload, task.work);
      if (own.tasks.length > 0 && !this.#closed) this.#later(deviceId, own);
      else this.#waiting.delete(deviceId);
    }, Math.min(stepMs, Math.max(1, this.#waitMs(deviceId))));
    this.#timers.add(timer);
  }

  #run(deviceId: string, payload: Uint8Array, work: Work): void {
    const begun = this.nowMs();
    const { bytes, malformed } = work(payload);
    const now = this.nowMs(), account = this.accountOf(deviceId);
    const excess = malformed ? (now - begun) * malformedFactor : Math.max(0, now - begun - freeMs);
    const cost = malformed ? bytes * malformedFactor : bytes;
    this.#budgets.devicePackets.take(deviceId, 1, now);
    this.#budgets.deviceBytes.take(deviceId, cost, now);
    this.#budgets.deviceMs.take(deviceId, excess, now);
    if (account === undefined) return;
    this.#budgets.accountBytes.take(account, cost, now);
    this.#budgets.accountMs.take(account, excess, now);
  }

  #waitMs(deviceId: string): number {
    const now = this.nowMs(), account = this.accountOf(deviceId);
    const { devicePackets, deviceBytes, deviceMs } = this.#budgets;
    const own = Math.max(...[devicePackets, deviceBytes, deviceMs].map((budget) => budget.waitMs(deviceId, now)));
    if (account === undefined) return own;
    return Math.max(own, this.#budgets.accountBytes.waitMs(account, now), this.#budgets.accountMs.waitMs(account, now));
  }
}
