/**
 * Failed sign-ins, in the audit: who tried with a wrong token or code, through what. Guarantee: however many fail, few entries are
 * written: {@link perWindow} a window and one that counts the rest; a window is a minute, and twice as long after each in which
 * not all were written, up to an hour. A flood that goes on writes some 270 entries a day (50 KB) for each worker.
 *
 * Nobody waits for it, and that an entry can't be written harms nobody: it is logged.
 *
 * @module
 */
import { setTimeout } from "node:timers";
import { Log } from "../../protocol/log.ts";
import { sourceOf } from "../address.ts";
import type { Audit, AuditEntry } from "./audit.ts";

/** Entries of one window; each of another address (of IPv6: of another /64), or through another door. */
const perWindow = 10;
const windowMinMs = 60_000, windowMaxMs = 3_600_000;
/** Addresses that are told apart in one window; beyond, tries are counted alone. */
const addressesMax = 1_000;
const logger = new Log("api");

/** Through what somebody tried. */
export type Door = Extract<AuditEntry["via"], "api" | "console" | "device" | "broker">;

/** See the module. */
export class FailedSignIns {
  #endMs = -Infinity;
  #windowMs = windowMinMs;
  /** Who has an entry in this window, and whose further tries are counted. */
  readonly #seen = new Set<string>();
  #written = 0;
  #more = 0;
  /** There were more in this window than were written. */
  #isFlood = false;

  constructor(
    private readonly audit: Pick<Audit, "note">,
    private readonly now: () => number,
    /** Waits for a window's end. Default by timers, which hold no process. */
    private readonly after: (ms: number, then: () => void) => void = (ms, then) => void setTimeout(then, ms).unref(),
  ) {}

  /** Somebody failed. @param address where from, as far as that is known */
  failed(via: Door, address: string | undefined, why: string): void {
    if (this.now() >= this.#endMs) this.#begin();
    const who = address === undefined || address === "" ? "unknown address" : address, name = `${via} ${sourceOf(who)}`;
    const isNew = !this.#seen.has(name);
    if (isNew && this.#seen.size < addressesMax) this.#seen.add(name);
    if (isNew && this.#written < perWindow) {
      this.#written++;
      return this.#note({ who, via, action: "sign-in", outcome: why });
    }
    this.#isFlood = true;
    if (this.#more++ === 0) this.after(this.#endMs - this.now(), () => this.#tell());
  }

  #begin(): void {
    this.#tell();
    // One that went on until now; after as long a pause it is over.
    const goesOn = this.#isFlood && this.now() < this.#endMs + this.#windowMs;
    this.#windowMs = goesOn ? Math.min(2 * this.#windowMs, windowMaxMs) : windowMinMs;
    this.#isFlood = false;
    this.#seen.clear();
    this.#written = 0;
    this.#endMs = this.now() + this.#windowMs;
  }

  /** The window is over: what was counted in it. */
  #tell(): void {
    const more = this.#more, minutes = Math.round(this.#windowMs / 60_000);
    this.#more = 0;
    if (more === 0) return;
    const addresses = `${this.#seen.size}${this.#seen.size >= addressesMax ? " and more" : ""}`;
    const outcome = `${more} more tries within ${minutes} min, from ${addresses} addresses in all`;
    this.#note({ who: "several", via: "api", action: "sign-in", outcome });
  }

  #note(entry: AuditEntry): void {
    this.audit.note(entry).catch((error) => logger.warn("a failed sign-in is not in the audit: {error}", { error }));
  }
}
