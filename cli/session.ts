/**
 * Shared by the commands that run agents: watching the first connection for refused credentials, and a clean end.
 *
 * @module
 */
import type { Agent } from "../agent/agent.ts";
import type { MqttLink } from "../agent/link.ts";
import type { OneTableSchema } from "../schema.ts";
import { CommandError } from "./command.ts";

/** How long a closing agent waits for acknowledgements. The rest is sent after the next start. */
export const flushMs = 3_000;
/** How often a link that was never connected is checked. */
const lookMs = 100;

/**
 * Resolves to an error if the broker refuses the credentials before the link was ever up; to undefined as soon as the
 * link is up or the signal aborts. The link retries after later refusals (a token revoked for a while): a device in the
 * field must not give up.
 */
export async function firstRefusal(link: MqttLink, where: string, signal: AbortSignal): Promise<Error | undefined> {
  while (!signal.aborted && !link.closed && link.counters.connects === 0) {
    if (link.refused) {
      return new CommandError(`${where} refused these credentials: ${link.lastError ?? "not authorized"}`);
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return undefined;
}

/**
 * Sends pending changes, for at most {@link flushMs} and only if there is a connection, and closes. Resolves to the
 * number of changes that still wait in the outbox; they are sent after the next start.
 */
export async function closeAgent<S extends OneTableSchema>(agent: Agent<S>): Promise<number> {
  // A flush that times out is not an error: the count below says what is left.
  if (agent.status().connected) await agent.flush({ timeoutMs: flushMs }).catch(() => {});
  const { outbox } = agent.status();
  await agent.close();
  return outbox;
}
