import assert from "node:assert/strict";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import fc from "fast-check";
import { painted } from "../../cli/colour.ts";
import {
  allPerSecond,
  fitForTerminal,
  linesBurst,
  linesPerSecond,
  Log,
  outsideLengthMax,
  printable,
} from "../../protocol/log.ts";
import { SyncError } from "../../schema/errors.ts";

// deno-lint-ignore no-control-regex
const unfit = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

Deno.test("log: text from outside is cut, and has no character that could forge a line or move a cursor", () => {
  assert.equal(printable("plain ä 漢 👍"), "plain ä 漢 👍");
  assert.equal(printable("a\r\nerror broker: forged\u001b[2J"), "a\\r\\nerror broker: forged\\u001b[2J");
  assert.equal(printable("\u202egnp"), "\\u202egnp");
  assert.equal(printable("x".repeat(201)), `${"x".repeat(200)}… (201 characters)`);
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom("\r", "\n", "\u001b", "\u0085", "\ud800", " "), fc.string({ unit: "binary" })),
    maxLength: 400,
  });
  fc.assert(fc.property(text, (text) => {
    const fit = printable(text);
    assert.ok(!unfit.test(fit));
    assert.ok(fit.isWellFormed());
    assert.ok(fit.length <= 6 * outsideLengthMax + 40);
  }));
});

Deno.test("log: at a terminal, lines and our own colours stand, and nothing else that it would obey", () => {
  const ours = `${painted("a", "red", true)} b\n\tc ${painted("d\u202e", "dim", true)}`;
  assert.equal(fitForTerminal(ours), ours.replace("\u202e", "\\u202e"));
  assert.equal(
    fitForTerminal("\u001b[31mred \u001b]0;title\u0007\u001b[0mx"),
    "\\u001b[31mred \\u001b]0;title\\u0007\\u001b[0mx",
  );
  assert.equal(fitForTerminal("\u001b[H\u001b[Ja\u001b[H\u001b[J"), "\u001b[H\u001b[Ja\\u001b[H\\u001b[J");
  const unit = fc.oneof(
    fc.constantFrom("\u001b[31m", "\u001b[0m", "\u001b[2J", "\u0085", "\ud800", "x"),
    fc.string({ unit: "binary" }),
  );
  fc.assert(fc.property(fc.string({ unit }), (text) => {
    const fit = fitForTerminal(`.${text}`);
    // deno-lint-ignore no-control-regex
    const bare = fit.replace(/\u001b\[(?:2|31|32|33)m([^\u001b]*)\u001b\[0m/g, "$1").replaceAll(/[\n\t]/g, "");
    assert.ok(!unfit.test(bare), JSON.stringify(text));
    assert.ok(fit.isWellFormed());
  }));
});

Deno.test("log: making a text fit costs what is written, not what was sent", () => {
  const time = (length: number) => {
    const text = " ".repeat(length);
    const from = performance.now();
    for (let n = 0; n < 1_000; n++) printable(text);
    return performance.now() - from;
  };
  time(1_000);
  const small = time(1_000), large = time(10_000_000);
  assert.ok(large < 20 * small + 50, `${small} ms for 1 KB a thousand times, ${large} ms for 10 MB`);
});

async function recorded(work: () => void, lowestLevel: "debug" | "info" = "debug"): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  await configure({
    reset: true,
    sinks: { list: (record) => void records.push(record) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["list"] },
      { category: ["twintable"], lowestLevel, sinks: ["list"] },
    ],
  });
  try {
    work();
  } finally {
    await reset();
  }
  return records;
}

const textOf = ({ message }: LogRecord) => message.join("");

