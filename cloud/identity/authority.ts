/**
 * The project's own small certificate authority: makes itself, and issues certificates for devices and for the broker. An
 * elliptic curve (P-256) throughout: every TLS library of a device knows it.
 *
 * - What it issues for a device says nothing but its id, as common name, and is good for a TLS client alone; what it issues for
 *   a broker is good for a TLS server alone. Neither issues others.
 * - A request (PKCS #10) proves that whoever asks has the key. Its names and extensions are not taken over.
 * - A certificate begins {@link skewMs} before it is issued, for clocks that lag, and never outlives the authority.
 *
 * This module loads the X.509 library (2.2 MB of packages); everything else imports it only where certificates are issued.
 *
 * @module
 */
import "npm:reflect-metadata@^0.2.2";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "npm:@peculiar/x509@^1.14.3";
import { createHash, createPrivateKey, createPublicKey, X509Certificate as NodeCertificate } from "node:crypto";
import { isIP } from "node:net";
import { isId, SyncError } from "../../schema.ts";
import type { DeviceKey } from "../sync/device_keys.ts";

/** A certificate with its key, PEM texts. */
export interface CertifiedKey {
  readonly cert: string;
  /** PKCS #8. */
  readonly key: string;
}

/** A device's new certificate. */
export interface Issued {
  /** PEM. */
  readonly cert: string;
  /** For the registry: without it the certificate lets nobody in. */
  readonly key: DeviceKey;
}

const dayMs = 86_400_000;
/** A clock that is so far behind the authority's takes a new certificate all the same. */
export const skewMs = 3_600_000;
/** How long a device's certificate is valid where nothing else is said. */
export const deviceValidMs = 90 * dayMs;
/** How long the authority itself is. */
export const authorityValidMs = 3_650 * dayMs;
/** Longer names don't fit a certificate (RFC 5280: 64 characters). */
export const commonNameMax = 64;
/** Of a request: one with a key of RSA and a few extensions has 2 KB. */
export const requestBytesMax = 8 * 1024;

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

function newKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function privatePem(key: CryptoKey, passphrase?: string): Promise<string> {
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", key));
  const object = createPrivateKey({ key: der as never, format: "der", type: "pkcs8" });
  const sealed = passphrase === undefined ? {} : { cipher: "aes-256-cbc", passphrase };
  return String(object.export({ type: "pkcs8", format: "pem", ...sealed }));
}

/** Certificates count in seconds: without the fraction the beginning would be later than the moment that it is issued. */
function seconds(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}

function subjectOf(commonName: string): { CN: string[] }[] {
  return [{ CN: [commonName] }];
}

/** Makes an authority. @param options.passphrase what its key is sealed with: AES-256, PBKDF2 */
export async function makeAuthority(
  options: { readonly name: string; readonly validMs?: number; readonly now: number; readonly passphrase?: string },
): Promise<CertifiedKey> {
  const { name, validMs = authorityValidMs, now, passphrase } = options;
  if (name === "" || name.length > commonNameMax) {
    throw new RangeError(`an authority's name has 1 to ${commonNameMax} characters`);
  }
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: subjectOf(name),
    keys,
    signingAlgorithm: algorithm,
    notBefore: seconds(now - skewMs),
    notAfter: seconds(now + validMs),
    extensions: [
      // Path length 0: it issues for devices and brokers, and no other authority.
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pemOf(certificate), key: await privatePem(keys.privateKey, passphrase) };
}

