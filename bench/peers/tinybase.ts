/**
 * TinyBase: mergeable stores, each kept in a file by its persister, over its WebSocket synchronizer.
 *
 * @module
 */
import { answerCalls } from "../child.ts";
import { until } from "../until.ts";
import { load, measurement } from "./load.ts";

// deno-lint-ignore no-explicit-any
let store: any, persister: any, synchronizer: any, server: any;

async function open(path: string): Promise<void> {
  store = (await load("tinybase")).createMergeableStore();
  persister = (await load("tinybase/file")).createFilePersister(store, path);
  await persister.startAutoPersisting();
}

async function connect(url: string): Promise<void> {
  const { WebSocket: Socket } = await load("ws");
  synchronizer = await (await load("tinybase/client")).createWsSynchronizer(store, new Socket(url), 60);
  await synchronizer.startSync();
}

const methods = {
  /** TinyBase's server only passes messages on: the cloud's side is a client of it with a store, in the same process. */
  async serve({ dir }: { dir: string }) {
    const { WebSocketServer } = await load("ws");
    const sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await new Promise<void>((resolve) => sockets.once("listening", resolve));
    server = (await load("tinybase/server")).createWsServer(sockets);
    const url = `ws://127.0.0.1:${sockets.address().port}/items`;
    await open(`${dir}/cloud.json`);
    await connect(url);
    return url;
  },
  async connect({ dir, url }: { dir: string; url: string }) {
    await open(`${dir}/device.json`);
    await connect(url);
  },
  insert({ from, count }: { from: number; count: number }) {
    store.transaction(() => {
      for (let n = from; n < from + count; n++) {
        const { id, ...rest } = measurement(n);
        store.setRow("items", id, rest);
      }
    });
  },
  has: ({ count }: { count: number }) =>
    until(`${count} rows are there`, () => store.getRowCount("items") >= count, 300_000, 5),
};

await answerCalls(methods, async () => {
  await synchronizer?.destroy();
  await persister?.destroy();
  await server?.destroy();
});
