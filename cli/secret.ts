/**
 * Secrets of commands, and where they may be sent. On the command line, everybody on the machine sees them, so a file
 * or standard input works, too.
 *
 * @module
 */
import { type Flag, UsageError } from "./args.ts";
import { CommandError } from "./command.ts";
import { printable } from "../protocol/log.ts";

/** Longer than any token or JWT. */
const secretBytesMax = 16 * 1024;

/** The first line of a secret's file; `-` is standard input. @throws {CommandError} if there is none */
export async function readSecret(flag: string, file: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = file === "-" ? await readInput() : await Deno.readFile(file);
  } catch (cause) {
    throw new CommandError(`--${flag}: ${file} can't be read: ${(cause as Error).message}`, { cause });
  }
  if (bytes.length > secretBytesMax) throw new CommandError(`--${flag}: ${file} has more than ${secretBytesMax} bytes`);
  const [line = ""] = new TextDecoder().decode(bytes).split("\n", 1);
  const secret = line.endsWith("\r") ? line.slice(0, -1) : line;
  if (secret === "") throw new CommandError(`--${flag}: ${file === "-" ? "standard input" : file} has no first line`);
  return secret;
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of Deno.stdin.readable) {
    chunks.push(chunk);
    length += chunk.length;
    // The line must be complete.
    if (chunk.includes(0x0a) || length > secretBytesMax) break;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

type SecretFlag = Extract<Flag, { type: "string" }>;

/**
 * The two flags of a secret: itself, which everybody on the machine can read, and `NAME-file`; without either the variable
 * `TWINTABLE_NAME` counts. Each secret of a command is declared so; `tests/cli/secrets_test.ts` finds one that is not.
 */
export function secretFlags<const N extends string>(
  name: N,
  value: string,
  summary: string,
): {
  readonly [K in N | `${N}-file`]: { readonly [P in "type" | "value" | "summary" | "secret"]: SecretFlag[P] } & {
    readonly type: "string";
  };
} {
  return {
    [name]: { type: "string", value, summary: `${summary} (visible in the process list)`, secret: true },
    [`${name}-file`]: {
      type: "string",
      value: "FILE",
      summary: `read it from a file's first line; - is standard input (or set ${variableOf(name)})`,
    },
  } as ReturnType<typeof secretFlags<N>>;
}

function variableOf(name: string): string {
  return `TWINTABLE_${name.toUpperCase()}`;
}

/** Undefined also where the program may not read its environment, as the compiled one. */
function fromEnvironment(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return (state === "granted" && Deno.env.get(variable)) || undefined;
}

/** Whether there is a secret of this name, without reading its file. */
export function hasSecret<const N extends string>(
  flags: { readonly [K in N | `${N}-file`]?: string },
  name: N,
): boolean {
  return [flags[name], flags[`${name}-file`], fromEnvironment(variableOf(name))].some((one) => one !== undefined);
}

/** A secret as its flags give it, or else the environment; undefined: none does. @throws {UsageError} if both do; {CommandError} for the file */
export async function secretOf<const N extends string>(
  flags: { readonly [K in N | `${N}-file`]?: string },
  name: N,
): Promise<string | undefined> {
  const secret: string | undefined = flags[name], file: string | undefined = flags[`${name}-file`];
  if (secret !== undefined && file !== undefined) throw new UsageError(`give --${name} or --${name}-file, not both`);
  if (file !== undefined) return await readSecret(`${name}-file`, file);
  return secret ?? fromEnvironment(variableOf(name));
}

const loopback: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** Whether a URL's host is this machine. */
export function isLoopback(hostname: string): boolean {
  return loopback.has(hostname) || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

/**
 * Refuses to send a password that everybody on the way could read: over `mqtt://` to another machine.
 *
 * @throws {UsageError}
 */
export function checkSecretTravel(url: string, hasPassword: boolean, insecure: boolean): void {
  const { protocol, hostname } = new URL(url);
  if (!hasPassword || insecure || protocol !== "mqtt:" || isLoopback(hostname)) return;
  throw new UsageError(
    `--mqtt mqtt://${hostname} would send the password in the clear: use mqtts://, or say --insecure where the network is trusted`,
  );
}

interface TlsVariable {
  readonly name: string;
  readonly matters: (value: string) => boolean;
  readonly so: string;
}

/** Variables with which the environment decides whom TLS trusts, when they do, and what follows from that. */
export const tlsVariables: readonly TlsVariable[] = [
  {
    name: "NODE_TLS_REJECT_UNAUTHORIZED",
    matters: (value: string) => value === "0",
    so: "certificates are checked at the broker nevertheless; unset it",
  },
  ...["DENO_CERT", "NODE_EXTRA_CA_CERTS", "DENO_TLS_CA_STORE"].map((name) => ({
    name,
    // The runtime's own authorities are the usual ones.
    matters: (value: string) => value !== "" && value !== "mozilla",
    so: "whoever signs for the authorities that it adds is trusted, except by a broker's connection with --ca",
  })),
];

function variable(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch {
    // A program without the permission to read its environment can't tell.
    return undefined;
  }
}

/**
 * Warns if the environment weakens TLS: if it switches checks off (our own connections to brokers check all the same,
 * others may not), or adds authorities. `--unsafely-ignore-certificate-errors` no program sees; the runtime warns of it.
 */
export function warnOfWeakTls(
  warn: (line: string) => void,
  read: (name: string) => string | undefined = variable,
): void {
  for (const { name, matters, so } of tlsVariables) {
    const value = read(name);
    if (value !== undefined && matters(value)) warn(`${name}=${printable(value)} is set: ${so}`);
  }
}
