/**
 * The log of every part of Twintable, and the one place that sanitises text from outside. Whoever connects chooses a
 * client id, a topic, or a reason that quotes a message, including its length and its control characters.
 *
 * Guarantees, for any input and any configured sink:
 * - a value has at most {@link outsideLengthMax} characters, and a cut value says how many there were;
 * - control characters, line ends and direction marks are escaped, so that a value can't forge a line or move a cursor;
 * - the work is linear in the length of what is written, not of what was sent;
 * - an error's stack frames are written only with `-v`;
 * - an error that an outage has logged (`outage.ts`) is not logged again by what depends on it, except with `-v`;
 * - a device (or a client that is not logged in) gets {@link linesBurst} lines at once and {@link linesPerSecond} a
 *   second, and all of them together {@link allPerSecond}. Lines beyond that are counted, and the next line says how
 *   many were left out.
 *
 * Nothing else calls LogTape's `getLogger`: `tests/protocol/log_test.ts` looks.
 *
 * @module
 */
import { BoundedMap } from "./bounded_map.ts";
import { getLogger, type Logger } from "npm:@logtape/logtape@^2.4.2";
import { SyncError } from "../schema/errors.ts";

/** Characters of one value in the log. */
export const outsideLengthMax = 200;
/** Lines about one device: at once, and a second. */
export const linesBurst = 10, linesPerSecond = 2;
/** Lines about all devices together, a second. */
export const allPerSecond = 100;
/** Devices whose lines are counted at a time; the one that was quiet for longest is dropped first. */
const subjectsMax = 1_000;
/** Characters of a {@link Sentence}. */
const sentenceLengthMax = 1_000;
/** Characters of a stack's frames, which are not from outside. */
const framesMax = 1_500;

/** C0, DEL, C1, the line and paragraph separators, and the marks that turn the direction of writing. */
// deno-lint-ignore no-control-regex
const unfit = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

