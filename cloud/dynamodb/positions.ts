/**
 * The reader's position in each shard, in the log table: one row for each shard of the frontier. Every write carries
 * the term of the lease and is refused once a later holder has written.
 *
 * @module
 */
import type { Key } from "../../protocol.ts";
import { SyncError } from "../../schema/errors.ts";
import type { Item } from "../../schema/values.ts";
import { absent, any, atMost } from "../table/condition.ts";
import type { Table, Write } from "../table/port.ts";

/** A position in one shard. */
export interface Position {
  /** The stream that the shard belongs to. */
  readonly stream: string;
  readonly shard: string;
  /** The sequence number of the last record that was handled; absent: none yet, start at the oldest. */
  readonly after?: string;
  /** All that was written before this time has been handled, ms since 1970. */
  readonly at: number;
}

const sortPrefix = "shard#";
/** The stream that was last read, whatever its table's name: the log table belongs to one data table. */
const lastStreamKey: Key = ["stream", "last"];
/** Rows read or written at once. */
const pageRows = 100;

/** The positions of one stream's readers, under one lease. */
export class Positions {
  readonly #log: Table;
  readonly #name: string;
  readonly #term: number;

  /** @param name the hash value under which they are stored. */
  constructor(log: Table, name: string, term: number) {
    this.#log = log;
    this.#name = name;
    this.#term = term;
  }

  /** All stored positions. */
  async load(): Promise<Position[]> {
    const positions: Position[] = [];
    let after: string | undefined;
    do {
      const page = await this.#log.query({
        index: "primary",
        hash: this.#name,
        sortPrefix,
        limit: pageRows,
        ...(after === undefined ? {} : { after }),
      });
      for (const item of page.items) positions.push(toPosition(item));
      after = page.next;
    } while (after !== undefined);
    return positions;
  }

  /** The stream that was last read for this log table, of a table with any name. */
  async lastStream(): Promise<string | undefined> {
    const [item] = await this.#log.get([lastStreamKey]);
    return typeof item?.stream === "string" ? item.stream : undefined;
  }

  /** Notes the stream that is read from now on. */
  async noteStream(stream: string): Promise<void> {
    const [hash, sort] = lastStreamKey;
    await this.#write([{ op: "put", item: { hash, sort, stream } }]);
  }

  /** Stores positions. False: another reader has the lease now, and its positions were not altered. */
  async save(positions: readonly Position[]): Promise<boolean> {
    return await this.#write(positions.map((position) => ({
      op: "put",
      item: { hash: this.#name, sort: sortPrefix + position.shard, term: this.#term, ...position },
      condition: any(absent, atMost("term", this.#term)),
    })));
  }

  /** Removes the positions of shards that are done with. False as with `save`. */
  async remove(shards: readonly string[]): Promise<boolean> {
    return await this.#write(shards.map((shard) => ({
      op: "delete",
      key: [this.#name, sortPrefix + shard],
      condition: any(absent, atMost("term", this.#term)),
    })));
  }

  async #write(writes: readonly Write[]): Promise<boolean> {
    let kept = true;
    for (let i = 0; i < writes.length; i += pageRows) {
      for (const result of await this.#log.write(writes.slice(i, i + pageRows))) {
        if (result.outcome === "refused") kept = false;
        else if (result.outcome !== "written") {
          throw new SyncError("throttled", `storing the stream's position: ${result.outcome}`, { retryable: true });
        }
      }
    }
    return kept;
  }
}

function toPosition(item: Item): Position {
  const { stream, shard, after, at } = item;
  return {
    stream: String(stream),
    shard: String(shard),
    ...(typeof after === "string" ? { after } : {}),
    at: typeof at === "number" ? at : 0,
  };
}
