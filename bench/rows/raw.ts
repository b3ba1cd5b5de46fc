/**
 * Raw limits: what SQLite and the embedded broker give on this machine without anything of ours between.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { Child } from "../child.ts";
import type { Bench, Context, Row } from "../measure.ts";

function sqlite(context: Context): Row[] {
  const db = new DatabaseSync(`${context.dir}/raw.db`);
  db.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" +
      "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, n REAL, cpu REAL, memory REAL, state TEXT) STRICT",
  );
  const insert = db.prepare("INSERT INTO t(a, n, cpu, memory, state) VALUES (?, ?, ?, ?, ?)");
  const rate = (rows: number, transaction: boolean) => {
    const start = performance.now();
    if (transaction) db.exec("BEGIN IMMEDIATE");
    for (let n = 0; n < rows; n++) insert.run(`01ARZ3NDEKTSV4RRFFQ69G${n}`, n, n / 7, n * 4096, "ok");
    if (transaction) db.exec("COMMIT");
    return rows * 1000 / (performance.now() - start);
  };
  const row = (name: string, value: number): Row => ({ name, unit: "rows/s", value, kind: "raw" });
  rate(5_000, true);
  const rows = [
    row("SQLite insert, one transaction", rate(100_000, true)),
    row("SQLite insert, autocommit NORMAL", rate(20_000, false)),
  ];
  db.exec("PRAGMA synchronous = FULL");
  rows.push(row("SQLite insert, autocommit FULL", rate(1_000, false)));
  db.close();
  return rows;
}

async function mqtt(context: Context): Promise<Row[]> {
  await using broker = new Child("broker", context.child);
  await using client = new Child("mqtt_client", context.child);
  const connection = await broker.call<object>("start");
  await broker.call("subscribe", { topic: "tt/bench" });
  await client.call("connect", connection);
  const rows: Row[] = [];
  for (const [bytes, count] of [[200, 20_000], [10_240, 10_000], [65_536, 2_000]] as const) {
    await client.call("publish", { bytes, count: count / 10 });
    const rate = await client.call<number>("publish", { bytes, count });
    rows.push({ name: `MQTT QoS 1, ${bytes} B, 100 in flight`, unit: "messages/s", value: rate, kind: "raw" });
  }
  return rows;
}

/** See the module. */
export const raw: Bench = {
  name: "raw",
  title: "Raw limits",
  quick: true,
  about:
    "SQLite through `node:sqlite` with prepared statements, and publishes acknowledged by the embedded broker, which " +
    "delivers them to a reader in its process, as the worker is. Compare every figure below with these, from the same run.",
  async run(context) {
    return [...sqlite(context), ...await mqtt(context)];
  },
};
