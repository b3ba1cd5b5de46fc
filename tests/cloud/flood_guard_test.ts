import assert from "node:assert/strict";
import type { ControlCommand } from "../../cloud/broker_config/mosquitto.ts";
import { disabledMs, FloodGuard } from "../../cloud/flood_guard.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { compileSchema } from "../../schema.ts";

const schema = compileSchema({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" } },
  models: {
    Doc: { pk: { type: "string", value: "d" }, sk: { type: "string", value: "${id}" }, id: { type: "string" } },
  },
});

/** A broker that notes what it is told, and a log table that workers share. */
class Rig implements AsyncDisposable {
  nowMs = 1_700_000_000_000;
  readonly told: string[] = [];
  readonly tables = openEmbedded(":memory:", { schema, now: () => this.nowMs });
  fault: Error | undefined;

  worker(): FloodGuard {
    return new FloodGuard({
      log: this.tables.log,
      now: () => this.nowMs,
      send: (commands: ControlCommand[]) => {
        if (this.fault) return Promise.reject(this.fault);
        this.told.push(...commands.map(({ command, username }) => `${command} ${username}`));
        return Promise.resolve();
      },
    });
  }

  async notes(): Promise<string[]> {
    const { items } = await this.tables.log.query({ index: "primary", hash: "floods", limit: 10 });
    return items.map(({ sort }) => String(sort));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tables.close();
  }
}

async function flood(guard: FloodGuard, deviceId: string, count = 1_000): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => guard.dropped(deviceId)));
}

Deno.test("flood guard: a device that floods is disabled once, and enabled when its time is up, not before", async () => {
  await using rig = new Rig();
  const guard = rig.worker();
  await flood(guard, "spy");
  assert.deepEqual(rig.told, ["disableClient spy"]);
  rig.nowMs += disabledMs - 1;
  await guard.release();
  assert.equal(rig.told.length, 1);
  rig.nowMs += 1;
  await guard.release();
  assert.deepEqual(rig.told, ["disableClient spy", "enableClient spy"]);
  assert.deepEqual(await rig.notes(), []);
});

Deno.test("flood guard: a few messages without room are no flood", async () => {
  await using rig = new Rig();
  await flood(rig.worker(), "good", 100);
  assert.deepEqual(rig.told, []);
});

Deno.test("flood guard: what a killed worker disabled is enabled by another", async () => {
  await using rig = new Rig();
  await flood(rig.worker(), "spy");
  rig.nowMs += disabledMs;
  await rig.worker().release();
  assert.deepEqual(rig.told, ["disableClient spy", "enableClient spy"]);
});

Deno.test("flood guard: the note stands before the broker is told, and remains where it can't be told", async () => {
  await using rig = new Rig();
  const guard = rig.worker();
  rig.fault = new Error("away");
  await flood(guard, "spy", 200);
  assert.deepEqual(await rig.notes(), ["spy"]);
  rig.nowMs += disabledMs;
  await guard.release();
  assert.deepEqual(await rig.notes(), ["spy"]);
  rig.fault = undefined;
  await guard.release();
  assert.deepEqual(rig.told, ["enableClient spy"]);
  assert.deepEqual(await rig.notes(), []);
});
