/** `dev`'s screen at any width: the bottom line stays one, nothing breaks in a word, and what is left out is reported. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { painted } from "../../cli/colour.ts";
import { columnsOf, joined, wrapped } from "../../cli/fit.ts";
import { Live } from "../../cli/live.ts";
import { brief } from "../../cli/travel.ts";
import { compileSchema } from "../../schema.ts";
import { Program } from "../support/process.ts";
import { TempDir } from "../support/temp_dir.ts";
import { missingTools, skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { Terminal } from "./terminal.ts";

// deno-lint-ignore no-control-regex
const colours = /\x1b\[\d+m/g;
const parts = (n: number) => [
  `demo-1 ↑ ${n} ↓ ${n}, 3 waiting`,
  `demo-2 (offline) ↑ ${n} ↓ ${n}`,
  ...Array.from({ length: 6 }, (_, i) => `demo-${i + 3} ↑ ${n} ↓ ${n}`),
];
const widths = [20, 40, 60, 69, 80, 120, 200];

for (const width of widths) {
  Deno.test(`live: at ${width} columns there is one bottom line, below everything, however often it changes`, () => {
    let now = 0;
    const screen = new Terminal(width), live = new Live(screen, () => now);
    for (let n = 0; n < 100; n++) {
      now += 1000;
      live.bottom(parts(1000 + n));
      if (n % 10 === 0) live.print(`line ${n}`);
    }
    const { rows } = screen;
    assert.equal(rows.filter((row) => row.startsWith("  demo-1")).length, 1, rows.join("\n"));
    assert.ok(rows.at(-1)!.startsWith("  demo-1"));
    assert.ok(rows.at(-1)!.length < width);
    assert.equal(rows.length, 11);
    live.bottom([]);
    assert.equal(screen.rows.filter((row) => row.startsWith("  demo-1")).length, 0);
  });
}

for (const reflows of [true, false]) {
  const how = reflows ? "breaks its lines anew" : "cuts its rows";
  Deno.test(`live: a terminal that becomes narrower or wider and ${how} has one bottom line, and each other line once`, () => {
    const width = fc.integer({ min: 12, max: 220 });
    fc.assert(fc.property(width, fc.array(width, { minLength: 1, maxLength: 12 }), (first, resizes) => {
      let now = 0, printed = 0;
      const screen = new Terminal(first, reflows), live = new Live(screen, () => now);
      for (const width of resizes) {
        now += 1000;
        live.bottom(parts(printed));
        if (width % 3 > 0) live.print(`line ${++printed}`);
        screen.width = width;
        if (width % 2 > 0) live.print(`line ${++printed}`);
        live.bottom(parts(printed));
        const rows = screen.rows, last = rows.pop()!;
        assert.deepEqual(rows, Array.from({ length: printed }, (_, i) => `line ${i + 1}`));
        assert.ok(last.length < width, last);
      }
    }));
  });
}

Deno.test("live: the bottom line has whole parts, and says how many more there are", () => {
  assert.equal(joined(["a ↑ 12", "b ↑ 3"], 20), "a ↑ 12  |  b ↑ 3");
  assert.equal(joined(["a ↑ 12", "b ↑ 3456", "c ↑ 7"], 20), "a ↑ 12  |  2 more");
  assert.equal(joined(["demo-1 (offline) ↑ 1234 ↓ 5"], 20), "demo-1 (offline) ↑ …");
  assert.equal(joined(["demo-1 ↑ 1234"], 4), "…");
  assert.equal(joined([], 20), "");
  const part = fc.stringMatching(/^[a-z]{1,8} [0-9]{1,8}$/);
  fc.assert(fc.property(fc.array(part, { minLength: 1 }), fc.integer({ min: 1, max: 80 }), (parts, width) => {
    const shown = joined(parts, width);
    assert.ok(columnsOf(shown) <= width, shown);
    // Each number in it is one of the parts', or how many more there are: none is cut.
    const numbers = [...parts.map((part) => part.split(" ")[1]!), ...parts.map((_, i) => String(i + 1))];
    for (const [number] of shown.matchAll(/\d+/g)) assert.ok(numbers.includes(number), shown);
  }));
});

Deno.test("live: lines break between words and properties, and a row is never wider than the terminal", () => {
  assert.deepEqual(wrapped('  demo-1 → table  Setting setting#load {"name":"load","value":90}', 39), [
    "  demo-1 → table  Setting setting#load",
    '    {"name":"load","value":90}',
  ]);
  assert.deepEqual(wrapped('  {"name":"memory","value":90}', 20), ['  {"name":"memory",', '    "value":90}']);
  // A path stays in one piece.
  assert.deepEqual(wrapped("  device  /a/very/long/path.db", 12), ["  device", "    /a/very/long/path.db"]);
  assert.equal(columnsOf("e\u0301"), 1);
  assert.equal(columnsOf("日本👍"), 6);
  const word = fc.string({ unit: fc.constantFrom(..."ab1,日é👍"), minLength: 1, maxLength: 9 });
  fc.assert(fc.property(fc.array(word, { minLength: 1 }), fc.integer({ min: 22, max: 80 }), (words, width) => {
    const rows = wrapped(`  ${words.join(" ")}`, width);
    for (const row of rows) assert.ok(columnsOf(row) <= width, row);
    assert.equal(rows.join("").replaceAll(" ", ""), words.join(""));
    const screen = new Terminal(width + 1);
    screen.write(rows.join("\n"));
    assert.deepEqual(screen.rows, rows);
  }));
});

Deno.test("live: what is to be copied is one line, and what comes from an item controls no terminal", () => {
  const screen = new Terminal(40), live = new Live(screen, () => 0), line = `sqlite3 ${"x ".repeat(60)}`;
  live.bottom(["totals"]);
  live.printWhole(line);
  live.change("table → demo-1  Event \x1b[2J\nforged\u009b line", "to devices");
  assert.deepEqual(screen.lines.slice(0, 1), [line]);
  assert.deepEqual(screen.lines.slice(1), [
    "  table → demo-1  Event",
    "    \\u001b[2J\\nforged\\u009b line",
    "  totals",
  ]);
  const piped: string[] = [], pipe = new Live({ isTerminal: false, write: (text) => void piped.push(text) }, () => 0);
  pipe.print(line);
  assert.deepEqual(piped, [`${line}\n`]);
});

Deno.test("live: an item is shown in whole properties, a long value with its beginning", () => {
  const schema = compileSchema({
    version: "1",
    indexes: { primary: { hash: "pk", sort: "sk" } },
    models: {
      Note: {
        pk: { type: "string", value: "note" },
        sk: { type: "string", value: "note#${id}" },
        ...{ id: { type: "string", required: true }, text: { type: "string" }, list: { type: "array" } },
        ...Object.fromEntries(["a", "b", "c", "d", "e"].map((name) => [name, { type: "number" }])),
      },
    },
  });
  const of = (item: Record<string, unknown>) =>
    brief(schema, { pk: "note", sk: "note#1", _type: "Note", id: "1", ...item } as Parameters<typeof brief>[1]);
  const a = 123456789012345, ten = { a, b: a, c: a, d: a, e: a };
  assert.equal(of({ a: 1 }), '{"id":"1","a":1}');
  assert.equal(of({ text: "👍".repeat(80) }), `{"id":"1","text":"${"👍".repeat(30)}…"}`);
  assert.equal(of({ list: Array(40).fill(1) }), '{"id":"1","list":[…]}');
  assert.equal(of(ten), `{"id":"1","a":${a},"b":${a},"c":${a},"d":${a},…}`);
});

Deno.test("live: what was left out is named by its kind, within a second or so, also if nothing follows", () => {
  let now = 0;
  const screen = new Terminal(80), live = new Live(screen, () => now);
  live.bottom(["totals"]);
  for (let n = 0; n < 100; n++) live.change(`change ${n}`, n % 4 === 0 ? "refused" : "to the table");
  now += 1000;
  live.bottom(["totals"]);
  assert.equal(screen.lines.at(-2), "  … and 69 to the table, 23 refused");
  now += 1000;
  live.bottom(["totals"]);
  assert.equal(screen.lines.filter((line) => line.includes("… and")).length, 1);
});

Deno.test("colour: only where it is shown", () => {
  assert.equal(painted("x", "red", false), "x");
  assert.equal(painted("x", "red", true), "\x1b[31mx\x1b[0m");
});

Deno.test({
  name: "dev: on a real terminal of 200, 120, 80, 60 and 40 columns there is one bottom line, and no word is broken",
  ignore: skipped(missingTools("script", "stty", "tty")),
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    const main = new URL("../../mod.ts", import.meta.url).pathname;
    const command = `stty cols 200 rows 24; tty; exec "${Deno.execPath()}" run -A --no-check "${main}" dev --dir "${
      dir.file("s")
    }" --port 0 --mqtt-port 0 --devices 3`;
    await using terminal = new Program(["-qefc", command, "/dev/null"], {}, "/usr/bin/script");
    const [tty] = await terminal.printed(/\/dev\/\S+/);
    await terminal.printed(/Ctrl-C ends/, 60_000);
    const screen = new Terminal(200);
    let written = 0;
    const show = () => {
      // What has come so far may end inside a sequence, or behind an erased line.
      const whole = Math.max(written, terminal.stdout.lastIndexOf("\r") + 1);
      screen.write(terminal.stdout.slice(written, whole).replace(colours, ""));
      written = whole;
    };
    for (const columns of [200, 120, 80, 60, 40]) {
      await new Deno.Command("stty", { args: ["-F", tty, "cols", String(columns)] }).output();
      show();
      screen.width = columns;
      const from = written, draws = () => terminal.stdout.slice(from).match(/demo-1[^\n]*?↑/g)?.length ?? 0;
      await until(`it is drawn twice at ${columns} columns`, () => draws() >= 2);
      const totals = await until("there is one bottom line", () => {
        show();
        const found = screen.rows.filter((row) => /^ {2}demo-1.* ↑/.test(row));
        return found.length === 1 ? found : undefined;
      }).catch(() => assert.fail(screen.rows.join("\n")));
      assert.match(totals[0]!, /^( {2}[|]? {0,2}(demo-\d( \(offline\))? ↑ \d+ ↓ \d+(, \d+ waiting)?|\d more))+$/);
    }
    await terminal.kill();
    for (const line of screen.lines) assert.doesNotMatch(line, /^ *[a-z]*":/, "a property is broken");
  },
});
