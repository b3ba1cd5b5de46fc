/**
 * Devices with a JWT of another issuer: what a forger tries (no signature, the public key as an HMAC's, keys of his own in the
 * header), tokens for somebody or something else, and how long a token counts.
 */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";
import { isJwt, type JwtOptions, JwtVerifier } from "../../cloud/identity/jwt.ts";
import { startCloud } from "../../cloud/worker.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { e2eCompiled } from "../support/schema.ts";
import { until } from "../support/until.ts";
import { RawConnection } from "./raw_mqtt.ts";

const issuer = "https://id.example.com", audience = "twintable", hourMs = 3_600_000;
const start = Date.UTC(2026, 0, 1);
interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}
// The types of `jose` are Node's.
const newKeys = async () => await generateKeyPair("ES256", { extractable: true }) as unknown as KeyPair;
const { publicKey, privateKey } = await newKeys();
const jwk = async (key: CryptoKey, kid: string): Promise<JWK> => ({
  ...await exportJWK(key),
  kid,
  alg: "ES256",
  use: "sig",
});
const set = JSON.stringify({ keys: [await jwk(publicKey, "one")] });
const identities: Record<string, string> = { "dev-1": "acme", "dev-2": "acme" };
const identityOf = (deviceId: string) =>
  Promise.resolve(Object.hasOwn(identities, deviceId) ? { deviceId, accountId: identities[deviceId]! } : undefined);

function verifier(options: Partial<JwtOptions> = {}, nowMs = start) {
  return JwtVerifier.open({ issuer, audience, keys: { set }, ...options }, identityOf, () => nowMs);
}

interface Forged {
  readonly header?: Record<string, unknown>;
  readonly key?: CryptoKey;
  readonly claims?: JWTPayload;
}

/** A good token, but for what is said. */
function token({ header, key = privateKey, claims }: Forged = {}): Promise<string> {
  const seconds = Math.floor(start / 1000);
  const payload = {
    sub: "dev-1",
    account: "acme",
    iss: issuer,
    aud: audience,
    iat: seconds,
    exp: seconds + 3600,
    ...claims,
  };
  return new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid: "one", ...header }).sign(key);
}

const part = (value: unknown) =>
  btoa(JSON.stringify(value)).replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_");

Deno.test("jwt: a good token admits the device that it names until it expires", async () => {
  const good = await token();
  assert.ok(isJwt(good));
  assert.deepEqual(await verifier().admit("dev-1", good), {
    deviceId: "dev-1",
    accountId: "acme",
    untilMs: start + hourMs + 60_000,
  });
  assert.ok(await verifier({}, start + hourMs + 30_000).admit("dev-1", good), "clocks differ by less than a minute");
  assert.equal(await verifier({}, start + hourMs + 61_000).admit("dev-1", good), undefined, "expired");
  assert.ok(await verifier({ scope: "sync" }).admit("dev-1", await token({ claims: { scope: "read sync" } })));
});

