/**
 * An outage in the log: a line at its begin and at its end, whoever meets it and however often; and where lines go.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { isTold, Log } from "../../protocol/log.ts";
import { faultLine, logLine, logThrough, logToStderr } from "../../protocol/log_output.ts";
import { holdMs, Outage } from "../../protocol/outage.ts";
import { SyncError } from "../../schema/errors.ts";

/** The lines from `info` on, as `level text`. */
async function recorded(work: () => void | Promise<void>): Promise<string[]> {
  const lines: string[] = [];
  await configure({
    reset: true,
    sinks: { list: ({ level, message }) => void lines.push(`${level} ${message.join("")}`) },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["list"] },
      { category: ["twintable"], lowestLevel: "info", sinks: ["list"] },
    ],
  });
  try {
    await work();
  } finally {
    await reset();
  }
  return lines;
}

const away = (message = "no answer", code: "unavailable" | "denied" = "unavailable") =>
  new SyncError(code, message, { retryable: true });

function rig(patienceMs = 0) {
  let nowMs = 1_000_000;
  const log = new Log("test"), outage = new Outage(log, "the thing", { patienceMs, nowMs: () => nowMs });
  return { log, outage, pass: (ms: number) => nowMs += ms, now: () => nowMs };
}

Deno.test("outage: one line when it begins and one when it ends, with the count and how long it took", async () => {
  const { outage, pass } = rig();
  const lines = await recorded(() => {
    outage.over();
    for (let n = 0; n < 1_000; n++) outage.failed(away(`attempt ${n}`)), pass(20);
    outage.over();
    outage.over();
  });
  assert.deepEqual(lines, [
    "warning the thing is away: unavailable: attempt 0",
    "info the thing is back after 20.0 s: 1000 attempts failed",
  ]);
});

Deno.test("outage: what depends on it adds no line, whoever writes it and however the error is wrapped", async () => {
  const { log, outage } = rig();
  const lines = await recorded(() => {
    const error = away();
    outage.failed(error);
    assert.ok(isTold(error));
    log.error("a batch waits: {error}", { error });
    log.warn("a request failed: {why}", {
      why: new SyncError("unavailable", "wrapped", { cause: new Error("x", { cause: error }) }),
    });
    log.warn("another: {error}", { error: away("not this one") });
  });
  assert.deepEqual(lines, [
    "warning the thing is away: unavailable: no answer",
    "warning another: unavailable: not this one",
  ]);
});

Deno.test("outage: another kind of fault in it is told, each once", async () => {
  const { outage } = rig();
  const lines = await recorded(() => {
    for (let n = 0; n < 5; n++) {
      outage.failed(away());
      outage.failed(away("no longer valid", "denied"));
    }
  });
  assert.deepEqual(lines.slice(1), ["warning the thing is still away, now: denied: no longer valid"]);
});

Deno.test("outage: what a retry heals at once is none; what was given up is one at once", async () => {
  const { outage, pass, now } = rig(1_000);
  const healed = await recorded(() => {
    for (let n = 0; n < 100; n++) {
      outage.failed(away());
      pass(500);
      outage.failed(away());
      outage.over();
    }
  });
  assert.deepEqual(healed, []);
  const lasting = await recorded(() => {
    outage.failed(away());
    pass(1_500);
    outage.failed(away());
    pass(500);
    outage.over();
    // A request from before the end that is late: it says nothing new.
    outage.failed(away("late"), { begunMs: now() - 3_000, final: true });
  });
  assert.deepEqual(lasting.map((line) => line.split(":")[0]), [
    "warning the thing is away",
    "info the thing is back after 2.0 s",
  ]);
  pass(holdMs);
  assert.equal((await recorded(() => outage.failed(away(), { final: true }))).length, 1);
});

Deno.test("outage: what comes and goes is one, and over when it has held", async () => {
  const { outage, pass } = rig();
  const lines = await recorded(() => {
    for (let n = 0; n < 1_000; n++) {
      outage.failed(away());
      pass(50);
      outage.over();
      pass(50);
    }
    pass(holdMs);
    outage.over();
  });
  assert.deepEqual(lines.map((line) => line.replace(/[\d.]+ s/, "… s")), [
    "warning the thing is away: unavailable: no answer",
    "info the thing is back after … s: 1 attempt failed",
    "info the thing is back after … s: 999 attempts failed",
  ]);
});

Deno.test("outage: shared by several, it ends when the last of them is back", async () => {
  const { outage } = rig();
  const lines = await recorded(() => {
    outage.failed(away(), { part: "a" });
    outage.failed(away(), { part: "b" });
    outage.over("a");
    assert.ok(outage.active);
    outage.over("b");
  });
  assert.equal(lines.length, 2);
});

const record: LogRecord = {
  category: ["twintable", "agent"],
  level: "warning",
  message: ["lost ", "a\nb"],
  rawMessage: "",
  timestamp: Date.UTC(2026, 0, 31, 12),
  properties: {},
};

Deno.test("log output: a line has its date and level, as text or JSON", () => {
  assert.equal(logLine(record, "text"), "2026-01-31T12:00:00.000Z warning agent: lost a\\nb");
  assert.deepEqual(JSON.parse(logLine(record, "json")), {
    time: "2026-01-31T12:00:00.000Z",
    level: "warning",
    part: "agent",
    message: "lost a\nb",
  });
});

Deno.test("log output: what libraries warn of is a record like any other, and the last fault has the log's form", async () => {
  const lines: string[] = [], undo = logThrough((line) => lines.push(line));
  try {
    await logToStderr("debug", "json");
    process.emitWarning("raw", "SomeWarning");
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(lines.map((line) => JSON.parse(line).message), ["SomeWarning: raw"]);
    assert.equal(JSON.parse(faultLine("twintable", "it ended")).message, "it ended");
    await logToStderr("warning", "text");
    process.emitWarning("raw", "SomeWarning");
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(lines.length, 1);
    assert.equal(faultLine("twintable", "it ended"), "twintable: it ended");
  } finally {
    undo();
    await reset();
  }
});
