/**
 * How far a verification is, read from the device's file: whichever process's agent carries it out, it stores its
 * report there each second.
 *
 * @module
 */
import type { Database } from "../agent/sqlite/driver.ts";
import { ident } from "../agent/store/sql.ts";
import type { VerifyReport } from "../agent/verify/report.ts";
import { durationText } from "../protocol/duration_text.ts";

/** See the module. `now` gives ms of a monotonic clock. */
export class VerifyProgress {
  /** How many rows the file has of the models, and when the first report was read. */
  #start: { readonly rows: number; readonly ms: number } | undefined;

  constructor(private readonly db: Pick<Database, "prepare">, private readonly now: () => number) {}

  /** The state of a running verification, in a line. */
  text({ models, differences, mended }: VerifyReport): string {
    const start = this.#start ??= { rows: this.#rowsOf(Object.keys(models)), ms: this.now() };
    const compared = Object.values(models).reduce((sum, { rows }) => sum + rows, 0);
    const repaired = mended === 0 ? "" : `, ${number(mended)} of them mended`;
    const differ = differences === 0 ? "" : `, ${number(differences)} differ${repaired}`;
    // Items that the file lacks count, too.
    if (compared >= start.rows) {
      return `${number(compared)} rows compared${differ}; what seems to differ is looked at again`;
    }
    const seconds = (this.now() - start.ms) / 1000, rate = compared / seconds;
    const speed = seconds > 0 && compared > 0
      ? `, ${number(rate)} a second, ${durationText((start.rows - compared) / rate)} left`
      : "";
    return `${number(compared)} of ${number(start.rows)} rows compared${differ}${speed}`;
  }

  #rowsOf(models: readonly string[]): number {
    return models.reduce((sum, name) => {
      return sum + Number(this.db.prepare(`SELECT count(*) AS n FROM ${ident(name)}`).get()!.n);
    }, 0);
  }
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}
