/**
 * PouchDB (LevelDB) ↔ express-pouchdb (LevelDB) over HTTP: `bulkDocs` on one side, continuous replication to the other.
 *
 * @module
 */
import { answerCalls } from "../child.ts";
import { until } from "../until.ts";
import { load, measurement } from "./load.ts";

// deno-lint-ignore no-explicit-any
let db: any, replication: any, server: any;

const methods = {
  async serve({ dir }: { dir: string }) {
    const PouchDB = (await load("pouchdb")).default.defaults({ prefix: `${dir}/` });
    const express = (await load("express")).default;
    const app = express();
    app.use(
      "/",
      (await load("express-pouchdb")).default(PouchDB, { mode: "minimumForPouchDB", logPath: `${dir}/log` }),
    );
    db = new PouchDB("items");
    await db.info();
    return await new Promise<string>((resolve) => {
      server = app.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}/items`));
    });
  },
  async connect({ dir, url }: { dir: string; url: string }) {
    const PouchDB = (await load("pouchdb")).default;
    db = new PouchDB(`${dir}/device`);
    replication = db.sync(url, { live: true, retry: true, batch_size: 1000 });
  },
  async insert({ from, count }: { from: number; count: number }) {
    for (let at = from; at < from + count; at += 1000) {
      const docs = Array.from({ length: Math.min(1000, from + count - at) }, (_, i) => {
        const { id, ...rest } = measurement(at + i);
        return { _id: id, ...rest };
      });
      await db.bulkDocs(docs);
    }
  },
  /** Until the database has so many documents. */
  has: ({ count }: { count: number }) =>
    until(`${count} documents are there`, async () => (await db.info()).doc_count >= count, 300_000, 5),
};

await answerCalls(methods, () => {
  replication?.cancel();
  server?.close();
});
