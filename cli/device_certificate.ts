/**
 * `mod.ts device ca …`, and the certificates of `device add --cert|--csr` and `device certify`.
 *
 * @module
 */
import { join } from "node:path";
import type { Authority, Issued } from "../cloud/identity/authority.ts";
import { UsageError } from "./args.ts";
import { initAuthority, openAuthority, writeNew, writePair } from "./authority_files.ts";
import { CommandError } from "./command.ts";
import { readFlagFile } from "./connection.ts";
import { durationOf } from "./duration.ts";

/** The flags of certificates. */
export const certificateFlags = {
  cert: {
    type: "boolean",
    summary: "add, certify: make a key and its certificate in place of a token, and write both",
  },
  csr: { type: "string", value: "FILE", summary: "add, certify: a device's certificate request; its key stays there" },
  out: { type: "string", value: "DIR", summary: "where DEVICE.pem and DEVICE-key.pem are written", default: "." },
  "ca-dir": { type: "string", value: "DIR", summary: "the device authority's folder; default DIR/ca of --dir" },
  "passphrase-file": { type: "string", value: "FILE", summary: "of the authority's key: the file's first line" },
  name: { type: "string", value: "TEXT", summary: "ca init: the authority's name", default: "Twintable devices" },
} as const;

interface CertificateFlags {
  readonly cert: boolean;
  readonly csr?: string;
  readonly out: string;
  readonly "ca-dir"?: string;
  readonly "passphrase-file"?: string;
  readonly dir: string;
}

/** The authority's folder. */
export function authorityDir(flags: Pick<CertificateFlags, "ca-dir" | "dir">): string {
  return flags["ca-dir"] ?? join(flags.dir, "ca");
}

/** How long a certificate is valid where nothing is said: renewed in time, nobody has to think of it. */
const defaultValidMs = 90 * 86_400_000;
/** A broker's certificate is renewed by hand. */
const serverValidMs = 825 * 86_400_000;

/** `device ca init`, `device ca server NAME …`. */
export async function caCommand(
  flags: CertificateFlags & { readonly name: string; readonly expires?: string },
  [action, ...names]: readonly string[],
  print: (line: string) => void,
): Promise<number> {
  const dir = authorityDir(flags), validMs = durationOf("expires", flags.expires);
  const passphraseFile = flags["passphrase-file"];
  if (action === "init" && names.length === 0) {
    const { cert, key } = await initAuthority(dir, { name: flags.name, validMs, passphraseFile });
    print(`${cert}: the devices' authority, which brokers trust (cloud --device-ca ${dir})`);
    print(
      `${key}: its key${passphraseFile === undefined ? ", not sealed" : ", sealed"}; whoever has it can let devices in`,
    );
    return 0;
  }
  if (action !== "server" || names.length === 0) {
    throw new UsageError(
      `device ca ${[action, ...names].join(" ")}? device ca init, or device ca server NAME [NAME …]`,
    );
  }
  const wrong = names.find((name) => !/^[A-Za-z0-9.:*-]{1,253}$/.test(name));
  if (wrong !== undefined) throw new UsageError(`"${wrong}" is not the name or address of a broker`);
  const authority = await openAuthority(dir, passphraseFile);
  const pair = await authority.issueServer(names, validMs ?? serverValidMs);
  const files = { cert: join(flags.out, "server.pem"), key: join(flags.out, "server-key.pem") };
  await writePair(files.cert, files.key, pair);
  print(`${files.cert}, ${files.key}: for a broker that devices reach as ${names.join(", ")}`);
  print(`devices trust it by --ca ${join(dir, "ca.pem")}`);
  return 0;
}

/** A certificate that was issued and is not written yet: the registry comes first. */
export interface ReadyCertificate extends Issued {
  /** Writes what belongs on the device. @throws {CommandError} where there is such a file */
  write(): Promise<string>;
}

/** Issues a device's certificate as `--cert` or `--csr` says. @throws SyncError for a request that is refused */
export async function issueFor(
  deviceId: string,
  flags: CertificateFlags & { readonly expires?: string },
): Promise<ReadyCertificate> {
  if (flags.cert && flags.csr !== undefined) throw new UsageError("give --cert or --csr, not both");
  const validMs = durationOf("expires", flags.expires) ?? defaultValidMs;
  const csr = flags.csr === undefined ? undefined : await readFlagFile("csr", flags.csr);
  const authority = await openAuthority(authorityDir(flags), flags["passphrase-file"]);
  const files = { cert: join(flags.out, `${deviceId}.pem`), key: join(flags.out, `${deviceId}-key.pem`) };
  for (const file of csr === undefined ? [files.cert, files.key] : [files.cert]) await mustBeFree(file);
  return csr === undefined
    ? await withKey(authority, deviceId, validMs, files)
    : await withRequest(authority, deviceId, validMs, csr, files.cert);
}

async function withKey(
  authority: Authority,
  deviceId: string,
  validMs: number,
  files: { readonly cert: string; readonly key: string },
): Promise<ReadyCertificate> {
  const { privateKey, ...issued } = await authority.issue(deviceId, validMs);
  return {
    ...issued,
    async write() {
      await writePair(files.cert, files.key, { cert: issued.cert, key: privateKey });
      return `${files.cert}, ${files.key}: give both to the device, and delete them here (agent --cert … --key …)`;
    },
  };
}

async function withRequest(
  authority: Authority,
  deviceId: string,
  validMs: number,
  csr: string,
  file: string,
): Promise<ReadyCertificate> {
  const issued = await authority.certify(deviceId, csr, validMs);
  return {
    ...issued,
    async write() {
      await writeNew(file, issued.cert, 0o644);
      return `${file}: for the key that stays on the device (agent --cert … --key …)`;
    },
  };
}

/** Before the registry knows the key: a certificate that could not be written would be lost. */
async function mustBeFree(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new CommandError(`${path} can't be looked at: ${(error as Error).message}`, { cause: error });
  }
  throw new CommandError(`${path} exists`);
}
