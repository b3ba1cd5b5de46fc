/**
 * A file of API tokens: read at the start, and again when it changes, so that tokens are rotated without a restart. A
 * change to an invalid list is logged, and has no effect.
 *
 * @module
 */
import { readFile, stat } from "node:fs/promises";
import JSON5 from "npm:json5@^2.2.3";
import { Log } from "../../protocol/log.ts";
import { SyncError } from "../../schema.ts";
import { type ApiToken, tokensOf } from "./tokens.ts";

const log = new Log("api");

/** How often the file is checked for changes, ms. */
const lookEveryMs = 1_000;

/** The tokens of a text in JSON5. @throws SyncError `config` if it is not a list of tokens; never with its content */
export function parseTokens(text: string, source: string): ApiToken[] {
  let list: unknown;
  try {
    list = JSON5.parse(text);
  } catch {
    // Without a cause: the parser's error quotes the text.
    throw new SyncError("config", `${source} is not JSON5`);
  }
  return tokensOf(list, source);
}

async function readTokens(file: string, source: string): Promise<ApiToken[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new SyncError("config", `${source} can't be read: ${(cause as Error).message}`, { cause });
  }
  return parseTokens(text, source);
}

/** What distinguishes one content of the file from another. */
async function versionOf(file: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(file);
  return `${mtimeMs} ${size} ${ino}`;
}

/**
 * The file's present tokens. @param option the option that names the file, for messages: `--tokens`
 * @throws SyncError `config` if it can't be read at the start, or is not a list of tokens
 */
export async function openTokens(file: string, option = "--tokens"): Promise<() => readonly ApiToken[]> {
  const source = `${option}: ${file}`;
  let version = await versionOf(file).catch(() => "");
  let tokens = await readTokens(file, source), lookedMs = performance.now(), looking = false;
  const look = async () => {
    try {
      const now = await versionOf(file);
      if (now === version) return;
      tokens = await readTokens(file, source);
      version = now;
    } catch (error) {
      log.error("the tokens stay as they were: {error}", { error });
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
