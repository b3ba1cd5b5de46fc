/**
 * Commands to Mosquitto's dynamic-security plugin, over MQTT: sent, answered and checked, one connection a time.
 *
 * @module
 */
import { MqttSession } from "../../mqtt/session.ts";
import { SyncError } from "../../schema/errors.ts";
import { controlAnswers, type ControlCommand, controlTopic } from "./mosquitto.ts";

/** How the administrator reaches the broker. */
export interface ControlConnection {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** PEM. */
  readonly ca?: string;
}

const timeoutMs = 10_000;
/** What does not exist any more need not be removed, nor be enabled. */
const isGone = (answer: { command?: unknown; error?: unknown }) =>
  /^(delete|enable)/.test(String(answer.command)) && /not found/i.test(String(answer.error));

/**
 * Sends commands one after the other; resolves when the broker has carried out all of them.
 *
 * @throws {SyncError} `unavailable` if it can't be reached or does not answer within 10 s, `unauthorized` if it refuses
 * the credentials, `invalid` if it refuses a command
 */
export async function sendControl(connection: ControlConnection, commands: readonly ControlCommand[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { host } = new URL(connection.url), left = [...commands];
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
    down: (reason) =>
      reject(
        session.lastError?.code === "unauthorized"
          ? session.lastError
          : new SyncError("unavailable", `the broker ${host} was lost: ${reason}`, { retryable: true }),
      ),
    message: (_, payload) => {
      const { responses = [] } = JSON.parse(new TextDecoder().decode(payload)) as {
        responses?: Record<string, unknown>[];
      };
      const fault = responses.find((answer) => answer.error !== undefined && !isGone(answer));
      if (fault) {
        return reject(new SyncError("invalid", `the broker ${host} refused ${fault.command}: ${fault.error}`));
      }
      left.shift();
      next();
    },
  });
  const timer = setTimeout(() => {
    const why = session.lastError?.message ?? "no answer";
    reject(new SyncError("unavailable", `the broker ${host} was not updated: ${why}`, { retryable: true }));
  }, timeoutMs);
  session.start();
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    await session.close();
  }
}
