/**
 * The log of every part of Twintable, and the one place where text from outside is made fit for it. A client id, a topic,
 * a reason that quotes a message: whoever connects may choose it, and chooses its length and its control characters too.
 *
 * Guarantees, whatever is handed in and whatever sink the program has configured:
 * - a value has at most {@link outsideLengthMax} characters, and says how many there were;
 * - control characters, line ends and direction marks are escaped, so that a value can't forge a line or move a cursor;
 * - the work is linear in what is written, not in what was sent;
 * - a device (or a client that is not let in) gets {@link linesBurst} lines at once and {@link linesPerSecond} a second, all of
 *   them together {@link allPerSecond}. What is left out is counted, and told with the next line.
 *
 * Nothing else calls LogTape's `getLogger`: `tests/protocol/log_test.ts` looks.
 *
 * @module
 */
import { getLogger, type Logger } from "npm:@logtape/logtape@^2.4.2";
import { SyncError } from "../schema/errors.ts";

/** Characters of one value in the log. */
export const outsideLengthMax = 200;
/** Lines about one device: at once, and a second. */
export const linesBurst = 10, linesPerSecond = 2;
/** Lines about all devices together, a second. */
export const allPerSecond = 100;
/** Devices whose lines are counted at a time; the one that was quiet for longest is forgotten first. */
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

/** Text from outside as a log may have it: cut, and without control characters. */
export function printable(text: string, lengthMax: number = outsideLengthMax): string {
  const cut = text.length > lengthMax;
  const fit = (cut ? text.slice(0, lengthMax) : text).toWellFormed().replace(unfit, escaped);
  return cut ? `${fit}… (${text.length} characters)` : fit;
}

/** A URL as people may see it: without the user name, password or key before its host, escaped or not. */
export function withoutSecrets(url: string): string {
  return url.replace(/(\/\/|%2f%2f)[^/?#&]*(?:@|%40)/gi, "$1…@");
}

/** An error in one line: its kind, message and causes, each cut; of one that nobody foresaw, the frames too. */
function errorText(error: Error, depth = 0): string {
  const head = error instanceof SyncError ? `${error.code}: ` : `${error.name}: `;
  const cause = error.cause instanceof Error && depth < 3 ? `; cause: ${errorText(error.cause, depth + 1)}` : "";
  return `${printable(head + error.message)}${error instanceof SyncError ? "" : framesOf(error)}${cause}`;
}

function framesOf({ stack = "" }: Error): string {
  // The message stands before them and may be long: looked at from the end.
  const frames = stack.slice(-framesMax).split("\n").filter((line) => line.startsWith("    at "));
  return frames.slice(0, 8).map((line) => `; ${printable(line.trim())}`).join("");
}

/** A value of a log record, made fit: a text, a number, true or false. */
export function fitValue(value: unknown): unknown {
  if (typeof value === "string") return printable(value);
  if (value === null || ["number", "boolean", "undefined"].includes(typeof value)) return value;
  if (value instanceof Error) return errorText(value);
  if (value instanceof Sentence) return printable(value.text, sentenceLengthMax);
  if (Array.isArray(value) && value.every((part) => typeof part === "string")) {
    return printable(value.slice(0, 8).map((part) => printable(part)).join(" "));
  }
  return `[${typeof value}]`;
}

/** A sentence that this program makes, with values in it that are short by construction: longer than what comes from outside. */
export class Sentence {
  constructor(readonly text: string) {}
}

interface Bucket {
  tokens: number;
  atMs: number;
  leftOut: number;
}

/** How many lines there may be, by device and for all together. */
class Lines {
  readonly #subjects = new Map<string, Bucket>();
  readonly #all: Bucket = { tokens: allPerSecond, atMs: 0, leftOut: 0 };

  /** Whether one more may be written; then also how many were left out since the last. */
  take(subject: string, nowMs: number): { readonly leftOut: number } | undefined {
    const bucket = this.#subjects.get(subject) ?? { tokens: linesBurst, atMs: nowMs, leftOut: 0 };
    this.#subjects.delete(subject);
    this.#subjects.set(subject, bucket);
    if (this.#subjects.size > subjectsMax) this.#subjects.delete(this.#subjects.keys().next().value!);
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

/** Of all logs: a device's lines count together, whichever part writes them. */
const lines = new Lines();

/** Values of a record, by the names in its message. */
export type LogProperties = Readonly<Record<string, unknown>>;

/** See the module's text. A line with a `deviceId` or a `clientId` counts as one about that device or client. */
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
    if (!this.#logger.isEnabledFor(level)) return;
    const leftOut = this.#leftOut(properties);
    if (leftOut === undefined) return;
    const fit = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, fitValue(value)]));
    const method = level === "warning" ? "warn" : level;
    if (leftOut === 0) this.#logger[method](message, fit);
    else this.#logger[method](`${message} ({leftOut} lines before it were left out)`, { ...fit, leftOut });
  }

  /** How many lines about the same device were left out before this one; undefined: so is this. */
  #leftOut({ deviceId, clientId }: LogProperties): number | undefined {
    // Apart: who is not let in may call himself by a device's name, and must not use up that device's lines.
    const subject = typeof deviceId === "string"
      ? `d ${deviceId.slice(0, 128)}`
      : typeof clientId === "string"
      ? "c"
      : "";
    return subject === "" ? 0 : lines.take(subject, this.nowMs())?.leftOut;
  }
}
