/** Applications at the embedded broker: notifications for whoever has a token to read, and nothing else. */
import assert from "node:assert/strict";
import mqtt from "mqtt";
import { type ApiToken, tokenHash } from "../../../cloud/api/tokens.ts";
import { readersMax } from "../../../cloud/broker/readers.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { notifyFilters } from "../../../cloud/notify/topics.ts";
import { Audit } from "../../../cloud/operations/audit.ts";
import { startCloud } from "../../../cloud/worker.ts";
import { completeItem } from "../../../schema.ts";
import { until } from "../../support/until.ts";
import { schemaOf } from "../notify/fixture.ts";

const token = (name: string, ...scopes: ApiToken["scopes"]): ApiToken => ({
  name,
  hash: tokenHash(`of ${name}`),
  scopes,
});

interface Reader {
  readonly client: mqtt.MqttClient;
  readonly heard: [topic: string, id: unknown][];
}

/** Connects as a reader does. @throws the broker's refusal */
async function connect(
  port: number | undefined,
  name: string,
  id = `reader/${name}`,
  password = `of ${name}`,
): Promise<Reader> {
  const options = { clientId: id, username: name, password, reconnectPeriod: 0 };
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, options);
  client.on("error", () => {});
  const heard: Reader["heard"] = [];
  client.on("message", (topic, payload) => heard.push([topic, JSON.parse(payload.toString()).data.item.id]));
  return { client, heard };
}

const ends = ({ client }: Reader) => until("the connection is cut", () => !client.connected);

Deno.test({
  name: "readers: who has a token to read hears notifications at the embedded broker, and can do nothing else there",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const schema = schemaOf(true), tables = openEmbedded(":memory:", { schema, now: Date.now });
    let tokens = [token("app", "read"), token("writer", "write"), token("forwarder", "forward"), token("old", "read")];
    tokens[3] = { ...tokens[3]!, untilMs: 1 };
    const cloud = await startCloud({ schema, table: tables, notifyReaders: () => tokens });
    const port = cloud.mqttPort;
    await cloud.registry.add("app", "acme");
    try {
      const app = await connect(port, "app"), writer = await connect(port, "writer", "reader/writer/2");
      const granted = async ({ client }: Reader, topic: string) =>
        (await client.subscribeAsync(topic, { qos: 1 }))[0]!.qos;
      assert.equal(await granted(app, "tt/notify/+"), 1);
      assert.equal(await granted(writer, "tt/notify/Alarm"), 1);
      for (const topic of ["tt/#", "#", "tt/all", "tt/a/acme", "tt/d/app/down", "tt/d/+/up", "tt/notify/Other"]) {
        const refused = await app.client.subscribeAsync(topic).then(([granted]) => granted!.qos, () => 128);
        assert.equal(refused, 128, topic);
        if (!app.client.connected) assert.fail(`cut for ${topic}`);
      }
      const identity = { deviceId: "d1", accountId: "acme" };
      const item = completeItem(schema, schema.models.get("Alarm")!, { id: "7", level: 1 }, identity);
      await tables.data.write([{ op: "put", item }]);
      const told = [["tt/notify/Alarm", "7"]];
      await until("both hear it", () => app.heard.length > 0 && writer.heard.length > 0, 20_000);
      assert.deepEqual([app.heard, writer.heard], [told, told]);
      // What is published, or is a last will, ends the connection.
      writer.client.publish("tt/notify/Alarm", "{}");
      await ends(writer);
      assert.equal(app.heard.length, 1);
      // The id is no device's; and who is no reader is refused, whichever the reason.
      const cases: [name: string, id: string, password?: string][] = [
        ["app", "app"],
        ["app", "reader/app", "of another"],
        ["another", "reader/another", "of app"],
        ["forwarder", "reader/forwarder"],
        ["old", "reader/old"],
        ["nobody", "reader/nobody"],
        // Another's client id would displace it.
        ["writer", "reader/app"],
        ["writer", "reader/app/1"],
        ["writer", "reader/writerx"],
        ["writer", "reader/"],
      ];
      for (const [name, id, password] of cases) {
        await assert.rejects(
          connect(port, name, id, password),
          /Not authorized|Bad username or password/i,
          `${name} ${id}`,
        );
      }
      assert.ok(app.client.connected, "nobody has displaced it");
      const audit = new Audit(tables.log, { now: Date.now });
      await until("who guesses is in the audit", async () => {
        const { entries } = await audit.list({ limit: 10 });
        return entries.some(({ via, action, who }) => via === "broker" && action === "sign-in" && who === "127.0.0.1");
      });
      const many: Reader[] = [];
      for (let n = 1; n < readersMax; n++) many.push(await connect(port, "app", `reader/app/${n}`));
      await assert.rejects(connect(port, "app", "reader/app/more"), /Not authorized/i);
      many.push(await connect(port, "writer"));
      await Promise.all(many.map(({ client }) => client.endAsync()));
      tokens = [];
      await ends(app);
      await assert.rejects(connect(port, "app"), /Not authorized|Bad username or password/i);
    } finally {
      await cloud.close();
      await tables.close();
    }
  },
});

Deno.test("readers: there is as much to read as the schema tells on topics, and nobody reads where no tokens are given", async () => {
  assert.deepEqual(notifyFilters(schemaOf(true), "x"), ["x/notify/Alarm", "x/notify/+", "x/notify/#"]);
  assert.deepEqual(notifyFilters(schemaOf({ topic: "plant/alarms" })), ["plant/alarms"]);
  assert.deepEqual(notifyFilters(schemaOf({ url: "https://example.com" })), []);
  assert.deepEqual(notifyFilters(schemaOf(false)), []);
  const schema = schemaOf(true), tables = openEmbedded(":memory:", { schema, now: Date.now });
  const cloud = await startCloud({ schema, table: tables });
  await assert.rejects(connect(cloud.mqttPort, "app"), /Not authorized|Bad username or password/i);
  await cloud.close();
  await tables.close();
});
