/**
 * A device of a test cloud: its agent in the test's process with a tap on its link, or as a process of its own.
 *
 * @module
 */
import { type Agent, openAgent } from "../../agent/open.ts";
import type { Limits } from "../../agent/sync/context.ts";
import { type LinkOptions, MqttLink } from "../../agent/link.ts";
import type { Clock } from "../../agent/ports.ts";
import { Program, shippedProgram } from "./process.ts";
import { e2eSchema, writeSchema } from "./schema.ts";
import { connect, count, query, type Row } from "./sql.ts";
import { Tap } from "./tap.ts";
import type { Schema } from "../../schema/model.ts";
import type { TempDir } from "./temp_dir.ts";
import type { TestCloud } from "./test_cloud.ts";
import { patience } from "./until.ts";

/** Options of {@link openDevice}. */
export interface DeviceOptions {
  /** Default `dev-1`, of the account `acme`. */
  readonly device?: string;
  readonly account?: string;
  readonly clock?: Clock;
  /** Another schema than the tests' own. Its models are typed as theirs. */
  readonly schema?: Schema;
  readonly limits?: Partial<Limits>;
  /** How the link connects: certificates, the version of MQTT. */
  readonly link?: Partial<Pick<LinkOptions, "ca" | "cert" | "key" | "protocolVersion" | "payloadBytesMax">>;
  /** Sees the link before it starts. */
  readonly prepare?: (tap: Tap) => void;
}

/** How devices connect at a broker's URL, where it is not by plain MQTT 3.1.1. */
export const linkSettings = new Map<string, { readonly ca?: string; readonly protocolVersion?: 4 | 5 }>();

/** The same as flags of the command line. */
export function linkFlags(dir: TempDir, mqttUrl: string): string[] {
  const { ca, protocolVersion = 4 } = linkSettings.get(mqttUrl) ?? {};
  const file = dir.file("ca.pem");
  if (ca !== undefined) Deno.writeTextFileSync(file, ca);
  return [...(ca === undefined ? [] : ["--ca", file]), "--mqtt-version", String(protocolVersion)];
}

/** A device whose agent runs in the test's process. */
export class Device implements AsyncDisposable {
  constructor(readonly path: string, readonly agent: Agent<typeof e2eSchema>, readonly tap: Tap) {}

  /** Runs SQL as an application does: on a connection of its own. */
  exec(sql: string): void {
    using db = connect(this.path);
    db.exec(sql);
  }

  query(sql: string): Row[] {
    return query(this.path, sql);
  }

  count(sql: string): number {
    return count(this.path, sql);
  }

  /** Waits until all that was written is acknowledged and all that the cloud has is here. */
  async settle(limitMs = 60_000): Promise<void> {
    const timeoutMs = limitMs * patience;
    await this.agent.flush({ timeoutMs });
    await this.agent.sync({ timeoutMs });
    await this.agent.flush({ timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent.close();
  }
}

/** Opens a device in the folder; its database is `<device>.db` there. Without a cloud it is offline. */
export async function openDevice(
  dir: TempDir,
  cloud: Pick<TestCloud, "mqttUrl" | "token"> | undefined,
  options: DeviceOptions = {},
): Promise<Device> {
  const { device = "dev-1", account = "acme", clock, limits } = options;
  const path = dir.file(`${device}.db`);
  const tap = new Tap(
    new MqttLink({
      // Nobody listens on port 1 of the loopback interface.
      url: cloud?.mqttUrl ?? "mqtt://127.0.0.1:1",
      password: cloud ? await cloud.token(device, account) : "none",
      identity: { deviceId: device, accountId: account },
      retryMaxMs: 500,
      ...(cloud && linkSettings.get(cloud.mqttUrl)),
      ...options.link,
    }),
  );
  options.prepare?.(tap);
  const agent = await openAgent({
    schema: (options.schema ?? e2eSchema) as typeof e2eSchema,
    device,
    account,
    path,
    mqtt: tap,
    synchronous: "normal",
    limits: { retryMs: 1_000, ...limits },
    ...(clock ? { clock } : {}),
  });
  return new Device(path, agent, tap);
}

/**
 * Starts an agent for a device in the folder, the compiled one as an unprivileged user where there is one, and waits until
 * it runs. Without a token
 * it can't get in anywhere.
 */
export async function startAgent(
  dir: TempDir,
  options: {
    readonly mqttUrl: string;
    readonly token: string;
    readonly device?: string;
    readonly account?: string;
    readonly env?: Record<string, string>;
    readonly args?: readonly string[];
  },
): Promise<Program & { readonly path: string }> {
  const { device = "dev-1", account = "acme" } = options;
  const path = dir.file(`${device}.db`);
  const program = new Program(
    [
      "agent",
      ...["--device", device, "--account", account, "--db", path, "--schema", writeSchema(dir.path)],
      ...["--mqtt", options.mqttUrl, ...linkFlags(dir, options.mqttUrl)],
      ...["--password", options.token, "--synchronous", "normal"],
      ...(options.args ?? []),
    ],
    options.env,
    shippedProgram(dir.path),
  );
  await program.printed(/agent .*: /);
  return Object.assign(program, { path });
}

/** What `_status` says: seen from outside the agent's process. */
export function statusOf(path: string): Row {
  return query(path, "SELECT * FROM _status")[0]!;
}
