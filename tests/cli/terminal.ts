/**
 * A terminal that shows what is written to it, with everything that has scrolled up. When its width changes, it breaks its
 * lines anew, as VTE, tmux, iTerm2 and Windows Terminal do, or cuts its rows, as xterm and Linux's console do. It knows the
 * sequences that `cli/live.ts` writes.
 */

// deno-lint-ignore no-control-regex
const sequences = /\x1b\[\??\d*[A-Za-z]|[\s\S]/gu;
const wide = /[\u3041-\u30ff\u4e00-\u9fff]|\p{Emoji_Presentation}/u;

/** See above. A wide character has two cells, of which the second is empty. */
export class Terminal {
  readonly isTerminal = true;
  /** Lines as they were written, without the breaks that the width makes. */
  readonly #lines: string[][] = [[]];
  #line = 0;
  /** In the line. The column is the width where a row is full and nothing follows yet. */
  #row = 0;
  #column = 0;
  #width: number;
  #wraps = true;

  constructor(width: number, private readonly reflows = true) {
    this.#width = width;
  }

  get width(): number {
    return this.#width;
  }

  /** Another width: the terminal breaks its lines anew, and its cursor stays at or behind the same character; or it cuts. */
  set width(width: number) {
    if (!this.reflows) {
      this.#cut(width);
      return;
    }
    const cell = this.#cell, isBehind = cell > 0 && cell === this.#lines[this.#line]!.length;
    this.#width = width;
    this.#row = isBehind ? Math.ceil(cell / width) - 1 : Math.floor(cell / width);
    this.#column = cell - this.#row * width;
  }

  #cut(width: number): void {
    const before = this.#lines.slice(0, this.#line).reduce((sum, _, at) => sum + this.#rowsOf(at), 0);
    const rows = this.#lines.flatMap((line, at) =>
      Array.from({ length: this.#rowsOf(at) }, (_, i) => line.slice(i * this.#width, (i + 1) * this.#width))
    );
    this.#lines.splice(0, this.#lines.length, ...rows.map((row) => row.slice(0, width)));
    this.#line = before + this.#row;
    this.#row = 0;
    this.#column = Math.min(this.#column, width);
    this.#width = width;
  }

  columns(): number {
    return this.#width;
  }

  get #cell(): number {
    return this.#row * this.#width + this.#column;
  }

  write(text: string): void {
    for (const [token] of text.matchAll(sequences)) {
      if (token === "\n") {
        this.#lines[++this.#line] ??= [];
        this.#row = this.#column = 0;
      } else if (token === "\r") this.#column = 0;
      else if (token === "\x1b[?7l" || token === "\x1b[?7h") this.#wraps = token.endsWith("h");
      else if (token.length > 1 && token.endsWith("A")) this.#up(Number(token.slice(2, -1)));
      else if (token === "\x1b[J") {
        this.#lines.length = this.#line + 1;
        this.#lines[this.#line]!.length = this.#cell;
      } else this.#put(wide.test(token) ? [token, ""] : [token]);
    }
  }

  #put(cells: readonly string[]): void {
    const line = this.#lines[this.#line]!;
    // No wide one is half in a row.
    while (this.#column < this.#width && this.#column + cells.length > this.#width) {
      line[this.#row * this.#width + this.#column++] = " ";
    }
    if (this.#column >= this.#width) {
      // The last column is written over, and what does not fit is not shown.
      if (!this.#wraps) return;
      this.#row++;
      this.#column = 0;
    }
    line.splice(this.#cell, cells.length, ...cells);
    this.#column += cells.length;
  }

  #up(rows: number): void {
    for (let at = 0; at < rows; at++) {
      if (this.#row > 0) this.#row--;
      else if (this.#line > 0) this.#row = this.#rowsOf(--this.#line) - 1;
    }
  }

  #rowsOf(line: number): number {
    return Math.max(1, Math.ceil(this.#lines[line]!.length / this.#width));
  }

  /** Lines, whole. */
  get lines(): string[] {
    return this.#lines.map((line) => line.join(""));
  }

  /** Rows, as they are seen at this width. */
  get rows(): string[] {
    return this.#lines.flatMap((line, at) =>
      Array.from({ length: this.#rowsOf(at) }, (_, i) => line.slice(i * this.#width, (i + 1) * this.#width).join(""))
    );
  }
}
