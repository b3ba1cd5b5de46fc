/**
 * What a program would write to its log, as lines `level part: text`.
 *
 * @module
 */
import { configure, type LogLevel, reset } from "@logtape/logtape";

/** Collects lines from this level on until it is disposed of. */
export async function logLines(lowestLevel: LogLevel = "info"): Promise<string[] & AsyncDisposable> {
  const lines: string[] = [];
  await configure({
    reset: true,
    sinks: {
      lines: ({ level, category, message }) =>
        void lines.push(`${level} ${category.slice(1).join(".")}: ${message.join("")}`),
    },
    loggers: [
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: [] },
      { category: ["twintable"], lowestLevel, sinks: ["lines"] },
    ],
  });
  return Object.assign(lines, { [Symbol.asyncDispose]: () => reset() });
}
