/**
 * What `dev` shows while it runs: a line for each change that travels, so few that a person can read them, and on a terminal
 * one line at the bottom with the totals.
 *
 * @module
 */

/** Writes text to the terminal or pipe. */
export interface Screen {
  readonly isTerminal: boolean;
  write(text: string): void;
}

/** The process's stdout. */
export const stdout: Screen = {
  isTerminal: Deno.stdout.isTerminal(),
  write(text) {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
    } catch {
      // The reader went away (`| head`, a closed terminal): there is nobody to be told, and the work goes on.
    }
  },
};

/** Lines at once and per second that a person can follow. */
const burst = 8, perSecond = 2;

/** The live display. `now` gives ms of a monotonic clock. */
export class Live {
  #tokens = burst;
  #at: number;
  #hidden = 0;
  #bottom = "";

  constructor(private readonly screen: Screen, private readonly now: () => number) {
    this.#at = now();
  }

  /** Prints a line, above the bottom line. */
  print(line: string): void {
    this.screen.write(`${this.#erase()}${line}\n${this.#bottom}`);
  }

  /** Prints a line about a change, unless there were too many of late: these are counted and told in one line. */
  change(line: string): void {
    const now = this.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * perSecond);
    this.#at = now;
    if (this.#tokens < 1) {
      this.#hidden++;
      return;
    }
    this.#tokens--;
    if (this.#hidden > 0) this.print(`  … and ${this.#hidden} more`);
    this.#hidden = 0;
    this.print(`  ${line}`);
  }

  /** Sets the bottom line, which only a terminal has. */
  bottom(text: string): void {
    if (!this.screen.isTerminal) return;
    const erase = this.#erase();
    this.#bottom = text;
    this.screen.write(erase + text);
  }

  #erase(): string {
    return this.#bottom === "" ? "" : "\r\x1b[K";
  }
}
