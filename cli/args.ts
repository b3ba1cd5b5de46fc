/**
 * The command line's flags: declared once per command, read from the arguments and from `--config FILE.json5`, checked,
 * and turned into the help text. Guarantee: the result of {@link parseFlags} has passed every check in the declaration;
 * everything else is a {@link UsageError} with one line for people.
 *
 * @module
 */
import { parseArgs } from "node:util";

/** A wrong flag, value or operand: one line for the user, exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** One flag. `value` is the placeholder in the help text. */
export type Flag =
  | { readonly type: "boolean"; readonly short?: string; readonly summary: string }
  | {
    readonly type: "string";
    readonly short?: string;
    readonly value: string;
    readonly summary: string;
    readonly default?: string;
    readonly required?: true;
    readonly choices?: readonly string[];
    /** It has a sibling that reads it from a file: see `secretFlags`. */
    readonly secret?: true;
  }
  | {
    readonly type: "integer";
    readonly short?: string;
    readonly value: string;
    readonly summary: string;
    readonly default?: number;
    readonly min: number;
    readonly max: number;
  };

/** A command's flags by name, in the order of its help text. */
export type Flags = { readonly [name: string]: Flag };

type ValueOf<F extends Flag> = F extends { type: "boolean" } ? boolean
  : F extends { type: "integer" } ? (F extends { default: number } ? number : number | undefined)
  : F extends { default: string } | { required: true } ? string
  : string | undefined;

/** The values of declared flags. A flag that is required or has a default is always present. */
export type FlagValues<F extends Flags> = { readonly [N in keyof F]: ValueOf<F[N]> };

/** Parsed and checked arguments. */
export interface Parsed<F extends Flags> {
  readonly flags: FlagValues<F>;
  /** Names of the flags that the user gave, on the command line or in the configuration file. */
  readonly given: ReadonlySet<string>;
  readonly operands: readonly string[];
}

/** Flags of every command. */
export const commonFlags = {
  config: {
    type: "string",
    value: "FILE",
    summary: "read flags from this JSON5 file; the command line takes precedence",
  },
  verbose: { type: "boolean", short: "v", summary: "log every step, and where in the program a fault came from" },
  log: { type: "string", value: "FORM", summary: "lines of the log", choices: ["text", "json"], default: "text" },
  help: { type: "boolean", short: "h", summary: "show this help" },
} as const satisfies Flags;

/** A port of this machine; 0 asks for any free one. */
export const portRange = { min: 0, max: 65_535 } as const;

/** The raw values of the arguments, and the operands. Later ones win. */
export function readArguments(
  flags: Flags,
  args: readonly string[],
): { raw: Map<string, unknown>; operands: string[] } {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => [name, {
      type: flag.type === "boolean" ? "boolean" as const : "string" as const,
      ...(flag.short ? { short: flag.short } : {}),
    }]),
  );
  // Not strict: this module checks the tokens, so that each mistake gets one line instead of a paragraph.
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true });
  const raw = new Map<string, unknown>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const flag = flags[token.name];
    if (!flag) throw new UsageError(`unknown flag ${token.rawName}`);
    if (flag.type === "boolean") {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`);
      raw.set(token.name, true);
      continue;
    }
    // A following flag is never a value: in `--db --json` the value is missing; `--db=-x` makes it explicit. A lone `-`
    // is not a flag.
    if (token.value === undefined || (!token.inlineValue && /^-./.test(token.value))) {
      throw new UsageError(`${token.rawName} needs a value: ${token.rawName} ${flag.value}`);
    }
    raw.set(token.name, token.value);
  }
  return { raw, operands };
}

/** The flag's name for a name in the configuration file: `mqttPort` and `mqtt-port` are the same. */
function flagName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The flags in a configuration file. `file` is its name in errors. */
export function readConfig(flags: Flags, config: unknown, file: string): Map<string, unknown> {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new UsageError(`${file} must hold one object of flags`);
  }
  const raw = new Map<string, unknown>();
  for (const [key, value] of Object.entries(config)) {
    const name = flagName(key);
    if (!flags[name] || name === "config" || name === "help") throw new UsageError(`${file}: unknown flag "${key}"`);
    raw.set(name, value);
  }
  return raw;
}

function check(name: string, flag: Flag, value: unknown): unknown {
  // What is no text, as a number in a configuration file, is a secret still.
  if (flag.type === "string" && flag.secret && (typeof value !== "string" || value === "")) {
    throw new UsageError(`--${name} is a text that is not empty`);
  }
  if (flag.type === "boolean") {
    if (typeof value !== "boolean") throw new UsageError(`--${name} is true or false, not ${JSON.stringify(value)}`);
    return value;
  }
  if (flag.type === "integer") {
    const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
    if (typeof number !== "number" || !Number.isInteger(number) || number < flag.min || number > flag.max) {
      throw new UsageError(`--${name} is a whole number from ${flag.min} to ${flag.max}, not ${JSON.stringify(value)}`);
    }
    return number;
  }
  if (typeof value !== "string" || value === "") {
    throw new UsageError(`--${name} is a text that is not empty, not ${JSON.stringify(value)}`);
  }
  if (flag.choices && !flag.choices.includes(value)) {
    throw new UsageError(`--${name} is one of ${flag.choices.join(", ")}, not "${value}"`);
  }
  return value;
}

/** Checks the raw values against the declaration and fills in defaults. */
export function checkFlags<F extends Flags>(flags: F, raw: ReadonlyMap<string, unknown>): FlagValues<F> {
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries(flags)) {
    if (raw.has(name)) values[name] = check(name, flag, raw.get(name));
    else if (flag.type === "boolean") values[name] = false;
    else if (flag.default !== undefined) values[name] = flag.default;
    else if (flag.type === "string" && flag.required) throw new UsageError(`--${name} ${flag.value} is missing`);
  }
  return values as FlagValues<F>;
}

/**
 * Parses arguments and, if `--config` names one, the configuration file, which `load` reads.
 *
 * @throws {UsageError} on an unknown flag, a missing or wrong value.
 */
export async function parseFlags<F extends Flags>(
  flags: F,
  args: readonly string[],
  load: (file: string) => Promise<unknown>,
): Promise<Parsed<F>> {
  const { raw, operands } = readArguments(flags, args);
  const file = raw.get("config");
  if (typeof file === "string") {
    for (const [name, value] of readConfig(flags, await load(file), file)) if (!raw.has(name)) raw.set(name, value);
  }
  return { flags: checkFlags(flags, raw), given: new Set(raw.keys()), operands };
}

/** The help text's lines for flags. */
export function describeFlags(flags: Flags): string[] {
  const heads = Object.entries(flags).map(([name, flag]) =>
    `${flag.short ? `-${flag.short}, ` : ""}--${name}${flag.type === "boolean" ? "" : ` ${flag.value}`}`
  );
  const width = Math.max(...heads.map((head) => head.length));
  return Object.values(flags).map((flag, at) => {
    const notes: string[] = [];
    if (flag.type !== "boolean" && flag.default !== undefined) notes.push(`default ${flag.default}`);
    if (flag.type === "string" && flag.choices) notes.push(flag.choices.join(" or "));
    if (flag.type === "string" && flag.required) notes.push("required");
    return `  ${heads[at]!.padEnd(width)}  ${flag.summary}${notes.length ? ` (${notes.join("; ")})` : ""}`;
  });
}
