/** At a broker that takes a name from a certificate, a former device's certificate never acts as the next of its name. */
import assert from "node:assert/strict";
import { dynamicSecurity } from "../../../cloud/broker_config/mosquitto.ts";
import { Claims } from "../../../cloud/identity/claims.ts";
import { Audit } from "../../../cloud/operations/audit.ts";
import { checkFormer, formerUntil } from "../../../cloud/sync/former_certificates.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import { Fixture, withWrite } from "../fixture.ts";

const dayMs = 86_400_000;
const keyOf = (letter: string, until: number) => ({ key: letter.repeat(64), until, valid: dayMs });
const token = "t".repeat(43);

async function former(fixture: Fixture, device: string): Promise<number | undefined> {
  return (await formerUntil(fixture.tables.log, [device], fixture.time))[0];
}

Deno.test("former certificates: a name is not given again before the last of its device's certificates has expired", async () => {
  await using fixture = new Fixture();
  const { tables: { log }, now } = fixture, registry = new Registry(log, { now });
  const untilMs = fixture.time + 10 * dayMs;
  const ends: Record<string, (device: string) => Promise<unknown>> = {
    revoked: (device) => registry.revoke(device),
    replaced: (device) => registry.add(device, "beta", { replace: true }),
  };
  for (const [how, end] of Object.entries(ends)) {
    const device = `was-${how}`;
    await registry.admitNew(device, "acme", keyOf("a", fixture.time + dayMs));
    // A renewal that was asked for, and is not in use yet.
    await registry.certify(device, keyOf("b", untilMs));
    assert.equal(await former(fixture, device), undefined, "its own certificates are no former ones");
    await end(device);
    assert.equal(await former(fixture, device), untilMs, how);
    await assert.rejects(checkFormer(log, device, now()), /a former device "was-\w+" has a certificate until/);
  }
  await registry.add("by-token", "acme");
  await registry.revoke("by-token");
  assert.equal(await former(fixture, "by-token"), undefined);
  fixture.time = untilMs;
  for (const how of Object.keys(ends)) await checkFormer(log, `was-${how}`, now());
});

Deno.test("former certificates: a renewal at the moment of the revocation is noted as well, or the revocation is tried again", async () => {
  await using fixture = new Fixture();
  const { tables: { log }, now } = fixture, registry = new Registry(log, { now });
  await registry.admitNew("d1", "acme", keyOf("a", fixture.time + dayMs));
  let isFirst = true;
  const racing = new Registry(
    withWrite(log, async (...args) => {
      const isNote = args[0][0]?.op === "put" && args[0][0].item.hash === "former";
      const results = await log.write(...args);
      if (isNote && isFirst) await new Registry(log, { now }).certify("d1", keyOf("b", fixture.time + 9 * dayMs));
      isFirst &&= !isNote;
      return results;
    }),
    { now },
  );
  await assert.rejects(racing.revoke("d1"), { code: "unavailable" });
  assert.ok(await registry.identityOf("d1"));
  assert.equal(await racing.revoke("d1"), true);
  assert.equal(await former(fixture, "d1"), fixture.time + 9 * dayMs);
});

Deno.test("former certificates: Mosquitto's configuration lets nobody in by such a name, and a claim of it is refused", async () => {
  await using fixture = new Fixture();
  const { tables: { log }, now } = fixture, registry = new Registry(log, { now });
  await registry.admitNew("d1", "acme", keyOf("a", fixture.time + dayMs));
  await registry.revoke("d1");
  const told: string[] = [], audit = new Audit(log, { now });
  const claims = new Claims({
    ...{ table: log, registry, audit, now },
    tellBroker: ({ deviceId }) => Promise.resolve(void told.push(deviceId)),
  });
  const { code } = await claims.make({ accountId: "beta" });
  await assert.rejects(claims.claim(code, "d1", { token }), { code: "exists" });
  assert.equal(await registry.rowOf("d1"), undefined);
  // The code is as it was: for another name.
  await claims.claim(code, "d2", { token });
  assert.deepEqual(told, ["d2"]);
  await registry.admitNew("d1", "beta", keyOf("c", fixture.time + dayMs));
  const { devices } = await registry.brokerCredentials();
  const user = { username: "u", password: "p" };
  const disabled = (byCertificate: boolean) => {
    const state = dynamicSecurity({ devices, worker: user, admin: user, byCertificate });
    const { clients } = state as { clients: { username: string; disabled?: boolean }[] };
    return clients.filter((one) => one.disabled).map(({ username }) => username);
  };
  assert.deepEqual([disabled(true), disabled(false)], [["d1"], []]);
});
