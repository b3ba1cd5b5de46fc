/**
 * How an agent or a cloud worker reaches its broker: the flags, and the options that they become. PEM files are read here,
 * so that a missing one is reported before anything is opened.
 *
 * @module
 */
import { withoutSecrets } from "../protocol/log.ts";
import { type Flags, type FlagValues, UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { checkSecretTravel, passwordOf } from "./secret.ts";

/** The flags of a connection to a broker, beside its URL. */
export const connectionFlags = {
  username: { type: "string", value: "U", summary: "user name at the broker" },
  password: { type: "string", value: "P", summary: "password or token (visible in the process list)" },
  "password-file": { type: "string", value: "FILE", summary: "read it from a file's first line; - is standard input" },
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

/** Options of a connection, as `openAgent` and `startCloud` take them. */
export interface Connection {
  readonly mqtt: string;
  readonly username?: string;
  readonly password?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
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

/** A link would try for ever what a compiled program's permissions forbid for good. */
async function checkReachable({ protocol, hostname, port }: URL): Promise<void> {
  const host = `${hostname}:${port || (protocol === "mqtts:" ? 8883 : 1883)}`;
  if ((await Deno.permissions.query({ name: "net", host })).state === "granted") return;
  throw new CommandError(
    `this program's permissions forbid a connection to ${host}: it was compiled for another broker`,
  );
}

/**
 * @throws {UsageError} where the URL is not a broker's, or a certificate comes without its key
 */
export async function connectionOf(url: string, flags: FlagValues<typeof connectionFlags>): Promise<Connection> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !["mqtt:", "mqtts:"].includes(parsed.protocol) || !parsed.hostname) {
    throw new UsageError(`--mqtt is mqtt://HOST:PORT or mqtts://HOST:PORT, not "${withoutSecrets(url)}"`);
  }
  if ((flags.cert === undefined) !== (flags.key === undefined)) throw new UsageError("--cert and --key go together");
  await checkReachable(parsed);
  const password = await passwordOf(flags);
  checkSecretTravel(url, password !== undefined, flags.insecure);
  const pem = async (flag: "ca" | "cert" | "key") => {
    const file = flags[flag];
    return file === undefined ? {} : { [flag]: await readFlagFile(flag, file) };
  };
  return {
    mqtt: url,
    ...(flags.username === undefined ? {} : { username: flags.username }),
    ...(password === undefined ? {} : { password }),
    ...await pem("ca"),
    ...await pem("cert"),
    ...await pem("key"),
    prefix: flags.prefix,
    protocolVersion: flags["mqtt-version"] === "5" ? 5 : 4,
  };
}
