/**
 * The bundles for Node (`deno task bundle:node`) on the Nodes that there are: the library keeps a device in step, and two
 * instances of the handler are a cloud.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openDevice } from "../support/device.ts";
import { bundleForNode, nodes, nodesMissing } from "../support/node.ts";
import { e2eSchema, writeSchema } from "../support/schema.ts";
import { Serverless } from "../support/serverless.ts";
import { TempDir } from "../support/temp_dir.ts";
import { openTestCloud } from "../support/test_cloud.ts";
import { noted, skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { tableKinds } from "../support/world.ts";

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const table = (await tableKinds()).find(({ name, missing }) => name !== "embedded" && missing === undefined);
const noTable = table ? undefined : "no emulator of DynamoDB can be had here";
const bundles = new TempDir();
let made: Promise<void> | undefined;
const bundled = () => made ??= bundleForNode(bundles.path);
globalThis.addEventListener("unload", () => bundles[Symbol.dispose]());
const options = { sanitizeOps: false, sanitizeResources: false } as const;

if (noted(nodesMissing)) Deno.test({ name: "node", ignore: true, fn() {} });

for (const { path: node, version } of nodes) {
  Deno.test({
    name: `node ${version}: the library keeps a device in step with the cloud`,
    ...options,
    async fn() {
      await bundled();
      using dir = new TempDir();
      await using cloud = await openTestCloud();
      const token = await cloud.token("d1", "acme");
      await cloud.put("Command", { name: "c", value: 5 }, { deviceId: "d1" });
      const agent = { schema: e2eSchema, device: "d1", account: "acme", path: dir.file("d1.db") };
      const { code, stdout, stderr } = await new Deno.Command(node, {
        args: [
          file("device.mjs"),
          `${bundles.path}/twintable.mjs`,
          JSON.stringify({ ...agent, mqtt: cloud.mqttUrl, password: token }),
        ],
      }).output();
      const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      assert.equal(code, 0, err!);
      assert.deepEqual(JSON.parse(out!), { command: 5, version });
      assert.deepEqual((await cloud.items("Setting")).map(({ name, value }) => [name, value]), [["from-node", 7]]);
    },
  });

  Deno.test({
    name: `node ${version}: two instances of the handler are one cloud to a device`,
    ignore: skipped(noTable),
    ...options,
    async fn() {
      await bundled();
      const source = await table!.start();
      try {
        using dir = new TempDir();
        const serve = (port: string) => [node, file("serve.mjs"), `${bundles.path}/handler.mjs`, port];
        await using world = await new Serverless().open(source.endpoint!, writeSchema(dir.path), serve);
        await using device = await openDevice(dir, world, { device: "d1" });
        device.exec("INSERT INTO Setting(name, value) VALUES ('s', 1)");
        await device.agent.flush({ timeoutMs: 20_000 });
        await world.put("Command", { name: "c", value: 9 }, "d1");
        await until("the command is on the device", async () => {
          await world.post((records) => [records]);
          return device.count("SELECT count(*) FROM Command WHERE value = 9") === 1;
        }, 20_000);
        const { items } = await world.tables[0]!.data.scan({ limit: 100 });
        assert.ok(items.some((item) => item._type === "Setting" && item.name === "s"));
      } finally {
        await source.stop();
      }
    },
  });
}
