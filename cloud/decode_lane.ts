/**
 * Reading what devices send, in the process's only thread: who sends what takes long to read waits for his next message, and
 * nobody else does. What an ordinary message takes is free; what is above that comes out of a device's budget and its account's, and
 * so do bytes. A device in debt keeps its order: its messages stand in a queue of its own, so many and so large.
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

/** What is no message costs its sender so many times what it took: a device of ours sends none. */
const malformedFactor = 10;

const mb = 1024 * 1024;
/** A worker reads some 50 MB a second. Of slow messages a hundredth to a fiftieth of its time. */
export const defaultBudgets: DecodeBudgets = {
  devicePackets: { perSecond: 500, burst: 2_000 },
  deviceBytes: { perSecond: 8 * mb, burst: 32 * mb },
  accountBytes: { perSecond: 16 * mb, burst: 64 * mb },
  deviceMs: { perSecond: 10, burst: 100 },
  accountMs: { perSecond: 20, burst: 200 },
};

/** A debt is looked at again so often: a clock that a test moves, or an account whose other devices pay. */
const stepMs = 250;
/** What waits: of a device, and of all. A device has four batches in flight, of 128 KB. */
const deviceTasksMax = 64, deviceBytesMax = 2 * mb, bytesMax = 32 * mb;

/** What reading a payload came to. */
export interface Read {
  /** Bytes of JSON. */
  readonly bytes: number;
  /** It was no message: nothing that a device of ours sends. */
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
  /** Messages that had to wait, and those that found no room to. */
  readonly counters = { delayed: 0, dropped: 0 };

  /** @param accountOf the account of a device, where that is known without asking */
  constructor(
    private readonly accountOf: (deviceId: string) => string | undefined = () => undefined,
    budgets: DecodeBudgets = defaultBudgets,
    private readonly nowMs: () => number = () => performance.now(),
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

  /** Does the work now, or when the device may have more done. */
  take(deviceId: string, payload: Uint8Array, work: Work): void {
    const waiting = this.#waiting.get(deviceId), bytes = payload.length;
    if (!waiting && this.#waitMs(deviceId) === 0) return this.#run(deviceId, payload, work);
    const own = waiting ?? { tasks: [], bytes: 0 };
    if (own.tasks.length >= deviceTasksMax || own.bytes + bytes > deviceBytesMax || this.#bytes + bytes > bytesMax) {
      this.counters.dropped++;
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
    this.#budgets.devicePackets.take(deviceId, 1, now);
    this.#budgets.deviceBytes.take(deviceId, bytes, now);
    this.#budgets.deviceMs.take(deviceId, excess, now);
    if (account === undefined) return;
    this.#budgets.accountBytes.take(account, bytes, now);
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