function pemOf(certificate: X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

/** What a key's certificate is recognised by: SHA-256 of its SubjectPublicKeyInfo. */
function keyHash(spki: ArrayBuffer | Uint8Array): string {
  return createHash("sha256").update(new Uint8Array(spki)).digest("hex");
}

/** @throws SyncError `invalid` for a request that is none, is not signed by its own key, or has a weak one */
async function requestOf(pem: string): Promise<Pkcs10CertificateRequest> {
  const refuse = (why: string, cause?: unknown) =>
    new SyncError("invalid", `the certificate request ${why}`, { cause });
  if (pem.length > requestBytesMax) throw refuse(`has more than ${requestBytesMax} bytes`);
  let request: Pkcs10CertificateRequest;
  try {
    request = new Pkcs10CertificateRequest(pem);
    checkKey(request);
  } catch (cause) {
    throw cause instanceof SyncError ? cause : refuse(`can't be read: ${(cause as Error).message}`, cause);
  }
  const isSigned = await request.verify().catch(() => false);
  if (!isSigned) throw refuse("is not signed by the key that it names");
  return request;
}

function checkKey({ publicKey }: Pkcs10CertificateRequest): void {
  const key = createPublicKey({ key: new Uint8Array(publicKey.rawData) as never, format: "der", type: "spki" });
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const isCurve = key.asymmetricKeyType === "ec" && /^(prime256v1|P-256|secp384r1|P-384)$/.test(namedCurve ?? "");
  // Larger ones cost the verifier: a handshake is before any admission.
  if (isCurve || (key.asymmetricKeyType === "rsa" && modulusLength >= 2048 && modulusLength <= 4096)) return;
  throw new SyncError("invalid", "the certificate request's key is not P-256, P-384 or RSA with 2048 to 4096 bits");
}

/** An authority whose key is at hand. */
export class Authority {
  private constructor(
    private readonly certificate: X509Certificate,
    private readonly signingKey: CryptoKey,
    private readonly now: () => number,
  ) {}

  /**
   * Opens it from its PEM texts.
   *
   * @throws SyncError `config` where they don't fit together, are no authority's, or the passphrase is wrong
   */
  static async open(
    { cert, key, passphrase }: CertifiedKey & { readonly passphrase?: string },
    now: () => number,
  ): Promise<Authority> {
    const refuse = (why: string, cause?: unknown) => new SyncError("config", `the device authority ${why}`, { cause });
    let certificate: X509Certificate, der: Uint8Array<ArrayBuffer>, isOwn: boolean;
    try {
      certificate = new X509Certificate(cert);
    } catch (cause) {
      throw refuse("has no certificate in PEM", cause);
    }
    try {
      const object = createPrivateKey({ key, format: "pem", ...(passphrase === undefined ? {} : { passphrase }) });
      isOwn = new NodeCertificate(cert).publicKey.export({ type: "spki", format: "pem" }) ===
        createPublicKey(object).export({ type: "spki", format: "pem" });
      der = new Uint8Array(object.export({ type: "pkcs8", format: "der" }));
    } catch (cause) {
      const sealed = /ENCRYPTED/.test(key);
      throw refuse(sealed ? "has a sealed key, and this is not its passphrase" : "has no key in PEM (PKCS #8)", cause);
    }
    if (!isOwn) throw refuse("has a key that is not its certificate's");
    if (!certificate.getExtension(BasicConstraintsExtension)?.ca) {
      throw refuse("has a certificate that is no authority's");
    }
    const signingKey = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]).catch((cause) => {
      throw refuse("has a key that is not of P-256", cause);
    });
    return new Authority(certificate, signingKey, now);
  }

  /** The authority's own certificate, PEM. */
  get cert(): string {
    return pemOf(this.certificate);
  }

  /** When nothing that it issued is valid any more, ms since 1970. */
  get untilMs(): number {
    return this.certificate.notAfter.getTime();
  }

  /**
   * Answers a device's request.
   *
   * @param validMs how long the certificate is valid; it ends with the authority at the latest
   * @throws SyncError `invalid` for a request that is refused, `unsupported` for a device whose name is too long for one
   */
  async certify(deviceId: string, requestPem: string, validMs: number): Promise<Issued> {
    const request = await requestOf(requestPem), names = request.subjectName.getField("CN");
    if (names.length !== 1 || names[0] !== deviceId) {
      throw new SyncError(
        "invalid",
        `the certificate request is not for "${deviceId}": its common name must be that id`,
      );
    }
    return await this.#issueDevice(deviceId, await request.publicKey.export(), validMs);
  }

  /** A key and its certificate for a device that does not make its own. @throws SyncError `unsupported` */
  async issue(deviceId: string, validMs: number): Promise<Issued & { readonly privateKey: string }> {
    const keys = await newKeys();
    return {
      ...await this.#issueDevice(deviceId, keys.publicKey, validMs),
      privateKey: await privatePem(keys.privateKey),
    };
  }

  /** A key and its certificate for a broker, by the names and addresses under which devices reach it. */
  async issueServer(names: readonly string[], validMs: number): Promise<CertifiedKey> {
    const keys = await newKeys();
    const alternatives = names.map((value) => ({ type: isIP(value) ? "ip" as const : "dns" as const, value }));
    const certificate = await this.#sign(names[0]!.slice(0, commonNameMax), keys.publicKey, validMs, [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(alternatives),
    ]);
    return { cert: pemOf(certificate), key: await privatePem(keys.privateKey) };
  }

  async #issueDevice(deviceId: string, publicKey: CryptoKey, validMs: number): Promise<Issued> {
    if (!isId(deviceId)) throw new RangeError("a device's id is 1 to 128 of A-Z a-z 0-9 _ . : -");
    if (deviceId.length > commonNameMax) {
      throw new SyncError(
        "unsupported",
        `"${deviceId}" is longer than ${commonNameMax} characters: no certificate names it`,
      );
    }
    const certificate = await this.#sign(deviceId, publicKey, validMs, [
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
    ]);
    return {
      cert: pemOf(certificate),
      key: {
        key: keyHash(certificate.publicKey.rawData),
        until: certificate.notAfter.getTime(),
        valid: validMs,
      },
    };
  }

  async #sign(
    commonName: string,
    publicKey: CryptoKey,
    validMs: number,
    extensions: readonly (ExtendedKeyUsageExtension | SubjectAlternativeNameExtension)[],
  ): Promise<X509Certificate> {
    const now = this.now(), until = Math.min(now + validMs, this.untilMs);
    if (until <= now) throw new SyncError("config", "the device authority has expired: make another one");
    return await X509CertificateGenerator.create({
      subject: subjectOf(commonName),
      issuer: this.certificate.subject,
      publicKey,
      signingKey: this.signingKey,
      signingAlgorithm: algorithm,
      notBefore: seconds(Math.max(now - skewMs, this.certificate.notBefore.getTime())),
      notAfter: seconds(until),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        await AuthorityKeyIdentifierExtension.create(this.certificate.publicKey),
        await SubjectKeyIdentifierExtension.create(publicKey),
        ...extensions,
      ],
    });
  }
}
