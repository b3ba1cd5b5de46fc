/** `validate`: matching is as JavaScript's, and linear whatever the expression. */
import assert from "node:assert/strict";
import process from "node:process";
import fc from "fast-check";
import { Pattern, PatternRefused } from "../../../schema/pattern/pattern.ts";

const atoms = [
  ..."ab- {}]/é😀_\n",
  ".",
  "\\d",
  "\\W",
  "\\s",
  "\\.",
  "\\x61",
  "\\u0061",
  "\\cJ",
  "\\0",
  "[ab]",
  "[^a]",
  "[a-c\\]]",
  "[^]",
  "[]",
  "[\\b\\-é]",
  "\\/",
];
const unicodeAtoms = [
  ..."ab-é😀_",
  ".",
  "\\u{1F600}",
  "\\ud83d\\ude00",
  "\\p{L}",
  "\\P{Lu}",
  "\\w",
  "[😀a]",
  "[^😀]",
  "\\u{61}",
];
const quantifiers = ["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "{0}", "+?", "{2,3}?"];

/** Valid expressions, with a text of the same letters. */
function cases(isUnicode: boolean): fc.Arbitrary<readonly [source: string, flags: string, text: string]> {
  const { source } = fc.letrec<{ source: string; term: string }>((tie) => ({
    term: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constantFrom(...isUnicode ? unicodeAtoms : atoms),
      fc.tuple(fc.constantFrom("(", "(?:", "(?<n>"), tie("source")).map(([open, inner]) => `${open}${inner})`),
      fc.constantFrom("^", "$", "\\b", "\\B"),
      fc.tuple(fc.constantFrom("(?=", "(?!", "(?<=", "(?<!"), tie("source")).map(([open, inner]) => `${open}${inner})`),
    ),
    source: fc.array(
      fc.array(fc.tuple(tie("term"), fc.constantFrom(...quantifiers)).map(([term, q]) => `${term}${q}`), {
        maxLength: 4,
      }).map((terms) => terms.join("")),
      { minLength: 1, maxLength: 3 },
    ).map((options) => options.join("|")),
  }));
  const flags = fc.subarray(["i", "m", "s"]).map((list) => `${list.join("")}${isUnicode ? "u" : ""}`);
  const text = fc.string({ unit: fc.constantFrom(..."aabbAB1-_ é😀\n\r\0.]{}"), maxLength: 10 });
  return fc.tuple(source, flags, text).filter(([source, flags, text]) => {
    // With `u`, V8 looks for what has no width between the halves of a pair, too, where by the standard no place is.
    if (isUnicode && /[\ud800-\udfff]/.test(text) && /\\B|\(\?[=!<]/.test(source)) return false;
    try {
      new RegExp(source, flags);
      return true;
    } catch {
      return false;
    }
  });
}

for (const isUnicode of [false, true]) {
  Deno.test(`pattern: ${isUnicode ? "with" : "without"} the flag u, every text is judged as JavaScript judges it`, () => {
    fc.assert(
      fc.property(cases(isUnicode), ([source, flags, text]) => {
        assert.equal(new Pattern(source, flags).test(text), new RegExp(source, flags).test(text));
      }),
      { numRuns: Number(Deno.env.get("PATTERN_RUNS") ?? 4_000) },
    );
  });
}

Deno.test("pattern: what people write is judged as JavaScript judges it", () => {
  const sources = [
    "^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$",
    "^(?=.*[A-Z])(?=.*\\d).{8,}$",
    "^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    "^(25[0-5]|2[0-4]\\d|1?\\d?\\d)(\\.(25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}$",
    "^(?!bad)",
    "^\\+?[1-9]\\d{1,14}$",
    "^v?\\d+\\.\\d+\\.\\d+(-[\\w.]+)?$",
    "^[\\x20-\\x7e]*$",
    "(^|,)a(,|$)",
    "\\bword\\b",
  ];
  for (const source of sources) {
    const pattern = new Pattern(source, ""), native = new RegExp(source);
    // fast-check makes no text for an expression that looks around itself.
    const makes = !/\(\?[=!<]|\\b|\(\^/.test(source);
    const like = makes ? fc.stringMatching(native) : fc.string({ unit: fc.constantFrom(..."Aab1d, wor") });
    const text = fc.oneof(like, like.map((text) => text.slice(1)), fc.string());
    fc.assert(fc.property(text, (text) => assert.equal(pattern.test(text), native.test(text))), { numRuns: 100 });
  }
});

/** Each takes JavaScript's own engine exponential or at least quadratic time. */
const catastrophic = [
  "(a+)+$",
  "^(a+)+$",
  "^(a|a)*$",
  "^(a*)*b$",
  "^(a|aa)+$",
  "^(.*a){12}$",
  "^((a{0,3}){0,3}){0,3}b",
  "a*a*a*a*b",
  "^a*a*$",
  "(?=(a+)+$)b",
  "(?<=^(a+)+)b",
  "(?:(?!(a|a)*b)a)*b",
  "^([a-z]+[a-z]+)+[0-9]$",
  "\\s*\\n\\s*x",
];

Deno.test("pattern: time grows no faster than the text, whatever the expression", () => {
  const run = (pattern: Pattern, text: string) => {
    const effort = { steps: 0 }, begun = process.cpuUsage();
    pattern.test(text, effort);
    // Processor time: what else the machine does takes none of it.
    const { user, system } = process.cpuUsage(begun);
    return { ms: (user + system) / 1000, steps: effort.steps };
  };
  // Where JavaScript's own engine runs, steps are not counted: the square of 65,536 takes it a second.
  const n = 16_384, noiseMs = 300;
  for (const source of catastrophic) {
    const pattern = new Pattern(source, "");
    for (const unit of ["a", " "]) {
      const [small, middle, large] = [n, 2 * n, 4 * n].map((length) => run(pattern, `${unit.repeat(length)}!`));
      const text = JSON.stringify([source, small, middle, large]);
      assert.ok(middle!.steps <= 2.1 * small!.steps && large!.steps <= 4.2 * small!.steps, text);
      assert.ok(large!.ms < noiseMs || run(pattern, `${unit.repeat(4 * n)}!`).ms < noiseMs, text);
    }
  }
});

Deno.test("pattern: a text that would take too many steps is said to be too dear, in bounded time", () => {
  const begun = performance.now();
  assert.equal(new Pattern("^(x?){3000}y", "").test("x".repeat(400_000)), undefined);
  assert.equal(new Pattern("(a+)+$", "").test(`${"a".repeat(8_000_000)}!`), undefined);
  assert.ok(performance.now() - begun < 2_000);
  // One choice from the begin on: any length.
  assert.equal(new Pattern("^[a-z]+$", "").test("a".repeat(8_000_000)), true);
});

Deno.test("pattern: what can't be bounded is refused by name, when it is compiled", () => {
  for (
    const [source, flags, why] of [
      ["(a)\\1", "", /back reference/],
      ["(?<n>a)\\k<n>", "", /back reference/],
      ["\\07", "", /octal/],
      ["[a--b]", "v", /flag v/],
      ["(?i:a)b", "", /flags within/],
      ["\\c1", "", /\\c/],
      ["(((a{100}){100}){100}){100}", "", /smaller counts/],
      ["(?=(?=(?=a{99}){99}b{200}){9999}){9999}c{30000}", "", /smaller counts/],
      ["(".repeat(300) + ")".repeat(300), "", /300|groups/],
    ] as const
  ) {
    assert.throws(
      () => new Pattern(source, flags),
      (error) => error instanceof PatternRefused && why.test(error.message),
      source,
    );
  }
  // Nothing, a billion times.
  assert.equal(new Pattern("^(?:){999999999}$", "").test(""), true);
});
