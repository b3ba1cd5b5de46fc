/**
 * How a worker reaches its broker and knows its devices: an external broker's connection, or the embedded broker, started with
 * the registry, and with the device authority where there is one.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import type { BrokerConnection } from "../mqtt/session.ts";
import { SyncError } from "../schema/errors.ts";
import type { Schema } from "../schema/model.ts";
import { allows, tokenHash, tokenOf } from "./api/tokens.ts";
import type { Admission } from "./broker/access.ts";
import type { ReaderRights } from "./broker/readers.ts";
import { notifyFilters } from "./notify/topics.ts";
import { type Broker, startBroker } from "./broker/broker.ts";
import { sendControl } from "./broker_config/control.ts";
import { addCommands } from "./broker_config/mosquitto.ts";
import type { ClaimsContext } from "./identity/claims.ts";
import type { Authority } from "./identity/authority.ts";
import { Renewals } from "./identity/renewals.ts";
import { Audit } from "./operations/audit.ts";
import type { FailedSignIns } from "./operations/failed_sign_ins.ts";
import type { Registry } from "./sync/registry.ts";
import type { Tables } from "./table/port.ts";
import type { CloudOptions } from "./worker.ts";

/** The external broker's connection, or a broker that is started here and its internal credentials, new at each start. */
export async function reachBroker(
  options: CloudOptions,
  schema: Schema,
  { registry, failed, refused }: {
    readonly registry: Registry;
    readonly failed: Pick<FailedSignIns, "failed">;
    /** Is told whose credentials the embedded broker refused. */
    readonly refused: (clientId: string) => void;
  },
  opened: AsyncDisposableStack,
): Promise<{ broker?: Broker; connection: BrokerConnection }> {
  const { mqtt, username, password, ca, cert, key, protocolVersion, prefix } = options;
  if (mqtt !== undefined) return { connection: { url: mqtt, username, password, ca, cert, key, protocolVersion } };
  const internal = { username: "twintable-cloud", password: randomBytes(32).toString("base64url") };
  const { host = "127.0.0.1", tls } = options.broker ?? {}, { deviceAuthority } = options;
  if (deviceAuthority && !tls) {
    throw new SyncError(
      "config",
      "devices show certificates over TLS alone: the embedded broker needs a certificate, too",
    );
  }
  const verifier = await verifierOf(options, registry);
  const broker = await startBroker({
    ...options.broker,
    ...(tls && deviceAuthority ? { tls: { ...tls, ca: deviceAuthority.cert, requestCert: true } } : {}),
    // An authority of somebody else's: whom it names, as long as the registry knows that device.
    ...(deviceAuthority ? { certified: ({ deviceId, key }) => registry.admitKey(deviceId, key) } : {}),
    prefix,
    internal,
    authenticate: (deviceId, token) => verifier?.(deviceId, token) ?? registry.admit(deviceId, token),
    identityOf: (deviceId, credential) => registry.identityOf(deviceId, credential),
    refused,
    readers: readersOf(options, notifyFilters(schema, prefix), failed),
  });
  opened.defer(registry.onRevoked((deviceId) => broker.disconnect(deviceId)));
  opened.defer(() => broker.close());
  // A broker that listens on all addresses is reached by this machine's own; with TLS, the workers' listener is there
  // anyway.
  const local = tls || host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const address = local.includes(":") ? `[${local}]` : local;
  return { broker, connection: { url: `mqtt://${address}:${broker.internalPort}`, ...internal } };
}

/** API tokens with the scope `read` open the notifications' topics. */
function readersOf(
  { notifyReaders, now = Date.now }: CloudOptions,
  filters: readonly string[],
  failed: Pick<FailedSignIns, "failed">,
): ReaderRights | undefined {
  return notifyReaders && {
    filters,
    failed: (address) => failed.failed("broker", address, "a wrong token"),
    find(name, text) {
      const hash = tokenHash(text);
      const mayRead = () => {
        const token = tokenOf(hash, notifyReaders(), now());
        return token !== undefined && token.name === name && allows(token, "read");
      };
      return mayRead() ? mayRead : undefined;
    },
  };
}

/** The authority that issues devices' certificates; undefined: its key is not here. Its library is loaded where it is. */
export async function authorityOf(
  { deviceAuthority }: CloudOptions,
  now: () => number,
): Promise<Authority | undefined> {
  if (deviceAuthority?.key === undefined) return undefined;
  const { Authority } = await import("./identity/authority.ts");
  const { key, ...rest } = deviceAuthority;
  return await Authority.open({ ...rest, key }, now);
}

/**
 * Admits devices that have claimed their credentials at Mosquitto, by its administrator. A failure is the claim's: the device
 * tries again.
 */
export function tellBrokerOf({ mqtt, ca, brokerAdmin, prefix }: CloudOptions): ClaimsContext["tellBroker"] {
  if (mqtt === undefined || brokerAdmin === undefined) return undefined;
  const connection = { url: mqtt, ...brokerAdmin, ...(ca === undefined ? {} : { ca }) };
  return async (identity, token) => {
    try {
      await sendControl(connection, addCommands(identity, token, prefix));
    } catch (cause) {
      throw new SyncError("unavailable", (cause as Error).message, { retryable: true, cause });
    }
  };
}

/** Judges passwords that are JWTs; undefined for any other password, and where none are configured. */
async function verifierOf(
  { deviceJwt, now = Date.now }: CloudOptions,
  registry: Registry,
): Promise<((deviceId: string, password: string) => Promise<Admission | undefined> | undefined) | undefined> {
  if (!deviceJwt) return undefined;
  const { isJwt, JwtVerifier } = await import("./identity/jwt.ts");
  const verifier = JwtVerifier.open(deviceJwt, (deviceId) => registry.identityOf(deviceId), now);
  return (deviceId, password) => isJwt(password) ? verifier.admit(deviceId, password) : undefined;
}

/** What answers devices that ask for their next certificate. */
export function renewalsOf(
  authority: Authority | undefined,
  registry: Registry,
  { log: table }: Tables,
  now: () => number,
): Renewals | undefined {
  return authority && new Renewals({ authority, registry, audit: new Audit(table, { now }), now });
}
