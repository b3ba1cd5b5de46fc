/**
 * Planted bugs of identity: certificates, their renewal, claim codes, failed sign-ins, and what an erasure leaves at the broker.
 *
 * @module
 */
import { guarded, type Mutant } from "./mutant.ts";

const hostile = "tests/hostile/certificates_test.ts", keyFiles = "agent/credentials/key_files.ts";
const claims = "cloud/identity/claims.ts", claimTests = "tests/cloud/identity/claims_test.ts";

/** The planted bugs, by room. */
export const identity: readonly Mutant[] = [
  // ---- certificates
  guarded(
    "certificate: by its name alone",
    "a certificate of a former device of the name is worth nothing",
    `${hostile}#a revoked device is cut at once`,
    "cloud/reach_broker.ts",
    `{ certified: ({ deviceId, key }) => registry.admitKey(deviceId, key) }`,
    `{ certified: ({ deviceId }) => registry.identityOf(deviceId) }`,
  ),
  guarded(
    "certificate: the first of its names",
    "a certificate that names two devices names nobody",
    `${hostile}#with somebody else's authority`,
    "cloud/broker/shown_certificate.ts",
    `return names.length === 1 && typeof name === "string" && isId(name) ? name : undefined;`,
    `return typeof name === "string" && isId(name) ? name : undefined;`,
  ),
  guarded(
    "certificate: whatever TLS says of it",
    "a certificate of another authority, or for another purpose, is refused",
    `${hostile}#with somebody else's authority`,
    "cloud/broker/shown_certificate.ts",
    `if (!secure.authorized) {`,
    `if (false) {`,
  ),
  guarded(
    "certificate: good for as long as the connection",
    "a connection ends when its certificate does",
    `${hostile}#a connection ends when the certificate of somebody`,
    "cloud/broker/recheck.ts",
    `(admission.untilMs ?? Infinity) <= Date.now()`,
    `false`,
  ),
  guarded(
    "certificate: a request's key unproved",
    "a request proves that whoever asks has the key",
    "tests/cloud/identity/authority_test.ts#a request for another device",
    "cloud/identity/authority.ts",
    `if (!isSigned) throw`,
    `if (false) throw`,
  ),
  guarded(
    "certificate: whatever name is asked for",
    "a device is certified under its own id alone",
    "tests/cloud/identity/authority_test.ts#a request for another device",
    "cloud/identity/authority.ts",
    `if (names.length !== 1 || names[0] !== deviceId) {`,
    `if (names.length === 0) {`,
  ),
  // ---- renewal
  guarded(
    "renewal: the old one void at once",
    "the old certificate is valid until the new one is used",
    `${hostile}#the next certificate comes over the connection`,
    "cloud/sync/device_keys.ts",
    `return others.length >= keysMax ? undefined : [...others, key];`,
    `return others.length >= keysMax ? undefined : [key];`,
  ),
  guarded(
    "renewal: the old one for ever",
    "the old certificate is void once the new one was used",
    `${hostile}#the next certificate comes over the connection`,
    "cloud/sync/registry.ts",
    `if (place > 0 && place === known.keys.length - 1) await this.#used(deviceId, key);`,
    ``,
  ),
  guarded(
    "renewal: for whoever asks",
    "a device that has a token alone gets no certificate by asking",
    `${hostile}#nobody renews for another`,
    "cloud/identity/renewals.ts",
    `if (!newest) {`,
    `if (!newest && !deviceId) {`,
  ),
  guarded(
    "renewal: by the device's clock",
    "a device knows by the cloud's time when its certificate ends",
    "tests/agent/credentials/renewal_test.ts#by the cloud's time",
    "agent/credentials/renewal.ts",
    `this.#offsetMs = timeMs - this.#now();`,
    `this.#offsetMs = 0 * timeMs;`,
  ),
  guarded(
    "renewal: a new key for each question",
    "what is asked for is asked for again with the same key",
    "tests/agent/credentials/key_files_test.ts#what is asked for",
    keyFiles,
    `const key = isFree ? known! : newKey();`,
    `const key = newKey();`,
  ),
  guarded(
    "renewal: in the place of the old one at once",
    "the old certificate is there until the new one was let in",
    "tests/agent/credentials/key_files_test.ts#a new certificate is shown first",
    keyFiles,
    `writeWholeFile(next(this.paths.cert), cert);`,
    `writeWholeFile(this.paths.cert, cert);`,
  ),
  guarded(
    "renewal: half a rename is the end",
    "a crash between the renames is recognised by which key fits",
    "tests/agent/credentials/key_files_test.ts#a crash after each write",
    keyFiles,
    `for (const [c, k] of [[0, 0], [0, 1], [1, 0]] as const) {`,
    `for (const [c, k] of [[0, 0]] as const) {`,
  ),
  guarded(
    "renewal: refused and shown again",
    "a certificate that the broker refuses is not shown again",
    "tests/agent/credentials/key_files_test.ts#one that the broker refuses",
    keyFiles,
    `    this.#isRefused = true;
    return true;`,
    `    return true;`,
  ),
  // ---- claims
  guarded(
    "claim: once, whatever was heard of it",
    "the same device may show its code again",
    `${claimTests}#wherever the cloud fails`,
    claims,
    `if (mine.by !== by || mine.claimed !== deviceId) throw refused();`,
    `if (mine === row || mine.by !== by) throw refused();`,
  ),
  guarded(
    "claim: a process that was stopped goes on",
    "a device that was revoked meanwhile is not let in by a process between two steps",
    `${claimTests}#wherever another process stands still`,
    "cloud/sync/claimed_rows.ts",
    `all(equals("by", code.by!), any(lacks("done"), equals("done", claim)))`,
    `equals("by", code.by!)`,
  ),
  guarded(
    "claim: revoked before it was let in",
    "revoking a reserved device makes its code worth nothing",
    `${claimTests}#revoked after any write`,
    "cloud/sync/registry.ts",
    `const condition = await voidCode(this.#table, deviceId);`,
    `const condition = lacks("nothing");`,
  ),
  guarded(
    "claim: for ever",
    "a code expires",
    `${claimTests}#an expired code`,
    claims,
    `if (!row || !(now() < Number(row.until))) throw refused();`,
    `if (!row) throw refused();`,
  ),
  guarded(
    "claim: a device that is there",
    "no code takes a device over",
    `${claimTests}#a device that is there`,
    claims,
    `    if (await registry.info(deviceId)) throw exists(deviceId);
    const target`,
    `    const target`,
  ),
  guarded(
    "claim: as many guesses as wanted",
    "an address has ten tries a minute",
    "tests/hostile/claims_test.ts#who guesses",
    "cloud/api/claim_routes.ts",
    `if (waitSeconds > 0) return tooMany(waitSeconds);`,
    ``,
  ),
  // ---- JWTs
  guarded(
    "jwt: any algorithm",
    "no HMAC by the public key, and no token without a signature",
    "tests/hostile/jwt_test.ts#options that would",
    "cloud/identity/jwt.ts",
    `if (wrong !== undefined || algorithms.length === 0) {`,
    `if (algorithms.length === 0) {`,
  ),
  guarded(
    "jwt: whoever it names",
    "a token admits the device that it names alone",
    "tests/hostile/jwt_test.ts#what a forger",
    "cloud/identity/jwt.ts",
    `if (!claims || claims[deviceClaim] !== deviceId) return undefined;`,
    `if (!claims) return undefined;`,
  ),
  guarded(
    "jwt: for any audience",
    "a token for another service is refused",
    "tests/hostile/jwt_test.ts#what a forger",
    "cloud/identity/jwt.ts",
    `        audience,
        algorithms:`,
    `        algorithms:`,
  ),
  guarded(
    "jwt: without an end",
    "a token without an end is refused",
    "tests/hostile/jwt_test.ts#what a forger",
    "cloud/identity/jwt.ts",
    `requiredClaims: ["exp"],`,
    ``,
  ),
  guarded(
    "jwt: the connection outlives it",
    "a connection ends when its token does",
    "tests/hostile/jwt_test.ts#at the embedded broker",
    "cloud/identity/jwt.ts",
    `return { ...identity, untilMs: (claims.exp! + toleranceSeconds) * 1000 };`,
    `return { ...identity };`,
  ),
  // ---- the audit, and the broker's memory
  guarded(
    "sign-ins: each in the audit",
    "a flood of failed sign-ins does not fill the log table",
    "tests/cloud/operations/failed_sign_ins_test.ts#a flood",
    "cloud/operations/failed_sign_ins.ts",
    `if (isNew && this.#written < perWindow) {`,
    `if (isNew) {`,
  ),
  guarded(
    "erasure: the broker remembers",
    "of an erased device the broker retains nothing",
    "tests/cloud/operations/retained_test.ts#of an erased device",
    "cloud/operations/erasure.ts",
    `const [noted] = await log.write([{ op: "put", item: retainedMark(deviceId, this.options.now()) }]);
    if (noted?.outcome !== "written") throw throttled();`,
    ``,
  ),
];
