/**
 * What the commands that run agents share: watching a first connection for refused credentials, and the orderly end.
 *
 * @module
 */
import type { Agent } from "../agent/agent.ts";
import type { MqttLink } from "../agent/link.ts";
import type { OneTableSchema } from "../schema.ts";
import { CommandError } from "./command.ts";

/** How long a closing agent waits for acknowledgements. The rest goes after the next start. */
export const flushMs = 3_000;
/** How often a link that never was connected is looked at. */
const lookMs = 100;

/**
 * Resolves, if the broker refuses the credentials before the link was ever up, to the error that says so; to undefined as
 * soon as the link is up or the signal aborts. Later refusals (a token revoked for a while) are for the link to retry: a
 * device in the field must not give up.
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
 * Sends what waits, for at most {@link flushMs} and only where there is a connection, and closes. Resolves to the number of
 * changes that still wait in the outbox; they are sent after the next start.
 */
export async function closeAgent<S extends OneTableSchema>(agent: Agent<S>): Promise<number> {
  // A flush that times out is no fault: the count below tells what is left.
  if (agent.status().connected) await agent.flush({ timeoutMs: flushMs }).catch(() => {});
  const { outbox } = agent.status();
  await agent.close();
  return outbox;
}
