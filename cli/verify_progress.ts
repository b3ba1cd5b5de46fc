/**
 * How far a verification is, as its reports say: whichever process's agent carries it out, it stores one in the device's
 * file each second, and sends the cloud one every few seconds where that asked for it.
 *
 * @module
 */
import type { VerifyReport } from "../agent/verify/report.ts";
import { durationText } from "../protocol/duration_text.ts";

/** See the module. `now` gives ms of a monotonic clock. */
export class VerifyProgress {
  /** How many rows were compared when the first report was read, and when that was. */
  #start: { readonly rows: number; readonly ms: number } | undefined;

  constructor(private readonly now: () => number) {}

  /** The state of a running verification, in a line. */
  text({ models, of, differences, mended }: Pick<VerifyReport, "models" | "of" | "differences" | "mended">): string {
    const rows = Object.values(models).reduce((sum, { rows }) => sum + rows, 0);
    const start = this.#start ??= { rows, ms: this.now() };
    const repaired = mended === 0 ? "" : `, ${number(mended)} of them mended`;
    const differ = differences === 0 ? "" : `, ${number(differences)} differ${repaired}`;
    if (of === undefined) return `${number(rows)} rows compared${differ}`;
    // Items that the file lacks count, too.
    if (rows >= of) return `${number(rows)} rows compared${differ}; what seems to differ is looked at again`;
    const seconds = (this.now() - start.ms) / 1000, rate = (rows - start.rows) / seconds;
    const speed = seconds > 0 && rate > 0 ? `, ${number(rate)} a second, ${durationText((of - rows) / rate)} left` : "";
    return `${number(rows)} of ${number(of)} rows compared${differ}${speed}`;
  }
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}
