/**
 * Sessions that were ended by signing out: a cookie holds all that a session is (`session.ts`), so that a copy of it would
 * work on for its twelve hours. The log table has them until then, for every worker; what is known to go on is asked again
 * after {@link freshMs}.
 *
 * Guarantees: a session that was ended opens nothing at this process from then on, and at others after {@link freshMs} at
 * most. The list is bounded: an entry is deleted when its session would have ended by itself, and {@link Throttle} bounds
 * how many a token makes.
 *
 * In the log table: `session#<first two digits>` / `<id>`: `{ended: 1, expires}`. The id is a hash: a copy of the table
 * opens nothing.
 *
 * @module
 */
import { BoundedMap } from "../../protocol/bounded_map.ts";
import { Log } from "../../protocol/log.ts";
import type { Key } from "../../protocol.ts";
import { ApiError } from "../api/errors.ts";
import { Throttle } from "../api/throttle.ts";
import { keyAttributes } from "../sync/log_items.ts";
import type { Table } from "../table/port.ts";
import type { Session } from "./session.ts";

/** How long an answer of the table is believed, ms. An open page costs a read in this time. */
export const freshMs = 2_000;
/** Sessions whose answers are remembered. */
const rememberedMax = 10_000;
/** Sessions that a token's holders may end in a minute, at a process. */
const endedPerMinute = 60;
const logger = new Log("console");

interface Verdict {
  readonly ended: boolean;
  readonly atMs: number;
}

/** What the table says of sessions. */
export class EndedSessions {
  readonly #verdicts = new BoundedMap<string, Verdict>(rememberedMax);
  readonly #throttle = new Throttle(endedPerMinute);

  constructor(private readonly table: Pick<Table, "get" | "write">, private readonly now: () => number) {}

  /** A session begins here: it is known to go on, even if the table can't be read for a while. */
  began({ id }: Pick<Session, "id">): void {
    this.#verdicts.set(id, { ended: false, atMs: this.now() });
  }

  /**
   * Whether a session was ended. If the table can't be read, what was known last is true.
   *
   * @throws the table's error if nothing is known
   */
  async has({ id }: Pick<Session, "id">): Promise<boolean> {
    const known = this.#verdicts.get(id), ageMs = this.now() - (known?.atMs ?? -Infinity);
    if (known && (known.ended || ageMs >= 0 && ageMs < freshMs)) return known.ended;
    try {
      const [item] = await this.table.get([keyOf(id)]);
      // It may have been ended here meanwhile.
      const ended = item !== undefined || this.#verdicts.get(id)?.ended === true;
      this.#verdicts.set(id, { ended, atMs: this.now() });
      return ended;
    } catch (error) {
      if (!known) throw error;
      logger.warn("whether a session was ended can't be read: {error}", { error });
      return known.ended;
    }
  }

  /** Ends a session, here at once. @throws ApiError 429 if too many are ended, 503 if other workers can't be told */
  async end({ id, name, untilMs }: Session): Promise<void> {
    if (this.#throttle.tried(`token ${name}`, this.now()) > 0) {
      throw new ApiError(429, "throttled", "Too many sessions of this token end: wait a minute, and sign out again.");
    }
    this.#verdicts.set(id, { ended: true, atMs: this.now() });
    const item = { ...keyAttributes(keyOf(id)), ended: 1, expires: Math.ceil(untilMs / 1000) };
    const [result] = await this.table.write([{ op: "put", item }]).catch((error) => {
      logger.error("that a session was ended can't be stored: {error}", { error });
      return [];
    });
    if (result?.outcome === "written") return;
    throw new ApiError(
      503,
      "unavailable",
      "You are signed out in this browser. Other workers could not be told: a copy of its cookie works there until its twelve hours are over.",
    );
  }
}

function keyOf(id: string): Key {
  return [`session#${id.slice(0, 2)}`, id];
}
