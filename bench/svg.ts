/**
 * Bar charts as SVG, made by hand: a bar for each figure, its value behind it, a thin line for the range of the repeats, a
 * tick at the goal. Readable on a light and on a dark page.
 *
 * @module
 */
import { short } from "./stats.ts";

/** A bar. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly goal?: number;
  readonly kind: "ours" | "raw" | "peer";
}

const width = 760, labelWidth = 300, valueWidth = 110, barHeight = 18, gap = 8, top = 44;
const style = `
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 15px }
  .ours { fill: #0969da } .raw { fill: #8c959f } .peer { fill: #bf8700 }
  .range { stroke: #24292f; stroke-width: 1.5 } .goal { stroke: #cf222e; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .ours { fill: #4493f8 } .raw { fill: #768390 } .peer { fill: #d29922 }
    .range { stroke: #e6edf3 } .goal { stroke: #ff7b72 }
  }`;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

/** A chart of bars from zero, all of one unit. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const room = width - labelWidth - valueWidth;
  const most = Math.max(...bars.flatMap(({ max, goal }) => [max, goal ?? 0]), Number.MIN_VALUE);
  const x = (value: number) => (labelWidth + value / most * room).toFixed(1);
  const lines = bars.map(({ label, value, min, max, goal, kind }, i) => {
    const y = top + i * (barHeight + gap), middle = y + barHeight / 2;
    const parts = [
      `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escape(label)}</text>`,
      `<rect class="${kind}" x="${labelWidth}" y="${y}" width="${
        (value / most * room).toFixed(1)
      }" height="${barHeight}"/>`,
    ];
    if (max > min) parts.push(`<line class="range" x1="${x(min)}" x2="${x(max)}" y1="${middle}" y2="${middle}"/>`);
    if (goal !== undefined) {
      parts.push(`<line class="goal" x1="${x(goal)}" x2="${x(goal)}" y1="${y - 3}" y2="${y + barHeight + 3}"/>`);
    }
    const end = Number(x(Math.max(max, goal ?? 0))) + 8;
    parts.push(`<text x="${end.toFixed(1)}" y="${middle + 4}">${short(value)}</text>`);
    return parts.join("");
  });
  const height = top + bars.length * (barHeight + gap) + 6;
  const heading = escape(unit === "" ? title : `${title} (${unit})`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${heading}">` +
    `<style>${style}\n</style><text class="title" x="8" y="24">${heading}</text>\n${lines.join("\n")}\n</svg>\n`;
}
