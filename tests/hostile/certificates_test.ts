/**
 * The door of devices with certificates, at the embedded broker: who comes with one that is expired, of another authority,
 * another device's, for another purpose, of a former life of the device, or withdrawn, is not let in, and not kept.
 */
import assert from "node:assert/strict";
import { newKey, requestFor } from "../../agent/credentials/request.ts";
import type { CertifiedKey } from "../../cloud/identity/authority.ts";
import { Audit } from "../../cloud/operations/audit.ts";
import type { Cloud } from "../../cloud/running_cloud.ts";
import { startCloud } from "../../cloud/worker.ts";
import { openEmbedded } from "../../cloud/embedded.ts";
import { Decoder, encode, type Renewed, topics } from "../../protocol.ts";
import { oddCertificate, type TestAuthority, testAuthority } from "../support/authority.ts";
import { tlsMissing } from "../support/certificates.ts";
import { e2eCompiled } from "../support/schema.ts";
import { skipped } from "../support/tools.ts";
import { until } from "../support/until.ts";
import { connectPacket, publishPacket, RawConnection, subscribePacket } from "./raw_mqtt.ts";

const dayMs = 86_400_000, hourMs = 3_600_000;

interface Rig {
  readonly cloud: Cloud;
  readonly test: TestAuthority;
  readonly audit: Audit;
  /** A device that is registered, and its certificate. */
  add(device: string, validMs?: number): Promise<CertifiedKey>;
  /** Comes with a certificate. @returns the CONNACK's code, -1 where there is none */
  come(pair: Partial<CertifiedKey>, as?: string, options?: { username?: string; password?: string }): Promise<Came>;
}

interface Came {
  readonly code: number;
  readonly connection: RawConnection;
}

