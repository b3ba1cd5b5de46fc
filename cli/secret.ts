/**
 * Secrets that a command is given: on the command line everybody on the machine sees them, so a file or standard input will
 * do as well. And where they may travel.
 *
 * @module
 */
import { UsageError } from "./args.ts";
import { CommandError } from "./command.ts";

/** Longer than any token or JWT. */
const secretBytesMax = 16 * 1024;

/** The first line of a secret's file; `-` is standard input. @throws {CommandError} where there is none */
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
    // The line is whole, or it is no secret.
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

/** The password of `--password`, or of `--password-file`; undefined: neither is given. */
export async function passwordOf(
  flags: { readonly password?: string; readonly "password-file"?: string },
): Promise<string | undefined> {
  const { password, "password-file": file } = flags;
  if (password !== undefined && file !== undefined) {
    throw new UsageError("give --password or --password-file, not both");
  }
  return file === undefined ? password : await readSecret("password-file", file);
}

/** The bearer token of `--token`, or of `--token-file`; undefined: neither is given. */
export async function tokenOf(
  flags: { readonly token?: string; readonly "token-file"?: string },
): Promise<string | undefined> {
  const { token, "token-file": file } = flags;
  if (token !== undefined && file !== undefined) throw new UsageError("give --token or --token-file, not both");
  return file === undefined ? token : await readSecret("token-file", file);
}

const loopback: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Refuses to send a password where everybody on the way can read it: over `mqtt://` to another machine.
 *
 * @throws {UsageError}
 */
export function checkSecretTravel(url: string, hasPassword: boolean, insecure: boolean): void {
  const { protocol, hostname } = new URL(url);
  const isLocal = loopback.has(hostname) || hostname.startsWith("127.");
  if (!hasPassword || insecure || protocol !== "mqtt:" || isLocal) return;
  throw new UsageError(
    `--mqtt mqtt://${hostname} would send the password in the clear: use mqtts://, or say --insecure where the network is trusted`,
  );
}

/** Says it where the environment switches TLS's checks off: our own connections check all the same, others may not. */
export function warnOfUncheckedTls(warn: (line: string) => void): void {
  let value: string | undefined;
  try {
    value = Deno.env.get("NODE_TLS_REJECT_UNAUTHORIZED");
  } catch {
    // A program without the permission to read its environment is not affected by it.
    return;
  }
  if (value === "0") {
    warn("NODE_TLS_REJECT_UNAUTHORIZED=0 is set: certificates are checked at the broker nevertheless; unset it");
  }
}
