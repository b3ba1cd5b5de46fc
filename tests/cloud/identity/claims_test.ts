/** Claim codes: one device has one, once, whatever is lost, repeated or raced on the way. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { newKey, requestFor } from "../../../agent/credentials/request.ts";
import { openEmbedded } from "../../../cloud/embedded.ts";
import { Claims, type ClaimsContext } from "../../../cloud/identity/claims.ts";
import { Audit } from "../../../cloud/operations/audit.ts";
import { Registry } from "../../../cloud/sync/registry.ts";
import type { Table } from "../../../cloud/table/port.ts";
import { SyncError } from "../../../schema.ts";
import { testAuthority } from "../../support/authority.ts";
import { e2eCompiled } from "../../support/schema.ts";

const start = Date.UTC(2026, 0, 1), hourMs = 3_600_000;
const tokenOf = () => randomBytes(32).toString("base64url");
const denied = { code: "denied" };

/** A cloud whose clock stands, and whose log table may fail. */
async function cloud() {
  let nowMs = start;
  /** How many writes still work; then the table is away. */
  let writesLeft = Infinity;
  /** The write that waits. */
  let stop: { left: number; readonly reached: () => void; readonly go: Promise<void> } | undefined;
  const now = () => nowMs;
  const tables = openEmbedded(":memory:", { schema: e2eCompiled, now, synchronous: "normal" });
  const table: Table = new Proxy(tables.log, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== "write") return typeof value === "function" ? value.bind(target) : value;
      return async (ops: unknown[], options: unknown) => {
        if (stop && stop.left-- === 0) {
          const { reached, go } = stop;
          stop = undefined;
          reached();
          await go;
        }
        if (writesLeft-- <= 0) return Promise.reject(new Error("the table is away"));
        return Reflect.apply(value, target, [ops, options]);
      };
    },
  });
  const { authority } = await testAuthority(now);
  const registry = new Registry(table, { now, cacheMs: 0 }), audit = new Audit(table, { now });
  const claimsWith = (more: Partial<ClaimsContext> = {}) =>
    new Claims({ table, registry, audit, now, authority: () => Promise.resolve(authority), ...more });
  return {
    claims: claimsWith(),
    claimsWith,
    /** One process stands still before the write after so many. */
    stopAfter(left: number) {
      const reached = Promise.withResolvers<void>(), go = Promise.withResolvers<void>();
      stop = { left, reached: reached.resolve, go: go.promise };
      return { reached: reached.promise, go: go.resolve };
    },
    registry,
    audit,
    tables,
    pass: (ms: number) => void (nowMs += ms),
    failAfter: (writes: number) => void (writesLeft = writes),
    [Symbol.dispose]: () => tables.close(),
  };
}

Deno.test("claims: a code becomes a device of its account, which logs in by the token that it has made", async () => {
  using here = await cloud();
  const { code, untilMs } = await here.claims.make({ accountId: "acme" }), token = tokenOf();
  assert.match(code, /^[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){3}$/);
  assert.equal(untilMs, start + 24 * hourMs);
  assert.deepEqual(await here.claims.claim(code, "dev-1", { token }), { deviceId: "dev-1", accountId: "acme" });
  assert.deepEqual(await here.registry.authenticate("dev-1", token), { deviceId: "dev-1", accountId: "acme" });
  const { entries } = await here.audit.list({ limit: 10 });
  assert.deepEqual(entries.map(({ via, action, target }) => [via, action, target]), [[
    "device",
    "device.claim",
    "dev-1",
  ]]);
});

Deno.test("claims: people may write a code in lower case, without dashes, and with O and I for 0 and 1", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" });
  const written = code.toLowerCase().replaceAll("-", " ").replaceAll("0", "o").replaceAll("1", "l");
  await here.claims.claim(written, "dev-1", { token: tokenOf() });
});

