/**
 * `docs/performance.md`: the figures between two marks, and charts beside it. What stands outside of the marks is written
 * by hand and stays.
 *
 * @module
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { benches } from "./benches.ts";
import { keeps, type Result } from "./measure.ts";
import type { Report } from "./report.ts";
import { median } from "./stats.ts";
import { type Bar, barChart } from "./svg.ts";
import { boundText, valueText } from "./table.ts";

const docs = new URL("../docs/", import.meta.url);
const [begin, end] = ["<!-- figures: written by deno task bench --docs -->", "<!-- end of the figures -->"];

/** A chart of one benchmark's rows of one unit. */
interface Chart {
  readonly bench: string;
  readonly unit: string;
  readonly title: string;
}

const charts: readonly Chart[] = [
  { bench: "peers", unit: "items/s", title: "10,000 small items between two processes" },
  { bench: "peers", unit: "MB", title: "Memory of the device's process at its highest" },
  { bench: "capture", unit: "×", title: "Insert with capture ÷ without" },
  { bench: "latency", unit: "ms", title: "Latency of one change, idle system" },
  { bench: "wire", unit: "bytes", title: "MQTT payload per change" },
  { bench: "dynamodb", unit: "items/s", title: "DynamoDB Local" },
  { bench: "growth", unit: "×", title: "Cost per change, a hundred times as many ÷ few" },
];

function barOf({ name, samples, goal, kind = "ours" }: Result): Bar {
  const bound = goal && ("atLeast" in goal ? goal.atLeast : goal.atMost);
  return {
    label: name.length > 46 ? `${name.slice(0, 45)}…` : name,
    value: median(samples),
    min: Math.min(...samples),
    max: Math.max(...samples),
    ...(bound === undefined ? {} : { goal: bound }),
    kind,
  };
}

function tableOf(results: readonly Result[]): string {
  const rows = results.map((result) => {
    const { name, unit, goal, kind, samples } = result;
    const what = kind === "raw" ? `*raw limit:* ${name}` : kind === "peer" ? `*peer:* ${name}` : name;
    const verdict = goal === undefined ? "" : keeps(samples, goal) ? "met" : "**missed**";
    return `| ${what} | ${valueText(result)} | ${unit} | ${boundText(goal)} | ${verdict} |`;
  });
  return ["| | median (min–max) | | goal | |", "| --- | ---: | --- | --- | --- |", ...rows].join("\n");
}

async function chartsOf(bench: string, results: readonly Result[]): Promise<string[]> {
  const lines: string[] = [];
  for (const { unit, title } of charts.filter((chart) => chart.bench === bench)) {
    const bars = results.filter((result) => result.unit === unit).map(barOf);
    if (bars.length === 0) continue;
    const file = `performance/${bench}-${unit.replace(/[^a-z]+/gi, "") || "ratio"}.svg`;
    await writeFile(new URL(file, docs), barChart(title, unit, bars));
    lines.push(`![${title}](${file})`);
  }
  return lines;
}

/** Writes the figures of a full run: those of the benchmarks that ran, the others' stay as they were. */
export async function writeDocs(report: Report): Promise<void> {
  await mkdir(new URL("performance/", docs), { recursive: true });
  const file = new URL("performance.md", docs);
  const before = await readFile(file, "utf8").catch(() => `# Performance\n\n${begin}\n${end}\n`);
  const [head, rest = ""] = before.split(begin);
  const [old = "", tail = ""] = rest.split(end);
  const sections: string[] = [];
  for (const bench of benches) {
    const results = report.results.filter((result) => result.bench === bench.name);
    const kept = new RegExp(`\\n## ${bench.title}\\n[^]*?(?=\\n## |$)`).exec(old)?.[0].trim();
    if (results.length === 0) {
      if (kept !== undefined) sections.push(kept);
      continue;
    }
    const parts = [`## ${bench.title}`, `\`deno task bench ${bench.name}\`. ${bench.about}`, tableOf(results)];
    const images = await chartsOf(bench.name, results);
    sections.push([...parts, ...images].join("\n\n"));
  }
  const machine = `Machine: ${report.machine}.`;
  await writeFile(file, `${head}${begin}\n\n${machine}\n\n${sections.join("\n\n")}\n\n${end}${tail}`);
  // The tables as `deno task check` wants them.
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", file.pathname] }).output();
}
