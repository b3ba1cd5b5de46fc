/**
 * Colour, for people at a terminal: none in files and pipes, and none if `NO_COLOR` is set.
 *
 * @module
 */

const codes = { red: 31, green: 32, yellow: 33, dim: 2 } as const;

/** A colour, or a weight. */
export type Colour = keyof typeof codes;

/** Whether standard output shows colours. */
export function hasColour(): boolean {
  return !Deno.noColor && Deno.stdout.isTerminal();
}

/** The text in a colour, if standard output shows colours. */
export function painted(text: string, colour: Colour, isShown: boolean = hasColour()): string {
  return isShown ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text;
}