Deno.test("claims: a certificate request becomes a certificate that the registry knows", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" }), csr = requestFor("dev-1", newKey());
  const { cert } = await here.claims.claim(code, "dev-1", { csr });
  assert.match(cert!, /BEGIN CERTIFICATE/);
  const [known] = await here.registry.certificates("dev-1");
  assert.ok(await here.registry.admitKey("dev-1", known!.key));
  // Its answer was lost: the same request again.
  assert.match((await here.claims.claim(code, "dev-1", { csr })).cert!, /BEGIN CERTIFICATE/);
  const other = requestFor("dev-1", newKey());
  await assert.rejects(here.claims.claim(code, "dev-1", { csr: other }), denied);
});

Deno.test("claims: nothing of a code stands in the table", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" }), token = tokenOf();
  await here.claims.claim(code, "dev-1", { token });
  const { items } = await here.tables.log.scan({ limit: 1000 });
  const text = JSON.stringify(items);
  assert.ok(items.length >= 2);
  assert.ok(!text.includes(code) && !text.includes(code.replaceAll("-", "")) && !text.includes(token));
});

Deno.test("claims: of many who show one code at once exactly one gets in, and no other ever", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" });
  const tokens = Array.from({ length: 20 }, tokenOf);
  const claim = (n: number) => here.claims.claim(code, `dev-${n}`, { token: tokens[n]! });
  const results = await Promise.allSettled(tokens.map((_, n) => claim(n)));
  const won = results.flatMap(({ status }, n) => status === "fulfilled" ? [n] : []);
  assert.equal(won.length, 1);
  for (const [n, result] of results.entries()) {
    if (result.status === "rejected") assert.equal(result.reason.code, "denied");
    assert.equal(await here.registry.authenticate(`dev-${n}`, tokens[n]!) !== undefined, n === won[0]);
  }
  await claim(won[0]!);
  for (const n of tokens.keys()) if (n !== won[0]) await assert.rejects(claim(n), denied);
});

Deno.test("claims: the same for several with one device id", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" }), tokens = Array.from({ length: 10 }, tokenOf);
  const claim = (token: string) => here.claims.claim(code, "dev-1", { token });
  const results = await Promise.allSettled(tokens.map(claim));
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
  const winner = results.findIndex(({ status }) => status === "fulfilled");
  assert.ok(await here.registry.authenticate("dev-1", tokens[winner]!));
});

Deno.test("claims: wherever the cloud fails, the same device comes to its end, and no other", async () => {
  for (let writes = 0; writes < 7; writes++) {
    using here = await cloud();
    const { code } = await here.claims.make({ accountId: "acme" }), token = tokenOf(), thief = tokenOf();
    here.failAfter(writes);
    const first = await here.claims.claim(code, "dev-1", { token }).then(() => true, () => false);
    here.failAfter(Infinity);
    // Audit, code taken, device reserved, code used, device let in, device settled: then it was answered.
    assert.equal(first, writes >= 6, `${writes} writes`);
    const isTaken = writes >= 2;
    if (isTaken) await assert.rejects(here.claims.claim(code, "dev-2", { token: thief }), denied);
    await here.claims.claim(code, "dev-1", { token });
    assert.ok(await here.registry.authenticate("dev-1", token));
    await assert.rejects(here.claims.claim(code, "dev-1", { token: thief }), denied);
  }
});

Deno.test("claims: a revoked device does not come back by its code", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" }), token = tokenOf();
  await here.claims.claim(code, "dev-1", { token });
  await here.registry.revoke("dev-1");
  await assert.rejects(here.claims.claim(code, "dev-1", { token }), denied);
  assert.equal(await here.registry.identityOf("dev-1"), undefined);
});

Deno.test("claims: revoked after any write of a claim that was cut short, a device does not come back", async () => {
  for (let writes = 3; writes < 7; writes++) {
    using here = await cloud();
    const { code } = await here.claims.make({ accountId: "acme" }), token = tokenOf();
    here.failAfter(writes);
    await here.claims.claim(code, "dev-1", { token }).catch(() => {});
    here.failAfter(Infinity);
    assert.equal(await here.registry.authenticate("dev-1", token) !== undefined, writes >= 5, `${writes} writes`);
    assert.equal(await here.registry.revoke("dev-1"), true, `${writes} writes`);
    await assert.rejects(here.claims.claim(code, "dev-1", { token }), denied, `${writes} writes`);
    assert.equal(await here.registry.identityOf("dev-1"), undefined);
    // The name is free.
    await here.registry.add("dev-1", "acme");
    await assert.rejects(here.claims.claim(code, "dev-1", { token }), denied);
  }
});

