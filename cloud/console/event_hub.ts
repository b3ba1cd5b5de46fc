/**
 * What happens, for open pages: a bounded memory of events and whoever listens.
 *
 * Guarantees: events have ascending numbers within a worker's life; one who comes again with the number of the last event that
 * it saw gets all since, or is told `gap`; a listener that does not keep up loses events, is told `gap`, and holds nothing up.
 *
 * @module
 */

/** Something that happened. */
export interface ConsoleEvent {
  /** `fleet`, `row`, `change`, `stage`, `item`, `kept`, `job`. */
  readonly name: string;
  /** What listeners choose by: `on=fleet,device:d-1`. */
  readonly topic: string;
  /** JSON. */
  readonly data: unknown;
}

/** An event with its number. */
export interface NumberedEvent extends ConsoleEvent {
  readonly seq: number;
}

const ringMax = 1_000;

/** See the module. */
export class EventHub {
  /** This worker's life: numbers of another mean nothing here. */
  readonly life: string = crypto.randomUUID().slice(0, 8);
  readonly #ring: NumberedEvent[] = [];
  readonly #listeners = new Set<(event: NumberedEvent) => void>();
  readonly #closing = new AbortController();
  readonly #opened = new Set<() => void>();
  #seq = 0;

  /** Whether a page is open. */
  get isHeard(): boolean {
    return this.#listeners.size > 0;
  }

  /** Calls when the first page is opened. */
  onFirst(opened: () => void): void {
    this.#opened.add(opened);
  }

  /** The number of the last event. */
  get seq(): number {
    return this.#seq;
  }

  publish(event: ConsoleEvent): void {
    const numbered = { ...event, seq: ++this.#seq };
    this.#ring.push(numbered);
    if (this.#ring.length > ringMax) this.#ring.shift();
    for (const listener of this.#listeners) listener(numbered);
  }

  /** Events after this number, of this life; undefined where some are not remembered. */
  since(life: string, seq: number): readonly NumberedEvent[] | undefined {
    if (life !== this.life || seq > this.#seq) return undefined;
    const first = this.#ring[0]?.seq ?? this.#seq + 1;
    return seq + 1 < first ? undefined : this.#ring.filter((event) => event.seq > seq);
  }

  /** @returns ends it */
  listen(listener: (event: NumberedEvent) => void): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) { for (const opened of this.#opened) opened(); }
    return () => void this.#listeners.delete(listener);
  }

  /** The worker closes: streams end, and their pages try to connect again. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  close(): void {
    this.#closing.abort();
  }
}
