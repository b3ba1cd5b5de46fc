/**
 * A device's certificate and key as two files, replaced by the next ones without a moment in which neither lets the device in.
 *
 * - `CERT`, `KEY`: what lets the device in.
 * - `KEY.next`: the key for which a certificate was asked. Written before it is asked for: after a crash the same is asked again.
 * - `CERT.next`: its certificate. The device comes with it from then on, and goes back to the old one if it is refused.
 *
 * Once a broker has let the device in by the new ones, they are renamed to the old ones' names, the certificate first. Two
 * renames are not one: what a crash, or a power cut, leaves of them is recognised by which key fits which certificate, and
 * finished at the next start.
 *
 *     KEY.next ─(asked)─▶ CERT.next ─(let in)─▶ CERT ─▶ KEY
 *
 * All files are 0600. Their folder must be the device's to write; where it is not, nothing is renewed.
 *
 * @module
 */
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { SyncError } from "../../schema/errors.ts";
import { newKey, publicOf, requestFor } from "./request.ts";
import { syncFolder, writeWholeFile } from "./whole_file.ts";

/** A certificate and its key, PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** Where they are. */
export interface KeyPaths {
  readonly cert: string;
  readonly key: string;
}

function next(path: string): string {
  return `${path}.next`;
}

function read(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

/** The public key of a PEM text; undefined: half a file, or of a kind that is not known here. */
function publicIn(pem: string | undefined): string | undefined {
  if (pem === undefined) return undefined;
  try {
    return publicOf(pem);
  } catch {
    return undefined;
  }
}

function fits(cert: string | undefined, key: string | undefined): boolean {
  const ofCert = publicIn(cert);
  return ofCert !== undefined && ofCert === publicIn(key);
}

/** The pair that lets a device in, for a program that does not renew it: nothing is written. @throws SyncError `config` */
export function readKeyPair({ cert: certPath, key: keyPath }: KeyPaths): KeyPair {
  const certs = [read(certPath), read(next(certPath))], keys = [read(keyPath), read(next(keyPath))];
  // The old one while both are there, and what a crash between the renames has left.
  for (const [c, k] of [[0, 0], [0, 1], [1, 0]] as const) {
    if (fits(certs[c], keys[k])) return { cert: certs[c]!, key: keys[k]! };
  }
  if (certs[0] === undefined) throw new SyncError("config", `${certPath} does not exist`);
  if (keys[0] === undefined) throw new SyncError("config", `${keyPath} does not exist`);
  // Of a kind that is judged by who uses it alone.
  if (publicIn(certs[0]) === undefined || publicIn(keys[0]) === undefined) return { cert: certs[0], key: keys[0] };
  throw new SyncError("config", `${keyPath} is not the key of ${certPath}`);
}

/** See the module. */
export class KeyFiles {
  #pair: KeyPair;
  #next: KeyPair | undefined;
  /** The broker has refused the new one: the old one is used until there is another. */
  #isRefused = false;

  /** Opens them, and finishes what a crash has left. @throws SyncError `config` where they don't fit together */
  constructor(private readonly paths: KeyPaths) {
    this.#pair = readKeyPair(paths);
    const { cert, key } = paths;
    const [certNext, keyNext] = [read(next(cert)), read(next(key))];
    if (fits(certNext, keyNext)) this.#next = { cert: certNext!, key: keyNext! };
    // Between the renames, in either order.
    else if (fits(read(cert), keyNext)) renameSync(next(key), key);
    else if (fits(certNext, read(key))) renameSync(next(cert), cert);
  }

  /** What to show now: the new pair, while it is not refused. The old one is read again: somebody may have put another there. */
  current(): KeyPair {
    if (this.#next && !this.#isRefused) return this.#next;
    try {
      this.#pair = readKeyPair(this.paths);
    } catch {
      // One of the two is replaced so far, or can't be read: what was read before is as good as it was.
    }
    return this.#pair;
  }

  /** From when and until when the shown certificate is valid, ms since 1970. */
  get validity(): { readonly fromMs: number; readonly untilMs: number } {
    const { validFrom, validTo } = new X509Certificate((this.isWaiting ? this.#next! : this.#pair).cert);
    return { fromMs: Date.parse(validFrom), untilMs: Date.parse(validTo) };
  }

  /** Whether there is a new pair that was not used yet. */
  get isWaiting(): boolean {
    return this.#next !== undefined && !this.#isRefused;
  }

  /** The request for the next certificate, PEM; the same until there is one. @throws what the system says of the folder */
  request(deviceId: string): string {
    const path = next(this.paths.key), known = read(path);
    // One that was refused, or whose key is used already, is not asked for again.
    const isFree = publicIn(known) !== undefined && !fits(this.#next?.cert, known) && !fits(this.#pair.cert, known);
    const key = isFree ? known! : newKey();
    if (key !== known) {
      rmSync(next(this.paths.cert), { force: true });
      this.#next = undefined;
      writeWholeFile(path, key);
    }
    return requestFor(deviceId, key);
  }

  /**
   * Takes the certificate that was asked for. From now on it is shown.
   *
   * @throws SyncError `invalid` where it is not for this key and device, or ends no later than the present one
   */
  take(deviceId: string, cert: string): void {
    const key = read(next(this.paths.key));
    if (!fits(cert, key)) throw new SyncError("invalid", "the new certificate is not for the key that was sent");
    const { subject, validTo } = new X509Certificate(cert);
    if (subject !== `CN=${deviceId}`) {
      throw new SyncError("invalid", `the new certificate is for ${JSON.stringify(subject)}, not for CN=${deviceId}`);
    }
    if (!(Date.parse(validTo) > Date.parse(new X509Certificate(this.#pair.cert).validTo))) {
      throw new SyncError("invalid", "the new certificate ends no later than the present one");
    }
    writeWholeFile(next(this.paths.cert), cert);
    this.#next = { cert, key: key! };
    this.#isRefused = false;
  }

  /** A broker has let the device in by what is shown: the new ones take the old ones' places. */
  accepted(): void {
    if (!this.#next || this.#isRefused) return;
    const { cert, key } = this.paths;
    renameSync(next(cert), cert);
    renameSync(next(key), key);
    syncFolder(cert);
    this.#pair = this.#next;
    this.#next = undefined;
  }

  /** A broker has refused what is shown. @returns whether there is an older one to show */
  refused(): boolean {
    if (!this.isWaiting) return false;
    this.#isRefused = true;
    return true;
  }
}
