/**
 * A queue that is fair by device: a limited number of tasks run at once, and each device with waiting tasks gets its
 * turn. A device that sends a thousand messages delays itself, not the others.
 *
 * Tasks are cheap or expensive (`dear`). Cheap ones come first, so that many devices that need little are served soon;
 * every {@link dearTurn}-th start is still an expensive one, and expensive tasks never occupy more than half of the
 * slots.
 *
 *     push ─▶ cheap: device → its tasks ─┐ next: the first device of the round, which then is last
 *        └──▶ dear:  device → its tasks ─┴──▶ at most `slots` running ─▶ done: how long one takes is learnt
 *
 * Everything is bounded: tasks and bytes of a device, tasks and bytes in total. A task that finds no room is refused:
 * its sender is told, and comes again.
 *
 * @module
 */

/** One piece of work for a device. */
export interface Task {
  readonly deviceId: string;
  /** What it holds in memory while it waits. */
  readonly bytes: number;
  readonly dear?: boolean;
  run(): Promise<void>;
}

/** Bounds of a {@link FairQueue}. */
export interface FairQueueOptions {
  /** Tasks that run at once: a number, or a function that returns it: 1 or more. */
  readonly slots: number | (() => number);
  /** The same for one device; default: any number. */
  readonly deviceSlots?: number | (() => number);
  /** Tasks of one device that wait. */
  readonly deviceTasksMax: number;
  /** Bytes of one device that wait; a single task is accepted whatever its size. */
  readonly deviceBytesMax: number;
  readonly tasksMax: number;
  readonly bytesMax: number;
  /** Any clock, ms. */
  readonly now: () => number;
}

/** One start in so many goes to an expensive task, if one waits. */
const dearTurn = 4;
/** The weight of one more task in the estimate. */
const learning = 0.1;

/** Tasks of one class that wait, by device in the order of the round. */
class Round {
  readonly #devices = new Map<string, Task[]>();
  count = 0;

  of(deviceId: string): Task[] | undefined {
    return this.#devices.get(deviceId);
  }

  add(task: Task): void {
    const list = this.#devices.get(task.deviceId);
    if (list) list.push(task);
    else this.#devices.set(task.deviceId, [task]);
    this.count++;
  }

  /**
   * The first task of the next device that may run one more; the device goes to the end of the round. Skipped devices
   * already run as many as they may.
   */
  take(mayRun: (deviceId: string) => boolean): Task | undefined {
    for (const [deviceId, list] of this.#devices) {
      if (!mayRun(deviceId)) continue;
      const task = list.shift();
      this.#devices.delete(deviceId);
      if (list.length > 0) this.#devices.set(deviceId, list);
      this.count--;
      return task;
    }
    return undefined;
  }

  /** Replaces a waiting task, or removes it. The device keeps its place in the round. */
  replace(task: Task, by: Task | undefined): void {
    const list = this.#devices.get(task.deviceId)!, at = list.indexOf(task);
    list.splice(at, 1, ...(by ? [by] : []));
    if (!by) this.count--;
    if (list.length === 0) this.#devices.delete(task.deviceId);
  }
}

/** See the module. */
export class FairQueue {
  readonly #options: FairQueueOptions;
  readonly #cheap = new Round();
  readonly #dear = new Round();
  #running = 0;
  readonly #runningOf = new Map<string, number>();
  #dearRunning = 0;
  #bytes = 0;
  #starts = 0;
  #endedMs: number;
  #taskMs = 0;

  constructor(options: FairQueueOptions) {
    const { slots } = options;
    if (typeof slots === "number" && !(Number.isSafeInteger(slots) && slots >= 1)) {
      throw new RangeError(`${slots} slots: 1 or more are required`);
    }
    this.#options = options;
    this.#endedMs = options.now();
  }

  get #slots(): number {
    return valueOf(this.#options.slots);
  }

  /** Tasks that run. */
  get running(): number {
    return this.#running;
  }

  /** Tasks that wait. */
  get waiting(): number {
    return this.#cheap.count + this.#dear.count;
  }