function escaped(character: string): string {
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** A text in a colour of `cli/colour.ts`, a cleared screen before all (`status --watch`), or what {@link unfit} has. */
const unfitAtTerminal = new RegExp(
  `^\\x1b\\[H\\x1b\\[J|(\\x1b\\[(?:2|31|32|33)m)([^\\x1b]*)(\\x1b\\[0m)|${unfit.source}`,
  "g",
);

/** Lines in a form that is safe for a terminal: with line feeds, tabs and our own colours, and no other control characters. */
export function fitForTerminal(text: string): string {
  return text.toWellFormed().replace(unfitAtTerminal, (found, colour?: string, inside?: string, end?: string) => {
    if (colour !== undefined) return `${colour}${fitForTerminal(inside!)}${end}`;
    return found.length > 1 || found === "\n" || found === "\t" ? found : escaped(found);
  });
}

/** Text from outside in a form that is safe for a log: cut, and without control characters. */
export function printable(text: string, lengthMax: number = outsideLengthMax): string {
  const cut = text.length > lengthMax;
  const fit = (cut ? text.slice(0, lengthMax) : text).toWellFormed().replace(unfit, escaped);
  return cut ? `${fit}… (${text.length} characters)` : fit;
}

/**
 * A URL in a form that people may see: without the user name, password or key before its host, escaped or not, and
 * without values whose names say that they are secret. A password that should have been escaped and was not has any
 * characters, and a text that is no URL may still have one: then everything up to the last `@` is left out.
 */
export function withoutSecrets(url: string): string {
  const named = url.replace(secretValue, "$1…");
  if (/^embedded:/i.test(named)) return named;
  const usual = named.replace(/(\/\/|%2f%2f)[^/?#&]*(?:@|%40)/gi, "$1…@");
  const at = Math.max(usual.lastIndexOf("@"), usual.toLowerCase().lastIndexOf("%40"));
  if (at < 0 || usual[at - 1] === "…") return usual;
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(usual)?.[0] ?? "";
  return `${scheme}…${usual.slice(at)}`;
}

/** `?password=…` and its like, in a query or a fragment. */
const secretValue =
  /([?&#;](?:[\w.-]{0,40}(?:pass|secret|token|credential|apikey|api_key|api-key)[\w.-]{0,40}|key)=)[^&#;]*/gi;

/** Errors that an outage has logged. */
const told = new WeakSet<object>();
/** How many causes are followed. */
const causesMax = 5;

/** Marks an error that an outage has logged or counted: no other line is to repeat it. */
export function noteTold(error: object): void {
  told.add(error);
}

/** Whether an outage has logged this error or one of its causes. */
export function isTold(error: unknown): boolean {
  for (let one = error, depth = 0; one instanceof Error && depth < causesMax; one = one.cause, depth++) {
    if (told.has(one)) return true;
  }
  return false;
}

/** An error in one line: its kind, message and causes, each cut; for an unexpected error, with `frames`, the stack frames too. */
function errorText(error: Error, frames: boolean, depth = 0): string {
  const head = error instanceof SyncError ? `${error.code}: ` : `${error.name}: `;
  const { cause: from } = error;
  // Whoever wrapped it has mostly quoted it.
  const isNews = from instanceof Error && depth < 3 && (frames || !error.message.includes(from.message));
  const cause = isNews ? `; cause: ${errorText(from, frames, depth + 1)}` : "";
  return `${printable(head + error.message)}${error instanceof SyncError || !frames ? "" : framesOf(error)}${cause}`;
}

function framesOf({ stack = "" }: Error): string {
  // The message comes before the frames and may be long, so the search starts at the end.
  const frames = stack.slice(-framesMax).split("\n").filter((line) => line.startsWith("    at "));
  return frames.slice(0, 8).map((line) => `; ${printable(line.trim())}`).join("");
}

/** A sanitised value of a log record: a text, a number, true or false. @param frames an error's stack frames, too */
export function fitValue(value: unknown, frames = false): unknown {
  if (typeof value === "string") return printable(value);
  if (value === null || ["number", "boolean", "undefined"].includes(typeof value)) return value;
  if (value instanceof Error) return errorText(value, frames);
  if (value instanceof Sentence) return printable(value.text, sentenceLengthMax);
  if (Array.isArray(value) && value.every((part) => typeof part === "string")) {
    return printable(value.slice(0, 8).map((part) => printable(part)).join(" "));
  }
  return `[${typeof value}]`;
}

/** A sentence of this program, with values that are short by construction: it may be longer than text from outside. */
export class Sentence {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  get text(): string {
    return this.#text;
  }
}

interface Bucket {
  tokens: number;
  atMs: number;
  leftOut: number;
}

/** Limits the number of lines, by device and in total. */
class Lines {
  readonly #subjects = new BoundedMap<string, Bucket>(subjectsMax);
  readonly #all: Bucket = { tokens: allPerSecond, atMs: 0, leftOut: 0 };

  /** Whether one more line may be written, and how many were left out since the last. */
  take(subject: string, nowMs: number): { readonly leftOut: number } | undefined {
    const bucket = this.#subjects.get(subject) ?? { tokens: linesBurst, atMs: nowMs, leftOut: 0 };
    this.#subjects.set(subject, bucket);
    fill(bucket, linesPerSecond, linesBurst, nowMs);
    fill(this.#all, allPerSecond, allPerSecond, nowMs);
    if (bucket.tokens < 1 || this.#all.tokens < 1) {
      bucket.leftOut++;
      return undefined;
    }
    bucket.tokens--;
    this.#all.tokens--;
    const { leftOut } = bucket;
    bucket.leftOut = 0;
    return { leftOut };
  }
}

function fill(bucket: Bucket, perSecond: number, max: number, nowMs: number): void {
  bucket.tokens = Math.min(max, bucket.tokens + (nowMs - bucket.atMs) / 1000 * perSecond);
  bucket.atMs = nowMs;
}

/** Shared by all logs: a device's lines count together, whichever part writes them. */
const lines = new Lines();

/** Values of a record, by the names in its message. */
export type LogProperties = Readonly<Record<string, unknown>>;

/**
 * See the module's text. A line with a `deviceId` or a `clientId` counts as one about that device or client; one with a `subject`
 * as one of its kind, of which there may be as many.
 */
export class Log {
  readonly #logger: Logger;

  constructor(part: string, private readonly nowMs: () => number = () => performance.now()) {
    this.#logger = getLogger(["twintable", part]);
  }

  debug(message: string, properties?: LogProperties): void {
    this.#write("debug", message, properties);
  }

  info(message: string, properties?: LogProperties): void {
    this.#write("info", message, properties);
  }

  warn(message: string, properties?: LogProperties): void {
    this.#write("warning", message, properties);
  }

  error(message: string, properties?: LogProperties): void {
    this.#write("error", message, properties);
  }

  #write(level: "debug" | "info" | "warning" | "error", message: string, properties: LogProperties = {}): void {
    const isRepeated = level !== "debug" && Object.values(properties).some(isTold);
    if (isRepeated) return this.#write("debug", message, properties);
    if (!this.#logger.isEnabledFor(level)) return;
    const leftOut = this.#leftOut(properties);
    if (leftOut === undefined) return;
    const frames = this.#logger.isEnabledFor("debug");
    const fit = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, fitValue(value, frames)]));
    const method = level === "warning" ? "warn" : level;
    if (leftOut === 0) this.#logger[method](message, fit);
    else this.#logger[method](`${message} ({leftOut} lines before it were left out)`, { ...fit, leftOut });
  }

  /** How many lines about the same device were left out before this one; undefined: so is this. */
  #leftOut({ deviceId, clientId, subject: named }: LogProperties): number | undefined {
    // Counted apart: a client that is not logged in may use a device's name, and must not use up that device's lines.
    const subject = typeof deviceId === "string"
      ? `d ${deviceId.slice(0, 128)}`
      : typeof clientId === "string"
      ? "c"
      : typeof named === "string"
      ? `s ${named}`
      : "";
    return subject === "" ? 0 : lines.take(subject, this.nowMs())?.leftOut;
  }
}