Deno.test("jwt: what a forger or somebody else's device presents is refused", async () => {
  const other = await newKeys(), seconds = Math.floor(start / 1000);
  const claims = { sub: "dev-1", account: "acme", iss: issuer, aud: audience, exp: seconds + 3600 };
  const spki = await exportSPKI(publicKey);
  const hmac = (secret: string) => {
    const text = `${part({ alg: "HS256", kid: "one" })}.${part(claims)}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  };
  const [head, body, signature] = (await token()).split(".") as [string, string, string];
  const forged: Record<string, string> = {
    "no algorithm": `${part({ alg: "none" })}.${part(claims)}.`,
    "no algorithm, in another case": `${part({ alg: "nOnE" })}.${part(claims)}.`,
    "no signature": `${head}.${body}.`,
    "another body": `${head}.${part({ ...claims, sub: "dev-1", admin: true })}.${signature}`,
    "HS256 with the public key": hmac(spki),
    "HS256 with the public key's set": hmac(set),
    "HS256 with nothing": hmac(""),
    "another's key": await token({ key: other.privateKey }),
    "another's key, in the header": await token({
      key: other.privateKey,
      header: { jwk: await jwk(other.publicKey, "one") },
    }),
    "another's key, by a URL": await token({ key: other.privateKey, header: { jku: "https://evil.example/keys" } }),
    "an unknown key": await token({ header: { kid: "two" } }),
    "a key that is a path": await token({ header: { kid: "../../dev/null" } }),
    "a key that is a query": await token({ header: { kid: "x' UNION SELECT 'key" } }),
    "a header that nobody knows": `${part({ alg: "ES256", kid: "one", crit: ["exp2"], exp2: 1 })}.${body}.${signature}`,
    "expired": await token({ claims: { exp: seconds - 3600 } }),
    "without an end": await token({ claims: { exp: undefined } }),
    "an end that is a text": await token({ claims: { exp: "9999999999" as unknown as number } }),
    "not valid yet": await token({ claims: { nbf: seconds + 3600 } }),
    "of another issuer": await token({ claims: { iss: "https://id.example.com.evil" } }),
    "for another audience": await token({ claims: { aud: "other" } }),
    "for no audience": await token({ claims: { aud: undefined } }),
    "for another device": await token({ claims: { sub: "dev-2" } }),
    "for a list of devices": await token({ claims: { sub: ["dev-1"] as unknown as string } }),
    "of another account": await token({ claims: { account: "beta" } }),
    "of no account": await token({ claims: { account: undefined } }),
    "huge": `${head}.${part({ ...claims, x: "x".repeat(5_000) })}.${signature}`,
    "no token": "a.b.c",
    "nothing": "..",
  };
  const judge = verifier();
  for (const [what, text] of Object.entries(forged)) assert.equal(await judge.admit("dev-1", text), undefined, what);
  assert.equal(
    await verifier({ scope: "sync" }).admit("dev-1", await token({ claims: { scope: "sync2" } })),
    undefined,
  );
  assert.equal(await judge.admit("dev-9", await token({ claims: { sub: "dev-9" } })), undefined, "not registered");
});

Deno.test("jwt: options that would let others in are refused at the start", async () => {
  const secret = await exportJWK(privateKey);
  const refused = (options: Partial<JwtOptions>, pattern: RegExp) => assert.throws(() => verifier(options), pattern);
  refused({ algorithms: ["none"] }, /algorithms are some of/);
  refused({ algorithms: ["ES256", "HS256"] }, /not "HS256"/);
  refused({ algorithms: [] }, /algorithms/);
  refused({ issuer: "" }, /required/);
  refused({ keys: { set: "{}" } }, /no JWK set/);
  refused({ keys: { set: "no json" } }, /no JWK set/);
  refused({ keys: { set: JSON.stringify({ keys: [secret] }) } }, /private or a symmetric key/);
  refused({ keys: { set: JSON.stringify({ keys: [{ kty: "oct", k: "AAAA" }] }) } }, /symmetric/);
  refused({ keys: { url: "http://id.example.com/keys" } }, /https/);
  refused({ keys: { url: "file:///etc/keys" } }, /https/);
});

Deno.test("jwt: keys by a URL are cached, rotate, are bounded, and when away are nobody's fault", async () => {
  let body = set, status = 200, asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.writeHead(status, { "content-type": "application/json", ...(status === 302 ? { location: "/" } : {}) });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  const judge = verifier({ keys: { url } });
  for (let n = 0; n < 50; n++) assert.ok(await judge.admit("dev-1", await token()));
  assert.equal(asked, 1);
  // Unknown keys in a row make no flood of questions.
  for (let n = 0; n < 50; n++) {
    assert.equal(await judge.admit("dev-1", await token({ header: { kid: `k${n}` } })), undefined);
  }
  assert.ok(asked <= 2, `${asked} questions`);
  // Another verifier, as after a rotation: the new key is in the set, the old one no more.
  const next = await newKeys();
  body = JSON.stringify({ keys: [await jwk(next.publicKey, "two")] });
  const later = verifier({ keys: { url } });
  assert.ok(await later.admit("dev-1", await token({ key: next.privateKey, header: { kid: "two" } })));
  assert.equal(await later.admit("dev-1", await token()), undefined);
  for (
    const [what, code, text] of [["away", 500, "x"], ["elsewhere", 302, "x"], [
      "too much",
      200,
      `"${"x".repeat(300_000)}"`,
    ]] as const
  ) {
    [status, body] = [code, text];
    await assert.rejects(verifier({ keys: { url } }).admit("dev-1", await token()), { code: "unavailable" }, what);
  }
  await new Promise((resolve) => server.close(resolve));
});

Deno.test({
  name: "jwt: at the embedded broker a device comes by it, is cut when it ends, and revoked holds",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const tables = openEmbedded(":memory:", { schema: e2eCompiled, now: Date.now, synchronous: "normal" });
    const cloud = await startCloud({
      schema: e2eCompiled,
      table: tables,
      broker: { recheckMs: 200 },
      deviceJwt: { issuer, audience, keys: { set } },
    });
    const own = await cloud.registry.add("dev-1", "acme");
    const come = async (password: string) => {
      const login = { clientId: "dev-1", username: "dev-1", password };
      return await RawConnection.connect(cloud.mqttPort!, login);
    };
    const seconds = Math.floor(Date.now() / 1000);
    const good = await token({ claims: { exp: seconds + 600 } });
    assert.equal((await come(good)).code, 0);
    assert.equal((await come(own)).code, 0, "a token of ours beside it");
    assert.equal((await come(await token({ claims: { exp: seconds + 600, sub: "dev-2" } }))).code, 4);
    // With the minute for clocks that differ it has two seconds left.
    const short = await come(await token({ claims: { exp: seconds - 58 } }));
    assert.equal(short.code, 0);
    await until("it is cut", () => short.connection.isClosed, 20_000);
    const held = await come(good);
    await cloud.registry.revoke("dev-1");
    await until("it is cut", () => held.connection.isClosed, 20_000);
    assert.equal((await come(good)).code, 4);
    await cloud.close();
    tables.close();
  },
});
