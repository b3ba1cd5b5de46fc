/**
 * Numbers without silent loss. A decimal text becomes a JSON number only if its double prints as the same decimal
 * again; every other number stays text, as `{"$n": text}`. The test compares decimals, not bits: 2^60 is exact in a
 * double but prints as 1152921504606847000, so the decimal 1152921504606846976 would come back altered.
 *
 * @module
 */
import type { Json } from "./values.ts";

const decimalPattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,6}))?$/;
/** DynamoDB: 38 digits, magnitudes from 1E-130 to 9.99…E+125. */
const digitsMax = 38;
const exponentMin = -130;
const exponentMax = 125;
/** An integer in a key must be an SQLite INTEGER, which prints as digits; beyond it SQLite would print a REAL. */
const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

interface Decimal {
  readonly negative: boolean;
  /** Without leading and trailing zeros; "" is zero. */
  readonly digits: string;
  /** Of the first digit: the value is d.ddd · 10^exponent. */
  readonly exponent: number;
}

function readDecimal(text: string): Decimal | undefined {
  const match = decimalPattern.exec(text);
  if (!match) return undefined;
  const whole = match[2] ?? "", fraction = match[3] ?? "";
  if (whole === "" && fraction === "") return undefined;
  const all = whole + fraction;
  // Without a regular expression: `/0+$/` takes quadratic time for a long run of zeros that another digit follows.
  let lead = 0, end = all.length;
  while (lead < end && all[lead] === "0") lead++;
  while (end > lead && all[end - 1] === "0") end--;
  const digits = all.slice(lead, end);
  if (digits === "") return { negative: false, digits, exponent: 0 };
  return { negative: match[1] === "-", digits, exponent: whole.length - 1 - lead + Number(match[4] ?? 0) };
}

function printDecimal({ negative, digits, exponent }: Decimal): string {
  const sign = negative ? "-" : "";
  if (digits === "") return "0";
  if (exponent >= digitsMax || exponent < -7) {
    const rest = digits.slice(1);
    return `${sign}${digits[0]}${rest === "" ? "" : "." + rest}e${exponent}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  if (digits.length <= exponent + 1) return sign + digits.padEnd(exponent + 1, "0");
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}

/**
 * The one way in which a decimal text is written: no sign `+`, no superfluous zeros, an exponent only where plain
 * digits would be longer than 38. Undefined if the text is not a decimal number.
 */
export function canonicalDecimal(text: string): string | undefined {
  const decimal = readDecimal(text);
  return decimal && printDecimal(decimal);
}

/**
 * A decimal text as tagged JSON: a JSON number where it survives a double unaltered, else `{"$n": <canonical decimal>}`.
 *
 * @throws RangeError if the text is no decimal number.
 */
export function numberToJson(text: string): Json {
  const decimal = readDecimal(text);
  if (!decimal) throw new RangeError(`"${text.slice(0, 80)}" is not a decimal number`);
  const canonical = printDecimal(decimal);
  const number = Number(canonical);
  return Number.isFinite(number) && canonicalDecimal(String(number)) === canonical ? number : { $n: canonical };
}

/** The decimal text of a number in tagged JSON; undefined if the value is not a number. */
export function jsonToNumberText(json: Json | undefined): string | undefined {
  if (typeof json === "number") return Number.isFinite(json) ? canonicalDecimal(String(json)) : undefined;
  return isBigNumber(json) ? json.$n : undefined;
}

/** Whether the value is a number that a double can't hold: `{"$n": …}`. */
export function isBigNumber(json: unknown): json is { readonly $n: string } {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return false;
  const text = (json as { $n?: unknown }).$n;
  return typeof text === "string" && Object.keys(json).length === 1;
}

/** Why DynamoDB would not take the number; undefined if it would. */
export function numberProblem(json: Json): string | undefined {
  // A double has at most 17 digits: well within the bounds, it needs no decimal arithmetic.
  if (json === 0 || (typeof json === "number" && Math.abs(json) > 1e-129 && Math.abs(json) < 1e125)) return undefined;
  const text = jsonToNumberText(json);
  const decimal = text === undefined ? undefined : readDecimal(text);
  if (!decimal) return "is not a number";
  if (decimal.digits.length > digitsMax) return `has more than ${digitsMax} digits`;
  if (decimal.digits !== "" && (decimal.exponent > exponentMax || decimal.exponent < exponentMin)) {
    return "is beyond what DynamoDB holds (1E-130 to 9.99E+125)";
  }
  return undefined;
}

/** How a number is in a key: the digits of a 64-bit integer; undefined for every other number. */
export function keyNumberText(json: Json): string | undefined {
  if (typeof json === "number" && Number.isSafeInteger(json)) return String(json);
  const text = jsonToNumberText(json);
  return text !== undefined && toInt64(text) !== undefined ? text : undefined;
}

/** An integer of 64 bits from its digits; undefined for every other text. */
export function toInt64(text: string): bigint | undefined {
  // 19 digits and a sign: longer texts are rejected unread, because BigInt takes more than linear time.
  if (text.length > 20 || !/^-?\d+$/.test(text)) return undefined;
  const integer = BigInt(text);
  return integer >= int64Min && integer <= int64Max ? integer : undefined;
}

/**
 * The order of two decimal texts, exactly: a double cannot hold 38 digits. Undefined if one of them is not a decimal
 * number.
 */
export function compareDecimals(a: string, b: string): number | undefined {
  const x = readDecimal(a), y = readDecimal(b);
  if (!x || !y) return undefined;
  const sign = signOf(x);
  if (sign !== signOf(y)) return sign - signOf(y);
  if (sign === 0) return 0;
  if (x.exponent !== y.exponent) return sign * (x.exponent - y.exponent);
  return sign * (x.digits < y.digits ? -1 : x.digits > y.digits ? 1 : 0);
}

function signOf({ negative, digits }: Decimal): -1 | 0 | 1 {
  return digits === "" ? 0 : negative ? -1 : 1;
}
