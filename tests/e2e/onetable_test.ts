/**
 * Cloud applications that know nothing of Twintable share the table with it: one on the real OneTable library, and raw
 * requests of every kind that DynamoDB has. Devices follow, nothing is taken for an echo, and what devices write reads well.
 */
import assert from "node:assert/strict";
import {
  BatchWriteItemCommand,
  DynamoDBClient,
  ExecuteStatementCommand,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { Table } from "dynamodb-onetable";
import { Dynamo } from "dynamodb-onetable/Dynamo";
import type { Device } from "../support/device.ts";
import { e2eSchema } from "../support/schema.ts";
import { until } from "../support/until.ts";
import { brokerKinds, credentials, openWorld, tableKinds, type TableSource, type World } from "../support/world.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

interface Application {
  readonly world: World;
  readonly device: Device;
  readonly client: DynamoDBClient;
  readonly name: string;
  readonly table: Table;
}

const identity = { deviceId: "d1", accountId: "acme" };
const key = (sk: string) => ({ pk: { S: "device#d1" }, sk: { S: sk } });

/** An item of `Command` as an application writes it by hand. */
function command(name: string, value: number): Record<string, Any> {
  const attributes = { _type: { S: "Command" }, deviceId: { S: "d1" }, name: { S: name }, value: { N: String(value) } };
  return { ...key(`command#${name}`), ...attributes };
}

/** Waits until the device's commands are these. */
async function commands(device: Device, wanted: Record<string, number>): Promise<void> {
  const there = () =>
    Object.fromEntries(
      device.query("SELECT name, value FROM Command ORDER BY name").map(({ name, value }) => [
        name,
        value,
      ]),
    );
  await until(
    `the device has ${JSON.stringify(wanted)}, not ${JSON.stringify(there())}`,
    () => JSON.stringify(there()) === JSON.stringify(wanted),
  );
}

const steps: Record<string, (application: Application) => Promise<void>> = {
  async "OneTable creates, updates one field, upserts and removes; the device follows"({ table, device }) {
    const Command = table.getModel("Command" as Any) as Any;
    await Command.create({ deviceId: "d1", name: "a", value: 1, text: "kept" });
    await commands(device, { a: 1 });
    await Command.update({ deviceId: "d1", name: "a", value: 2 });
    await commands(device, { a: 2 });
    assert.equal(device.query("SELECT text FROM Command")[0]!.text, "kept");
    await Command.upsert({ deviceId: "d1", name: "a", value: 3 });
    await Command.upsert({ deviceId: "d1", name: "b", value: 4 });
    await commands(device, { a: 3, b: 4 });
    await Command.remove({ deviceId: "d1", name: "a" });
    await commands(device, { b: 4 });
    const Site = table.getModel("Site" as Any) as Any;
    await Site.create({ accountId: "acme", name: "harbour", value: 1 });
    await until("the site is there", () => device.count("SELECT count(*) FROM Site") === 1);
    await Command.remove({ deviceId: "d1", name: "b" });
    await commands(device, {});
  },

  async "OneTable reads what the device wrote, with its types, and alters it without being taken for it"(application) {
    const { table, device, world } = application;
    device.exec("INSERT INTO Setting(name, value, text) VALUES ('volume', 7, 'ünï')");
    device.exec("UPDATE Site SET value = 2 WHERE name = 'harbour'");
    await device.settle();
    const Setting = table.getModel("Setting" as Any) as Any, Site = table.getModel("Site" as Any) as Any;
    const read = await Setting.get({ deviceId: "d1", name: "volume" });
    const [row] = device.query("SELECT created, updated FROM Setting");
    assert.deepEqual(read, {
      deviceId: "d1",
      name: "volume",
      value: 7,
      text: "ünï",
      created: new Date(row!.created as string),
      updated: new Date(row!.updated as string),
    });
    assert.deepEqual((await Setting.find({ deviceId: "d1" })).map(({ name }: Any) => name), ["volume"]);
    assert.equal((await Site.get({ accountId: "acme", name: "harbour" })).value, 2);
    // SET of one field: the version of the device's write stays in the item.
    await Setting.update({ deviceId: "d1", name: "volume", value: 8 });
    const [item] = await world.items("Setting");
    assert.match(String(item!._source), /^d1#/);
    await until("the device has it", () => device.count("SELECT count(*) FROM Setting WHERE value = 8") === 1);
    device.exec("UPDATE Setting SET value = 9");
    await device.settle();
    assert.equal((await Setting.get({ deviceId: "d1", name: "volume" })).value, 9);
    await Setting.remove({ deviceId: "d1", name: "volume" });
    await until("it is removed", () => device.count("SELECT count(*) FROM Setting") === 0);
  },

  async "a unique field: the library's own items beside it concern no device, and either side alters the other's"(
    application,
  ) {
    const { table, device, world } = application;
    const Setting = table.getModel("Setting" as Any) as Any;
    const slots = (wanted: Record<string, number>) => {
      const there = () =>
        device.query("SELECT name, slot FROM Setting ORDER BY name").map(({ name, slot }) => [name, slot]);
      return until(
        `the device has ${JSON.stringify(wanted)}`,
        () => JSON.stringify(Object.fromEntries(there())) === JSON.stringify(wanted),
      );
    };
    const quiet = { return: "none" };
    await Setting.create({ deviceId: "d1", name: "theirs", slot: 1 });
    await slots({ theirs: 1 });
    await Setting.update({ deviceId: "d1", name: "theirs", slot: 2 }, quiet);
    await slots({ theirs: 2 });
    device.exec(
      "INSERT INTO Setting(name, slot) VALUES ('mine', 3); UPDATE Setting SET slot = 1 WHERE name = 'theirs'",
    );
    await device.settle();
    await Setting.update({ deviceId: "d1", name: "mine", slot: 4 }, quiet);
    await slots({ mine: 4, theirs: 1 });
    await assert.rejects(Setting.create({ deviceId: "d1", name: "other", slot: 4 }), { code: "UniqueError" });
    await Setting.remove({ deviceId: "d1", name: "mine" });
    await Setting.remove({ deviceId: "d1", name: "theirs" });
    await slots({});
    await device.settle();
    assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
    const { items } = await world.tables.data.scan({ limit: 1000 });
    // The value of the device's write was never guarded; the one that it took the place of still is.
    assert.deepEqual(items.map(({ pk }) => pk).filter((pk) => String(pk).startsWith("_unique")), [
      "_unique#Setting#slot#2",
    ]);
  },

  async "a raw UpdateItem of what a device wrote is never taken for its echo"({ client, name, device, world }) {
    device.exec("INSERT INTO Setting(name, value) VALUES ('raw', 0)");
    await device.settle();
    for (let value = 1; value <= 5; value++) {
      await client.send(
        new UpdateItemCommand({
          TableName: name,
          Key: key("setting#raw"),
          UpdateExpression: "SET #value = :value, updated = :now",
          ExpressionAttributeNames: { "#value": "value" },
          ExpressionAttributeValues: { ":value": { N: String(value) }, ":now": { S: new Date().toISOString() } },
        }),
      );
      await until("it is there", () => device.count("SELECT value FROM Setting") === value);
      if (value % 2) continue;
      // The device writes as well, so that versions of both kinds follow each other.
      device.exec("UPDATE Setting SET text = 'device'");
      await device.settle();
    }
    await world.converged(device, ["Setting"]);
    assert.deepEqual(device.query("SELECT value, text FROM Setting"), [{ value: 5, text: "device" }]);
    assert.deepEqual(device.query("SELECT * FROM _conflicts"), []);
  },

  async "PartiQL, transactions and batch writes arrive"({ client, name, device }) {
    await client.send(
      new BatchWriteItemCommand({
        RequestItems: { [name]: [1, 2, 3].map((n) => ({ PutRequest: { Item: command(`batch-${n}`, n) } })) },
      }),
    );
    await commands(device, { "batch-1": 1, "batch-2": 2, "batch-3": 3 });
    await client.send(
      new BatchWriteItemCommand({
        RequestItems: { [name]: [1, 2].map((n) => ({ DeleteRequest: { Key: key(`command#batch-${n}`) } })) },
      }),
    );
    await commands(device, { "batch-3": 3 });
    await client.send(
      new TransactWriteItemsCommand({
        TransactItems: [
          { Put: { TableName: name, Item: command("transaction", 1) } },
          { Delete: { TableName: name, Key: key("command#batch-3") } },
        ],
      }),
    );
    await commands(device, { transaction: 1 });
    const statement = (Statement: string, ...Parameters: Any[]) =>
      client.send(
        new ExecuteStatementCommand({ Statement, ...(Parameters.length > 0 ? { Parameters } : {}) }),
      );
    await statement(
      `INSERT INTO "${name}" VALUE {'pk': ?, 'sk': ?, '_type': ?, 'deviceId': ?, 'name': ?, 'value': ?}`,
      ...[{ S: "device#d1" }, { S: "command#partiql" }, { S: "Command" }, { S: "d1" }, { S: "partiql" }, { N: "1" }],
    );
    await commands(device, { partiql: 1, transaction: 1 });
    await statement(`UPDATE "${name}" SET "value" = 2 WHERE pk = 'device#d1' AND sk = 'command#partiql'`);
    await commands(device, { partiql: 2, transaction: 1 });
    await statement(`DELETE FROM "${name}" WHERE pk = 'device#d1' AND sk = 'command#transaction'`);
    await commands(device, { partiql: 2 });
  },
};

for (const kind of await tableKinds()) {
  if (kind.name === "embedded") continue;
  Deno.test({
    name: `onetable application: ${kind.name}${kind.missing ? `: ${kind.missing}` : ""}`,
    ignore: kind.missing !== undefined,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      const source: TableSource = await kind.start();
      try {
        await using world = await openWorld({ source, broker: brokerKinds[0]! });
        await using device = await world.device(identity.deviceId);
        await device.settle();
        const client = new DynamoDBClient({ region: "us-east-1", endpoint: source.endpoint!, credentials });
        const name = /^dynamodb:\/\/([^?]+)/.exec(world.url)![1]!;
        const table = new Table({
          name,
          client: new Dynamo({ client }) as Any,
          schema: e2eSchema as Any,
          partial: true,
          logger: (level: string, message: string) => {
            if (level === "error" && !message.includes("Condition")) console.error(message);
          },
        } as Any);
        for (const [sentence, step] of Object.entries(steps)) {
          await t.step(sentence, () => step({ world, device, client, name, table }));
        }
        assert.deepEqual(device.query("SELECT * FROM _rejected"), []);
        client.destroy();
      } finally {
        await source.stop();
      }
    },
  });
}
