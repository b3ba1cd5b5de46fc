/**
 * The file of `--tokens`: read at the start, and again when it changes, so that tokens are rotated without a restart. A change
 * that makes no list is told and changes nothing.
 *
 * @module
 */
import JSON5 from "npm:json5@^2.2.3";
import { type ApiToken, tokensOf } from "../cloud/api/tokens.ts";
import { CommandError, describeFault } from "./command.ts";

/** How often it is looked whether the file has changed, ms. */
const lookEveryMs = 1_000;

async function readTokens(file: string): Promise<ApiToken[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    throw new CommandError(`--tokens: ${file} can't be read: ${(cause as Error).message}`, { cause });
  }
  let list: unknown;
  try {
    list = JSON5.parse(text);
  } catch (cause) {
    // What the reader says of it quotes the text.
    throw new CommandError(`--tokens: ${file} is not JSON5`, { cause });
  }
  return tokensOf(list, file);
}

/** What distinguishes one content of the file from another. */
async function versionOf(file: string): Promise<string> {
  const { mtime, size, ino } = await Deno.stat(file);
  return `${mtime?.getTime()} ${size} ${ino}`;
}

/**
 * The tokens as the file has them.
 *
 * @throws {CommandError} where it can't be read at the start; SyncError `config` where it is not a list of tokens
 */
export async function openTokens(file: string): Promise<() => readonly ApiToken[]> {
  let version = await versionOf(file).catch(() => "");
  let tokens = await readTokens(file), lookedMs = performance.now(), looking = false;
  const look = async () => {
    try {
      const now = await versionOf(file);
      if (now === version) return;
      tokens = await readTokens(file);
      version = now;
    } catch (fault) {
      console.error(`cloud: the tokens stay as they were: ${describeFault(fault)}`);
    } finally {
      looking = false;
    }
  };
  return () => {
    if (!looking && performance.now() - lookedMs > lookEveryMs) {
      lookedMs = performance.now();
      looking = true;
      look();
    }
    return tokens;
  };
}
