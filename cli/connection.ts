/**
 * The connection of an agent or a cloud worker to its broker: the flags, and the options made from them. PEM files are
 * read here, so that a missing one is reported before anything is opened.
 *
 * @module
 */
import { type KeyPaths, readKeyPair } from "../agent/credentials/key_files.ts";
import { withoutSecrets } from "../protocol/log.ts";
import { SyncError } from "../schema/errors.ts";
import { type Flags, type FlagValues, UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { checkSecretTravel, secretFlags, secretOf } from "./secret.ts";

/** The flags of a connection to a broker, without its URL. */
export const connectionFlags = {
  username: { type: "string", value: "U", summary: "user name at the broker" },
  ...secretFlags("password", "P", "password or token"),
  insecure: { type: "boolean", summary: "send the password over mqtt:// to another machine, in the clear" },
  ca: { type: "string", value: "FILE", summary: "PEM: trusted certificate authorities" },
  cert: { type: "string", value: "FILE", summary: "PEM: the client certificate" },
  key: { type: "string", value: "FILE", summary: "PEM: its private key" },
  prefix: { type: "string", value: "TEXT", summary: "topic prefix", default: "tt" },
  "mqtt-version": {
    type: "string",
    value: "N",
    summary: "4 is MQTT 3.1.1, 5 is MQTT 5",
    choices: ["4", "5"],
    default: "4",
  },
} as const satisfies Flags;

/** Options of a connection, as `openAgent` and `startCloud` accept them. */
export interface Connection {
  readonly mqtt: string;
  readonly username?: string;
  readonly password?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Where `cert` and `key` stand: for who renews them. */
  readonly certificateFiles?: KeyPaths;
  readonly prefix: string;
  readonly protocolVersion: 4 | 5;
}

/** Reads a text file that a flag names. */
export async function readFlagFile(flag: string, file: string): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (cause) {
    throw new CommandError(`--${flag}: ${file} can't be read: ${(cause as Error).message}`, { cause });
  }
}

/** If a compiled program's permissions forbid the broker, a link would retry for ever. */
async function checkReachable({ protocol, hostname, port }: URL): Promise<void> {
  const host = `${hostname}:${port || (protocol === "mqtts:" ? 8883 : 1883)}`;
  if ((await Deno.permissions.query({ name: "net", host })).state === "granted") return;
  throw new CommandError(
    `this program's permissions forbid a connection to ${host}: it was compiled for another broker`,
  );
}

async function certificateOf({ cert, key }: { readonly cert?: string; readonly key?: string }) {
  if (cert === undefined || key === undefined) return {};
  // Read as texts first: a missing file is named with its flag.
  const pair = { cert: await readFlagFile("cert", cert), key: await readFlagFile("key", key) };
  if (cert === key) return pair;
  try {
    return { ...readKeyPair({ cert, key }), certificateFiles: { cert, key } };
  } catch (cause) {
    if (!(cause instanceof SyncError)) throw cause;
    throw new CommandError(cause.message, { cause });
  }
}

/** @throws {UsageError} if the URL is not a broker's, or a certificate comes without its key */
export async function connectionOf(url: string, flags: FlagValues<typeof connectionFlags>): Promise<Connection> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !["mqtt:", "mqtts:"].includes(parsed.protocol) || !parsed.hostname) {
    throw new UsageError(`--mqtt is mqtt://HOST:PORT or mqtts://HOST:PORT, not "${withoutSecrets(url)}"`);
  }
  if (parsed.username !== "" || parsed.password !== "") {
    throw new UsageError(`--mqtt ${withoutSecrets(url)}: give --username and --password-file instead`);
  }
  if ((flags.cert === undefined) !== (flags.key === undefined)) throw new UsageError("--cert and --key go together");
  await checkReachable(parsed);
  const password = await secretOf(flags, "password");
  checkSecretTravel(url, password !== undefined, flags.insecure);
  const ca = flags.ca === undefined ? {} : { ca: await readFlagFile("ca", flags.ca) };
  return {
    mqtt: url,
    ...(flags.username === undefined ? {} : { username: flags.username }),
    ...(password === undefined ? {} : { password }),
    ...ca,
    ...await certificateOf(flags),
    prefix: flags.prefix,
    protocolVersion: flags["mqtt-version"] === "5" ? 5 : 4,
  };
}
