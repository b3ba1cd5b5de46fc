/**
 * Events for open pages: a bounded memory of events, and their listeners.
 *
 * Guarantees: events have ascending numbers within a worker's life; a page that reconnects with the number of its last
 * event gets all events since, or `gap`; a slow listener loses events, gets `gap`, and holds nothing up.
 *
 * @module
 */

/** Something that happened. */
export interface ConsoleEvent {
  /** `fleet`, `row`, `change`, `stage`, `item`, `kept`, `job`. */
  readonly name: string;
  /** The topic by which listeners choose: `on=fleet,device:d-1`. */
  readonly topic: string;
  /** JSON. */
  readonly data: unknown;
}

/** An event with its number. */
export interface NumberedEvent extends ConsoleEvent {
  readonly seq: number;
  /** As streams send it: made once, when the first page wants it, and not once a page. */
  bytes(): Uint8Array;
}

/** An event as `text/event-stream` has it. */
export function eventBytes(id: string, name: string, data: unknown): Uint8Array {
  return encoder.encode(`id: ${id}\nevent: tt:${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

const encoder = new TextEncoder();

const ringMax = 1_000;

/** See the module. */
export class EventHub {
  /** This worker's run: numbers of another run mean nothing here. */
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
    const seq = ++this.#seq;
    let made: Uint8Array | undefined;
    const bytes = () => made ??= eventBytes(`${this.life}-${seq}`, event.name, event.data);
    const numbered = { ...event, seq, bytes };
    this.#ring.push(numbered);
    if (this.#ring.length > ringMax) this.#ring.shift();
    for (const listener of this.#listeners) listener(numbered);
  }

  /** Events after this number, of this run; undefined if some are no longer in memory. */
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
