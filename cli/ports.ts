/**
 * Ports for `dev`: the usual ones if they are free, otherwise others, so that a newcomer's machine needs no free port.
 *
 * @module
 */
import { CommandError } from "./command.ts";

/** A port to listen on, and a sentence if it is not the usual one. */
export interface ChosenPort {
  readonly port: number;
  readonly note?: string;
}

function isFree(hostname: string, port: number): boolean {
  try {
    Deno.listen({ hostname, port }).close();
    return true;
  } catch (error) {
    // EADDRINUSE, or EACCES: ports below 1024 need rights.
    if (error instanceof Deno.errors.AddrInUse || error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

/**
 * The requested port, or 0 (any free one) if it is taken and `strict` is false. @throws {CommandError} if the user
 * requested the port (`strict`) and it is not available
 */
export function choosePort(hostname: string, wanted: number, what: string, strict: boolean): ChosenPort {
  if (wanted === 0 || isFree(hostname, wanted)) return { port: wanted };
  if (strict) throw new CommandError(`port ${wanted} for ${what} is taken; 0 takes any free one`);
  return { port: 0, note: `port ${wanted} is taken: ${what} has another` };
}
