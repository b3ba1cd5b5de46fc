/**
 * What `dev` stores in its folder beside the databases: the devices' tokens, since the registry stores only their
 * hashes. The folder is 0700 and the file 0600: a token is a credential, though of a loopback broker.
 *
 * @module
 */
import { join } from "node:path";
import { writeWholeFile } from "../agent/credentials/whole_file.ts";
import type { Identity } from "../schema.ts";
import { CommandError } from "./command.ts";

/** The part of the registry that `dev` needs. */
export interface Credentials {
  add(deviceId: string, accountId: string, options: { replace: boolean }): Promise<string>;
  authenticate(deviceId: string, token: string): Promise<Identity | undefined>;
}

/** Creates the folder. @throws {CommandError} if it can't */
export async function makeStateFolder(dir: string): Promise<void> {
  try {
    await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const { message } = cause as Error;
    throw new CommandError(`the folder ${dir} can't be made; choose another with --dir: ${message}`, { cause });
  }
}

async function readTokens(file: string): Promise<Record<string, string>> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    throw new CommandError(`${file} can't be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    const tokens: unknown = JSON.parse(text);
    if (typeof tokens === "object" && tokens !== null && !Array.isArray(tokens)) {
      return Object.fromEntries(Object.entries(tokens).filter(([, token]) => typeof token === "string"));
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  // A damaged file does no harm: new tokens are issued.
  return {};
}

/**
 * A token for each device, stored in `tokens.json` across starts. A token that the registry does not know (a new table,
 * a revoked device) is replaced.
 */
export async function deviceTokens(
  dir: string,
  devices: readonly Identity[],
  registry: Credentials,
): Promise<Map<string, string>> {
  const file = join(dir, "tokens.json");
  const tokens = await readTokens(file);
  let changed = false;
  for (const { deviceId, accountId } of devices) {
    const known = tokens[deviceId] !== undefined && await registry.authenticate(deviceId, tokens[deviceId]);
    if (known && known.accountId === accountId) continue;
    tokens[deviceId] = await registry.add(deviceId, accountId, { replace: true });
    changed = true;
  }
  if (changed) writeWholeFile(file, JSON.stringify(tokens, null, 2) + "\n");
  return new Map(devices.map(({ deviceId }) => [deviceId, tokens[deviceId]!]));
}
