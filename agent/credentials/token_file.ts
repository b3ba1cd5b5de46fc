/**
 * The token that an order gave a device, in a file beside its database (0600), in place of the one that the agent is started
 * with.
 *
 *     given ──order──▶ given, next ──let in by next──▶ given, token ──order──▶ given, token, next ──▶ …
 *                           └──next refused──▶ given
 *
 * Guarantees:
 * - A new token is stored before it is shown to a broker, so that a crash loses none.
 * - While the new one has let nobody in, the one before is not forgotten: a refused one is followed by it at once.
 * - Another given token than the one that was replaced is somebody's newer word: the file is void.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { Log } from "../../protocol/log.ts";
import { writeWholeFile } from "./whole_file.ts";

/** What became of an order's token. */
export type TokenOutcome = "accepted" | "refused";

interface Stored {
  /** SHA-256 of the given token. */
  readonly given: string;
  /** In use in its place. */
  readonly token?: string;
  /** Not used yet. */
  readonly next?: string;
  /** The order that brought `next`, or what is in use. */
  readonly order?: string;
  readonly outcome?: TokenOutcome;
}

const log = new Log("agent");

/** Where it stands, beside a database. */
export function tokenPath(database: string): string {
  return `${database}.token`;
}

/** See the module. */
export class TokenFile {
  #stored: Stored;
  /** Which of the tokens is shown, of {@link TokenFile.all}. */
  #at = 0;

  /** Reads the file. One that can't be read counts as none: the given token is still there. */
  constructor(private readonly path: string, private readonly given: string) {
    const none = { given: createHash("sha256").update(given).digest("hex") };
    const stored = read(path);
    this.#stored = stored?.given === none.given ? stored : none;
  }

  /** The tokens to show, in this order, each once. */
  get #all(): string[] {
    const { next, token } = this.#stored;
    return [...new Set([next, token, this.given].filter((one) => one !== undefined))];
  }

  /** What to show now. */
  current(): string {
    return this.#all[this.#at] ?? this.given;
  }

  /** Takes a new token, which is shown from the next connection on. @throws what the system says */
  take(order: string, next: string): void {
    const { given, token } = this.#stored;
    this.#write({ given, ...(token === undefined ? {} : { token }), next, order });
    this.#at = 0;
  }

  /** What became of an order's token; undefined: it has not been shown yet, or is none that is known. */
  outcome(order: string): TokenOutcome | undefined {
    return this.#stored.order === order ? this.#stored.outcome : undefined;
  }

  /** A broker has let the device in by {@link current}. */
  accepted(): void {
    const { given, token, next, order } = this.#stored, used = this.current();
    if (next === undefined) return;
    const isNew = used === next, kept = isNew ? next : token;
    const known = { given, ...(kept === undefined ? {} : { token: kept }), ...(order === undefined ? {} : { order }) };
    this.#stored = { ...known, outcome: isNew ? "accepted" : "refused" };
    this.#at = Math.max(0, this.#all.indexOf(used));
    try {
      this.#write(this.#stored);
    } catch (error) {
      // As it stands there it does: the new token is tried first after a start, and the one before it next.
      log.warn("{path} can't be written: {error}", { path: this.path, error });
    }
  }

  /** A broker has refused {@link current}. @returns whether there is another to show */
  refused(): boolean {
    this.#at++;
    if (this.#at < this.#all.length) return true;
    this.#at = 0;
    return false;
  }

  #write(stored: Stored): void {
    writeWholeFile(this.path, `${JSON.stringify(stored)}\n`);
    this.#stored = stored;
  }
}

function read(path: string): Stored | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const stored = JSON.parse(readFileSync(path, "utf8")) as Stored;
    return typeof stored === "object" && stored !== null ? stored : undefined;
  } catch (error) {
    log.warn("{path} can't be read, and is left aside: {error}", { path, error: error as Error });
    return undefined;
  }
}
