/**
 * Whether a regular expression may take a time that grows exponentially with the text: a repeated group within which
 * something is repeated without a bound (`(a+)+$`). JavaScript's engine then tries every way to divide the text, and a device
 * chooses the text. The answer is a suspicion for people: `([^-]+-)+` is repeated so, too, and harmless.
 *
 * @module
 */

interface Group {
  /** Something in this alternative is repeated without a bound. */
  repeats: boolean;
  /** A character of this alternative must be there: it tells where one round ends. */
  fixed: boolean;
  /** An alternative before this one repeats something and has nothing fixed. */
  open: boolean;
}

const isOpen = ({ repeats, fixed, open }: Group) => open || (repeats && !fixed);

/** Whether a source is suspicious. Linear in the source. */
export function mayBacktrack(source: string): boolean {
  const groups: Group[] = [{ repeats: false, fixed: false, open: false }];
  for (let at = 0; at < source.length;) {
    const character = source[at]!;
    let closed: Group | undefined;
    if (character === "(") {
      const head = /^\((?:\?(?:[:=!]|<[=!]|<[^>]*>))?/.exec(source.slice(at, at + 140))![0];
      groups.push({ repeats: false, fixed: false, open: false });
      at += head.length;
      continue;
    }
    if (character === "|") {
      const group = groups.at(-1)!;
      Object.assign(group, { open: isOpen(group), repeats: false, fixed: false });
    }
    if (character === ")" && groups.length > 1) {
      closed = groups.pop()!;
      at++;
    } else if (character === "[") at = classEnd(source, at);
    else at += character === "\\" ? 2 : 1;
    const [quantifier, isUnbounded] = quantifierAt(source, at);
    at += quantifier.length;
    const around = groups.at(-1)!;
    if (isUnbounded) {
      if (closed && isOpen(closed)) return true;
      around.repeats = true;
    } else {
      around.repeats ||= closed !== undefined && (closed.repeats || closed.open);
      // A character that must be there divides one round from the next.
      if (!closed && quantifier === "" && /[^|^$.\\[\])]/.test(character)) around.fixed = true;
    }
  }
  return false;
}

function classEnd(source: string, from: number): number {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === "]" && at > from + 1) return at + 1;
  }
  return source.length;
}

function quantifierAt(source: string, at: number): readonly [text: string, isUnbounded: boolean] {
  const match = /^(?:[*+?]|\{\d+(?:,\d*)?\})\??/.exec(source.slice(at, at + 40));
  if (!match) return ["", false];
  return [match[0], /^[*+]|^\{\d+,\}/.test(match[0])];
}
