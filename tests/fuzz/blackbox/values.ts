/**
 * Random values of a field, in every form in which somebody writes them: an SQL expression, plain JSON of the HTTP API, an
 * attribute value of DynamoDB; and what both sides must make of it.
 *
 * @module
 */
import type { Random } from "../../sim/random.ts";
import { type Av, canonOfAttribute } from "./canon.ts";
import type { FieldType, MadeField } from "./made_schema.ts";

/** A value. */
export interface OddValue {
  readonly sql: string;
  /** For the API; undefined: it can't be said there. */
  readonly plain: unknown;
  readonly av: Av;
  /** What it is on both sides (`canon.ts`). */
  readonly canon: string | null;
  /** The cloud must refuse it, or may. */
  readonly refused?: boolean;
}

const texts = [
  ...[
    "",
    " ",
    "plain",
    "it's",
    'say "yes"',
    "a\nb\tc",
    "Größe 漢字 🦊",
    "\u0000",
    "NUL\u0000inside",
    "null",
    "{}",
    "0",
    "1e5",
    "#a|b",
  ],
  ...[
    "-- ; DROP TABLE x",
    "${name}",
    "$ref",
    "__proto__",
    "\ufeffbom",
    "\u2028",
    "2020-01-01",
    "%s%n",
    "a".repeat(3000),
    "0123456789".repeat(4000),
  ],
];
const numbers = [
  ...["0", "1", "-1", "5", "0.1", "-2.5", "1e-7", "123456.789", "1e21", "1.5e30", "9007199254740993"],
  ...["9223372036854775807", "-9223372036854775808", "12345678901234567890.123456", "0.30000000000000004", "4e-9"],
];
const jsons = [
  ...[
    '{"$ref":"#/defs/x"}',
    '{"$n":"5"}',
    '{"$b":"no base64"}',
    '{"$m":{"$m":{"a":1}}}',
    '{"$ss":[]}',
    '{"$unset":1}',
    "{}",
  ],
  ...[
    '{"__proto__":{"x":1}}',
    '{"constructor":1,"toString":null}',
    '{"a":{"b":{"c":[1,[2,[3,{"d":[]}]]]}}}',
    '{"":""}',
  ],
  ...[
    '{"n":12345678901234567890,"m":0.1,"z":-0.0}',
    '{"t":"Größe 🦊","q":"\\"\\\\","nl":"\\n"}',
    '{"$":1,"$$":2}',
    '{"x":[{"$n":"1"},{"$ns":["1"]}]}',
  ],
];
const lists = [
  "[]",
  "[1,2,3]",
  '["a",1,null,true,{"$n":"7"}]',
  "[[],[[]]]",
  '[{"$b":"AA=="}]',
  "[0.5,1e3,-7]",
  '["it\'s","\\u0000"]',
];

/** A text as SQL: what holds a NUL is put together, since no shell passes it on. */
export function textSql(text: string): string {
  return text.split("\u0000").map((part) => `'${part.replaceAll("'", "''")}'`).join("||char(0)||");
}

/** Makes a value for a field. `nowMs`: of the real clock, for expiry. */
export function makeValue(random: Random, field: MadeField, nowMs: number): OddValue {
  if (!field.required && random.chance(0.12)) return { sql: "NULL", plain: null, av: { NULL: true }, canon: null };
  const { sql, plain, av, ...rest } = valueOf(random, field, nowMs);
  return { sql, plain, av, canon: canonOfAttribute(field, av), ...rest };
}

function valueOf(random: Random, field: MadeField, nowMs: number): Omit<OddValue, "canon"> & { canon?: string } {
  switch (field.type) {
    case "string": {
      if (field.judged) return judged(random);
      const text = field.enum ? random.pick(field.enum) : random.pick(texts);
      return { sql: textSql(text), plain: text, av: { S: text } };
    }
    case "number": {
      if (field.unique) {
        const slot = String(random.below(6));
        return { sql: slot, plain: Number(slot), av: { N: slot } };
      }
      const digits = random.pick(numbers);
      const isDouble = /^-?\d{1,15}$/.test(digits) || String(Number(digits)) === digits;
      return { sql: isDouble ? digits : textSql(digits), plain: isDouble ? Number(digits) : digits, av: { N: digits } };
    }
    case "boolean": {
      const bool = random.chance(0.5);
      return { sql: bool ? "1" : "0", plain: bool, av: { BOOL: bool } };
    }
    case "date":
      return dateOf(random, field, nowMs);
    case "object":
    case "array":
      return jsonOf(field.nested ? nestedText(random) : random.pick(field.type === "object" ? jsons : lists));
    case "set":
      return setOf(random, field);
    case "binary": {
      const bytes = new Uint8Array(
        [[], [0], [255, 254, 0, 1], Array.from({ length: 600 }, (_, i) => i)][random.below(4)]!,
      );
      const base64 = bytes.toBase64();
      return { sql: `x'${bytes.toHex()}'`, plain: base64, av: { S: base64 } };
    }
  }
}

