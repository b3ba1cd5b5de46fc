/**
 * Text that fits a terminal: how many columns it takes, where it breaks, what is left out of it.
 *
 * Guarantee: nothing is broken or cut inside a word or number, so that no part of one is taken for the whole.
 *
 * @module
 */

/** Marks that take no column of their own. */
const narrow = /^[\p{Mn}\p{Me}\u200b-\u200d\ufe00-\ufe0f]$/u;
/** What terminals show two columns wide: East Asian letters, emoji. */
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]$|^\p{Emoji_Presentation}$/u;

/** The columns that a text takes, without control characters in it. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += narrow.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return columns;
}

/**
 * A line in as many rows as it needs at this width, broken between words and behind a comma; further rows are indented
 * as the first one, and two columns more. A word that is wider than a row (a path, a URL) stays whole: the terminal
 * breaks it, and whoever copies it has it in one piece.
 */
export function wrapped(line: string, width: number): string[] {
  if (columnsOf(line) <= width) return [line];
  const [indent] = line.match(/^ */)!, further = `${indent}  `, rows: string[] = [];
  let row = indent, isEmpty = true;
  // A word, with the spaces before it; of `{"a":1,"b":2}` two.
  for (const [token] of line.slice(indent.length).matchAll(/ *(?:[^ ,]*,(?! )|[^ ]+)/g)) {
    if (!isEmpty && columnsOf(row + token) > width) {
      rows.push(row);
      row = further + token.trimStart();
    } else row += token;
    isEmpty = false;
  }
  return [...rows, row];
}

/**
 * As many whole parts as fit, and how many more there are: `a  |  b  |  3 more`. Where not even the first one fits, its
 * first words.
 */
export function joined(parts: readonly string[], width: number, between = "  |  "): string {
  const textOf = (count: number) => {
    const more = parts.length - count;
    return [...parts.slice(0, count), ...(more > 0 ? [`${more} more`] : [])].join(between);
  };
  for (let count = parts.length; count > 0; count--) {
    const text = textOf(count);
    if (columnsOf(text) <= width) return text;
  }
  return parts.length === 0 ? "" : beginning(parts[0]!, width);
}

/** The words that fit, and `…` for the rest. */
function beginning(text: string, width: number): string {
  let fit = "";
  for (const [token] of text.matchAll(/ *[^ ]+/g)) {
    if (columnsOf(`${fit}${token} …`) > width) break;
    fit += token;
  }
  return fit === "" ? "…" : `${fit} …`;
}
