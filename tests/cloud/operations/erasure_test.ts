/** Erasing a device: nothing of it is left in either table but what the receipt says, whatever ends the job half-way. */
import assert from "node:assert/strict";
import { createHandler } from "../../../cloud/handler.ts";
import { Erasure } from "../../../cloud/operations/erasure.ts";
import { groupRecords } from "../../../cloud/sync/fan_out.ts";
import { ChannelLog } from "../../../cloud/sync/channel_log.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { openEmbedded } from "../../../cloud/embedded/tables.ts";
import type { Tables } from "../../../cloud/table/port.ts";
import { compileSchema, completeItem, SyncError } from "../../../schema.ts";
import type { Item } from "../../../schema/values.ts";

const text = { type: "string" };
/** Models that are found in each way: by key, by the account's key, by an index, in the whole table alone; and shared ones. */
const schema = compileSchema({
  version: "0.0.1",
  indexes: { primary: { hash: "pk", sort: "sk" }, gs1: { hash: "gs1pk", sort: "gs1sk", project: "all" } },
  models: {
    ByKey: { pk: { ...text, value: "d#${deviceId}" }, sk: { ...text, value: "k#${id}" }, deviceId: text, id: text },
    ByAccount: {
      pk: { ...text, value: "a#${accountId}" },
      sk: { ...text, value: "d#${deviceId}#${id}" },
      deviceId: text,
      accountId: text,
      id: text,
    },
    ByIndex: {
      pk: { ...text, value: "i#${id}#${deviceId}" },
      sk: { ...text, value: "i" },
      gs1pk: { ...text, value: "i#${deviceId}" },
      gs1sk: { ...text, value: "${id}" },
      deviceId: { ...text, required: true },
      id: { ...text, required: true },
    },
    Scattered: {
      pk: { ...text, value: "s#${id}" },
      sk: { ...text, value: "s#${deviceId}" },
      deviceId: text,
      id: text,
    },
    Shared: {
      pk: { ...text, value: "a#${accountId}" },
      sk: { ...text, value: "x#${id}" },
      accountId: text,
      deviceId: text,
      id: text,
    },
    News: { pk: { ...text, value: "news" }, sk: { ...text, value: "${id}" }, id: text },
  },
  process: {
    ByKey: { sync: "both" },
    ByAccount: { sync: "both" },
    ByIndex: { sync: "both" },
    Scattered: { sync: "up" },
    Shared: { sync: "both" },
    News: { sync: "down" },
  },
});
const owned = ["ByKey", "ByAccount", "ByIndex", "Scattered"];
/** A name that begins as the other's: what goes by a prefix takes both. */
const devices = { "d1": "acme", "d10": "acme", "d2": "beta" } as const;

class Rig {
  time = 1_800_000_000_000;
  readonly now = () => this.time;
  readonly tables = openEmbedded(":memory:", { schema, now: this.now });
  readonly registry = new Registry(this.tables.log, { now: this.now });
  readonly log = new ChannelLog(this.tables.log, { now: this.now, random: () => 0.5 });

  /** Items of every model and device, log entries, reports, presence. */
  async fill(each: number): Promise<void> {
    for (const [deviceId, accountId] of Object.entries(devices)) {
      await this.registry.add(deviceId, accountId);
      await this.registry.touch(deviceId, true);
      await this.registry.keepReport(deviceId, "r/1", { differs: 0 });
      for (const model of schema.models.values()) {
        for (let at = 0; at < each; at++) {
          const item = completeItem(schema, model, { id: `${deviceId}-${at}` }, { deviceId, accountId });
          await this.tables.data.write([{ op: "put", item: { ...item, deviceId } }]);
        }
      }
      for (let at = 0; at < 5; at++) {
        await this.log.append(`device:${deviceId}`, [{ key: [`d#${deviceId}`, `k#${at}`], bytes: 10 }]);
      }
    }
  }

