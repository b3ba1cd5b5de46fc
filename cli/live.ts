/**
 * What `dev` shows while it runs: a line for each change that travels, as few as a person can read, and on a terminal
 * one line at the bottom with the totals.
 *
 * Guarantee: the bottom line is never wider than the terminal, whatever its width is at the moment: a line that wraps
 * could not be erased, and would scroll a copy of itself away each second. Other lines break between words. Nothing that
 * comes from an item reaches the terminal as a control character. Changes that are left out are counted by what they
 * are, and reported within a second or so, also if none follows.
 *
 * @module
 */
import { printable } from "../protocol/log.ts";
import { joined, wrapped } from "./fit.ts";

/** Writes text to the terminal or pipe. */
export interface Screen {
  readonly isTerminal: boolean;
  /** Characters in a line, now; undefined: not known. */
  columns?(): number | undefined;
  write(text: string): void;
}

/** The process's stdout. */
export const stdout: Screen = {
  isTerminal: Deno.stdout.isTerminal(),
  columns() {
    try {
      // A terminal that was never told its size says 0.
      return Deno.consoleSize().columns || undefined;
    } catch {
      // A terminal that says nothing of its size.
      return undefined;
    }
  },
  write(text) {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
    } catch {
      // The reader went away (`| head`, a closed terminal): nobody reads it, and the work continues.
    }
  },
};

/** Lines at once and per second that a person can follow. */
const burst = 8, perSecond = 2;
/** A terminal that says nothing of its size has so many columns at least. */
const columnsDefault = 80;
/** Of the bottom line. */
const indent = "  ";
/** The most characters of a line about a change. */
const lineLengthMax = 1_000;
/** Kinds that are named of what was left out. */
const kindsMax = 4;

/** The live display. `now` gives ms of a monotonic clock. */
export class Live {
  #tokens = burst;
  #at: number;
  /** What was left out, by kind. */
  readonly #hidden = new Map<string, number>();
  #totals: readonly string[] = [];
  /** The bottom line as it is on the screen. */
  #shown = "";

  constructor(private readonly screen: Screen, private readonly now: () => number) {
    this.#at = now();
  }

  /** Prints lines above the bottom line; on a terminal, a line that is too wide breaks between words. */
  print(text: string): void {
    if (!this.screen.isTerminal) return this.#write(text);
    const width = this.#width();
    this.#write(text.split("\n").flatMap((line) => wrapped(line, width)).join("\n"));
  }

  /** Prints a line that is there to be copied: it has no breaks of its own. */
  printWhole(line: string): void {
    this.#write(line);
  }

  /** Prints a line about a change, unless there were too many of late: these are counted by their kind. */
  change(line: string, kind = "changes"): void {
    this.#refill();
    if (this.#tokens < 1) {
      this.#hidden.set(kind, (this.#hidden.get(kind) ?? 0) + 1);
      return;
    }
    this.#tokens--;
    this.#tellHidden();
    this.print(`  ${printable(line, lineLengthMax)}`);
  }

  /**
   * Sets the bottom line, which only a terminal has: as many of these parts as fit. And reports what was left out.
   */
  bottom(parts: readonly string[]): void {
    this.#refill();
    if (this.#tokens >= 1) this.#tellHidden();
    if (!this.screen.isTerminal) return;
    const erase = this.#erase();
    this.#totals = parts;
    this.#shown = this.#fit();
    this.screen.write(erase + this.#bottom());
  }

  #write(text: string): void {
    const erase = this.#erase();
    this.#shown = this.#fit();
    this.screen.write(`${erase}${text}\n${this.#bottom()}`);
  }

  /** Cut, not wrapped, where the terminal has just become narrower than this program knows. */
  #bottom(): string {
    return this.#shown === "" ? "" : `\x1b[?7l${this.#shown}\x1b[?7h\r`;
  }

  #refill(): void {
    const now = this.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * perSecond);
    this.#at = now;
  }

  #tellHidden(): void {
    if (this.#hidden.size === 0) return;
    const kinds = [...this.#hidden].sort(([, a], [, b]) => b - a);
    this.#hidden.clear();
    const named = kinds.slice(0, kindsMax).map(([kind, count]) => `${count} ${kind}`).join(", ");
    const rest = kinds.slice(kindsMax).reduce((sum, [, count]) => sum + count, 0);
    this.print(`  … and ${named}${rest > 0 ? ` and ${rest} others` : ""}`);
  }

  #columns(): number {
    return this.screen.columns?.() ?? columnsDefault;
  }

  /** One column stays free: at the last one some terminals wrap. */
  #width(): number {
    return Math.max(1, this.#columns() - 1);
  }

  #fit(): string {
    const text = joined(this.#totals, this.#width() - indent.length);
    return text === "" ? "" : indent + text;
  }

  /**
   * The cursor stays at the beginning of the bottom line: a terminal that becomes narrower may break the line or cut it,
   * and the first of its rows is where the cursor is in either case.
   */
  #erase(): string {
    return this.#shown === "" ? "" : "\r\x1b[J";
  }
}