Deno.test("log: values are fit whatever they are: texts, errors and their causes, keys, objects", async () => {
  const log = new Log("test", () => 0);
  const cause = new Error("cause\nforged".padEnd(5_000, " "));
  const records = await recorded(() => {
    log.warn("{error}", { error: new SyncError("protocol", "x\ny".padEnd(1_000_000, " "), { cause }) });
    log.warn("{error}", { error: new TypeError("unforeseen\r\n    at forged") });
    log.warn("{text}", { text: "x\u001b[2J\n".repeat(1_000) });
    log.warn("{key} {object} {count}", {
      key: ["a\n", "b".repeat(10_000)],
      object: { toString: () => "\n" },
      count: 3,
    });
  });
  assert.equal(records.length, 4);
  for (const record of records) {
    assert.ok(!unfit.test(textOf(record)), textOf(record));
    assert.ok(textOf(record).length < 2_500);
  }
  assert.match(textOf(records[0]!), /^protocol: x\\ny .*cause: Error: cause\\nforged/);
  // All is written here, as with -v: then frames are, too.
  assert.match(textOf(records[1]!), /^TypeError: unforeseen\\r\\n.*log_test\.ts/);
  assert.match(textOf(records[3]!), /^a\\n b+… \(\d+ characters\) \[object\] 3$/);
});

Deno.test("log: without -v an error has no stack frames, whatever it is and causes", async () => {
  const error = new TypeError("unforeseen", { cause: new RangeError("below it") });
  const records = await recorded(() => new Log("test").error("{error}", { error }), "info");
  assert.equal(textOf(records[0]!), "TypeError: unforeseen; cause: RangeError: below it");
});

Deno.test("log: a device has so many lines, clients that are not let in share theirs, and what is left out is told", async () => {
  let nowMs = 0;
  const log = new Log("test", () => nowMs);
  const about = (records: readonly LogRecord[], deviceId: string) =>
    records.filter(({ properties }) => properties.deviceId === deviceId);
  const first = await recorded(() => {
    for (let n = 0; n < 1_000; n++) log.warn("{deviceId} again", { deviceId: "noisy" });
    // Who calls himself by a device's name without being let in uses up none of its lines.
    for (let n = 0; n < 1_000; n++) log.warn("refused {clientId}", { clientId: `quiet` });
    log.warn("{deviceId}", { deviceId: "quiet" });
    log.error("of no device");
  });
  assert.equal(about(first, "noisy").length, linesBurst);
  assert.equal(first.filter(({ properties }) => "clientId" in properties).length, linesBurst);
  assert.equal(about(first, "quiet").length, 1);
  assert.equal(textOf(first.at(-1)!), "of no device");
  nowMs += 1_000;
  const then = await recorded(() => {
    for (let n = 0; n < 10; n++) log.warn("{deviceId} again", { deviceId: "noisy" });
  });
  assert.equal(then.length, linesPerSecond);
  assert.equal(textOf(then[0]!), `noisy again (${1_000 - linesBurst} lines before it were left out)`);
  nowMs += 60_000;
  const many = await recorded(() => {
    for (let n = 0; n < 5_000; n++) log.warn("{deviceId}", { deviceId: `d-${n}` });
  });
  assert.equal(many.length, allPerSecond);
});

async function* sources(folder: URL): AsyncGenerator<URL> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const url = new URL(isDirectory ? `${name}/` : name, folder);
    if (isDirectory) yield* sources(url);
    else if (name.endsWith(".ts")) yield url;
  }
}

Deno.test("log: no part writes to LogTape or to the console past it", async () => {
  const root = new URL("../../", import.meta.url);
  let files = 0;
  for (const room of ["agent", "cli", "cloud", "mqtt", "protocol", "schema"]) {
    for await (const file of sources(new URL(`${room}/`, root))) {
      files++;
      // The ways to write, and where lines go; and the handler as a process, whose last line may come before both.
      if (/\/(protocol\/log|protocol\/log_output|cloud\/handler|cli\/terminal)\.ts$/.test(file.href)) continue;
      const text = (await Deno.readTextFile(file)).replace(/^\s*(\*|\/\/).*$/gm, "");
      assert.ok(!/from "@logtape\/logtape"|\bgetLogger\(|\bconsole\.\w+\(/.test(text), `${file} logs by itself`);
    }
  }
  assert.ok(files > 100);
});
