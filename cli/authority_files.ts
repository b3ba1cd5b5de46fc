/**
 * The device authority's folder: `ca.pem`, its certificate, which brokers trust, and `ca-key.pem` (0600), its key, which issues
 * certificates. Where the key is not, nothing can be issued: keep it on one machine, or away from all of them but for the hours
 * in which it is used. Nothing is ever written over.
 *
 * @module
 */
import { join, resolve } from "node:path";
import type { Authority, CertifiedKey } from "../cloud/identity/authority.ts";
import { CommandError } from "./command.ts";
import { makeStateFolder } from "./dev_state.ts";
import { readSecret } from "./secret.ts";

const certFile = "ca.pem", keyFile = "ca-key.pem";

/** A file that is the owner's alone, and new. @throws {CommandError} where there is one */
export async function writeNew(path: string, text: string, mode = 0o600): Promise<void> {
  try {
    await Deno.writeTextFile(path, text, { createNew: true, mode });
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) throw new CommandError(`${path} exists`, { cause });
    throw new CommandError(`${path} can't be written: ${(cause as Error).message}`, { cause });
  }
}

/** Writes a certificate and its key; the key first, and neither without the other. @throws {CommandError} where there is one */
export async function writePair(certPath: string, keyPath: string, { cert, key }: CertifiedKey): Promise<void> {
  await writeNew(keyPath, key);
  try {
    await writeNew(certPath, cert, 0o644);
  } catch (error) {
    await Deno.remove(keyPath);
    throw error;
  }
}

/** Makes an authority in a folder. @returns its two files */
export async function initAuthority(
  dir: string,
  options: { readonly name: string; readonly validMs?: number; readonly passphraseFile?: string },
): Promise<{ readonly cert: string; readonly key: string }> {
  const { name, validMs, passphraseFile } = options, { makeAuthority } = await import("../cloud/identity/authority.ts");
  const passphrase = await passphraseOf(passphraseFile);
  await makeStateFolder(resolve(dir));
  const files = { cert: join(dir, certFile), key: join(dir, keyFile) };
  await writePair(files.cert, files.key, await makeAuthority({ name, validMs, now: Date.now(), passphrase }));
  return files;
}

function passphraseOf(file: string | undefined): Promise<string | undefined> {
  return file === undefined ? Promise.resolve(undefined) : readSecret("passphrase-file", file);
}

/** The texts of a folder's authority; without `key` where there is none. @throws {CommandError} where there is no authority */
export async function readAuthority(
  dir: string,
  passphraseFile?: string,
): Promise<{ readonly cert: string; readonly key?: string; readonly passphrase?: string }> {
  const read = async (name: string) => {
    try {
      return await Deno.readTextFile(join(dir, name));
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return undefined;
      throw new CommandError(`${join(dir, name)} can't be read: ${(cause as Error).message}`, { cause });
    }
  };
  const cert = await read(certFile), key = await read(keyFile), passphrase = await passphraseOf(passphraseFile);
  if (cert === undefined) throw new CommandError(`there is no device authority in ${dir}: device ca init makes one`);
  return { cert, ...(key === undefined ? {} : { key }), ...(passphrase === undefined ? {} : { passphrase }) };
}

/** Opens a folder's authority, to issue with. @throws {CommandError} where its key is not there */
export async function openAuthority(dir: string, passphraseFile?: string): Promise<Authority> {
  const { key, ...rest } = await readAuthority(dir, passphraseFile);
  if (key === undefined) {
    throw new CommandError(`${join(dir, keyFile)} does not exist: nothing can be issued without it`);
  }
  const { Authority } = await import("../cloud/identity/authority.ts");
  return await Authority.open({ ...rest, key }, Date.now);
}
