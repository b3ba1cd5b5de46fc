/**
 * What no log of a process may have: a stack trace, an error that nobody caught, a word that only a bug says.
 *
 * @module
 */

const traces: readonly RegExp[] = [
  /^\s+at .*(?:file:|ext:|node:|npm:).*:\d+:\d+\)?$/m,
  /Uncaught|[Uu]nhandled|panicked at|RangeError|ReferenceError|TypeError|is not a function/,
  /\bundefined\b|\[object Object\]|\bNaN\b/,
];

/** The first line of a log that should not be there. */
export function badLine(log: string): string | undefined {
  const lines = log.split("\n");
  const at = lines.findIndex((line) => traces.some((pattern) => pattern.test(line)));
  return at < 0 ? undefined : lines.slice(Math.max(0, at - 1), at + 2).join(" | ").slice(0, 400);
}
