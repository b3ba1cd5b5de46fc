/**
 * Regular expressions of `validate` as SQL, as far as SQLite can express them without a function of ours: a whole text
 * of ASCII characters and classes, each a fixed number of times, the last one any number of times.
 *
 *     ^[A-Z]{2}-\d{4}$      ^[a-z][a-z0-9_]*$      ^[0-9a-f]{8,16}$
 *
 * Guarantee: the SQL accepts exactly the texts that the expression matches (except a text with a NUL, at which SQLite's
 * GLOB ends). For any other expression the result is undefined: then only the cloud checks.
 *
 * @module
 */
import { literal } from "./sql.ts";

/** Characters of a class, each once, and how often they may come. */
interface Piece {
  readonly set: string;
  readonly min: number;
  readonly max: number;
}

const digits = "0123456789", lower = "abcdefghijklmnopqrstuvwxyz";
const classes: Readonly<Record<string, string>> = { d: digits, w: `${digits}_${lower}${lower.toUpperCase()}` };
/** Longer patterns are not worth a trigger's text. */
const lengthMax = 200;

/** The condition under which a column matches; undefined if SQL can't say it. */
export function patternSql(source: string, flags: string, column: string): string | undefined {
  const pieces = /^[u]?$/.test(flags) ? piecesOf(source) : undefined;
  if (!pieces || pieces.length === 0) return undefined;
  const last = pieces.at(-1)!, fixed = pieces.slice(0, -1);
  if (fixed.some(({ min, max }) => min !== max)) return undefined;
  const head = fixed.map(({ set, min }) => glob(set).repeat(min)).join("");
  const headLength = fixed.reduce((sum, { min }) => sum + min, 0);
  if (headLength + last.min > lengthMax) return undefined;
  if (last.min === last.max) return `${column} GLOB ${literal(head + glob(last.set).repeat(last.min))}`;
  const rest = `substr(${column}, ${headLength + 1})`;
  const count = last.max === Infinity
    ? `length(${rest}) >= ${last.min}`
    : `length(${rest}) BETWEEN ${last.min} AND ${last.max}`;
  const onlySet = `${rest} NOT GLOB ${literal(`*[^${members(last.set)}]*`)}`;
  return [...(head === "" ? [] : [`${column} GLOB ${literal(`${head}*`)}`]), count, onlySet].join(" AND ");
}

/** A set in GLOB's brackets: `]` first, `^` and `-` where they mean themselves. */
function members(set: string): string {
  const plain = [...set].filter((c) => !"]^-".includes(c)).join("");
  return (set.includes("]") ? "]" : "") + plain + (set.includes("^") ? "^" : "") + (set.includes("-") ? "-" : "");
}

function glob(set: string): string {
  if (set.length > 1) return `[${set === "^-" || set === "-^" ? "-^" : members(set)}]`;
  return "*?[".includes(set) ? `[${set}]` : set;
}

function piecesOf(source: string): Piece[] | undefined {
  if (!source.startsWith("^") || !source.endsWith("$") || source.endsWith("\\$")) return undefined;
  const pieces: Piece[] = [];
  let at = 1;
  const end = source.length - 1;
  while (at < end) {
    const atom = atomAt(source, at);
    if (!atom || atom.next > end) return undefined;
    at = atom.next;
    const quantifier = /^(?:\{(\d{1,4})(,?)(\d{0,4})\}|[*+?])/.exec(source.slice(at, end));
    let min = 1, max = 1;
    if (quantifier) {
      const [text, from, comma, to] = quantifier;
      at += text.length;
      if (from !== undefined) {
        [min, max] = [Number(from), comma === "" ? Number(from) : to === "" ? Infinity : Number(to)];
      } else [min, max] = text === "*" ? [0, Infinity] : text === "+" ? [1, Infinity] : [0, 1];
      // Lazy, or a quantifier of a quantifier.
      if ("*+?{".includes(source[at] ?? "") && at < end) return undefined;
    }
    if (max < min) return undefined;
    pieces.push({ set: atom.set, min, max });
  }
  return pieces;
}

/** The characters that an atom may be. */
function atomAt(source: string, at: number): { readonly set: string; readonly next: number } | undefined {
  const c = source[at]!;
  if (c === "\\") {
    const escaped = source[at + 1] ?? "";
    const set = classes[escaped] ?? (isPlain(escaped) && !/[A-Za-z0-9]/.test(escaped) ? escaped : undefined);
    return set === undefined ? undefined : { set, next: at + 2 };
  }
  if (c === "[") return classAt(source, at);
  // Any other special character, or one that is not ASCII.
  return /[.()|*+?{}\]^$\\]/.test(c) || !isPlain(c) ? undefined : { set: c, next: at + 1 };
}

function isPlain(c: string): boolean {
  return c.length === 1 && c >= " " && c <= "~";
}

function classAt(source: string, at: number): { readonly set: string; readonly next: number } | undefined {
  const found = new Set<string>();
  let i = at + 1;
  if (source[i] === "^") return undefined;
  while (source[i] !== "]") {
    const c = source[i];
    if (c === undefined) return undefined;
    const one = c === "\\" ? source[i + 1] ?? "" : c;
    const named = c === "\\" ? classes[one] : undefined;
    i += c === "\\" ? 2 : 1;
    if (named !== undefined) {
      for (const member of named) found.add(member);
      continue;
    }
    if (!isPlain(one) || (c === "\\" && /[A-Za-z0-9]/.test(one))) return undefined;
    if (source[i] !== "-" || source[i + 1] === "]") {
      found.add(one);
      continue;
    }
    const to = source[i + 1]!;
    if (to === undefined || to === "\\" || !isPlain(to) || to < one) return undefined;
    for (let code = one.charCodeAt(0); code <= to.charCodeAt(0); code++) found.add(String.fromCharCode(code));
    i += 2;
  }
  return found.size === 0 ? undefined : { set: [...found].sort().join(""), next: i + 1 };
}