Deno.test("claims: wherever another process stands still while its device is admitted and revoked, it admits nobody", async () => {
  for (let writes = 2; writes < 6; writes++) {
    using here = await cloud();
    const { code } = await here.claims.make({ accountId: "acme" }), token = tokenOf();
    const stopped = here.stopAfter(writes), slow = here.claims.claim(code, "dev-1", { token });
    slow.catch(() => {});
    await stopped.reached;
    // Its device has no answer, and asks again; another process serves it.
    await here.claims.claim(code, "dev-1", { token });
    assert.ok(await here.registry.authenticate("dev-1", token), `${writes} writes`);
    await here.registry.revoke("dev-1");
    stopped.go();
    await slow.catch((error: { code?: string }) => assert.equal(error.code, "denied"));
    assert.equal(await here.registry.authenticate("dev-1", token), undefined, `${writes} writes`);
    assert.equal(await here.registry.identityOf("dev-1"), undefined);
    await assert.rejects(here.claims.claim(code, "dev-1", { token }), denied);
    await here.registry.add("dev-1", "acme");
  }
});

Deno.test("claims: the broker is told until it knows, and not once more", async () => {
  using here = await cloud();
  let isAway = true, told = 0;
  const claims = here.claimsWith({
    tellBroker: () => isAway ? Promise.reject(new SyncError("unavailable", "away")) : Promise.resolve(void told++),
  });
  const { code } = await claims.make({ accountId: "acme" }), token = tokenOf();
  await assert.rejects(claims.claim(code, "dev-1", { token }), { code: "unavailable" });
  isAway = false;
  for (let n = 0; n < 3; n++) await claims.claim(code, "dev-1", { token });
  assert.equal(told, 1);
});

Deno.test("claims: an expired code, a wrong one, and one for another device are refused in the same words", async () => {
  using here = await cloud();
  const bound = await here.claims.make({ accountId: "acme", deviceId: "dev-1" });
  const short = await here.claims.make({ accountId: "acme", validMs: hourMs });
  const messages = new Set<string>();
  const refused = (code: string, device: string) =>
    assert.rejects(
      here.claims.claim(code, device, { token: tokenOf() }),
      (error: { code: string; message: string }) => {
        messages.add(error.message);
        return error.code === "denied";
      },
    );
  await refused(bound.code, "dev-2");
  await refused("00000-00000-00000-00000", "dev-1");
  await refused("", "dev-1");
  await refused("__proto__", "dev-1");
  here.pass(hourMs);
  await refused(short.code, "dev-3");
  assert.equal(messages.size, 1);
  await here.claims.claim(bound.code, "dev-1", { token: tokenOf() });
});

Deno.test("claims: a device that is there is not taken over, and the code is as good as before", async () => {
  using here = await cloud();
  const token = await here.registry.add("dev-1", "other");
  const { code } = await here.claims.make({ accountId: "acme" });
  await assert.rejects(here.claims.claim(code, "dev-1", { token: tokenOf() }), { code: "exists" });
  assert.ok(await here.registry.authenticate("dev-1", token));
  await here.claims.claim(code, "dev-2", { token: tokenOf() });
  await assert.rejects(here.claims.make({ accountId: "acme", deviceId: "dev-1" }), { code: "exists" });
});

Deno.test("claims: a weak token, a worker's name and a request that does not fit use no code up", async () => {
  using here = await cloud();
  const { code } = await here.claims.make({ accountId: "acme" });
  for (const token of ["", "short", "x".repeat(42), "ä".repeat(43), "x".repeat(129)]) {
    await assert.rejects(here.claims.claim(code, "dev-1", { token }), { code: "invalid" });
  }
  const csr = requestFor("dev-2", newKey());
  await assert.rejects(here.claims.claim(code, "dev-1", { csr }), { code: "invalid" });
  await assert.rejects(here.claims.claim(code, "twintable-cloud", { token: tokenOf() }), { code: "invalid" });
  await here.claims.claim(code, "dev-1", { token: tokenOf() });
});
