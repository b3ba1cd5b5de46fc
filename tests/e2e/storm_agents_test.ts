/**
 * Real agents that come back at once to a table that takes far fewer requests than they ask for: the work itself takes many
 * times as long as a device waits for an answer. All are caught up all the same, and what they write meanwhile arrives.
 * `TWINTABLE_LONG=1`: twice as many agents, and requests.
 */
import assert from "node:assert/strict";
import { openEmbedded } from "../../cloud/embedded.ts";
import { startCloud } from "../../cloud/worker.ts";
import type { Write } from "../../cloud/table/port.ts";
import { type Device, openDevice } from "../support/device.ts";
import { Limited } from "../support/limited.ts";
import { e2eCompiled } from "../support/schema.ts";
import { TempDir } from "../support/temp_dir.ts";
import { untilStill } from "../support/until.ts";
import { long } from "../support/long.ts";

const size = long ? 2 : 1;
const count = 60 * size, requestsPerSecond = 40 * size;

Deno.test({
  name:
    `storm: ${count} agents that come back at once to a table of ${requestsPerSecond} requests a second are all caught up`,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    using dir = new TempDir();
    const tables = openEmbedded(":memory:", { schema: e2eCompiled, now: Date.now });
    const limited = new Limited(Infinity, 5);
    await using cloud = await startCloud({ schema: e2eCompiled, table: limited.tables(tables) });
    const tokens = new Map<string, string>();
    const where = {
      mqttUrl: `mqtt://127.0.0.1:${cloud.mqttPort}`,
      token: async (id: string, account: string) => {
        const token = tokens.get(id) ?? await cloud.registry.add(id, account);
        tokens.set(id, token);
        return token;
      },
    };
    const open = (device: string) => openDevice(dir, where, { device });
    const ids = Array.from({ length: count }, (_, i) => `dev-${i}`);
    const command = (id: string, name: string): Write => ({
      op: "put",
      item: { pk: `device#${id}`, sk: `command#${name}`, _type: "Command", deviceId: id, name, value: 1 },
    });
    const devices: Device[] = [];
    try {
      // What they miss: it is in their logs, and they are new.
      await tables.data.write(ids.map((id) => command(id, "missed")));
      const logged = () => cloud.service.metrics().recordsRead;
      await untilStill("it is logged", () => logged() >= count, logged);
      limited.perSecond = requestsPerSecond;
      const before = limited.requests, began = performance.now();
      devices.push(...await Promise.all(ids.map(open)));
      for (const device of devices) device.exec("INSERT INTO Setting(name, value) VALUES ('written in the storm', 1)");
      // Each look opens the database: few of them, and none at who is done.
      const left = new Set(devices);
      for (let still = 0; left.size > 0; still++) {
        await new Promise((resolve) => setTimeout(resolve, 1000));
        for (const device of left) {
          if (device.count("SELECT (SELECT count(*) FROM Command) = 1 AND (SELECT count(*) FROM _outbox) = 0") !== 1) {
            continue;
          }
          left.delete(device);
          still = 0;
        }
        assert.ok(still < 60, `${left.size} of ${count} are not caught up, and for a minute none has been`);
      }
      const seconds = (performance.now() - began) / 1000, workSeconds = (limited.requests - before) / requestsPerSecond;
      console.log(
        `${count} agents after ${seconds.toFixed(1)} s: ${
          ((limited.requests - before) / count).toFixed(1)
        } requests each, ` +
          `${workSeconds.toFixed(1)} s of the table`,
      );
      // Some 13 each on an idle machine; where the agents themselves starve (they share this process) they ask again. Without
      // end it was a storm.
      assert.ok(limited.requests - before <= 60 * count, `${limited.requests - before} requests`);
    } finally {
      limited.perSecond = Infinity;
      for (const device of devices) await device.agent.close();
      await cloud.close();
      await tables.data.close();
      await tables.log.close();
    }
  },
});
