/**
 * Every decoder of outside data takes time in proportion to what it is given. Each is measured at n and 4n, which may
 * take nine times as long, for a machine is never quiet; the square would be sixteen times.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { dateTextToMs } from "../../agent/store/columns.ts";
import { evaluate, less } from "../../cloud/table/condition.ts";
import { fromAttributeValue, toAttributeValue } from "../../cloud/dynamodb/attribute_value.ts";
import { Decoder, encode } from "../../protocol.ts";
import { canonicalDecimal, compareDecimals, keyNumberText, numberProblem, numberToJson } from "../../schema/numbers.ts";
import { canonicalJson, jsonEquals, parseJson, parsePlain } from "../../schema/json.ts";
import { quoted } from "../../schema/names.ts";
import { readTagged } from "../../schema/tagged.ts";
import { parseTemplate } from "../../schema/template.ts";
import type { Json } from "../../schema/values.ts";

const bytes = new TextEncoder();
const accept = (payload: Uint8Array) => {
  for (const direction of ["up", "down"] as const) {
    try {
      new Decoder({ now: () => 0 }).accept(payload, direction as "up");
    } catch {
      // How long a refusal takes is what is measured.
    }
  }
};
const tolerant = (work: () => unknown) => () => {
  try {
    work();
  } catch {
    // The same.
  }
};
const nested = (n: number, open: string, close: string) => `${open.repeat(n)}1${close.repeat(n)}`;
const up = (item: string) =>
  `{"v":1,"type":"up","batch":"k/1","sent":0,"changes":[{"model":"M","op":"create","stamp":1,"item":${item}}]}`;

/** Texts that are dear to a careless expression. */
const texts: Record<string, (n: number) => string> = {
  "zeros in a number": (n) => `1${"0".repeat(n)}1`,
  "zeros and no number": (n) => `1${"0".repeat(n)}x`,
  "leading zeros": (n) => `${"0".repeat(n)}.${"0".repeat(n)}1`,
  "digits": (n) => "7".repeat(n),
  "digits and points": (n) => "1.".repeat(n),
  "blanks": (n) => " ".repeat(n),
  "blanks and a letter": (n) => `${" ".repeat(n)}x`,
  "lines": (n) => " \n".repeat(n),
  "placeholders without an end": (n) => "${".repeat(n),
  "a date with blanks": (n) => `2026-01-01T00:00:00${" ".repeat(n)}x`,
  "a date with digits": (n) => `2026-01-01T00:00:00.${"9".repeat(n)}x`,
  "base64": (n) => `${"A".repeat(n)}=`,
  "quotes": (n) => '"'.repeat(n),
};

const readers: Record<string, (text: string) => () => unknown> = {
  canonicalDecimal: (text) => () => canonicalDecimal(text),
  numberToJson: (text) => tolerant(() => numberToJson(text)),
  compareDecimals: (text) => () => compareDecimals(text, text),
  numberProblem: (text) => () => numberProblem({ $n: text }),
  keyNumberText: (text) => () => keyNumberText({ $n: text }),
  condition: (text) => () => evaluate(less("a", 5), { a: { $n: text } }),
  parseTemplate: (text) => tolerant(() => parseTemplate(text)),
  dateTextToMs: (text) => () => dateTextToMs(text),
  quoted: (text) => () => quoted({ text }),
  toAttributeValue: (text) => tolerant(() => toAttributeValue({ $ss: [text], $x: { $n: text } })),
  fromAttributeValue: (text) => tolerant(() => fromAttributeValue({ L: [{ N: text }, { S: text }] })),
  readTagged: (text) => () => readTagged([{ $n: text }, { $b: text }, { $ns: [text] }, { $m: { [text]: 1 } }]),
  parseJson: (text) => tolerant(() => parseJson(`[${text},"${text}"]`)),
  parsePlain: (text) => tolerant(() => parsePlain(`[1,${text}]`)),
  "wire, a version": (text) => () => accept(bytes.encode(JSON.stringify({ v: text, type: "up" }))),
  "wire, a batch id": (text) => () => accept(bytes.encode(JSON.stringify({ v: 1, type: "up", batch: text }))),
  "wire, a value": (text) => () => accept(bytes.encode(up(JSON.stringify({ a: text, b: { $n: text } })))),
  "wire, a number": (text) => () => accept(bytes.encode(up(`{"a":${text}}`))),
  "wire, bytes": (text) => () => accept(bytes.encode(text)),
};

