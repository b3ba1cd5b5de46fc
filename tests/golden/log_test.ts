/**
 * Entries of a channel log as they stand in the log table are frozen: workers of several builds read and write one log.
 */
import assert from "node:assert/strict";
import { ChannelLog } from "../../cloud/sync/channel_log.ts";
import type { LogKey } from "../../cloud/sync/log_items.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { compileSchema } from "../../schema.ts";
import { frozen, golden } from "./golden.ts";
import { goldenSchema } from "./schema.ts";

const channel = "device:golden-1";

for (const day of ["2026-11-29"]) {
  Deno.test(`golden ${day}: a log's entry is written and read as it was`, async () => {
    const { stored, keys } = golden<{ stored: string; keys: LogKey[] }>(day, "log_entry.json");
    const tables = openEmbedded(":memory:", { schema: compileSchema(goldenSchema), now: () => 0 });
    try {
      const log = new ChannelLog(tables.log, { now: () => 0, random: () => 0.5 });
      const { seq } = await log.append(channel, keys);
      await frozen("an entry of the log is stored as another one", async () => {
        const { items } = await tables.log.query({ index: "primary", hash: `log#${channel}`, limit: 10 });
        assert.equal(items.find(({ sort }) => Number(sort) === seq)?.keys, stored);
      });
      await frozen("an entry of the log is read as another one", async () => {
        assert.deepEqual((await log.read(channel, seq - 1, 1)).map((entry) => entry.keys), [keys]);
      });
    } finally {
      await tables.close();
    }
  });
}