  erasure(tables: Pick<Tables, "data" | "log"> = this.tables): Erasure {
    return new Erasure({ schema, tables, registry: this.registry, now: this.now, pause: () => Promise.resolve() });
  }

  /** Until it is done, waiting as it says. */
  async erase(deviceId: string, erasure = this.erasure()) {
    for (let call = 0; call < 1_000; call++) {
      const state = await erasure.run(deviceId);
      if (!state || state.done) return state;
      if (state.waitsUntil) this.time = Date.parse(state.waitsUntil);
    }
    throw new Error("it does not end");
  }

  async items(): Promise<Item[]> {
    return (await this.tables.data.scan({ limit: 10_000 })).items as Item[];
  }

  async rows(): Promise<Item[]> {
    return (await this.tables.log.scan({ limit: 10_000 })).items as Item[];
  }
}

const names = (device: string) => new RegExp(`(^|[^0-9A-Za-z])${device}([^0-9A-Za-z]|$)`);

/** What is left of a device: its own items, and rows of the log table other than the receipt. */
async function left(rig: Rig, device: string): Promise<string[]> {
  const items = (await rig.items()).filter((item) => item.deviceId === device && owned.includes(String(item._type)));
  const rows = (await rig.rows()).filter((row) =>
    // The receipt, the audit, and the mark by which a worker clears the broker: retained_test.ts.
    !/^(erasing#|audit#|retained$)/.test(String(row.hash)) && names(device).test(`${row.hash} ${row.sort}`)
  );
  return [...items.map((item) => `${item._type} ${item.pk}`), ...rows.map(({ hash, sort }) => `${hash}/${sort}`)];
}

Deno.test("erasure: items however they are keyed, log, floor, reports and presence go; others' and shared ones stay", async () => {
  const rig = new Rig();
  await rig.fill(230);
  const before = await rig.items(), rowsBefore = await rig.rows();
  const state = await rig.erase("d1");
  assert.deepEqual(state?.items, Object.fromEntries(owned.map((name) => [name, 230])));
  assert.equal(state?.logEntries, 5);
  assert.deepEqual(await left(rig, "d1"), []);
  const mine = (item: Item) => item.deviceId === "d1" && owned.includes(String(item._type));
  assert.deepEqual(await rig.items(), before.filter((item) => !mine(item)));
  const ofOthers = (row: Item) => !names("d1").test(`${row.hash} ${row.sort}`) && row.hash !== "erasing";
  assert.deepEqual((await rig.rows()).filter(ofOthers), rowsBefore.filter(ofOthers));
  assert.equal(await rig.registry.identityOf("d1"), undefined);
  assert.ok(await rig.registry.identityOf("d10"));
  // Its own copies follow by the stream: removals like any other.
  assert.ok(state!.remains.some(({ what }) => /Shared/.test(what)));
  assert.ok(state!.remains.every(({ until }) => until === undefined || Date.parse(until) > rig.time));
  await rig.tables.close();
});

Deno.test("erasure: a crash, a throttled table or a failing one anywhere only interrupts it", async () => {
  for (let fault = 0; fault < 60; fault++) {
    const rig = new Rig();
    await rig.fill(3);
    let calls = 0;
    const failing = <T extends object>(table: T): T =>
      new Proxy(table, {
        get(target, name) {
          const value = Reflect.get(target, name);
          if (typeof value !== "function") return value;
          return (...given: unknown[]) => {
            if (++calls === fault) {
              if (fault % 2 === 0 && name === "write") {
                return Promise.resolve((given[0] as unknown[]).map(() => ({ outcome: "throttled" })));
              }
              return Promise.reject(new SyncError("unavailable", "away", { retryable: true }));
            }
            return value.apply(target, given);
          };
        },
      });
    const tables = { data: failing(rig.tables.data), log: failing(rig.tables.log) };
    await rig.erase("d1", rig.erasure(tables)).catch((error) => {
      assert.ok(error instanceof SyncError && error.retryable, String(error));
    });
    const state = await rig.erase("d1");
    assert.ok(state?.done, `fault ${fault}`);
    assert.deepEqual(await left(rig, "d1"), [], `fault ${fault}`);
    await rig.tables.close();
  }
});

Deno.test("erasure: what a worker still writes of a batch from before the revocation goes as well", async () => {
  const rig = new Rig();
  await rig.fill(2);
  const erasure = rig.erasure();
  const first = await erasure.run("d1");
  assert.ok(first?.waitsUntil && !first.done);
  rig.time += 29_000;
  const late = completeItem(schema, schema.models.get("ByKey")!, { id: "late" }, { deviceId: "d1", accountId: "acme" });
  await rig.tables.data.write([{ op: "put", item: { ...late, deviceId: "d1" } }]);
  await rig.log.append("device:d1", [{ key: ["d#d1", "k#late"], bytes: 10 }]);
  assert.ok(!(await erasure.run("d1"))!.done, "too early");
  await rig.erase("d1");
  assert.deepEqual(await left(rig, "d1"), []);
  await rig.tables.close();
});

Deno.test("erasure: an unknown device is none; a done one is told again; one that was added again is not touched", async () => {
  const rig = new Rig();
  await rig.fill(1);
  assert.equal(await rig.erase("d3"), undefined);
  const receipt = await rig.erase("d1");
  assert.deepEqual(await rig.erase("d1"), receipt);
  assert.deepEqual(await rig.erasure().state("d1"), receipt);
  const begun = await rig.erasure().run("d10");
  assert.ok(!begun!.done);
  await rig.registry.add("d10", "acme");
  rig.time += 60_000;
  await assert.rejects(rig.erasure().run("d10"), (error) => error instanceof SyncError && error.code === "exists");
  await rig.tables.close();
});

Deno.test("erasure: by the API, call by call", async () => {
  const rig = new Rig();
  await rig.fill(150);
  const { tables, registry, now } = rig;
  const handler = createHandler({ schema, tables, registry, now, random: Math.random });
  const call = async (method: string, path: string) => {
    const response = await handler(new Request(`http://cloud${path}`, { method }));
    return { status: response.status, body: await response.json() };
  };
  assert.equal((await call("GET", "/api/devices/d1/erasure")).status, 404);
  assert.equal((await call("DELETE", "/api/devices/d1?erase=no")).status, 400);
  const begun = await call("DELETE", "/api/devices/d1?erase");
  assert.deepEqual([begun.status, begun.body.items.ByKey], [202, 150]);
  assert.equal((await call("GET", "/api/devices/d1")).status, 404, "its credentials are void at once");
  rig.time += 50_000;
  const done = await call("DELETE", "/api/devices/d1?erase");
  assert.equal(done.status, 200);
  assert.deepEqual((await call("GET", "/api/devices/d1/erasure")).body, done.body);
  assert.equal((await call("DELETE", "/api/devices/none?erase")).status, 404);
  const { body } = await call("GET", "/api/audit");
  assert.deepEqual(
    body.entries.filter(({ target }: { target: string }) => target === "d1").map(({ action }: { action: string }) =>
      action
    ),
    ["device.erase", "device.erase"],
  );
  await rig.tables.close();
});

Deno.test("erasure: each deleted item is a removal in the channel that has it", async () => {
  const rig = new Rig();
  await rig.fill(1);
  const abort = new AbortController(), removed: string[] = [];
  await rig.erase("d1");
  setTimeout(() => abort.abort(), 300);
  for await (const batch of rig.tables.data.stream().batches(abort.signal)) {
    if ("lost" in batch) continue;
    for (const [channel, keys] of groupRecords(schema, batch.records)) {
      if (channel === "device:d1") removed.push(...keys.filter(({ mark }) => !mark).map(({ key }) => key[0]));
    }
    await batch.checkpoint();
  }
  assert.ok(["d#d1", "a#acme"].every((hash) => removed.includes(hash)), removed.join());
  await rig.tables.close();
});
