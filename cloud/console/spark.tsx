/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * A small chart of the past: SVG without a script. A step that nobody sampled is a gap.
 *
 * @module
 */

/** A line, or a bar for each minute. */
export interface SparkLine {
  readonly label: string;
  readonly tone: "device" | "cloud" | "warn" | "bad";
  readonly points: readonly (number | null)[] | undefined;
}

/** The plot's place in the picture: room for numbers on the left, for times below. */
const left = 38, right = 298, top = 8, bottom = 64;

/** See the module; nothing where nothing is known. */
export function Spark(
  { label, lines, bars, startMs, stepMs, time, text }: {
    readonly label: string;
    readonly lines: readonly SparkLine[];
    readonly bars?: true;
    readonly startMs: number;
    readonly stepMs: number;
    /** How long it is: `24 h`. */
    readonly time: string;
    /** A value in words. */
    readonly text: (value: number) => string;
  },
) {
  const known = lines.flatMap(({ points = [] }) => points.filter((value) => value !== null));
  if (known.length === 0) return null;
  const most = Math.max(1, ...known), count = lines[0]!.points!.length;
  const x = (at: number) => (left + (right - left) * at / Math.max(1, count - 1)).toFixed(1);
  const y = (value: number) => (bottom - (bottom - top) * value / most).toFixed(1);
  const said = lines.map(({ label, points = [] }) => {
    const own = points.filter((value) => value !== null), last = points.at(-1) ?? null;
    return `${label}: ${own.length ? `at most ${text(Math.max(...own))}` : "no data"}, last ${
      last === null ? "no data" : text(last)
    }`;
  });
  // A time of the day, and in a longer past the day, too.
  const [from, to] = count * stepMs > 86_400_000 ? [5, 10] : [11, 16];
  const clock = (ms: number) => new Date(ms).toISOString().slice(from, to);
  return (
    <svg class="spark" viewBox="0 0 300 80" role="img" aria-label={`${label}, ${time}. ${said.join("; ")}`}>
      <path class="grid" d={`M${left} ${top}H${right}M${left} ${bottom}H${right}`} />
      <text x={left - 4} y={top + 3} text-anchor="end">{text(most)}</text>
      <text x={left - 4} y={bottom + 3} text-anchor="end">0</text>
      <text x={left} y={78}>{clock(startMs)}</text>
      <text x={right} y={78} text-anchor="end">{`${clock(startMs + count * stepMs)} UTC`}</text>
      {lines.map(({ tone, points = [] }, at) => (
        <path
          class={`tone-${tone}`}
          d={bars ? barsOf(points, x, y) : lineOf(points, x, y)}
          stroke-width={bars ? Math.max(1, Math.min(5, 150 / count)) : 1.5}
          stroke-dasharray={at > 0 ? "3 2" : undefined}
        />
      ))}
    </svg>
  );
}

type Scale = (value: number) => string;

/** Broken at gaps; a value between two of them is a dot. */
function lineOf(points: readonly (number | null)[], x: Scale, y: Scale): string {
  return points.map((value, at) => {
    if (value === null) return "";
    if (points[at - 1] != null) return `L${x(at)} ${y(value)}`;
    return points[at + 1] != null ? `M${x(at)} ${y(value)}` : `M${x(at)} ${y(value)}h1.5`;
  }).join("");
}

function barsOf(points: readonly (number | null)[], x: Scale, y: Scale): string {
  return points.map((value, at) => value ? `M${x(at)} ${bottom}V${y(value)}` : "").join("");
}
