/**
 * A regular expression of `validate` as a tree, read as JavaScript reads it. This parser does not interpret what one
 * character may be (a literal, a class, an escape): JavaScript's own engine matches it, one character at a time, so
 * classes, flags and Unicode properties mean exactly what they mean there.
 *
 * Not supported, and refused by name: back references (matching with them is NP-hard), octal escapes, the flag `v` (its
 * classes may match several characters), modifiers of flags within a group.
 *
 * @module
 */

/** One node of an expression. */
export type Node =
  | { readonly kind: "character"; readonly test: (character: string) => boolean }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | { readonly kind: "repeat"; readonly of: Node; readonly min: number; readonly max: number }
  | Assertion;

/** What matches between two characters. */
export type Assertion =
  | { readonly kind: "start" | "end"; readonly lines: boolean }
  | { readonly kind: "boundary"; readonly negative: boolean; readonly isWord: (character: string) => boolean }
  | { readonly kind: "look"; readonly ahead: boolean; readonly negative: boolean; readonly at: Node };

/** Groups within groups; V8 has a limit of its own. */
const depthMax = 200;

/** Why an expression is refused: the end of a sentence. */
export class PatternRefused extends Error {}

/**
 * The tree of an expression.
 *
 * @param source an expression that JavaScript's engine has accepted
 * @throws PatternRefused
 */
export function parsePattern(source: string, flags: string): Node {
  if (flags.includes("v")) throw new PatternRefused("has the flag v: write it with u");
  const reader = new Reader(source, flags);
  const node = reader.choice(0);
  if (!reader.atEnd) throw new PatternRefused(`can't be read from ${JSON.stringify(source.slice(reader.at, 40))} on`);
  return node;
}

const ascii = 128;

/** Whether a character matches an atom's text: JavaScript decides, and the answer is cached for ASCII. */
function judge(atom: string, flags: string): (character: string) => boolean {
  // `s` and `i` and `u` matter to one character; a lone `^` or `$` is no atom.
  const expression = new RegExp(`^(?:${atom})$`, flags.replace("m", ""));
  const known = new Int8Array(ascii);
  return (character) => {
    const code = character.charCodeAt(0);
    if (character.length > 1 || code >= ascii) return expression.test(character);
    return (known[code] ||= expression.test(character) ? 1 : -1) === 1;
  };
}

class Reader {
  readonly #unicode: boolean;
  readonly #isWord: (character: string) => boolean;
  readonly #hasNames: boolean;
  at = 0;

  constructor(readonly source: string, readonly flags: string) {
    this.#unicode = flags.includes("u");
    this.#isWord = judge("\\w", flags);
    this.#hasNames = /\(\?<[^=!]/.test(source);
  }

  get atEnd(): boolean {
    return this.at >= this.source.length;
  }

  #take(sticky: RegExp): RegExpExecArray | null {
    sticky.lastIndex = this.at;
    const match = sticky.exec(this.source);
    if (match) this.at += match[0].length;
    return match;
  }

  choice(depth: number): Node {
    if (depth > depthMax) throw new PatternRefused(`has more than ${depthMax} groups within each other`);
    const options = [this.#sequence(depth)];
    while (this.#take(/\|/y)) options.push(this.#sequence(depth));
    return options.length === 1 ? options[0]! : { kind: "choice", options };
  }

  #sequence(depth: number): Node {
    const parts: Node[] = [];
    while (!this.atEnd && !"|)".includes(this.source[this.at]!)) parts.push(this.#repeated(this.#term(depth)));
    return parts.length === 1 ? parts[0]! : { kind: "sequence", parts };
  }

  #repeated(of: Node): Node {
    const match = this.#take(/(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})\??/y);
    if (!match) return of;
    const [, sign, from, comma, to] = match;
    if (sign !== undefined) {
      return { kind: "repeat", of, min: sign === "+" ? 1 : 0, max: sign === "?" ? 1 : Infinity };
    }
    const min = Number(from);
    return { kind: "repeat", of, min, max: comma === undefined ? min : to === "" ? Infinity : Number(to) };
  }

  #term(depth: number): Node {
    const lines = this.flags.includes("m");
    if (this.#take(/\^/y)) return { kind: "start", lines };
    if (this.#take(/\$/y)) return { kind: "end", lines };
    const boundary = this.#take(/\\([bB])/y);
    if (boundary) return { kind: "boundary", negative: boundary[1] === "B", isWord: this.#isWord };
    const group = this.#take(/\((?:\?(?::|(<?)([=!])|<[^>]*>))?/y);
    if (!group) return { kind: "character", test: judge(this.#atom(), this.flags) };
    if (this.source[this.at] === "?") throw new PatternRefused("changes flags within a group: give them to the whole");
    const inner = this.choice(depth + 1);
    this.at++;
    const [, behind, look] = group;
    return look === undefined ? inner : { kind: "look", ahead: behind === "", negative: look === "!", at: inner };
  }

  /** The text of what matches one character. */
  #atom(): string {
    if (this.source[this.at] === "\\") return this.#escape();
    const set = this.#take(/\[(?:\\[^]|[^\]\\])*\]/y);
    if (set) return set[0];
    const [character] = this.#take(this.#unicode ? /[^]/uy : /[^]/y)!;
    // Alone they are literals if JavaScript accepted the whole: `a{`, `]`, `}`.
    return /[{}\]]/.test(character) ? `\\${character}` : character;
  }

  #escape(): string {
    const octal = this.#take(/\\(?:[1-9]\d*|0\d+)/y);
    if (octal) throw new PatternRefused(`has ${octal[0]}: a back reference or an octal escape`);
    if (this.#hasNames && this.#take(/\\k</y)) throw new PatternRefused("has \\k: a back reference");
    if (!this.#unicode && this.#take(/\\c(?![A-Za-z])/y)) throw new PatternRefused("has \\c without a letter");
    const long = this.#unicode
      ? /\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u\{[\da-fA-F]+\}|[pP]\{[^}]*\})/y
      : undefined;
    const escape = (long && this.#take(long)) ??
      this.#take(/\\(?:x[\da-fA-F]{2}|u[\da-fA-F]{4}|c[A-Za-z])/y) ??
      this.#take(this.#unicode ? /\\[^]/uy : /\\[^]/y);
    return escape![0];
  }
}
