/** The device authority: what it issues, what it refuses, and that other programs agree. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { newKey, publicOf, requestFor } from "../../../agent/credentials/request.ts";
import { Authority, makeAuthority, skewMs } from "../../../cloud/identity/authority.ts";
import { TempDir } from "../../support/temp_dir.ts";
import { missingTools, skipped } from "../../support/tools.ts";
import { testAuthority } from "../../support/authority.ts";

const dayMs = 86_400_000, now = Date.UTC(2026, 0, 1);
const openssl = missingTools("openssl");

async function fails(work: Promise<unknown>, code: string, pattern: RegExp): Promise<void> {
  await assert.rejects(work, (error: { code?: string; message: string }) => {
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  });
}

Deno.test("authority: a device's certificate names it, is good for a client alone, and is known by its key", async () => {
  const { authority, pem } = await testAuthority(() => now);
  const key = newKey(), { cert, key: known } = await authority.certify("dev-1", requestFor("dev-1", key), 90 * dayMs);
  const certificate = new X509Certificate(cert);
  assert.equal(certificate.subject, "CN=dev-1");
  assert.equal(certificate.ca, false);
  assert.ok(certificate.verify(new X509Certificate(pem.cert).publicKey));
  assert.equal(Date.parse(certificate.validFrom), now - skewMs, "a clock that lags takes it");
  assert.equal(Date.parse(certificate.validTo), now + 90 * dayMs);
  assert.deepEqual(known, { key: known.key, until: now + 90 * dayMs, valid: 90 * dayMs });
  assert.match(known.key, /^[0-9a-f]{64}$/);
  assert.equal(publicOf(cert), publicOf(key));
  const usage = new x509.X509Certificate(cert).getExtension(x509.ExtendedKeyUsageExtension)!;
  assert.deepEqual([...usage.usages], [x509.ExtendedKeyUsage.clientAuth]);
});

Deno.test("authority: a certificate ends with the authority, and none is issued after that", async () => {
  let time = now;
  const pem = await makeAuthority({ name: "Short", now, validMs: 10 * dayMs });
  const authority = await Authority.open(pem, () => time);
  const { key } = await authority.certify("dev-1", requestFor("dev-1", newKey()), 90 * dayMs);
  assert.equal(key.until, now + 10 * dayMs);
  time = now + 10 * dayMs;
  await fails(authority.certify("dev-1", requestFor("dev-1", newKey()), dayMs), "config", /has expired/);
});

Deno.test("authority: a request for another device, of a weak key, unsigned, too large or none is refused", async () => {
  const { authority } = await testAuthority(() => now);
  const certify = (csr: string, device = "dev-1") => authority.certify(device, csr, dayMs);
  await fails(certify(requestFor("dev-2", newKey())), "invalid", /not for "dev-1"/);
  await fails(
    certify("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
    "invalid",
    /read/,
  );
  await fails(certify("x".repeat(9_000)), "invalid", /more than/);
  await fails(certify(withKeyOf(newKey(), requestFor("dev-1", newKey()))), "invalid", /not signed by the key/);
  const weak = await request("CN=dev-1", { name: "RSASSA-PKCS1-v1_5", modulusLength: 1024 });
  await fails(certify(weak), "invalid", /P-256, P-384 or RSA/);
  const two = await request("CN=dev-1,CN=dev-2", { name: "ECDSA", namedCurve: "P-256" });
  await fails(certify(two), "invalid", /not for "dev-1"/);
  const long = "d".repeat(65);
  await fails(certify(requestFor(long, newKey()), long), "unsupported", /longer than 64/);
  // And what is good is taken, of a larger key, too.
  const rsa = await request("CN=dev-1", { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048 });
  assert.equal(new X509Certificate((await certify(rsa)).cert).subject, "CN=dev-1");
});

/** A request in which somebody has put another public key: that key's holder has signed nothing. */
function withKeyOf(key: string, csr: string): string {
  const der = Buffer.from(csr.replace(/-----[^-]+-----/g, ""), "base64"), other = Buffer.from(publicOf(key), "base64");
  const at = der.indexOf(other.subarray(0, -64));
  assert.ok(at > 0);
  other.copy(der, at);
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
}

async function request(name: string, algorithm: { name: string; modulusLength?: number; namedCurve?: string }) {
  const whole = { ...algorithm, hash: "SHA-256", publicExponent: new Uint8Array([1, 0, 1]) };
  const keys = await crypto.subtle.generateKey(whole as RsaHashedKeyGenParams, true, ["sign", "verify"]);
  const made = await x509.Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm: whole });
  return made.toString("pem");
}

Deno.test("authority: its key may be sealed, and opens with its passphrase alone", async () => {
  const pem = await makeAuthority({ name: "Sealed", now, passphrase: "correct horse" });
  assert.match(pem.key, /ENCRYPTED PRIVATE KEY/);
  await Authority.open({ ...pem, passphrase: "correct horse" }, () => now);
  await fails(Authority.open({ ...pem, passphrase: "wrong" }, () => now), "config", /not its passphrase/);
  await fails(Authority.open(pem, () => now), "config", /not its passphrase/);
});

Deno.test("authority: what does not fit together is not opened", async () => {
  const one = await testAuthority(), other = await testAuthority();
  await fails(Authority.open({ cert: one.pem.cert, key: other.pem.key }, Date.now), "config", /not its certificate's/);
  const leaf = await one.authority.issue("dev-1", dayMs);
  await fails(Authority.open({ cert: leaf.cert, key: leaf.privateKey }, Date.now), "config", /no authority's/);
  await fails(Authority.open({ cert: "none", key: one.pem.key }, Date.now), "config", /no certificate/);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" });
  await fails(Authority.open({ cert: one.pem.cert, key: String(rsa) }, Date.now), "config", /not its certificate's/);
});

Deno.test({
  name: "authority: OpenSSL agrees: requests, chains, purposes",
  ignore: skipped(openssl),
  async fn() {
    using dir = new TempDir();
    const { authority, pem } = await testAuthority();
    const csr = requestFor("dev.1:a_b", newKey()), device = await authority.certify("dev.1:a_b", csr, dayMs);
    const server = await authority.issueServer(["broker.example.com", "127.0.0.1"], dayMs);
    const files = { "ca.pem": pem.cert, "r.pem": csr, "d.pem": device.cert, "s.pem": server.cert };
    for (const [name, text] of Object.entries(files)) Deno.writeTextFileSync(dir.file(name), text);
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command("openssl", { args }).output();
      return { code, said: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
    };
    const verify = (purpose: string, file: string) =>
      run("verify", "-CAfile", dir.file("ca.pem"), "-purpose", purpose, dir.file(file));
    assert.match((await run("req", "-in", dir.file("r.pem"), "-noout", "-verify")).said, /OK/);
    assert.equal((await verify("sslclient", "d.pem")).code, 0);
    assert.notEqual((await verify("sslserver", "d.pem")).code, 0, "a device is no broker");
    assert.equal((await verify("sslserver", "s.pem")).code, 0);
    assert.notEqual((await verify("sslclient", "s.pem")).code, 0, "a broker is no device");
    const named = await run("x509", "-in", dir.file("s.pem"), "-noout", "-ext", "subjectAltName");
    assert.match(named.said, /DNS:broker\.example\.com, IP Address:127\.0\.0\.1/);
  },
});