/** Matches `^[^@]+@[^@]+$`, or not: SQLite takes both. */
function judged(random: Random): Omit<OddValue, "canon"> {
  const text = random.chance(0.7) ? `a${random.below(9)}@b` : "no address";
  return { sql: textSql(text), plain: text, av: { S: text }, ...(text.includes("@") ? {} : { refused: true }) };
}

function nestedText(random: Random): string {
  return random.pick(['{"a":1}', '{"a":-0.5,"b":"x"}', "{}", '{"b":"$ref"}']);
}

function jsonOf(text: string): Omit<OddValue, "canon"> {
  const av = avOfJson(JSON.parse(text), text);
  const plain = text.includes("12345678901234567890") ? undefined : JSON.parse(text);
  return { sql: textSql(text), plain, av, ...(text.includes('"":') ? { refused: true } : {}) };
}

/** A JSON text as DynamoDB has it; `text` gives the digits of a number that a double would round. */
function avOfJson(value: unknown, text: string): Av {
  if (value === null) return { NULL: true };
  if (typeof value === "string") return { S: value };
  if (typeof value === "boolean") return { BOOL: value };
  if (typeof value === "number") {
    const digits = "12345678901234567890";
    return { N: value === Number(digits) && text.includes(digits) ? digits : String(value) };
  }
  if (Array.isArray(value)) return { L: value.map((member) => avOfJson(member, text)) };
  const map = value as { readonly [name: string]: unknown };
  return { M: Object.fromEntries(Object.keys(map).map((name) => [name, avOfJson(map[name], text)])) };
}

function setOf(random: Random, field: MadeField): Omit<OddValue, "canon"> {
  const members = field.members === "number"
    ? random.pick([["1"], ["1", "2", "3.5"], ["-7", "9007199254740993"]])
    : random.pick([["a"], ["a", "b", "Größe"], ["it's", "$ref", "{}"]]);
  const isNumber = field.members === "number";
  const json = isNumber ? `[${members.join(",")}]` : JSON.stringify(members);
  return {
    sql: textSql(json),
    plain: isNumber ? members.map((text) => String(Number(text)) === text ? Number(text) : text) : members,
    av: isNumber ? { NS: members } : { SS: members },
  };
}

const minuteMs = 60_000;

function dateOf(random: Random, field: MadeField, nowMs: number): Omit<OddValue, "canon"> {
  const second = Math.floor(nowMs / 1000) * 1000;
  const ms = field.ttl
    // Not within the minutes in which a round ends: what expires then is on neither side, or on one.
    ? second +
      random.pick([-10 * minuteMs, -2 * minuteMs, 1_000, 5_000, 60 * minuteMs, 9000 * minuteMs, 9000 * minuteMs])
    : random.pick([0, 86_400_000, 1_700_000_000_123, 253_402_300_799_000, second]);
  const text = new Date(ms).toISOString();
  const stored: Av = field.ttl ? { N: String(ms / 1000) } : field.iso ? { S: text } : { N: String(ms) };
  return { sql: field.iso ? textSql(text) : String(ms), plain: text, av: stored };
}

/** A text that makes an item larger than DynamoDB takes. */
export const tooLargeSql = "substr(hex(zeroblob(220000)), 1, 420000)";

const wrong: Record<FieldType, readonly string[]> = {
  string: ["CAST(x'c328' AS TEXT)", "7", "x'00'"],
  number: [
    "'abc'",
    "'1e300'",
    "1e300",
    "9e999",
    "x'00'",
    "'0x10'",
    "'12345678901234567890123456789012345678901234567890'",
  ],
  boolean: ["2", "'1'", "0.5"],
  date: ["'yesterday'", "'2020-02-30'", "1e20", "'2020-01-01 10:00'", "-1"],
  object: [
    "'[1]'",
    "'5'",
    '\'{"a":"text","b":5}\'',
    "'not json'",
    '\'{"a":1,"a":2}\'',
    "x'7b7d'",
    "'{a:1}'",
    "'{\"a\":1e999}'",
  ],
  array: ["'{}'", "'[1'", "'null'", "'[1e400]'"],
  set: ["'[]'", `'["x"]'`, "'[1]'", "'[null]'", `'["a","a"]'`, `'[1,"a"]'`, "'{}'", "'[[1]]'"],
  binary: ["'text'", "5", "zeroblob(0)"],
};

/**
 * An SQL expression that a field may not take: SQLite refuses it, or the cloud, or both take it. Whatever it is: the row is
 * equal on both sides then, or it alone is rejected.
 */
export function wrongSql(random: Random, { type }: MadeField): string {
  return random.pick(wrong[type]);
}
