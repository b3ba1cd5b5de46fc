/**
 * Random values of a field, as an SQL expression that an application writes and as a cloud application's item has them.
 * Both take from the edges: 64-bit and 38-digit numbers, emoji, empty texts, other spellings of the same date.
 *
 * @module
 */
import fc from "fast-check";
import type { Field, Model } from "../../schema.ts";
import { escape, type Json } from "../../schema/values.ts";

/** A text as an SQL literal. A NUL is put in by `char(0)`: a shell ends its script at one. */
export function quoted(text: string): string {
  const parts = text.split("\0").map((part) => `'${part.replaceAll("'", "''")}'`);
  return parts.length === 1 ? parts[0]! : `(${parts.join(" || char(0) || ")})`;
}

const texts = [
  "",
  "a",
  "it's",
  "é😀",
  "x\ny",
  "a\0b",
  "null",
  "  padded ",
  "\u{1F468}\u200D\u{1F469}",
  "{}",
  "7.0",
  "%_\\",
];
const keyTexts = ["a", "a", "a", "b", "b", "it's", "é", "x#y", ""];
/** Decimals that neither a double nor a 64-bit integer holds, and some that one of them does. */
const bigDecimals = [
  "12345678901234567890123456789012345678",
  "-99999999999999999999999999999999999999",
  "0.12345678901234567890123456789012345678",
  "1e-130",
  "18446744073709551616",
];
const integers = ["0", "7", "-1", "9007199254740993", "-9223372036854775808", "9223372036854775807", "4294967296"];
const reals = ["7.0", "0.1", "-1e-7", "1e20", "123456789.123", "9007199254740994.0", "1e125"];
const keyIntegers = ["1", "1", "1", "7.0", "9007199254740993", "'12'", "-1"];
/** Within a day of each other or years apart, none expired. */
const isoDates = ["2099-12-31T23:59:59.000Z", "2100-01-01T00:00:00.001Z", "2150-06-15T12:00:00.500Z"];
const dateSpellings = [
  ...isoDates,
  "2100-01-01",
  "2100-01-01 10:30",
  "2100-01-01T10:30:00+02:00",
  "2100-01-01T10:30:00.1Z",
];
const binaries = ["", "00", "ff00fe", "0123456789abcdef"];

/** Names that JavaScript, or the tags of tagged JSON, make something of. */
const oddNames = [
  "__proto__",
  "constructor",
  "toString",
  "0",
  "$",
  "$ref",
  "$n",
  "$b",
  "$ss",
  "$ns",
  "$bs",
  "$m",
  "$$",
];
/** Maps that are tags to whoever takes them for tagged JSON. */
const tagLike: Json[] = [{ $n: "5" }, { $n: "1e5" }, { $b: "AAEC" }, { $b: "A" }, { $ss: ["a"] }, { $ns: ["1"] }, {
  $bs: ["AA=="],
}, {
  $m: { $n: "1" },
}, { $m: {} }];
const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom<Json>(...texts.map((t) => t.replace("\0", "")), true, false, null, 0, -1.5, 1e125, 2 ** 53 - 1),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b'", "é", "__proto", "c d"), tie("value"), { maxKeys: 3 }),
    fc.tuple(fc.constantFrom(...oddNames), tie("value")).map(([name, value]) => Object.fromEntries([[name, value]])),
    fc.constantFrom<Json>(...tagLike),
  ),
})).value;

/** Any JSON as an item has it. */
const tagged = json.map((value) => readAsMaps(value));

function readAsMaps(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(readAsMaps);
  return escape(Object.fromEntries(Object.entries(value).map(([name, member]) => [name, readAsMaps(member)])));
}

/** JSON text with numbers that a double would alter. */
const jsonText = fc.tuple(json, fc.constantFrom(...integers, ...bigDecimals)).map(([value, number]) =>
  JSON.stringify({ value, number: "@" }).replace('"@"', number)
);

function pick<T>(...values: readonly T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...values);
}

const nestedText = fc.record({
  n: pick(1, 0.5),
  at: pick(...isoDates),
  on: fc.boolean(),
  raw: pick("", "AAEC"),
  deep: pick({ s: "é😀" }, {}),
  more: json,
}, { requiredKeys: [] }).map((value) => JSON.stringify(value));

/** An SQL expression for a column. */
export function sqlValue(model: Model, field: Field): fc.Arbitrary<string> {
  const isKey = model.keyFields.includes(field.name);
  const needed = field.required || isKey;
  const value = isKey ? keySql(field) : plainSql(field);
  return needed ? value : fc.oneof({ weight: 6, arbitrary: value }, { weight: 1, arbitrary: pick("NULL") });
}

function keySql(field: Field): fc.Arbitrary<string> {
  switch (field.type) {
    case "number":
      return pick(...keyIntegers);
    case "boolean":
      return pick("0", "1");
    case "date":
      return field.isoDates ? pick(...isoDates).map(quoted) : pick(...isoDates.map((d) => String(Date.parse(d))));
    default:
      return pick(...keyTexts).map(quoted);
  }
}

