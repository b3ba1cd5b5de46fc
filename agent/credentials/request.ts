/**
 * A device's key, and a certificate request (PKCS #10, RFC 2986) for it. Written by hand, because it is one fixed form of four
 * fields, P-256 alone: the X.509 library that the cloud's authority uses is 2.2 MB, which no device needs for it.
 *
 *     SEQUENCE { SEQUENCE { version 0, name { CN }, public key, [0] {} }, ecdsa-with-SHA256, signature }
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";

/** One value of DER: its tag, its length, its content. */
function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content), { length } = body;
  const head = length < 0x80
    ? [tag, length]
    : length < 0x100
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), body]);
}

const sequence = 0x30, set = 0x31, integer = 0x02, bits = 0x03, oid = 0x06, utf8 = 0x0c, attributes = 0xa0;
/** 2.5.4.3 and 1.2.840.10045.4.3.2. */
const commonName = der(oid, Buffer.from("550403", "hex")),
  ecdsaSha256 = der(oid, Buffer.from("2a8648ce3d040302", "hex"));

/** A new private key of P-256, PKCS #8 in PEM. */
export function newKey(): string {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" })
    .toString();
}

/** The public key of a private one or of a certificate (PEM), as DER in base64. @throws where it can't be read */
export function publicOf(pem: string): string {
  const key = pem.includes("CERTIFICATE") ? new X509Certificate(pem).publicKey : createPublicKey(createPrivateKey(pem));
  return key.export({ type: "spki", format: "der" }).toString("base64");
}

/** The request for a key's certificate, PEM. @throws where that is no key of P-256 in PEM */
export function requestFor(deviceId: string, keyPem: string): string {
  const key = createPrivateKey(keyPem), publicKey = Buffer.from(publicOf(keyPem), "base64");
  const name = der(sequence, der(set, der(sequence, commonName, der(utf8, Buffer.from(deviceId, "utf8")))));
  const info = der(sequence, der(integer, Buffer.of(0)), name, publicKey, der(attributes));
  const signature = sign("sha256", info, { key, dsaEncoding: "der" });
  const request = der(sequence, info, der(sequence, ecdsaSha256), der(bits, Buffer.of(0), signature));
  const lines = request.toString("base64").match(/.{1,64}/g)!;
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join("\n")}\n-----END CERTIFICATE REQUEST-----\n`;
}
