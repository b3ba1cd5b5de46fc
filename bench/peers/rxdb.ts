/**
 * RxDB (memory storage, nothing durable) with its WebSocket replication.
 *
 * @module
 */
import { answerCalls } from "../child.ts";
import { until } from "../until.ts";
import { load, measurement } from "./load.ts";

// deno-lint-ignore no-explicit-any
let database: any, server: any, replication: any;

async function open(): Promise<void> {
  const { createRxDatabase } = await load("rxdb");
  const { getRxStorageMemory } = await load("rxdb/memory");
  database = await createRxDatabase({
    name: `bench${Math.random()}`,
    storage: getRxStorageMemory(),
    multiInstance: false,
  });
  const number = { type: "number" };
  await database.addCollections({
    items: {
      schema: {
        version: 0,
        primaryKey: "id",
        type: "object",
        properties: {
          id: { type: "string", maxLength: 40 },
          n: number,
          cpu: number,
          memory: number,
          state: { type: "string" },
        },
        required: ["id"],
      },
      conflictHandler: undefined,
    },
  });
}

const methods = {
  async serve() {
    await open();
    const { startWebsocketServer } = await load("rxdb/websocket");
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    server = await startWebsocketServer({ port, host: "127.0.0.1", database });
    return `ws://127.0.0.1:${port}`;
  },
  async connect({ url }: { url: string }) {
    await open();
    const { replicateWithWebsocketServer } = await load("rxdb/websocket");
    replication = await replicateWithWebsocketServer({
      replicationIdentifier: url,
      collection: database.items,
      url,
      live: true,
      batchSize: 1000,
      pull: {},
      push: {},
    });
    await replication.awaitInitialReplication();
  },
  async insert({ from, count }: { from: number; count: number }) {
    for (let at = from; at < from + count; at += 1000) {
      await database.items.bulkInsert(
        Array.from({ length: Math.min(1000, from + count - at) }, (_, i) => measurement(at + i)),
      );
    }
  },
  has: ({ count }: { count: number }) =>
    until(`${count} documents are there`, async () => await database.items.count().exec() >= count, 300_000, 20),
};

await answerCalls(methods, () => server?.close?.());