function plainSql(field: Field): fc.Arbitrary<string> {
  switch (field.type) {
    case "string":
      if (field.enum) return pick(...field.enum as string[]).map(quoted);
      // Few values, so that unique ones meet; a cloud application's are others.
      return field.unique ? pick("u1", "u2", "u3").map(quoted) : pick(...texts).map(quoted);
    case "number":
      if (field.unique) return pick("1", "2.0", "'3'", "9007199254740993", quoted(bigDecimals[0]!));
      return fc.oneof(pick(...integers), pick(...reals), pick(...bigDecimals, "1.50", "007").map(quoted));
    case "boolean":
      return pick("0", "1", "TRUE");
    case "date":
      if (!field.isoDates) return pick(...isoDates.map((d) => String(Date.parse(d))));
      return pick(...dateSpellings).map(quoted);
    case "object":
      return (field.nested ? nestedText : jsonText).map(quoted);
    case "array":
      if (field.items) return pick("[1, 2.5, 12345678901234567890]", "[]", "[null, 0]").map(quoted);
      return fc.oneof(fc.array(json, { maxLength: 3 }).map((list) => JSON.stringify(list)), pick("[9007199254740993]"))
        .map(quoted);
    case "set":
      if (field.members === "number") return pick("[1, 2.50, 12345678901234567890]", "[7, 7.0]").map(quoted);
      if (field.members === "binary") return pick('["AAEC", "/w=="]', '["AA=="]').map(quoted);
      return pick('["b", "a", "é😀"]', '["", "it\'s"]', '["a", "a"]').map(quoted);
    case "binary":
      return pick(...binaries).map((hex) => `x'${hex}'`);
  }
}

/**
 * A value in item form (tagged JSON), sometimes in another form than our own: another writer's.
 *
 * @param clashing a unique field's may be one that the device has, too
 */
export function itemValue(model: Model, field: Field, clashing = false): fc.Arbitrary<Json> {
  if (clashing && field.unique) return field.type === "number" ? pick<Json>(1, 2, 3) : pick("u1", "u2", "u3");
  if (model.keyFields.includes(field.name)) return keyValue(field);
  const date = (text: string): Json => {
    const ms = Date.parse(text);
    return field.ttl ? Math.ceil(ms / 1000) : field.isoDates ? text : ms;
  };
  switch (field.type) {
    case "string":
      if (field.enum) return pick(...field.enum as string[]);
      return field.unique ? fc.uuid() : pick(...texts);
    case "number":
      if (field.unique) return fc.integer({ min: 1_000_000 });
      return fc.oneof(
        pick<Json>(0, 7, -0.5, 1e20, 9007199254740991),
        pick(...bigDecimals, "9007199254740993", "1.50").map((text): Json => ({ $n: text })),
      );
    case "boolean":
      return fc.boolean();
    case "date":
      return pick(...isoDates).map(date);
    case "object":
      if (field.nested) return nestedText.map((text) => readAsMaps(JSON.parse(text)));
      return fc.oneof(
        tagged.map((value): Json => ({
          value,
          big: { $n: bigDecimals[0]! },
          bytes: { $b: "AAEC" },
          set: { $ss: ["x"] },
        })),
        pick<Json>({ $m: { $n: "no number" } }),
      );
    case "array":
      return field.items ? pick<Json>([1, { $n: bigDecimals[0]! }], []) : fc.array(tagged, { maxLength: 3 });
    case "set":
      if (field.members === "number") return pick<Json>({ $ns: ["1", bigDecimals[0]!] }, { $ns: ["0.5"] });
      if (field.members === "binary") return pick<Json>({ $bs: ["AAEC"] });
      return pick<Json>({ $ss: ["b", "a"] }, { $ss: ["é😀", ""] });
    case "binary":
      return fc.oneof(pick<Json>("AAEC", ""), pick<Json>({ $b: "/w==" }));
  }
}

function keyValue(field: Field): fc.Arbitrary<Json> {
  switch (field.type) {
    case "number":
      return pick<Json>(1, 1, 7, { $n: "9007199254740993" }, 12, -1);
    case "boolean":
      return fc.boolean();
    case "date":
      return pick(...isoDates).map((text): Json => field.isoDates ? text : Date.parse(text));
    default:
      return pick(...keyTexts);
  }
}

/** Attributes that this schema does not know. */
export const unknownAttributes: fc.Arbitrary<Record<string, Json>> = fc.dictionary(
  fc.constantFrom("zz1", "zz2", "zz é"),
  fc.oneof(
    tagged,
    pick<Json>({ $n: bigDecimals[1]! }, { $bs: ["AAEC"] }, { $m: { $ss: 1 } }, [{ $n: bigDecimals[2]! }]),
  ),
  { maxKeys: 2 },
);