/** Values that are large by their shape. */
const shapes: Record<string, (n: number) => string> = {
  "a list": (n) => `[${"1,".repeat(n)}1]`,
  "a list of tags": (n) => `[${'{"$n":"1e5"},'.repeat(n)}1]`,
  "a list of maps that look like tags": (n) => `[${'{"$x":{"$y":1}},'.repeat(n)}1]`,
  "a map": (n) => `{${Array.from({ length: n }, (_, i) => `"k${i}":${i}`).join(",")}}`,
  "a set": (n) => `{"$ss":[${Array.from({ length: n }, (_, i) => `"k${i}"`).join(",")}]}`,
  "long numbers": (n) => `[${"12345678901234567890,".repeat(n)}1]`,
  "depth": (n) => nested(Math.min(n, 2000), "[", "]"),
};

const shapeReaders: Record<string, (text: string) => () => unknown> = {
  parseJson: (text) => () => parseJson(text),
  readTagged: (text) => {
    const value = JSON.parse(text);
    return () => readTagged(value);
  },
  canonicalJson: (text) => {
    const value = JSON.parse(text) as Json;
    return () => canonicalJson(value);
  },
  jsonEquals: (text) => {
    const [a, b] = [JSON.parse(text), JSON.parse(text)];
    return () => jsonEquals(a, b);
  },
  toAttributeValue: (text) => {
    const value = readTagged(JSON.parse(text));
    return tolerant(() => toAttributeValue(value));
  },
  wire: (text) => {
    const payload = bytes.encode(up(`{"a":${text}}`));
    return () => accept(payload);
  },
  "wire, compressed": (text) => {
    const item = { a: text };
    const [payload] = encode(
      { type: "up", batch: "k/1", sent: 0, changes: [{ model: "M", op: "create", stamp: 1, item }] },
      { deflate: true, maxBytes: 1e9 },
    );
    return () => accept(payload!);
  },
};

/** The shortest of several runs, ms of processor time: what else the machine does takes none of it. */
function timed(work: () => unknown, runs: number): number {
  let best = Infinity;
  for (let i = 0; i < runs; i++) {
    const begin = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(begin);
    best = Math.min(best, (user + system) / 1000);
  }
  return best;
}

/** The square of 65,536 steps takes seconds; below this a measurement is linear, or of the collector and the caches. */
const noiseMs = 150;
const n = 16_384;

/** Four times as much may take nine times as long. A machine that is busy elsewhere is given a second look. */
function grows(name: string, make: (n: number) => () => unknown): void {
  const large = timed(make(4 * n), 1);
  if (large < noiseMs) return;
  const small = timed(make(n), 3), again = timed(make(4 * n), 3);
  assert.ok(again < noiseMs || again / small < 9, `${name}: ${n} takes ${small} ms, four times as much ${again} ms`);
}

for (const [reader, make] of Object.entries(readers)) {
  Deno.test(`growth: ${reader} is linear in texts of every kind`, () => {
    for (const [kind, text] of Object.entries(texts)) grows(`${reader} of ${kind}`, (n) => make(text(n)));
  });
}

for (const [reader, make] of Object.entries(shapeReaders)) {
  Deno.test(`growth: ${reader} is linear in values of every shape`, () => {
    for (const [kind, text] of Object.entries(shapes)) grows(`${reader} of ${kind}`, (n) => make(text(n)));
  });
}