/** @param options.foreign the authority is somebody else's: its certificates are taken by their names alone */
async function rig(options: { recheckMs?: number; foreign?: boolean } = {}): Promise<Rig & AsyncDisposable> {
  const now = Date.now, tables = openEmbedded(":memory:", { schema: e2eCompiled, now, synchronous: "normal" });
  const test = await testAuthority(), server = await test.authority.issueServer(["localhost"], dayMs);
  const cloud = await startCloud({
    schema: e2eCompiled,
    table: tables,
    broker: {
      tls: { cert: server.cert, key: server.key, ...(options.foreign ? { ca: test.pem.cert, requestCert: true } : {}) },
      recheckMs: options.recheckMs,
    },
    ...(options.foreign ? {} : { deviceAuthority: test.pem }),
  });
  const made: Rig = {
    cloud,
    test,
    audit: new Audit(tables.log, { now }),
    async add(device, validMs = dayMs) {
      const { cert, key, privateKey } = await test.authority.issue(device, validMs);
      await cloud.registry.admitNew(device, "acme", key);
      return { cert, key: privateKey };
    },
    async come(pair, as = "dev-1", credentials = {}) {
      const connection = await RawConnection.openTls(cloud.mqttPort!, { ca: test.pem.cert, ...pair });
      connection.send(connectPacket({ clientId: as, username: as, ...credentials }));
      const connack = await connection.next(2);
      return { connection, code: connack?.body[1] ?? -1 };
    },
  };
  return {
    ...made,
    async [Symbol.asyncDispose]() {
      await cloud.close();
      tables.close();
    },
  };
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({
    name: `certificates: ${name}`,
    fn,
    ignore: skipped(tlsMissing),
    sanitizeOps: false,
    sanitizeResources: false,
  });

test("what the authority issued for a device lets it in, as itself alone", async () => {
  await using rigged = await rig();
  const { add, come } = rigged, own = await add("dev-1"), other = await add("dev-2");
  assert.equal((await come(own)).code, 0);
  assert.equal((await come(own, "dev-2")).code, 5, "as another device");
  assert.equal((await come(other)).code, 5);
  assert.equal((await come(own, "twintable-cloud")).code, 4, "as a worker");
  assert.notEqual((await come({})).code, 0, "without any");
  assert.notEqual((await come({}, "dev-1", { password: "guess" })).code, 0);
});

/** What is wrong with a certificate, and one of that kind; `named`: wrong only where certificates are known by their keys. */
async function hostile(test: TestAuthority): Promise<{ what: string; pair: CertifiedKey; named?: true }[]> {
  const odd = (certificate: Parameters<typeof oddCertificate>[1]) => oddCertificate(test, certificate);
  return [
    { what: "expired", pair: await odd({ untilMs: Date.now() - 1_000 }) },
    { what: "not valid yet", pair: await odd({ sinceMs: Date.now() + hourMs }) },
    { what: "for a server", pair: await odd({ usage: "1.3.6.1.5.5.7.3.1" }) },
    { what: "for signing code", pair: await odd({ usage: "1.3.6.1.5.5.7.3.3" }) },
    { what: "of another authority", pair: await oddCertificate(await testAuthority(Date.now, "Others"), {}) },
    { what: "of another authority of the same name", pair: await oddCertificate(await testAuthority(), {}) },
    { what: "signed by itself", pair: (await testAuthority(Date.now, "dev-1")).pem },
    { what: "the authority's own", pair: test.pem },
    { what: "a broker's", pair: await test.authority.issueServer(["dev-1"], dayMs) },
    { what: "of the authority, and never issued", pair: await odd({}), named: true },
    { what: "of two names, its own the first", pair: await odd({ subject: "CN=dev-1,CN=dev-2" }) },
    { what: "of two names, its own the last", pair: await odd({ subject: "CN=dev-2,CN=dev-1" }) },
    { what: "of two alternative names", pair: await odd({ subject: "O=x", dns: ["dev-1", "dev-2"] }) },
    { what: "of a name with a NUL", pair: await odd({ subject: "CN=dev-1\\00.evil" }) },
    { what: "of its name in another case", pair: await odd({ subject: "CN=DEV-1" }) },
    { what: "of no name", pair: await odd({ subject: "O=dev-1" }) },
    { what: "an authority below", pair: await odd({ isAuthority: true }) },
  ];
}

test("what no good authority issues lets nobody in", async () => {
  await using rigged = await rig();
  const { add, come, test } = rigged;
  await add("dev-1");
  for (const { what, pair } of await hostile(test)) {
    assert.notEqual(await come(pair).then(({ code }) => code, () => -1), 0, what);
  }
  // A chain through a device's own certificate: it may not issue.
  const device = await add("dev-3");
  const below = await oddCertificate({ authority: test.authority, pem: device }, { subject: "CN=dev-1" });
  assert.notEqual(await come({ cert: below.cert + device.cert, key: below.key }).then(({ code }) => code, () => -1), 0);
  // With another's certificate and one's own key TLS itself fails.
  const first = await rigged.add("dev-4");
  const stolen = await come({ cert: first.cert, key: device.key }, "dev-4").then(({ code }) => code, () => -1);
  assert.notEqual(stolen, 0);
});

test("with somebody else's authority a certificate's one name decides, and nothing else is taken", async () => {
  await using rigged = await rig({ foreign: true });
  const { cloud, come, test } = rigged;
  for (const device of ["dev-1", "dev-2"]) await cloud.registry.add(device, "acme");
  for (const { what, pair, named } of await hostile(test)) {
    const code = await come(pair).then(({ code }) => code, () => -1);
    assert.equal(code === 0, named === true, what);
  }
  assert.equal(
    (await come(await oddCertificate(test, { subject: "O=x", dns: ["dev-1"] }))).code,
    0,
    "by its other name",
  );
  const unknown = await oddCertificate(test, { subject: "CN=nobody" });
  assert.notEqual((await come(unknown, "nobody")).code, 0, "whom the registry does not know");
});

test("a revoked device is cut at once, and its certificate is refused, also when the name is used again", async () => {
  await using rigged = await rig();
  const { add, come, cloud } = rigged, own = await add("dev-1");
  const { connection, code } = await come(own);
  assert.equal(code, 0);
  assert.equal(await cloud.registry.revoke("dev-1"), true);
  await until("it is cut", () => connection.isClosed, 20_000);
  assert.notEqual((await come(own)).code, 0);
  const next = await add("dev-1");
  assert.notEqual((await come(own)).code, 0, "that of the device of before");
  assert.equal((await come(next)).code, 0);
});

test("a connection ends when its certificate does", async () => {
  await using rigged = await rig({ recheckMs: 200 });
  const { test, cloud, come } = rigged;
  const { cert, key, privateKey } = await test.authority.issue("dev-1", 3_000);
  await cloud.registry.admitNew("dev-1", "acme", key);
  const pair = { cert, key: privateKey }, { code, connection } = await come(pair);
  assert.equal(code, 0);
  await until("it is cut", () => connection.isClosed, 20_000);
  assert.ok(Date.now() >= key.until - 1_000);
  assert.notEqual((await come(pair)).code, 0);
});

test("a connection ends when the certificate of somebody else's authority does", async () => {
  await using rigged = await rig({ recheckMs: 200, foreign: true });
  await rigged.cloud.registry.add("dev-1", "acme");
  const pair = await oddCertificate(rigged.test, { untilMs: Date.now() + 3_000 });
  const { code, connection } = await rigged.come(pair);
  assert.equal(code, 0);
  await until("it is cut", () => connection.isClosed, 20_000);
  assert.notEqual((await rigged.come(pair)).code, 0);
});

test("a certificate that nobody accepts beside a good token does no harm", async () => {
  await using rigged = await rig();
  const token = await rigged.cloud.registry.add("dev-9", "acme");
  const foreign = await oddCertificate(await testAuthority(), { subject: "CN=dev-9" });
  assert.equal((await rigged.come(foreign, "dev-9", { password: token })).code, 0);
});

const topic = topics();
let asked = 0;

/** Asks for the next certificate over a connection. */
async function renew(connection: RawConnection, csr: string, as = "dev-1"): Promise<Renewed> {
  connection.send(subscribePacket([topic.down(as)]));
  await connection.next(9);
  const request = `renew/${++asked}`, decoder = new Decoder({ now: () => performance.now() });
  for (const payload of encode({ type: "renew", request, csr })) {
    connection.send(publishPacket(topic.sync(as), payload));
  }
  let found: Renewed | undefined;
  await until("an answer comes", () => {
    for (const { payload } of connection.messages) {
      const message = decoder.accept(payload, "down");
      if (message?.type === "renewed" && message.request === request) found = message;
    }
    return found !== undefined;
  });
  return found!;
}

test("the next certificate comes over the connection; the old one is good until the new one is used", async () => {
  await using rigged = await rig();
  const { add, come, audit } = rigged, old = await add("dev-1"), { connection } = await come(old);
  const key = newKey(), { cert, reason } = await renew(connection, requestFor("dev-1", key));
  assert.equal(reason, undefined);
  assert.equal((await come(old)).code, 0, "the new one was not used");
  assert.equal((await come({ cert: cert!, key })).code, 0);
  assert.notEqual((await come(old)).code, 0, "now it was");
  const { entries } = await audit.list({ limit: 10 });
  assert.deepEqual(entries.map(({ who, via, action }) => [who, via, action]), [["dev-1", "device", "device.renew"]]);
});

test("nobody renews for another, without a certificate, or without end", async () => {
  await using rigged = await rig();
  const { add, come, cloud } = rigged, { connection } = await come(await add("dev-1"));
  await add("dev-2");
  assert.match((await renew(connection, requestFor("dev-2", newKey()))).reason!, /not for "dev-1"/);
  assert.match((await renew(connection, "no request")).reason!, /can't be read/);
  const token = await cloud.registry.add("dev-7", "acme");
  const byToken = await come({}, "dev-7", { password: token });
  assert.match((await renew(byToken.connection, requestFor("dev-7", newKey()), "dev-7")).reason!, /no certificate was/);
  const answers: Renewed[] = [];
  for (let n = 0; n < 8; n++) answers.push(await renew(connection, requestFor("dev-1", newKey())));
  const got = answers.filter(({ cert }) => cert !== undefined).length;
  assert.ok(got >= 1 && got <= 3, `${got} certificates`);
  assert.ok(answers.at(-1)!.afterMs! > 0);
  assert.ok((await cloud.registry.certificates("dev-1")).length <= 4);
});
