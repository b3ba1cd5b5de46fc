/**
 * An application in a process of its own: plain SQL on the device's database, nothing of Twintable.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { answerCalls, nowMs } from "../child.ts";
import { insertTelemetrySql, telemetryValues } from "../schema.ts";

const methods = {
  async insertApart({ path, from, count, gapMs }: { path: string; from: number; count: number; gapMs: number }) {
    const db = new DatabaseSync(path);
    db.exec("PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL");
    const insert = db.prepare(insertTelemetrySql);
    const times: [number, number][] = [];
    for (let n = from; n < from + count; n++) {
      insert.run(...telemetryValues(n));
      times.push([n, nowMs()]);
      await new Promise((resolve) => setTimeout(resolve, gapMs));
    }
    db.close();
    return times;
  },
};

await answerCalls(methods);
