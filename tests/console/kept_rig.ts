/**
 * A cloud with a console and a device that keeps something for people: rows of `_rejected` and `_conflicts`, as the agent
 * writes them, and its agent beside.
 *
 * @module
 */
import { type Agent, openAgent } from "../../agent/open.ts";
import { keepConflict, keepRejected } from "../../agent/store/kept.ts";
import type { HttpOptions } from "../../cloud/running_cloud.ts";
import { schema } from "../../examples/schema.ts";
import { until } from "./browser.ts";
import { TestCloud } from "./cloud.ts";

/** One device's agent. */
export type KeptAgent = Agent<typeof schema>;

/** See the module. */
export class KeptRig implements AsyncDisposable {
  readonly #passwords = new Map<string, string>();
  readonly #agents = new Map<string, KeptAgent>();
  private constructor(readonly test: TestCloud) {}

  static async start(http: HttpOptions = {}): Promise<KeptRig> {
    return new KeptRig(await TestCloud.start(http));
  }

  get url(): string {
    return this.test.url;
  }

  /** The device's agent, connected. */
  async agent(deviceId = "press-1"): Promise<KeptAgent> {
    const { registry, mqttPort } = this.test.cloud;
    const password = this.#passwords.get(deviceId) ?? await registry.add(deviceId, "acme");
    this.#passwords.set(deviceId, password);
    const agent = await openAgent({
      schema,
      device: deviceId,
      account: "acme",
      path: this.test.dir.file(`${deviceId}.db`),
      mqtt: `mqtt://127.0.0.1:${mqttPort}`,
      password,
    });
    this.#agents.set(deviceId, agent);
    await agent.sync({ timeoutMs: 30_000 });
    await until(`${deviceId} has reported`, async () => (await registry.info(deviceId))?.report?.orders === 1);
    return agent;
  }

  /** Its agent ends, and the cloud knows. */
  async away(deviceId = "press-1"): Promise<void> {
    await this.#agents.get(deviceId)?.close();
    this.#agents.delete(deviceId);
    await until(
      `${deviceId} is away`,
      async () => (await this.test.cloud.registry.info(deviceId))?.connected === false,
    );
  }

  /** Its agent ends and comes again: it reports at each connect how much it keeps. */
  async again(deviceId = "press-1"): Promise<KeptAgent> {
    await this.away(deviceId);
    return await this.agent(deviceId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents.values()) await agent.close();
    await this.test[Symbol.asyncDispose]();
  }
}

/** The device keeps a change that the cloud refused. */
export function refuse(agent: KeptAgent, name: string, value: number, reason: string, model = "Setting"): void {
  keepRejected(agent.store.db, {
    model,
    key: JSON.stringify({ name }),
    op: "update",
    item: { name, value },
    code: "invalid",
    reason,
    timeMs: Date.now(),
  });
}

/** The device keeps a version that lost. */
export function lose(agent: KeptAgent, name: string, value: number, timeMs = Date.now()): void {
  keepConflict(agent.store.db, {
    model: "Setting",
    key: { name },
    op: "update",
    item: { name, value },
    why: "stale",
    timeMs,
  });
}
