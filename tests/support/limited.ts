/**
 * Tables of limited speed, in real time: requests go through one after the other, so many a second, and take a latency
 * besides. A throttled table, whatever machine it stands on.
 *
 * @module
 */
import type { DataTable, Table, Tables } from "../../cloud/table/port.ts";

/** See the module. */
export class Limited {
  /** Requests so far. */
  requests = 0;
  #freeMs = 0;

  /** @param perSecond Infinity: as fast as the table is; may be changed at any time */
  constructor(public perSecond: number, readonly latencyMs: number) {}

  async #turn(): Promise<void> {
    this.requests++;
    if (this.perSecond === Infinity) return;
    const now = performance.now();
    this.#freeMs = Math.max(now, this.#freeMs) + 1000 / this.perSecond;
    await new Promise((resolve) => setTimeout(resolve, this.#freeMs - now + this.latencyMs));
  }

  table(table: Table): Table {
    return {
      get: (keys) => this.#turn().then(() => table.get(keys)),
      write: async (writes, options) => {
        await Promise.all(writes.map(() => this.#turn()));
        return await table.write(writes, options);
      },
      query: (query) => this.#turn().then(() => table.query(query)),
      scan: (options) => this.#turn().then(() => table.scan(options)),
      close: () => table.close(),
    };
  }

  tables({ data, log }: Tables): Tables {
    const limited: DataTable = Object.assign(this.table(data), { stream: data.stream.bind(data) });
    return { data: limited, log: this.table(log) };
  }
}
