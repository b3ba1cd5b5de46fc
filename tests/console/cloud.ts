/**
 * A cloud with a console for tests: the embedded table in a folder of its own, free ports.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Cloud, HttpOptions } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import { schema as exampleSchema } from "../../examples/schema.ts";
import type { OneTableSchema } from "../../schema.ts";
import { type DeviceReport, encodePresence } from "../../protocol.ts";
import { connectAsync } from "npm:mqtt@^5.16.0";
import { TempDir } from "../support/temp_dir.ts";

/** See {@link TestCloud.device}. */
export interface SpeakingDevice extends AsyncDisposable {
  say(report?: DeviceReport, online?: boolean): Promise<void>;
}

/** A cloud and its address. */
export class TestCloud implements AsyncDisposable {
  private constructor(readonly dir: TempDir, readonly cloud: Cloud, readonly url: string) {}

  static async start(
    { schema = exampleSchema, ...http }: HttpOptions & { schema?: OneTableSchema } = {},
  ): Promise<TestCloud> {
    const dir = new TempDir();
    const cloud = await startCloud({ schema, table: `embedded:${dir.file("cloud.db")}` });
    return new TestCloud(dir, cloud, `http://127.0.0.1:${await cloud.serveHttp(http)}`);
  }

  /** A device that says of itself what it is told to, over the broker. */
  async device(deviceId: string, accountId = "acme"): Promise<SpeakingDevice> {
    const password = await this.cloud.registry.add(deviceId, accountId);
    const topic = `tt/d/${deviceId}/presence`;
    const client = await connectAsync(`mqtt://127.0.0.1:${this.cloud.mqttPort}`, {
      clientId: deviceId,
      username: deviceId,
      password,
      protocolVersion: 4,
      reconnectPeriod: 0,
      will: { topic, payload: Buffer.from(encodePresence(false)), qos: 1, retain: true },
    });
    const say = async (report?: DeviceReport, online = true) => {
      await client.publishAsync(topic, Buffer.from(encodePresence(online, report)), { qos: 1, retain: true });
    };
    await say();
    return { say, [Symbol.asyncDispose]: () => client.endAsync() };
  }

  /** Devices of the registry that were heard of once, without a connection of their own. */
  async devices(count: number, reportOf: (at: number) => DeviceReport | undefined, online = true): Promise<string[]> {
    const ids = Array.from({ length: count }, (_, at) => `press-${String(at).padStart(5, "0")}`);
    const add = async (deviceId: string, at: number) => {
      await this.cloud.registry.add(deviceId, at % 3 ? "acme" : "solvik");
      await this.cloud.registry.touch(deviceId, online, reportOf(at));
    };
    for (let at = 0; at < count; at += 100) {
      await Promise.all(ids.slice(at, at + 100).map((id, i) => add(id, at + i)));
    }
    return ids;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cloud.close();
    this.dir[Symbol.dispose]();
  }
}
