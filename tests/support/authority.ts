/**
 * A device authority for tests, and the certificates that hostile devices come with.
 *
 * @module
 */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { Authority, type CertifiedKey, makeAuthority } from "../../cloud/identity/authority.ts";

/** An authority, with what it is made of. */
export interface TestAuthority {
  readonly authority: Authority;
  readonly pem: CertifiedKey;
}

/** Makes one. */
export async function testAuthority(now: () => number = Date.now, name = "Test devices"): Promise<TestAuthority> {
  const pem = await makeAuthority({ name, now: now() });
  return { authority: await Authority.open(pem, now), pem };
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const hourMs = 3_600_000;

/** What a certificate is to be like that no good authority would issue. */
export interface OddCertificate {
  /** Default `CN=dev-1`. */
  readonly subject?: string;
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** Default: a TLS client's. */
  readonly usage?: string;
  readonly isAuthority?: boolean;
  readonly dns?: readonly string[];
}

/** Issues whatever is asked for, with an authority's key. */
export async function oddCertificate({ pem }: TestAuthority, odd: OddCertificate): Promise<CertifiedKey> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const der = x509.PemConverter.decodeFirst(pem.key);
  const signingKey = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: odd.subject ?? "CN=dev-1",
    issuer: new x509.X509Certificate(pem.cert).subject,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(odd.sinceMs ?? Date.now() - hourMs),
    notAfter: new Date(odd.untilMs ?? Date.now() + hourMs),
    extensions: [
      new x509.BasicConstraintsExtension(odd.isAuthority ?? false, undefined, true),
      new x509.ExtendedKeyUsageExtension([odd.usage ?? x509.ExtendedKeyUsage.clientAuth]),
      ...(odd.dns
        ? [new x509.SubjectAlternativeNameExtension(odd.dns.map((value) => ({ type: "dns" as const, value })))]
        : []),
    ],
  });
  const key = x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  return { cert: certificate.toString("pem"), key };
}