  /** Bytes of the tasks that wait. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** A device's tasks that wait. */
  waitingOf(deviceId: string): Task[] {
    return [...this.#cheap.of(deviceId) ?? [], ...this.#dear.of(deviceId) ?? []];
  }

  /** Estimates how long a new task would wait, ms, by how fast tasks have ended recently. */
  waitMs(dear = false): number {
    return (dear ? this.waiting : this.#cheap.count) * this.#taskMs;
  }

  /** Takes a task. False: there is no room for it. */
  push(task: Task): boolean {
    const { deviceTasksMax, deviceBytesMax, tasksMax, bytesMax } = this.#options;
    if (this.#running < this.#slots && this.#mayRun(task)) {
      this.#start(task);
      return true;
    }
    const own = this.waitingOf(task.deviceId);
    const ownBytes = own.reduce((sum, { bytes }) => sum + bytes, 0);
    if (own.length >= deviceTasksMax || this.waiting >= tasksMax) return false;
    if (own.length > 0 && ownBytes + task.bytes > deviceBytesMax) return false;
    if (this.waiting > 0 && this.#bytes + task.bytes > bytesMax) return false;
    this.#bytes += task.bytes;
    this.#roundOf(task).add(task);
    // The tasks before it may belong to a device that uses all its slots, while other slots are free.
    this.#startWaiting();
    return true;
  }

  #startWaiting(): void {
    for (let task = this.#next(); task; task = this.#next()) {
      this.#bytes -= task.bytes;
      this.#start(task);
    }
  }

  /** Replaces a waiting task of the same device and class. Without `by`, that one is removed. */
  replace(task: Task, by?: Task): void {
    this.#roundOf(task).replace(task, by);
    this.#bytes += (by?.bytes ?? 0) - task.bytes;
  }

  #roundOf({ dear }: Task): Round {
    return dear ? this.#dear : this.#cheap;
  }

  /** Whether a task that did not wait may get a slot: no task of its class waits. */
  #mayRun({ dear, deviceId }: Task): boolean {
    if (!this.#hasDeviceSlot(deviceId)) return false;
    return dear ? this.#dear.count === 0 && this.#hasDearSlot : this.#cheap.count === 0;
  }

  #hasDeviceSlot(deviceId: string): boolean {
    return (this.#runningOf.get(deviceId) ?? 0) < valueOf(this.#options.deviceSlots ?? Infinity);
  }

  get #hasDearSlot(): boolean {
    return this.#dearRunning < Math.max(1, this.#slots / 2);
  }

  #start(task: Task): void {
    if (this.#running === 0) this.#endedMs = this.#options.now();
    this.#starts++;
    this.#running++;
    this.#runningOf.set(task.deviceId, (this.#runningOf.get(task.deviceId) ?? 0) + 1);
    if (task.dear) this.#dearRunning++;
    task.run().finally(() => this.#ended(task));
  }

  #ended({ dear, deviceId }: Task): void {
    const now = this.#options.now();
    this.#taskMs += (now - this.#endedMs - this.#taskMs) * learning;
    this.#endedMs = now;
    this.#running--;
    const left = this.#runningOf.get(deviceId)! - 1;
    if (left > 0) this.#runningOf.set(deviceId, left);
    else this.#runningOf.delete(deviceId);
    if (dear) this.#dearRunning--;
    this.#startWaiting();
  }

  #next(): Task | undefined {
    if (this.#running >= this.#slots) return undefined;
    const mayRun = (deviceId: string) => this.#hasDeviceSlot(deviceId);
    const cheap = () => this.#cheap.take(mayRun);
    const dear = () => this.#hasDearSlot ? this.#dear.take(mayRun) : undefined;
    const isDearTurn = this.#starts % dearTurn === dearTurn - 1;
    return isDearTurn ? dear() ?? cheap() : cheap() ?? dear();
  }
}

function valueOf(bound: number | (() => number)): number {
  return typeof bound === "number" ? bound : bound();
}
