/**
 * Commands to Mosquitto's dynamic-security plugin, over MQTT: sent, answered and checked, one connection a time.
 *
 * @module
 */
import { MqttSession } from "../mqtt/session.ts";
import { controlAnswers, type ControlCommand, controlTopic } from "../cloud/broker_config/mosquitto.ts";
import { UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { readFlagFile } from "./connection.ts";
import { checkSecretTravel, readSecret } from "./secret.ts";

interface ControlFlags {
  readonly broker?: string;
  readonly "broker-username": string;
  readonly "broker-password-file"?: string;
  readonly "broker-ca"?: string;
}

const timeoutMs = 10_000;
/** What is to go and is not there is as good as gone. */
const isGone = (answer: { command?: unknown; error?: unknown }) =>
  String(answer.command).startsWith("delete") && /not found/i.test(String(answer.error));

/**
 * What sends commands to the broker that the flags name; without one it does nothing.
 *
 * @throws {UsageError} for flags that don't fit together
 */
export async function sendControl(flags: ControlFlags): Promise<(commands: ControlCommand[]) => Promise<void>> {
  const { broker, "broker-username": username, "broker-password-file": file, "broker-ca": ca } = flags;
  if (broker === undefined) return () => Promise.resolve();
  if (file === undefined) throw new UsageError("--broker needs --broker-password-file");
  const password = await readSecret("broker-password-file", file);
  checkSecretTravel(broker, true, false);
  const pem = ca === undefined ? {} : { ca: await readFlagFile("broker-ca", ca) };
  return (commands) => send({ url: broker, username, password, ...pem }, commands);
}

async function send(
  connection: { readonly url: string; readonly username: string; readonly password: string; readonly ca?: string },
  commands: readonly ControlCommand[],
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const left = [...commands];
  const next = () => {
    const command = left[0];
    if (!command) return resolve();
    session.publish(controlTopic, new TextEncoder().encode(JSON.stringify({ commands: [command] })));
  };
  const session: MqttSession = new MqttSession({
    ...connection,
    clientId: `twintable-control-${crypto.randomUUID().slice(0, 8)}`,
    subscriptions: [controlAnswers],
    logName: "control",
  }, {
    up: next,
    down: (reason) => reject(new CommandError(`the broker ${new URL(connection.url).host} was lost: ${reason}`)),
    message: (_, payload) => {
      const { responses = [] } = JSON.parse(new TextDecoder().decode(payload)) as {
        responses?: Record<string, unknown>[];
      };
      const fault = responses.find((answer) => answer.error !== undefined && !isGone(answer));
      if (fault) return reject(new CommandError(`the broker refused ${fault.command}: ${fault.error}`));
      left.shift();
      next();
    },
  });
  const timer = setTimeout(() => {
    const why = session.lastError?.message ?? "no answer";
    reject(new CommandError(`the broker ${new URL(connection.url).host} was not told: ${why}`));
  }, timeoutMs);
  session.start();
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    await session.close();
  }
}
