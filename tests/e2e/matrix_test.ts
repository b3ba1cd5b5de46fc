/**
 * The core of the product, over every table and every broker: what a device writes arrives, what the cloud writes arrives,
 * offline or not, by catch-up or by snapshot, in conflict or not, in its scope and in no other. Tables and brokers know nothing
 * of each other: each table and each broker has its turn, every pair with `TWINTABLE_LONG=1`.
 */
import assert from "node:assert/strict";
import type { Device } from "../support/device.ts";
import { skipped } from "../support/tools.ts";
import { brokerKinds, openWorld, tableKinds, type TableSource, type World } from "../support/world.ts";
import { until } from "../support/until.ts";
import { long } from "../support/long.ts";

const identity = (deviceId: string) => ({ deviceId, accountId: "acme" });
const all = ["Setting", "Cloudy", "Devicey", "Merged", "Command", "Site", "Board", "Notice"];

/** The suite; each step has devices of its own. */
const steps: Record<string, (world: World) => Promise<void>> = {
  async "what a device writes arrives, and its own changes come back as marks"(world) {
    await using device = await world.device("d1");
    device.exec("INSERT INTO Sample(id, n, text) VALUES ('s1', 7, 'ünï'), ('s2', 8, NULL)");
    device.exec("INSERT INTO Setting(name, value) VALUES ('a', 1), ('b', 2)");
    device.exec("UPDATE Setting SET value = 3 WHERE name = 'b'");
    await device.settle();
    const samples = (await world.items("Sample")).filter(({ deviceId }) => deviceId === "d1");
    assert.deepEqual(samples.map(({ id, n, text }) => [id, n, text]), [["s1", 7, "ünï"], ["s2", 8, undefined]]);
    await world.converged(device, ["Setting"]);
    assert.ok((await world.items("Setting")).every(({ _source }) => String(_source).startsWith("d1#")));
    await until(
      "every echo was recognised",
      () => device.count("SELECT count(*) FROM _sync_items WHERE awaiting") === 0,
    );
    assert.equal(device.count("SELECT count(*) FROM _changes"), 0);
  },

  async "what the cloud writes, alters and removes arrives live"(world) {
    await using device = await world.device("d2");
    await device.settle();
    await world.put("Command", { name: "go", value: 1 }, identity("d2"));
    await world.put("Notice", { name: "hear", text: "ye" });
    await until(
      "both are there",
      () => device.count("SELECT count(*) FROM Command") + device.count("SELECT count(*) FROM Notice") === 2,
    );
    await world.put("Command", { name: "go", value: 2 }, identity("d2"));
    await until("it is altered", () => device.count("SELECT count(*) FROM Command WHERE value = 2") === 1);
    await world.remove("Command", { name: "go" }, identity("d2"));
    await until("it is removed", () => device.count("SELECT count(*) FROM Command") === 0);
    await world.remove("Notice", { name: "hear" });
    await world.converged(device, all);
    assert.deepEqual(
      device.query("SELECT op FROM _changes WHERE model = 'Command' ORDER BY sequence").map(({ op }) => op),
      ["put", "put", "remove"],
    );
  },

  async "a device that was offline catches up, and what it wrote meanwhile arrives"(world) {
    await using device = await world.device("d3");
    device.exec("INSERT INTO Setting(name, value) VALUES ('before', 0)");
    await world.converged(device, all);
    device.tap.cut();
    for (let n = 0; n < 20; n++) {
      await world.put("Command", { name: `c${n % 12}`, value: n }, identity("d3"));
      device.exec(`INSERT INTO Setting(name, value) VALUES ('s${n}', ${n})`);
    }
    await world.remove("Command", { name: "c3" }, identity("d3"));
    device.exec("UPDATE Setting SET value = 100 WHERE name = 'before'");
    device.tap.mend();
    await world.converged(device, all);
    assert.equal(device.count("SELECT count(*) FROM Setting"), 21);
    assert.equal(device.count("SELECT count(*) FROM Command"), 11);
  },

  async "a new device takes a snapshot, and one whose history is gone another"(world) {
    for (let n = 0; n < 30; n++) await world.put("Command", { name: `c${n}`, value: n }, identity("d4"));
    {
      await using device = await world.device("d4");
      await world.converged(device, all);
      assert.equal(device.count("SELECT count(*) FROM Command"), 30);
    }
    for (let n = 0; n < 30; n += 3) await world.remove("Command", { name: `c${n}` }, identity("d4"));
    await world.put("Command", { name: "c1", value: 1000 }, identity("d4"));
    const { log } = world.workers[0]!.service;
    await until("the stream was handled", async () => {
      const { head } = await log.state("device:d4");
      const last = (await log.read("device:d4", head - 1, 1))[0];
      return last?.keys.some(({ key }) => key[1] === "command#c1");
    });
    const page = await world.tables.log.query({ index: "primary", hash: "log#device:d4", limit: 1000 });
    await world.tables.log.write(
      page.items.slice(0, -1).map(({ hash, sort }) => ({ op: "delete", key: [String(hash), String(sort)] as const })),
    );
    await using device = await world.device("d4");
    await world.converged(device, all);
    assert.equal(device.count("SELECT count(*) FROM Command"), 20);
    assert.ok(device.tap.received.some(({ type }) => type === "snapshot"));
  },

  async "both sides write one key: each policy decides as it says, and the loser is kept"(world) {
    await using device = await world.device("d5");
    const models = ["Setting", "Cloudy", "Devicey", "Merged"];
    for (const model of models) device.exec(`INSERT INTO ${model}(name, value, text) VALUES ('k', 0, 'base')`);
    await world.converged(device, all);
    device.tap.cut();
    for (const model of models) {
      device.exec(`UPDATE ${model} SET text = 'device' WHERE name = 'k'`);
    }
    const written = Date.now();
    await until("the clock has moved on", () => Date.now() > written + 5);
    for (const model of models) {
      await world.put(model, { name: "k", value: 1, text: "base" }, identity("d5"));
    }
    device.tap.mend();
    await device.settle();
    await world.converged(device, all);
    const found = models.map((model) => Object.values(device.query(`SELECT value, text FROM ${model}`)[0]!));
    assert.deepEqual(found, [[1, "base"], [1, "base"], [0, "device"], [1, "device"]]);
    const lost = device.query("SELECT model, item FROM _conflicts WHERE why <> 'merged' ORDER BY model").map(
      ({ model, item }) => {
        const { value, text } = JSON.parse(item as string);
        return [model, value, text];
      },
    );
    assert.deepEqual(lost, [["Cloudy", 0, "device"], ["Devicey", 1, "base"], ["Setting", 0, "device"]]);
  },

  async "a removal arrives in both directions, and wins over an update"(world) {
    await using device = await world.device("d6");
    for (const name of ["mine", "theirs", "both"]) await world.put("Setting", { name, value: 1 }, identity("d6"));
    await world.converged(device, all);
    device.exec("DELETE FROM Setting WHERE name = 'mine'");
    await world.remove("Setting", { name: "theirs" }, identity("d6"));
    await world.converged(device, all);
    assert.deepEqual(device.query("SELECT name FROM Setting"), [{ name: "both" }]);
    device.tap.cut();
    await world.remove("Setting", { name: "both" }, identity("d6"));
    device.exec("UPDATE Setting SET value = 2 WHERE name = 'both'");
    device.tap.mend();
    await device.settle();
    await world.converged(device, all);
    assert.equal(device.count("SELECT count(*) FROM Setting"), 0);
    assert.deepEqual(device.query("SELECT why FROM _conflicts"), [{ why: "gone" }]);
  },

  async "devices of one account share its items, of another see none of them, and all see the global ones"(world) {
    await using first = await world.device("d7");
    await using second = await world.device("d8");
    await using stranger = await world.device("b1");
    const devices: Device[] = [first, second, stranger];
    for (const [at, device] of devices.entries()) {
      device.exec(`INSERT INTO Site(name, value) VALUES ('site-${at}', ${at})`);
      device.exec(`INSERT INTO Board(name, value) VALUES ('board-${at}', ${at})`);
      device.exec(`INSERT INTO Setting(name, value) VALUES ('own-${at}', ${at})`);
    }
    for (const device of devices) await device.settle();
    for (const device of devices) await world.converged(device, all);
    assert.deepEqual(first.query("SELECT name FROM Site ORDER BY name"), [{ name: "site-0" }, { name: "site-1" }]);
    assert.deepEqual(stranger.query("SELECT name FROM Site"), [{ name: "site-2" }]);
    assert.equal(stranger.count("SELECT count(*) FROM Board"), 3);
    assert.equal(stranger.count("SELECT count(*) FROM Setting"), 1);
    second.exec("UPDATE Site SET value = 50 WHERE name = 'site-0'");
    await until("the other device has it", () => first.count("SELECT count(*) FROM Site WHERE value = 50") === 1);
    for (const device of devices) await world.converged(device, all);
  },

  async "an item of 300 KB travels both ways"(world) {
    await using device = await world.device("d9");
    await device.settle();
    device.exec("INSERT INTO Setting(name, text) VALUES ('large', hex(randomblob(150000)))");
    await world.put("Command", { name: "large", text: "é".repeat(150_000) }, identity("d9"));
    await world.converged(device, ["Setting", "Command"]);
    assert.equal(device.query("SELECT length(text) AS n FROM Command")[0]!.n, 150_000);
  },
};

/** By table, the brokers of the daily run; of a table that is not named, all. */
const daily: Record<string, readonly string[]> = {
  "dynoxide": ["aedes", "Mosquitto, two workers"],
  "dynamodb-local": ["Mosquitto, TLS, MQTT 5", "Mosquitto, two workers"],
};

for (const table of await tableKinds()) {
  let source: TableSource | undefined;
  for (const broker of brokerKinds) {
    const missing = table.missing ?? broker.missing;
    if (!long && !(daily[table.name]?.includes(broker.name) ?? true)) continue;
    // Two workers need a stream that two may tail.
    if (table.name === "embedded" && broker.workers) continue;
    Deno.test({
      name: `matrix: ${table.name}, ${broker.name}`,
      ignore: skipped(missing),
      sanitizeOps: false,
      sanitizeResources: false,
      async fn(t) {
        source ??= await table.start();
        await using world = await openWorld({ source, broker });
        for (const [name, step] of Object.entries(steps)) await t.step(name, () => step(world));
        for (const worker of world.workers) assert.equal(worker.counters().mqttMalformed, 0);
      },
    });
  }
  Deno.test.afterAll(() => source?.stop());
}
