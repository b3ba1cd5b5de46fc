/**
 * Messages that wait for something other than a slot, such as a shared read: outside of the queue, in order by device.
 * If they waited inside slots, hardly any other message could be answered meanwhile.
 *
 * @module
 */

/** See the module. */
export class Parking {
  readonly #bounds: { readonly deviceTasksMax: number; readonly tasksMax: number };
  /** By device, how many wait, and the promise of the last of them. */
  readonly #waiting = new Map<string, { count: number; last: Promise<void> }>();
  #count = 0;

  constructor(bounds: { readonly deviceTasksMax: number; readonly tasksMax: number }) {
    this.#bounds = bounds;
  }

  /** Messages that wait. */
  get count(): number {
    return this.#count;
  }

  /**
   * Resolves when `ready` has, and earlier messages of this device have gone. Undefined if there is nothing to wait
   * for, or no room: the message then continues at once.
   *
   * @param ready never rejects
   */
  wait(deviceId: string, ready: Promise<void> | undefined): Promise<void> | undefined {
    const { deviceTasksMax, tasksMax } = this.#bounds;
    const own = this.#waiting.get(deviceId) ?? { count: 0, last: Promise.resolve() };
    if ((!ready && own.count === 0) || own.count >= deviceTasksMax || this.#count >= tasksMax) return undefined;
    this.#count++;
    own.count++;
    this.#waiting.set(deviceId, own);
    return own.last = this.#until([own.last, ready], deviceId, own);
  }

  async #until(all: (Promise<void> | undefined)[], deviceId: string, own: { count: number }): Promise<void> {
    await Promise.all(all);
    this.#count--;
    if (--own.count === 0) this.#waiting.delete(deviceId);
  }
}
