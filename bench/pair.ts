/**
 * A cloud and a device, each a process of its own: what most benchmarks measure.
 *
 * @module
 */
import { Child } from "./child.ts";
import type { Context } from "./measure.ts";

/** How the pair is set up. */
export interface PairOptions {
  /** Of both sides; default `full`: a commit survives a power cut. */
  readonly synchronous?: "full" | "normal";
  /** Default: an embedded table in a file. */
  readonly table?: string;
  /** Models that the schema has more; default 0. */
  readonly modelsMore?: number;
}

/** A cloud process and a device process. */
export class Pair implements AsyncDisposable {
  readonly device = "bench-1";
  readonly account = "bench";
  readonly path: string;
  mqtt = "";
  token = "";

  private constructor(
    readonly cloud: Child,
    readonly agent: Child,
    readonly synchronous: "full" | "normal",
    readonly modelsMore: number,
    context: Context,
  ) {
    this.path = `${context.dir}/device.db`;
  }

  /** Starts the cloud; the device's process is there, and its agent not open yet. */
  static async start(context: Context, options: PairOptions = {}): Promise<Pair> {
    const { synchronous = "full", table, modelsMore = 0 } = options;
    const [cloud, agent] = [new Child("cloud", context.child), new Child("device", context.child)];
    const pair = new Pair(cloud, agent, synchronous, modelsMore, context);
    const started = await pair.cloud.call<{ mqtt: string }>("start", {
      table: table ?? `${context.dir}/cloud.db`,
      synchronous,
      modelsMore,
    });
    pair.mqtt = started.mqtt;
    pair.token = await pair.cloud.call<string>("addDevice", pair.identity);
    return pair;
  }

  get identity(): { device: string; account: string } {
    return { device: this.device, account: this.account };
  }

  /** Opens the agent without a link. */
  async openOffline(): Promise<void> {
    const { path, identity, synchronous, modelsMore } = this;
    await this.agent.call("open", { path, ...identity, synchronous, modelsMore });
  }

  /** Opens the agent; it connects by itself. */
  async open(): Promise<void> {
    const { path, identity, mqtt, token, synchronous, modelsMore } = this;
    await this.agent.call("open", { path, ...identity, mqtt, token, synchronous, modelsMore });
  }

  /** Opens the agent and waits until it has caught up. */
  async openReady(): Promise<void> {
    await this.open();
    await this.agent.call("ready");
  }

  /** Processor time of both sides until now, µs. */
  async cpuMicros(): Promise<{ cloud: number; agent: number; both: number }> {
    const cloud = await this.cloud.call<number>("cpuMs") * 1000, agent = await this.agent.call<number>("cpuMs") * 1000;
    return { cloud, agent, both: cloud + agent };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.close();
    await this.cloud.close();
  }
}
